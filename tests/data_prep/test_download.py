"""Downloads against a real server on this machine that can misbehave."""

import hashlib
import re
import shutil
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from data_prep.download import Limits, check_url, download
from dnamdlm.errors import DataError

CONTENT = bytes(range(256)) * 40
QUICK = Limits(max_bytes=1_000_000, attempts=4, pause=0.0, timeout=5.0)


class Site:
    """What the server says, and what it was asked."""

    def __init__(self):
        self.content = CONTENT
        self.tag = '"v1"'
        self.cut_at = []
        self.statuses = []
        self.redirect = None
        self.ranges = []
        self.announce = True
        self.encoding = None
        self.wrong_range = None
        self.wrong_once = []
        self.size = None


@pytest.fixture
def site():
    state = Site()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def do_GET(self):
            asked = self.headers.get("Range")
            state.ranges.append(asked)
            if state.statuses:
                self.send_error(state.statuses.pop(0))
                return
            if state.redirect:
                self.send_response(302)
                self.send_header("Location", state.redirect)
                self.end_headers()
                return
            start = 0
            if asked and self.headers.get("If-Range") == state.tag:
                start = int(re.fullmatch(r"bytes=(\d+)-", asked)[1])
                self.send_response(206)
                size = len(state.content)
                honest = f"bytes {start}-{size - 1}/{size}"
                self.send_header("Content-Range", state.wrong_range or honest)
            else:
                self.send_response(200)
            body = state.content[start:]
            if state.wrong_once:
                body = state.wrong_once.pop()[start:]
            if state.announce:
                self.send_header("Content-Length", str(state.size or len(body)))
            if state.encoding:
                self.send_header("Content-Encoding", state.encoding)
            self.send_header("ETag", state.tag)
            self.end_headers()
            if state.cut_at:
                body = body[: state.cut_at.pop(0)]
            self.wfile.write(body)
            self.close_connection = True

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    state.url = f"http://127.0.0.1:{server.server_address[1]}/file"
    yield state
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_file_arrives_whole_and_alone(site, tmp_path):
    target = tmp_path / "new" / "file"
    seen = []
    digest = ("sha256", hashlib.sha256(CONTENT).hexdigest())
    download(site.url, target, QUICK, digest=digest, report=lambda *state: seen.append(state))
    assert target.read_bytes() == CONTENT
    assert [path.name for path in target.parent.iterdir()] == ["file"]
    assert seen[-1] == (len(CONTENT), len(CONTENT))


def test_a_cut_connection_is_continued_where_it_stopped(site, tmp_path):
    site.cut_at = [1000, 500]
    download(site.url, tmp_path / "file", QUICK)
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert site.ranges == [None, "bytes=1000-", "bytes=1500-"]


def test_a_later_run_continues_an_earlier_one(site, tmp_path):
    site.cut_at = [1000]
    with pytest.raises(DataError, match=r"incomplete after 1 tries .*1000 of 10240 bytes"):
        download(site.url, tmp_path / "file", Limits(max_bytes=10**6, attempts=1))
    assert not (tmp_path / "file").exists()
    download(site.url, tmp_path / "file", QUICK)
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert site.ranges[-1] == "bytes=1000-"


def test_a_file_that_changed_meanwhile_is_fetched_anew(site, tmp_path):
    site.cut_at = [1000]
    with pytest.raises(DataError):
        download(site.url, tmp_path / "file", Limits(max_bytes=10**6, attempts=1))
    site.content, site.tag = CONTENT[::-1], '"v2"'
    download(site.url, tmp_path / "file", QUICK)
    assert (tmp_path / "file").read_bytes() == CONTENT[::-1]


def test_a_busy_server_is_asked_again(site, tmp_path):
    site.statuses = [503, 429]
    download(site.url, tmp_path / "file", QUICK)
    assert (tmp_path / "file").read_bytes() == CONTENT


def test_a_refusal_is_reported_at_once(site, tmp_path):
    site.statuses = [404]
    with pytest.raises(DataError, match="the server answers 404 Not Found"):
        download(site.url, tmp_path / "file", QUICK)
    assert len(site.ranges) == 1


@pytest.mark.parametrize("announce", [True, False])
def test_a_file_over_the_cap_is_refused_and_not_kept(site, tmp_path, announce):
    site.announce = announce
    with pytest.raises(DataError, match="at most 5000 are expected"):
        download(site.url, tmp_path / "file", Limits(max_bytes=5000, attempts=1))
    assert not (tmp_path / "file.part").exists()


def test_a_wrong_hash_is_refused_and_not_kept(site, tmp_path):
    with pytest.raises(DataError, match=r"its md5 is .* 0{32} is expected"):
        download(site.url, tmp_path / "file", QUICK, digest=("md5", "0" * 32))
    assert not (tmp_path / "file").exists()
    assert not (tmp_path / "file.part").exists()


@pytest.mark.parametrize(
    "target", ["file:///etc/passwd", "http://example.org/x", "https://10.0.0.1/x", "ftp://a/b"]
)
def test_a_redirect_to_an_unsafe_address_is_refused(site, tmp_path, target):
    site.redirect = target
    with pytest.raises(DataError, match=r"only https|local address|not allowed"):
        download(site.url, tmp_path / "file", QUICK)


@pytest.mark.parametrize(
    "url", ["http://example.org/a", "file:///etc/passwd", "ftp://a/b", "nothing"]
)
def test_only_https_and_loopback_addresses_are_fetched(url):
    with pytest.raises(DataError, match="only https addresses"):
        check_url(url)


def test_an_unreachable_server_is_an_error_after_all_tries(tmp_path):
    with pytest.raises(DataError, match="incomplete after 2 tries"):
        download("http://127.0.0.1:9/x", tmp_path / "f", Limits(max_bytes=9, attempts=2, pause=0.0))


@pytest.mark.parametrize(
    "claimed", ["bytes 0-10239/10240", "bytes 1000-2000/10240", "bytes */10240", "lines 1-2/3", ""]
)
def test_another_part_than_was_asked_for_is_not_glued_on(site, tmp_path, claimed):
    site.cut_at = [1000]
    site.wrong_range = claimed or " "
    download(site.url, tmp_path / "file", QUICK)
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert site.ranges == [None, "bytes=1000-", None]


def test_wrong_bytes_of_an_earlier_try_are_fetched_again(site, tmp_path):
    digest = ("sha256", hashlib.sha256(CONTENT).hexdigest())
    site.wrong_once, site.cut_at = [b"x" * len(CONTENT)], [1000]
    download(site.url, tmp_path / "file", QUICK, digest=digest)
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert site.ranges == [None, "bytes=1000-", None]


def test_a_size_that_is_never_reached_is_an_error(site, tmp_path):
    site.size = len(CONTENT) + 1
    with pytest.raises(DataError, match=r"incomplete after 4 tries"):
        download(site.url, tmp_path / "file", QUICK)
    assert not (tmp_path / "file").exists()


def test_a_size_that_is_too_small_is_found_by_the_hash(site, tmp_path):
    site.size = len(CONTENT) - 1
    digest = ("sha256", hashlib.sha256(CONTENT).hexdigest())
    with pytest.raises(DataError, match="its sha256 is"):
        download(site.url, tmp_path / "file", QUICK, digest=digest)
    assert list(tmp_path.glob("file*")) in ([], [tmp_path / "file.part.tag"])


def test_bytes_that_are_packed_on_the_way_are_refused(site, tmp_path):
    site.encoding = "gzip"
    with pytest.raises(DataError, match="packs the file for the journey"):
        download(site.url, tmp_path / "file", QUICK)


@pytest.mark.parametrize("name", ["file", "file.part", "file.part.tag"])
def test_nothing_is_written_through_a_link(site, tmp_path, name):
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / name).symlink_to(victim)
    with pytest.raises(DataError, match="nothing is written through links"):
        download(site.url, tmp_path / "file", QUICK)
    assert victim.read_text() == "precious"


def test_room_on_the_disk_is_checked_before_anything_is_written(site, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(DataError, match=r"0\.00 GB are free; free some space"):
        download(site.url, tmp_path / "file", QUICK)
    assert not (tmp_path / "file.part").exists()


def test_a_folder_that_cannot_be_written_is_named(site, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot be written"):
        download(site.url, tmp_path / "file" / "x", QUICK)

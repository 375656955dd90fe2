"""The Genomic Benchmarks script against a server on this machine."""

import hashlib
import io
import json
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from data_prep import genomic_benchmarks
from data_prep.download import Limits
from dnamdlm.data.tasks.families import GenomicBenchmarks
from dnamdlm.errors import ConfigError, DataError

TASK = "demo_human_or_worm"
LIMITS = Limits(max_bytes=100_000, attempts=1, pause=0.0, timeout=5.0)


def archive(classes=("human", "worm"), top=f"{TASK}/"):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as out:
        for part in ("train", "test"):
            for index, name in enumerate(classes):
                for number in range(3):
                    text = "ACGT" * (index + 1) + "A" * number
                    out.writestr(f"{top}{part}/{name}/{number}.txt", text)
    return content.getvalue()


@pytest.fixture
def serve():
    servers = []

    def start(content, md5=None):
        md5 = md5 or hashlib.md5(content).hexdigest()
        listing = {"files": [{"key": f"{TASK}_v0.zip", "checksum": f"md5:{md5}"}]}
        answers = {
            "/record": json.dumps(listing).encode(),
            f"/record/files/{TASK}_v0.zip/content": content,
        }

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                body = answers.get(self.path)
                self.send_response(200 if body is not None else 404)
                self.send_header("Content-Length", str(len(body or b"")))
                self.end_headers()
                self.wfile.write(body or b"")

            def log_message(self, *_):
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        servers.append((server, thread))
        return f"http://127.0.0.1:{server.server_address[1]}/record"

    yield start
    for server, thread in servers:
        server.shutdown()
        thread.join()
        server.server_close()


def fetch(out, url):
    return genomic_benchmarks.fetch_tasks(out, [TASK], base_url=url, limits=LIMITS)


@pytest.mark.parametrize("top", ["", f"{TASK}/"])
def test_a_task_is_unpacked_where_the_loader_finds_it_and_kept(tmp_path, serve, top):
    url = serve(archive(top=top))
    assert fetch(tmp_path, url) == [tmp_path / TASK]
    task = GenomicBenchmarks(str(tmp_path)).open(TASK)
    assert (len(task.train), task.train.targets.tolist()) == (6, [0, 0, 0, 1, 1, 1])
    assert sorted(path.name for path in tmp_path.iterdir()) == [TASK, "manifest.json"]
    fetch(tmp_path, "http://127.0.0.1:1/nobody")


@pytest.mark.parametrize(
    ("content", "md5", "message"),
    [
        (archive(("human", "fly")), None, "no folders train and test with the classes human, worm"),
        (archive(top="../"), None, r"\.\."),
        (archive(), "0" * 32, "md5"),
    ],
)
def test_a_wrong_archive_leaves_no_task(tmp_path, serve, content, md5, message):
    with pytest.raises(DataError, match=message):
        fetch(tmp_path, serve(content, md5))
    assert not (tmp_path / TASK).exists()
    assert not list(tmp_path.parent.glob("train"))


def test_unknown_tasks_and_other_records_are_refused(tmp_path, serve):
    with pytest.raises(ConfigError, match="tasks=human is unknown"):
        genomic_benchmarks.fetch_tasks(tmp_path, ["human"], base_url="http://127.0.0.1:1")
    with pytest.raises(DataError, match="no file demo_coding"):
        genomic_benchmarks.fetch_tasks(
            tmp_path, ["demo_coding_vs_intergenomic_seqs"], base_url=serve(b""), limits=LIMITS
        )

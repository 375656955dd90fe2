"""The yeast and hg38 scripts against a server on this machine."""

import functools
import gzip
import hashlib
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest

from data_prep import hg38, yeast
from data_prep.download import Limits
from dnamdlm.data.genome.annotation import read_gff
from dnamdlm.data.genome.fasta import read_fasta
from dnamdlm.errors import DataError

LIMITS = Limits(max_bytes=100_000, attempts=2, pause=0.0, timeout=5.0)
ACCESSIONS = {"chrI": "XX000001.1", "chrII": "XX000002.3"}


def bases_of(accession):
    rng = np.random.default_rng(int(accession[2:8]))
    return "".join(rng.choice(list("acgt"), 150))


def genbank(accession):
    sequence = bases_of(accession)
    lines = [
        f"LOCUS       {accession.split('.')[0]:<16} 150 bp    DNA     linear   PLN 01-JAN-2000",
        f"DEFINITION  Test record {accession}.",
        f"ACCESSION   {accession.split('.')[0]}",
        f"VERSION     {accession}",
        "FEATURES             Location/Qualifiers",
        "     gene            complement(10..60)",
        '                     /locus_tag="Y1"',
        "     CDS             complement(join(10..19,40..60))",
        '                     /locus_tag="Y1"',
        '                     /gene="A;B"',
        "     misc_feature    5..8",
        "ORIGIN",
    ]
    for start in range(0, 150, 60):
        blocks = " ".join(sequence[i : i + 10] for i in range(start, min(start + 60, 150), 10))
        lines.append(f"{start + 1:>9} {blocks}")
    return "\n".join([*lines, "//", ""])


@pytest.fixture
def serve():
    servers = []

    def start(handler):
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        servers.append((server, thread))
        return f"http://127.0.0.1:{server.server_address[1]}"

    yield start
    for server, thread in servers:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def ncbi(serve):
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def do_GET(self):
            query = parse_qs(urlsplit(self.path).query)
            accession = query["id"][0]
            assert query["db"] == ["nuccore"]
            Handler.asked.append(accession)
            body = Handler.answers[accession].encode()
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body)

    Handler.answers = {accession: genbank(accession) for accession in ACCESSIONS.values()}
    Handler.asked = []
    Handler.url = serve(Handler) + "/efetch.fcgi"
    return Handler


def expected_hash():
    codes = "".join(bases_of(a) for a in ACCESSIONS.values()).translate(
        str.maketrans("acgt", "\0\1\2\3")
    )
    return hashlib.sha256(codes.encode()).hexdigest()


@pytest.fixture
def rebuild(ncbi, tmp_path):
    return functools.partial(
        yeast.rebuild,
        tmp_path,
        base_url=ncbi.url,
        accessions=ACCESSIONS,
        bases_sha256=expected_hash(),
        limits=LIMITS,
        pause=0.0,
    )


def test_sequence_and_features_are_written_as_in_the_records(rebuild, tmp_path):
    fasta, gff = rebuild()
    text = gzip.decompress(fasta.read_bytes()).decode()
    assert text.startswith(">chrI XX000001.1 Test record XX000001.1\n")
    assert max(map(len, text.splitlines()[1:4])) == 60
    records = read_fasta(fasta)
    assert records["chrII"].tolist() == ["acgt".index(s) for s in bases_of("XX000002.3")]
    rows = gzip.decompress(gff.read_bytes()).decode().splitlines()
    assert rows[0] == "##gff-version 3"
    assert rows[1] == "chrI\tNCBI\tgene\t10\t60\t.\t-\t.\tlocus_tag=Y1;gene=."
    # the second part of the reading frame follows 21 bases: 7 whole codons.
    assert rows[2] == "chrI\tNCBI\tCDS\t40\t60\t.\t-\t0\tlocus_tag=Y1;gene=A%3BB"
    assert rows[3] == "chrI\tNCBI\tCDS\t10\t19\t.\t-\t0\tlocus_tag=Y1;gene=A%3BB"
    assert len(rows) == 7
    assert len(read_gff(gff, {"chrI": 150, "chrII": 150}).features) == 6
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        [fasta.name, gff.name, "genbank"]
    )


def test_a_second_run_fetches_nothing_and_writes_the_same_bytes(rebuild, ncbi):
    first = [path.read_bytes() for path in rebuild()]
    ncbi.asked.clear()
    assert [path.read_bytes() for path in rebuild()] == first
    assert ncbi.asked == []


BAD = {
    "truncated": lambda text: text[: len(text) // 2],
    "without its last lines": lambda text: "\n".join(text.splitlines()[:-2]) + "\n//\n",
    "an error page": lambda _: "<html><body>busy</body></html>",
    "another record": lambda _: genbank("XX000001.1"),
}


@pytest.mark.parametrize("spoil", BAD.values(), ids=BAD)
def test_a_bad_answer_is_refused_and_fetched_again_next_time(rebuild, ncbi, spoil, tmp_path):
    good = ncbi.answers["XX000002.3"]
    ncbi.answers["XX000002.3"] = spoil(good)
    with pytest.raises(DataError, match="run the same command again"):
        rebuild()
    assert not (tmp_path / yeast.FASTA_NAME).exists()
    ncbi.answers["XX000002.3"] = good
    ncbi.asked.clear()
    rebuild()
    assert ncbi.asked == ["XX000002.3"]


def test_other_bases_than_the_shipped_ones_are_refused(rebuild, tmp_path):
    with pytest.raises(DataError, match="the shipped genome has"):
        rebuild(bases_sha256="0" * 64)
    assert not (tmp_path / yeast.FASTA_NAME).exists()


def test_an_unreachable_source_gives_one_sentence_and_status_2(tmp_path, capsys):
    status = yeast.main([f"out={tmp_path}", "base_url=http://example.org/efetch"])
    assert status == 2
    assert "only https addresses" in capsys.readouterr().err


@pytest.fixture
def ucsc(serve, tmp_path):
    folder = tmp_path / "site"
    folder.mkdir()
    packed = gzip.compress(b">chr1\nACGTacgtNN\n")
    (folder / "hg38.fa.gz").write_bytes(packed)
    md5 = hashlib.md5(packed).hexdigest()
    (folder / "md5sum.txt").write_text(f"{'0' * 32}  hg38.2bit\n{md5}  hg38.fa.gz\n")

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    return folder, serve(functools.partial(Quiet, directory=str(folder)))


def test_hg38_is_fetched_once_and_checked(ucsc, tmp_path, capsys):
    folder, url = ucsc
    assert hg38.main([f"out={tmp_path / 'out'}", f"base_url={url}/", "intervals=no"]) == 0
    assert "config=hg38 data.fasta=" in capsys.readouterr().out
    assert list(read_fasta(tmp_path / "out" / "hg38.fa.gz")) == ["chr1"]
    (folder / "hg38.fa.gz").unlink()
    assert hg38.fetch_genome(tmp_path / "out", base_url=url).is_file()


def test_a_genome_that_was_damaged_on_the_disk_is_fetched_again(ucsc, tmp_path):
    _, url = ucsc
    path = hg38.fetch_genome(tmp_path, base_url=url)
    good = path.read_bytes()
    path.write_bytes(good[:-1] + b"x")
    assert hg38.fetch_genome(tmp_path, base_url=url).read_bytes() == good


INTERVALS = "chr1\t0\t10\ttrain\nchr1\t20\t30\ttrain\nchr2\t0\t9\tvalid\nchr3\t0\t9\ttest\n"


def test_the_intervals_are_fetched_once_and_recorded(ucsc, tmp_path):
    folder, url = ucsc
    (folder / hg38.BED_NAME).write_text(INTERVALS)
    out = tmp_path / "out"
    bed = f"{url}/{hg38.BED_NAME}"
    assert hg38.fetch_intervals(out, url=bed, num_train=2).read_text() == INTERVALS
    recorded = json.loads((out / "manifest.json").read_text())[hg38.BED_NAME]
    assert recorded["sha256"] == hashlib.sha256(INTERVALS.encode()).hexdigest()
    (folder / hg38.BED_NAME).unlink()
    hg38.fetch_intervals(out, url=bed, num_train=2)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<html>gone</html>", "line 1 is '<html>gone</html>'"),
        (INTERVALS + "chr4\t9\t5\ttest\n", "line 5"),
        (INTERVALS + "chr4\t5\t9\tdev\n", "line 5"),
        (INTERVALS * 2, "2 for train are expected"),
        ("", "2 for train are expected"),
    ],
)
def test_other_intervals_than_the_published_are_refused_and_not_kept(ucsc, tmp_path, text, message):
    folder, url = ucsc
    (folder / hg38.BED_NAME).write_text(text)
    with pytest.raises(DataError, match=re.escape(message)):
        hg38.fetch_intervals(tmp_path / "out", url=f"{url}/{hg38.BED_NAME}", num_train=2)
    assert list((tmp_path / "out").iterdir()) == []


def test_a_damaged_hg38_is_refused(ucsc, tmp_path):
    folder, url = ucsc
    (folder / "hg38.fa.gz").write_bytes(b"other")
    with pytest.raises(DataError, match="its md5 is"):
        hg38.fetch_genome(tmp_path / "out", base_url=url, limits=LIMITS)
    (folder / "md5sum.txt").write_text("nothing\n")
    with pytest.raises(DataError, match=r"no MD5 of hg38\.fa\.gz is published"):
        hg38.fetch_genome(tmp_path / "out", base_url=url, limits=LIMITS)

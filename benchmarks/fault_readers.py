"""Files with a fault, and what readers make of them; part of `benchmarks.faults`.

Every reader gets each file in a process of its own, so that a crash is an outcome too. `right`
means the bases that the file holds by any fair reading; a file that no fair reading can be given
should be refused.
"""

import functools
import gzip
import importlib.util
import logging
import multiprocessing
import os
import re
import struct
import tempfile
import warnings
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

from dnamdlm.data.genome.intervals import Interval
from dnamdlm.data.genome.store import prepare_genome
from dnamdlm.errors import DnamdlmError
from dnamdlm.words.codes import CODE_MASK

Records = dict[str, str]
BGZIP_END = bytes.fromhex("1f8b08040000000000ff0600424302001b0003000000000000000000")
GOOD = b">c1\nACGTACGT\nACGT\n>c2\nTTTTGGGG\n"
TRUTH = {"c1": "ACGTACGTACGT", "c2": "TTTTGGGG"}
LONG = b">c1\n" + b"\n".join([b"ACGTTGCAAC" * 6] * 4000) + b"\n"
SECONDS = 60


@dataclass(frozen=True)
class Case:
    """A file: its bytes, what a fair reading gives (None: it must be refused), and its index.

    Attributes:
        index: content of its `.fai` file.
        index_is_newer: whether the index has the later time stamp.
    """

    name: str
    content: bytes
    truth: Records | None
    file_name: str = "x.fa"
    index: bytes | None = None
    index_is_newer: bool = False


def bgzip(data: bytes, end: bytes = BGZIP_END) -> bytes:
    """A bgzip file of blocks of 5,000 bytes."""
    out = b""
    for start in range(0, len(data), 5000):
        piece = data[start : start + 5000]
        deflate = zlib.compressobj(6, zlib.DEFLATED, -15)
        body = deflate.compress(piece) + deflate.flush()
        head = bytes.fromhex("1f8b08040000000000ff060042430200")
        head += struct.pack("<H", len(body) + 25)
        out += head + body + struct.pack("<II", zlib.crc32(piece), len(piece))
    return out + end


def cases() -> list[Case]:
    """All files, in the order of the table."""
    stale = b">c1\nAC\n>c2\nTTTTGG\nTTTT\n"
    stale_truth = {"c1": "AC", "c2": "TTTTGGTTTT"}
    old_index = b"c1\t8\t4\t8\t9\nc2\t4\t17\t4\t5\n"
    packed = bgzip(LONG)
    flipped = bytearray(packed)
    flipped[len(packed) // 2] ^= 1
    long_truth = {"c1": "ACGTTGCAAC" * 24000}
    protein = b">p1\nMKVLAAGIVGLPNVGKSTLFNALTEQHPELRSWFFDKE\n"
    return [
        Case("stale index, older than the file", stale, stale_truth, index=old_index),
        Case("stale index, newer than the file", stale, stale_truth, index=old_index,
             index_is_newer=True),
        Case("forged index: length 999999999", GOOD, TRUTH, index=b"c1\t999999999\t4\t8\t9\n",
             index_is_newer=True),
        Case("two records of one name", b">c1\nAC\n>c1\nGT\n", None),
        Case("an empty record", b">c1\nACGT\n>c2\n>c3\nGG\n", {"c1": "ACGT", "c3": "GG"}),
        Case("empty file", b"", None),
        Case("blank line inside a record", b">c1\nACGT\n\nACGT\n", {"c1": "ACGTACGT"}),
        Case("ragged lines", b">c1\nACGT\nAC\nACGT\n", {"c1": "ACGTACACGT"}),
        Case("blank lines between records", b">c1\nACGT\n\n\n>c2\nGG\n",
             {"c1": "ACGT", "c2": "GG"}),
        Case("CRLF line ends", GOOD.replace(b"\n", b"\r\n"), TRUTH),
        Case("mixed CRLF and LF", b">c1\r\nACGT\r\nACGT\nAC\n", {"c1": "ACGTACGTAC"}),
        Case("CR line ends", GOOD.replace(b"\n", b"\r"), TRUTH),
        Case("NUL byte", b">c1\nACGT\0ACG\nACGT\n", None),
        Case("byte that is not ASCII", b">c1\nACGT\xe9ACG\nACGT\n", None),
        Case("blanks and digits of GenBank", b">c1\n        1 acgtacgt acgtacgt\n", None),
        Case("protein", protein, None),
        Case("RNA", b">c1\nACGUACGU\n", None),
        Case("gaps", b">c1\nAC-GT*AC\n", None),
        Case("byte-order mark", b"\xef\xbb\xbf" + GOOD, TRUTH),
        Case("HTML page", b"<!DOCTYPE html>\n<html>404</html>\n", None),
        Case("git-lfs pointer", b"version https://git-lfs.github.com/spec/v1\noid x\n", None),
        Case("no header", b"ACGTACGT\nACGT\n", None),
        Case("FASTQ", b"@r1\nACGT\n+\nIIII\n", None),
        Case("`;` comment line", b";made by x\n" + GOOD, TRUTH),
        Case("a header without a name", b">c1\nAC\n>\nGT\n", None),
        Case("plain gzip", gzip.compress(LONG, mtime=0), long_truth, "x.fa.gz"),
        Case("gzip cut in the middle", gzip.compress(LONG, mtime=0)[:-200], None, "x.fa.gz"),
        Case("bgzip", packed, long_truth, "x.fa.gz"),
        Case("bgzip without its end marker", bgzip(LONG, b""), None, "x.fa.gz"),
        Case("bgzip cut inside a block", packed[: len(packed) // 2], None, "x.fa.gz"),
        Case("bgzip, one bit flipped", bytes(flipped), None, "x.fa.gz"),
    ]  # fmt: skip


def dnamdlm_records(path: Path) -> Records:
    """Every base of a prepared genome."""
    genome = prepare_genome(path, cache_dir=path.parent / "cache")
    letters = np.frombuffer(b"ACGTN", dtype=np.uint8)
    return {
        name: letters[genome.fetch(Interval(name, 0, size)) & CODE_MASK].tobytes().decode("ascii")
        for name, size in genome.lengths.items()
    }


def pysam_records(path: Path) -> Records:
    """Every base by pysam."""
    import pysam

    with pysam.FastaFile(str(path)) as file:
        return {name: file.fetch(name) for name in file.references}


def pyfaidx_records(path: Path) -> Records:
    """Every base by pyfaidx."""
    import pyfaidx

    file = pyfaidx.Fasta(str(path), as_raw=True)
    return {name: file[name][:] for name in file.keys()}  # noqa: SIM118 - a Fasta iterates records


def bio_records(path: Path) -> Records:
    """Every base by Bio.SeqIO."""
    from Bio import SeqIO

    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt") as stream:
        found = [(record.id, str(record.seq)) for record in SeqIO.parse(stream, "fasta")]
    if len(dict(found)) < len(found):
        return {"twice": repr(found)}
    return dict(found)


READERS: dict[str, tuple[str, Callable[[Path], Records]]] = {
    "dnamdlm": ("dnamdlm", dnamdlm_records),
    "pysam": ("pysam", pysam_records),
    "pyfaidx": ("pyfaidx", pyfaidx_records),
    "Bio.SeqIO": ("Bio", bio_records),
}


def outcome(case: Case, read: Callable[[Path], Records]) -> str:
    """What a reader makes of a file, in few words."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / case.file_name
        path.write_bytes(case.content)
        if case.index is not None:
            index = path.with_name(path.name + ".fai")
            index.write_bytes(case.index)
            times = (1_700_000_000, 1_700_001_000)
            for item, moment in zip(
                (path, index), times if case.index_is_newer else times[::-1], strict=True
            ):
                os.utime(item, (moment, moment))
        receiver, sender = multiprocessing.Pipe(duplex=False)
        said = Path(name) / "stderr"
        process = multiprocessing.get_context("fork").Process(
            target=_read, args=(path, case.truth, read, sender, said)
        )
        process.start()
        sender.close()
        process.join(SECONDS)
        if process.is_alive():
            process.kill()
            return f"no answer in {SECONDS} s"
        if process.exitcode == 0 and receiver.poll():
            return receiver.recv()
        # after its indented lines, a traceback names the error
        trace = said.read_text(errors="replace").rpartition("Traceback")[2]
        error = re.search(r"^(?:\w+\.)*(\w+)(?::|$)", trace, re.MULTILINE)
        if process.exitcode == 1 and error:
            return f"refused ({error[1]})"
        return f"crash, status {process.exitcode}"


def _read(
    path: Path,
    truth: Records | None,
    read: Callable[[Path], Records],
    sender: Connection,
    stderr: Path,
) -> None:
    """In the child: the outcome in words."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    os.dup2(os.open(stderr, os.O_WRONLY | os.O_CREAT, 0o600), 2)
    said: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: said.append(record.getMessage())
    logging.getLogger("dnamdlm").addHandler(handler)
    warnings.simplefilter("ignore")
    try:
        found = read(path)
    except DnamdlmError as error:
        sender.send("refused: " + _short(str(error).replace(f"{path}", path.name), 90))
        return
    found = {name: text.upper() for name, text in found.items() if text}
    if truth is not None and found == truth:
        sender.send("right, with a warning" if said else "right")
        return
    shown = "no record" if not found else _short(repr(next(iter(found.values()))), 30)
    verdict = "accepted" if truth is None else "**wrong**"
    sender.send(f"{verdict}: {shown}")


def _short(text: str, size: int) -> str:
    """At most so many characters, safe in a cell of a table."""
    text = text.replace("|", "/").replace("`", "'")
    text = text if len(text) <= size else text[: size - 3] + "..."
    return text.encode("ascii", "backslashreplace").decode("ascii")


@functools.cache
def installed() -> tuple[str, ...]:
    """Names of the readers that can be run."""
    return tuple(
        name for name, (package, _) in READERS.items() if importlib.util.find_spec(package)
    )


def table() -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Columns and rows."""
    names = installed()
    rows = [(case.name, *(outcome(case, READERS[name][1]) for name in names)) for case in cases()]
    return ("file", *names), rows

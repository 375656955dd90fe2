"""Broken, odd and foreign files for every reader, made from one good file of each kind.

Each is a name and its bytes, or a function that puts something other than a file in its place.
"""

import bz2
import gzip
import io
import lzma
import random
import re
import zipfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

BASES = "".join(np.random.default_rng(3).choice(list("ACGT"), 2000))
_ROWS = [(f"r{i}", BASES[20 * i : 20 * i + 20], i % 2) for i in range(40)]


def _fasta():
    return (
        f">a first\n{BASES[:700]}\n{BASES[700:]}\n>b\n{BASES[:900]}\n>c\nNN{BASES[:600].lower()}\n"
    ).encode()


def _vcf():
    head = (
        "##fileformat=VCFv4.2\n##contig=<ID=a,length=2000>\n"
        "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
    )
    rows = [f"a\t{p}\trs{p}\t{BASES[p - 1]}\t{'A' if BASES[p - 1] != 'A' else 'C'}\t.\tPASS\tX=1\n"
            for p in (150, 300, 301, 999)]  # fmt: skip
    return (head + "".join(rows)).encode()


def _gff():
    rows = [("a", 100, 400, "g1"), ("a", 700, 999, "g2"), ("b", 1, 90, "g3")]
    return ("##gff-version 3\n" + "".join(
        f"{name}\tx\tCDS\t{begin}\t{end}\t.\t+\t0\tID={gene}\n" for name, begin, end, gene in rows
    )).encode()  # fmt: skip


def _table(separator):
    lines = [separator.join(("name", "sequence", "label"))]
    lines += [separator.join(map(str, row)) for row in _ROWS]
    return ("\n".join(lines) + "\n").encode()


def _parquet(**columns):
    file = io.BytesIO()
    names, sequences, labels = zip(*_ROWS, strict=True)
    pq.write_table(
        pa.table({"name": names, "sequence": sequences, "label": labels} | columns), file
    )
    return file.getvalue()


def _twobit():
    """The records of the FASTA file, after UCSC's description of the format."""

    def words(*numbers):
        return b"".join(number.to_bytes(4, "little") for number in numbers)

    records = [("a", BASES, ()), ("b", BASES[:900], ()), ("c", f"TT{BASES[:600]}", (1, 0, 2))]
    offset = 16 + sum(1 + len(name) + 4 for name, *_ in records)
    index, bodies = b"", b""
    for name, bases, n_block in records:
        index += bytes([len(name)]) + name.encode() + words(offset + len(bodies))
        codes = ["TCAG".index(base) for base in bases] + [0] * (-len(bases) % 4)
        packed = bytes(
            codes[i] << 6 | codes[i + 1] << 4 | codes[i + 2] << 2 | codes[i + 3]
            for i in range(0, len(codes), 4)
        )
        bodies += words(len(bases), *(n_block or (0,)), 0, 0) + packed
    return words(0x1A412743, 0, len(records), 0) + index + bodies


_BED = b"a\t100\t164\ttrain\na\t200\t264\tvalid\nb\t0\t90\ttest\na\t300\t400\ttrain\n"
_LABELS = b"a\tyeast\nb\thuman\nc\tyeast\n"
_MEME = (
    b"MEME version 4\n\nALPHABET= ACGT\n\nstrands: + -\n\nBackground letter "
    b"frequencies\nA 0.25 C 0.25 G 0.25 T 0.25\n\nMOTIF M1 TATA\nletter-probability matrix: "
    b"alength= 4 w= 2 nsites= 10 E= 0\n0.1 0.2 0.3 0.4\n0.7 0.1 0.1 0.1\n"
)
_EVALUATION = b'{"split": "test", "provenance": {"model": "x"}, "quality": {"samples": {}}}'
_TEXT = b"The cat sat.\n\nThe dog ran off.\n"
_JSONL = b'{"text": "The cat sat.", "ids": [1, 2]}\n{"text": "The dog ran."}\n'
_JASPAR = b">MA0001.1 TATA\nA [ 1 8 ]\nC [ 2 1 ]\nG [ 3 1 ]\nT [ 4 1 ]\n"

GOOD = {
    ".fa": _fasta(),
    ".samples.fa": "".join(f">s{i}\n{BASES[60 * i : 60 * i + 60]}\n" for i in range(30)).encode(),
    ".labels.fa": "".join(f">{name}|{label}\n{seq}\n" for name, seq, label in _ROWS).encode(),
    ".template.fa": b">t first\nNNNNNACGTRYNN\n>u\nACGTNNNN\n",
    ".one.fa": b">t first\nNNNNNACGTRYNNNNNNNNNNNNNN\n",
    ".fa.gz": gzip.compress(_fasta(), mtime=0),
    ".2bit": _twobit(),
    ".bed": _BED,
    ".gff3": _gff(),
    ".vcf": _vcf(),
    ".vcf.gz": gzip.compress(_vcf(), mtime=0),
    ".csv": _table(","),
    ".tsv": _table("\t"),
    ".parquet": _parquet(),
    ".labels": _LABELS,
    ".meme": _MEME,
    ".jaspar": _JASPAR,
    ".json": _EVALUATION,
    ".txt": _TEXT,
    ".jsonl": _JSONL,
}
"""Ending of a name -> a file that its readers take."""


def _number(value):
    return lambda b: re.sub(rb"\d+", value, b)


def _lines(change):
    return lambda b: b"\n".join(change(b.split(b"\n")))


def _noise(size):
    return random.Random(5).randbytes(size)


def _bits(b):
    data = bytearray(b)
    chance = random.Random(7)
    for _ in range(8):
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    return bytes(data)


def _zip(b):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("inner", b)
    return file.getvalue()


_CHANGES = {
    "empty": lambda _: b"",
    "one line end": lambda _: b"\n",
    "blank lines": lambda b: b"\n\n\n" + b + b"\n\n",
    "one byte": lambda b: b[:1],
    "first line alone": lambda b: b.split(b"\n")[0] + b"\n",
    "without first line": lambda b: b.partition(b"\n")[2],
    "without last line end": lambda b: b.rstrip(b"\n"),
    "cut": lambda b: b[: len(b) * 2 // 3],
    "cut by one": lambda b: b[:-2],
    "twice": lambda b: b + b,
    "reversed": _lines(lambda lines: lines[::-1]),
    "each line twice": _lines(lambda lines: [line for line in lines for _ in range(2)]),
    "NUL": lambda b: b[: len(b) // 2] + b"\0" + b[len(b) // 2 :],
    "noise": lambda _: _noise(500),
    "noise at the end": lambda b: b + _noise(50),
    "changed bits": _bits,
    "byte order mark": lambda b: b"\xef\xbb\xbf" + b,
    "UTF-16": lambda b: b.decode("latin-1").encode("utf-16"),
    "Latin-1": lambda b: b[: len(b) // 2] + b"\xe9" + b[len(b) // 2 :],
    "UTF-8": lambda b: b[: len(b) // 2] + "\xe9\u57fa".encode() + b[len(b) // 2 :],
    "carriage returns": lambda b: b.replace(b"\n", b"\r"),
    "CRLF": lambda b: b.replace(b"\n", b"\r\n"),
    "terminal escape": lambda b: b.replace(b"a", b"\x1b[31ma"),
    "long line": lambda b: b + b"A" * 300_000 + b"\n",
    "long column": lambda b: b.replace(b"\n", b"\t" + b"x" * 200_000 + b"\n", 2),
    "many columns": lambda b: b.replace(b"\n", b"\t" * 3000 + b"\n", 3),
    "negative": _number(b"-1"),
    "zero": _number(b"0"),
    "huge": _number(b"9" * 25),
    "thousands of digits": _number(b"9" * 5000),
    "float": _number(b"1.5"),
    "exponent": _number(b"1e400"),
    "nan": _number(b"nan"),
    "no digits": _number(b""),
    "other digits": _number("\u0663".encode()),
    "blanks for tabs": lambda b: b.replace(b"\t", b" ").replace(b",", b" "),
    "tabs at line ends": lambda b: b.replace(b"\n", b"\t\t\n"),
    "semicolons": lambda b: b.replace(b",", b";").replace(b"\t", b";"),
    "open quote": lambda b: b.replace(b"\n", b'\n"', 1),
    "quotes": lambda b: b.replace(b"a", b'"a"'),
    "letters": lambda b: b.replace(b"A", b"J"),
    "RNA": lambda b: b.replace(b"T", b"U"),
    "missing values": lambda b: re.sub(rb"[ACGT]{5,}", b"NA", b),
    "formula": lambda b: re.sub(rb"(?m)^(\w)", rb'=HYPERLINK("x")\1', b),
    "gzip": lambda b: gzip.compress(b, mtime=0),
    "gzip, cut": lambda b: gzip.compress(b, mtime=0)[:-9],
    "gzip, wrong sum": lambda b: gzip.compress(b, mtime=0)[:-6] + b"\1\2\3\4\5\6",
    "gzip and noise": lambda b: gzip.compress(b, mtime=0) + _noise(40),
    "gzip of nothing": lambda _: gzip.compress(b"", mtime=0),
    "gzip of gzip": lambda b: gzip.compress(gzip.compress(b, mtime=0), mtime=0),
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "zip": _zip,
    "web page": lambda _: b"<!DOCTYPE html>\n<html><body>404 Not Found</body></html>\n",
    "git-lfs": lambda _: b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n",
    "picture": lambda _: b"\x89PNG\r\n\x1a\n" + _noise(200),
    "pickle": lambda _: b"\x80\x04\x95\x0c\x00\x00\x00\x00\x00\x00\x00]\x94(K\x01K\x02e.",
    "brackets": lambda _: b"[" * 100_000,
    "a list": lambda _: b"[1, 2]",
    "a number": lambda _: b"7",
    "null": lambda _: b"null",
    "half a pair": lambda _: b'{"text": "\\ud800"}\n',
    "ids of another kind": lambda _: b'{"text": "a", "ids": [1e9, -4, "x"]}\n',
}
_FOR_PARQUET = {
    "parquet, null": lambda: _parquet(sequence=[None] * 40),
    "parquet, numbers": lambda: _parquet(sequence=list(range(40))),
    "parquet, lists": lambda: _parquet(sequence=[["A", "C"]] * 40),
    "parquet, nan": lambda: _parquet(label=[float("nan")] * 40),
    "parquet, empty": lambda: _parquet(sequence=[""] * 40),
    "parquet, bytes": lambda: _parquet(sequence=[b"\xff\xfe"] * 40),
}


def _folder(path):
    path.mkdir()


def _loop(path):
    path.symlink_to(path.name)


def _broken_link(path):
    path.symlink_to("nothing")


PLACED = {"folder": _folder, "link to itself": _loop, "broken link": _broken_link,
          "missing": lambda _: None}  # fmt: skip
"""Name -> what puts something other than a file in a place."""


def broken(ending):
    """Name -> bytes of all variants of a good file, those of the other kinds included."""
    found = {name: change(GOOD[ending]) for name, change in _CHANGES.items()}
    found |= {f"a {other}": content for other, content in GOOD.items() if other != ending}
    if ending == ".parquet":
        found |= {name: make() for name, make in _FOR_PARQUET.items()}
    return found | dict.fromkeys(PLACED)


def put(path, name, content):
    """Write a variant, or what stands in place of a file."""
    if name in PLACED:
        PLACED[name](path)
    else:
        path.write_bytes(content)

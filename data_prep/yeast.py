"""Rebuild the embedded yeast genome from NCBI: `python -m data_prep.yeast out=DIR`.

The 16 GenBank records are fetched one by one and kept, so that an interrupted run resumes where it
was. Sequence and features are written anew; the bases must have the hash of the shipped copy.
"""

from __future__ import annotations

import io
import re
import sys
import tempfile
import time
import urllib.parse
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from Bio import BiopythonWarning, SeqIO
from Bio.SeqFeature import SeqFeature
from Bio.SeqRecord import SeqRecord

from data_prep.arguments import run_script
from data_prep.download import Limits, download
from dnamdlm.data.files import gzip_stream, replacing
from dnamdlm.data.genome.store import prepare_genome
from dnamdlm.errors import DataError

BASE_URL = "https://eutils.ncbi.nlm.nih.gov/entrez/eutils/efetch.fcgi"
ACCESSIONS = {
    "chrI": "BK006935.2",
    "chrII": "BK006936.2",
    "chrIII": "BK006937.2",
    "chrIV": "BK006938.2",
    "chrV": "BK006939.2",
    "chrVI": "BK006940.2",
    "chrVII": "BK006941.2",
    "chrVIII": "BK006934.2",
    "chrIX": "BK006942.2",
    "chrX": "BK006943.2",
    "chrXI": "BK006944.2",
    "chrXII": "BK006945.2",
    "chrXIII": "BK006946.2",
    "chrXIV": "BK006947.3",
    "chrXV": "BK006948.2",
    "chrXVI": "BK006949.2",
}
BASES_SHA256 = "cbbc2a2788bdd9e9a025ec2ab8a0836b40498b2f1e7258cda5bb050ea1545919"
FASTA_NAME, GFF_NAME = "yeast_S288C_R64.fa.gz", "yeast_S288C_R64.gff3.gz"
FEATURES = (
    "gene",
    "CDS",
    "tRNA",
    "rRNA",
    "ncRNA",
    "centromere",
    "telomere",
    "rep_origin",
    "mobile_element",
)
LINE_WIDTH = 60
# the largest record, chrIV, is about 5 MB as GenBank text.
LIMITS = Limits(max_bytes=30_000_000)
# NCBI asks for at most three requests a second.
PAUSE_SECONDS = 0.4
USAGE = f"""
python -m data_prep.yeast out=DIR [base_url=URL]

Fetches the 16 chromosomes of S. cerevisiae S288C (R64) from NCBI and writes {FASTA_NAME} and
{GFF_NAME}. An interrupted run is resumed.

  out       folder for both files; the GenBank records are kept in DIR/genbank
  base_url  address of efetch (default {BASE_URL})
"""


def rebuild(
    out: Path,
    *,
    base_url: str = BASE_URL,
    accessions: Mapping[str, str] = ACCESSIONS,
    bases_sha256: str = BASES_SHA256,
    limits: Limits = LIMITS,
    pause: float = PAUSE_SECONDS,
) -> tuple[Path, Path]:
    """Fetch the records and write the FASTA and GFF3 files.

    Args:
        out: target folder.
        base_url: address of the efetch service.
        accessions: record name -> accession with version.
        bases_sha256: content hash that the prepared genome must have.
        limits: size, tries and times per record.
        pause: seconds between requests.

    Returns:
        Paths of the compressed FASTA and GFF3 files.

    Raises:
        DataError: if a record cannot be fetched, is another one, is cut off, or the bases differ.
    """
    folder = out / "genbank"
    records: dict[str, SeqRecord] = {}
    for name, accession in accessions.items():
        path = folder / f"{accession}.gb"
        if not path.is_file():
            query = {"db": "nuccore", "id": accession, "rettype": "gbwithparts", "retmode": "text"}
            url = f"{base_url}?{urllib.parse.urlencode(query)}"
            download(url, path, limits)
            time.sleep(pause)
        records[name] = _read_record(path, accession)
    fasta, gff = out / FASTA_NAME, out / GFF_NAME
    unchecked = out / f"unchecked_{FASTA_NAME}"
    _write_gzip(unchecked, _fasta_text(records, accessions))
    with tempfile.TemporaryDirectory(dir=out) as cache:
        found = prepare_genome(unchecked, cache_dir=cache).sha256
    if found != bases_sha256:
        raise DataError(
            f"{unchecked}: the bases have the hash {found}, the shipped genome has {bases_sha256}; "
            "the records have changed at the source: compare their versions"
        )
    unchecked.replace(fasta)
    _write_gzip(gff, _gff_text(records))
    return fasta, gff


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""

    def body(settings: dict[str, str]) -> str:
        fasta, gff = rebuild(Path(settings["out"]), base_url=settings["base_url"])
        return f"wrote {fasta} and {gff}; the bases equal the embedded genome"

    return run_script(
        body, usage=USAGE, defaults={"out": None, "base_url": BASE_URL}, arguments=arguments
    )


def _read_record(path: Path, accession: str) -> SeqRecord:
    """Parse one GenBank file; a bad file is removed so that the next run fetches it again."""
    text = path.read_text(encoding="utf-8", errors="replace")
    try:
        if not text.startswith("LOCUS") or not text.rstrip().endswith("//"):
            raise DataError(
                f"{path}: the answer is not one whole GenBank record (it begins {text[:40]!r}); "
                "run the same command again"
            )
        try:
            with warnings.catch_warnings():
                # layout warnings say nothing about content, which is checked below.
                warnings.simplefilter("ignore", BiopythonWarning)
                record: SeqRecord = SeqIO.read(io.StringIO(text), "genbank")
                bases = str(record.seq)
        except ValueError as error:
            reason = " ".join(str(error).split())
            raise DataError(
                f"{path}: damaged GenBank record ({reason}); run the same command again"
            ) from error
        announced = re.match(r"LOCUS\s+\S+\s+(\d+) bp", text)
        if record.id != accession or announced is None or len(bases) != int(announced[1]):
            raise DataError(
                f"{path}: the answer is record {record.id} with {len(bases)} bases of "
                f"{announced[1] if announced else 'unknown length'}, all of {accession} is needed; "
                "run the same command again"
            )
    except DataError:
        path.unlink()
        raise
    return record


def _fasta_text(records: Mapping[str, SeqRecord], accessions: Mapping[str, str]) -> Iterator[str]:
    for name, record in records.items():
        yield f">{name} {accessions[name]} {record.description.rstrip('.')}\n"
        bases = str(record.seq).upper()
        for start in range(0, len(bases), LINE_WIDTH):
            yield bases[start : start + LINE_WIDTH] + "\n"


def _gff_text(records: Mapping[str, SeqRecord]) -> Iterator[str]:
    yield "##gff-version 3\n"
    for name, record in records.items():
        for feature in record.features:
            if feature.type in FEATURES:
                yield from _gff_rows(name, feature)


def _gff_rows(name: str, feature: SeqFeature) -> Iterator[str]:
    """One row per part; a coding part states how many bases complete the codon before it."""
    if feature.location is None:
        return
    qualifiers: dict[str, list[str]] = feature.qualifiers or {}
    attributes = ";".join(
        f"{key}={urllib.parse.quote(qualifiers.get(key, ['.'])[0], safe=' ()')}"
        for key in ("locus_tag", "gene")
    )
    phase = int(qualifiers.get("codon_start", ["1"])[0]) - 1
    for part in feature.location.parts:
        start, end = int(str(part.start).strip("<>")), int(str(part.end).strip("<>"))
        strand = {1: "+", -1: "-"}.get(part.strand or 0, ".")
        shown = str(phase) if feature.type == "CDS" else "."
        columns = (name, "NCBI", feature.type, start + 1, end, ".", strand, shown, attributes)
        yield "\t".join(map(str, columns)) + "\n"
        phase = (phase - (end - start)) % 3


def _write_gzip(path: Path, pieces: Iterator[str]) -> None:
    """Write a compressed file; equal text gives equal bytes."""
    with replacing(path) as partial, partial.open("wb") as raw, gzip_stream(raw) as packed:
        for piece in pieces:
            packed.write(piece.encode("ascii"))


if __name__ == "__main__":
    sys.exit(main())

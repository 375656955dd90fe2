"""Assemblies in the public folders of NCBI: their files, records and chromosomes.

An assembly lies in .../GCF/000/001/735/GCF_000001735.4_TAIR10.1/ with the sequence, a report that
lists its records, and a list of MD5 sums.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from data_prep.checksums import is_intact, published_md5
from data_prep.download import Limits, download
from dnamdlm.errors import ConfigError, DataError

BASE_URL = "https://ftp.ncbi.nlm.nih.gov/genomes/all"
_ACCESSION = re.compile(r"(GC[AF])_(\d{3})(\d{3})(\d{3})\.\d+")
# checksum lists and folder listings are a few kB, reports of scattered assemblies a few MB.
_SMALL = 100_000_000


@dataclass(frozen=True)
class Assembly:
    """One assembly of NCBI.

    Attributes:
        accession: with its version, such as GCF_000001735.4.
        name: name of the assembly in addresses, such as TAIR10.1.
    """

    accession: str
    name: str

    @property
    def prefix(self) -> str:
        """What the names of its files begin with."""
        return f"{self.accession}_{self.name}"

    def folder(self, base_url: str) -> str:
        """Address of its folder."""
        return f"{_parent(self.accession, base_url)}/{self.prefix}"


@dataclass(frozen=True)
class Record:
    """One line of an assembly report.

    Attributes:
        name: name of the record in the FASTA file of the assembly.
        length: bases.
        is_chromosome: a whole nuclear chromosome of the primary assembly; no haplotype, patch,
            organelle or unplaced piece.
    """

    name: str
    length: int
    is_chromosome: bool


def find_assembly(accession: str, folder: Path, base_url: str, limits: Limits) -> Assembly:
    """The assembly of an accession, its name looked up in the listing of its parent folder.

    Args:
        accession: with or without `_NAME` after it.
        folder: where the listing is kept for a moment.
        base_url: address of the root of all assemblies.
        limits: tries and times.

    Raises:
        ConfigError: if the accession is not of the form GCF_000001735.4 or GCA_000001735.4.
        DataError: if NCBI lists no such assembly.
    """
    bare, _, name = accession.partition("_")[2].partition("_")
    bare = f"{accession.partition('_')[0]}_{bare}"
    if not _ACCESSION.fullmatch(bare) or not re.fullmatch(r"[\w.+-]*", name, re.ASCII):
        raise ConfigError(
            f"accession={accession} is not an accession of an assembly; write it with its version, "
            "for example GCF_000001735.4"
        )
    if name:
        return Assembly(bare, name)
    listing = folder / f".{bare}.listing"
    download(f"{_parent(bare, base_url)}/", listing, _small(limits))
    text = listing.read_text(encoding="utf-8", errors="replace")
    listing.unlink()
    found = sorted(set(re.findall(rf'href="(?:[^"]*/)?{re.escape(bare)}_([\w.+-]+)/?"', text)))
    if len(found) != 1:
        raise DataError(
            f"{_parent(bare, base_url)}/ lists {len(found)} assemblies of {bare}; check the "
            "accession and its version, or give it with its name, as GCF_000001735.4_TAIR10.1"
        )
    return Assembly(bare, found[0])


def fetch_assembly(
    assembly: Assembly, target: Path, *, base_url: str, limits: Limits
) -> tuple[list[Record], str]:
    """Download the sequence of an assembly unless it is there, and read its report.

    Args:
        assembly: which.
        target: path of the compressed FASTA file.
        base_url: address of the root of all assemblies.
        limits: size of the sequence, tries and times.

    Returns:
        The records, and the MD5 of the sequence file.

    Raises:
        DataError: if a file cannot be fetched or is not the one that NCBI has published.
    """
    folder = assembly.folder(base_url)
    sums = target.with_name(f"{target.name}.md5checksums.txt")
    report = target.with_name(f"{target.name}.assembly_report.txt")
    download(f"{folder}/md5checksums.txt", sums, _small(limits))
    report_name = f"{assembly.prefix}_assembly_report.txt"
    expected = published_md5(sums, report_name)
    if not is_intact(report, expected):
        download(f"{folder}/{report_name}", report, _small(limits), digest=("md5", expected))
    name = f"{assembly.prefix}_genomic.fna.gz"
    expected = published_md5(sums, name)
    if not is_intact(target, expected):
        download(f"{folder}/{name}", target, limits, digest=("md5", expected))
    return read_report(report, assembly.accession), expected


def read_report(path: Path, accession: str) -> list[Record]:
    """Records of an assembly report, under the names that the FASTA file has.

    Args:
        path: the report.
        accession: of the assembly; GCF files are named by RefSeq, GCA files by GenBank.

    Raises:
        DataError: if the file is not an assembly report.
    """
    column = 6 if accession.startswith("GCF") else 4
    records = []
    for number, line in enumerate(
        path.read_text(encoding="utf-8", errors="replace").splitlines(), start=1
    ):
        if line.startswith("#") or not line.strip():
            continue
        columns = line.split("\t")
        if len(columns) < 9 or not columns[8].isdigit():
            raise DataError(
                f"{path}: line {number} is not a line of an assembly report; delete the file and "
                "run the same command again"
            )
        if columns[column] == "na":
            continue
        is_chromosome = (
            columns[1] == "assembled-molecule"
            and columns[3] in ("Chromosome", "Linkage Group")
            and columns[7] != "non-nuclear"
        )
        records.append(Record(columns[column], int(columns[8]), is_chromosome))
    if not records:
        raise DataError(f"{path}: lists no record; delete the file and run the command again")
    return records


def _parent(accession: str, base_url: str) -> str:
    match = _ACCESSION.fullmatch(accession)
    assert match is not None
    return f"{base_url}/{'/'.join(match.groups())}"


def _small(limits: Limits) -> Limits:
    return Limits(
        max_bytes=min(_SMALL, limits.max_bytes),
        attempts=limits.attempts,
        pause=limits.pause,
        timeout=limits.timeout,
    )

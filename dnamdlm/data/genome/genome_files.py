"""From what a user calls a genome to its store: a path, `embedded:NAME`, or a `pyfaidx.Fasta`."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from dnamdlm.data.genome.fasta import IupacPolicy
from dnamdlm.data.genome.fasta_writer import write_fasta
from dnamdlm.data.genome.store import GenomeStore, prepare_genome
from dnamdlm.errors import ConfigError, DataError

if TYPE_CHECKING:
    from pyfaidx import Fasta

EMBEDDED_FOLDER = Path(__file__).parent / "embedded"
_EMBEDDED_PREFIX = "embedded:"
EMBEDDED_LICENSES = {
    "embedded:yeast": "Saccharomyces cerevisiae S288C, R64, INSDC records BK006934 to BK006949, "
    "whose use and redistribution are not restricted (https://www.insdc.org/policy)",
}
"""What a model card says of the data of the package."""
_PIECE_BASES = 1 << 20


def open_genome(
    source: str | Path | Fasta | GenomeStore,
    *,
    cache_dir: str | Path | None = None,
    iupac: IupacPolicy = "n",
    rna: bool = False,
    circular: Collection[str] | None = None,
) -> GenomeStore:
    """The prepared genome of a source, without splits; it is prepared on first use.

    A `pyfaidx.Fasta` is read through its file where it shows the records of that file under their
    own names. Otherwise (a key or filter function, a variant or mutable `Fasta`) what it shows is
    prepared, record by record, under the names that it has there.

    >>> folder = Path(tempfile.mkdtemp())
    >>> _ = write_fasta(folder / "g.fa", [("chr1 a description", "ACGTN")])
    >>> store = open_genome(folder / "g.fa", cache_dir=folder)
    >>> dict(store.lengths), store.num_bases
    ({'chr1': 5}, 5)

    Args:
        source: path of a FASTA file (plain, gzip, bgzip; its index is not needed) or .2bit file,
            `embedded:NAME`, a `pyfaidx.Fasta`, or a genome that is open already.
        cache_dir: folder of prepared genomes; None takes `default_cache_dir()`.
        iupac: as in `prepare_genome`.
        rna: read U as T.
        circular: names of circular records.

    Raises:
        ConfigError: for an unknown embedded genome.
        DataError: if the file cannot be used, a record of the `Fasta` has no plain name, or there
            is no record of a name in `circular`.
    """
    if isinstance(source, GenomeStore):
        store = source
    else:
        store = _opened(source, cache_dir=cache_dir, iupac=iupac, rna=rna)
    return store if circular is None else store.with_circular(circular)


def _opened(
    source: str | Path | Fasta, *, cache_dir: str | Path | None, iupac: IupacPolicy, rna: bool
) -> GenomeStore:
    if isinstance(source, str | Path):
        path, expected = resolve(str(source))
        return prepare_genome(
            path, cache_dir=cache_dir, iupac=iupac, rna=rna, expected_sha256=expected
        )
    if _shows_its_file(source):
        store = prepare_genome(source.filename, cache_dir=cache_dir, iupac=iupac, rna=rna)
        # in the order of the file, so that names that were exchanged are noticed too.
        if list(store.names) == [name for name in source.keys() if len(source[name])]:  # noqa: SIM118
            return store
    with tempfile.TemporaryDirectory(prefix="dnamdlm-") as folder:
        path = Path(folder) / f"{Path(str(source.filename)).name}.fa"
        write_fasta(path, _records(source))
        return prepare_genome(path, cache_dir=cache_dir, iupac=iupac, rna=rna)


def _shows_its_file(source: Fasta) -> bool:
    """Whether the letters that a `Fasta` shows are those of a file on this machine."""
    from pyfaidx import Fasta

    is_plain = type(source) is Fasta and not source.mutable
    is_whole = source.faidx.duplicate_action == "stop"
    return is_plain and is_whole and isinstance(source.filename, str | Path)


def _records(source: Fasta) -> Iterator[tuple[str, Iterator[str]]]:
    """Names and letters as a `Fasta` shows them."""
    for name in source.keys():  # noqa: SIM118 - iterating over a `Fasta` gives records
        if not name or not all(0x20 < ord(letter) < 0x7F for letter in name):
            raise DataError(
                f"the Fasta object of {source.filename} has a record named {name!r}; give it a "
                "key_function whose names are printable ASCII without blanks"
            )
        record = source[name]
        starts = range(0, len(record), _PIECE_BASES)
        yield name, (str(record[start : start + _PIECE_BASES]) for start in starts)


def embedded_names() -> tuple[str, ...]:
    """Names that may follow `embedded:`."""
    return tuple(sorted(_embedded_table()))


def _embedded_table() -> dict[str, dict[str, str]]:
    text = (EMBEDDED_FOLDER / "checksums.json").read_text(encoding="utf-8")
    table: dict[str, dict[str, str]] = json.loads(text)
    return table


def resolve(setting: str, *, suffix: str = ".fa.gz") -> tuple[Path, str | None]:
    """Path of a setting, and the SHA-256 that an embedded file must have.

    Raises:
        ConfigError: for an unknown embedded genome.
    """
    if not setting.startswith(_EMBEDDED_PREFIX):
        return Path(setting).expanduser(), None
    name = setting.removeprefix(_EMBEDDED_PREFIX)
    table = _embedded_table()
    if name not in table:
        raise ConfigError(
            f"unknown embedded genome {setting!r}; choose one of "
            f"{', '.join(_EMBEDDED_PREFIX + known for known in sorted(table))}"
        )
    file, expected = next(
        (file, digest) for file, digest in table[name].items() if file.endswith(suffix)
    )
    return EMBEDDED_FOLDER / file, expected


def check_sha256(path: Path, expected: str) -> None:
    """Refuse an embedded file that is missing or has another content, with a `DataError`."""
    if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != expected:
        raise DataError(
            f"{path}: missing or damaged, its SHA-256 should be {expected[:12]}...; "
            "install the package again"
        )

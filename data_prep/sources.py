"""Where documents of text come from: local files, and data sets of the Hugging Face hub.

A source gives the documents of each split in a fixed order, and an identity: all that decides what
they are, as JSON values, for the cache key.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from data_prep.checksums import file_digest
from dnamdlm.data.text.tokenizer_hub import hub_failures
from dnamdlm.errors import ConfigError, DataError

UNITS = ("line", "paragraph", "file")
SPLITS = ("train", "valid", "test")
_NEEDS = "install it with pip install 'dnamdlm[text]'"
_OTHER_FORMATS = (".json", ".csv", ".tsv", ".arrow", ".gz", ".bz2", ".xz", ".zst", ".zip")


class Source(Protocol):
    """Documents of the splits train, valid and test."""

    @property
    def rule(self) -> str:
        """How the splits were made, for people."""
        ...

    def identity(self) -> dict[str, Any]:
        """All that decides the documents."""
        ...

    def splits(self) -> Mapping[str, Iterator[str]]:
        """The documents of each split that there is; an iterator is used once."""
        ...


@dataclass(frozen=True)
class LocalFiles:
    """Text (.txt and the like), JSON lines (.jsonl, .ndjson) and Parquet (.parquet) files.

    Attributes:
        files: files to be split by fractions; or the training files where others are held out.
        valid: validation files.
        test: test files.
        unit: what a document of a text file is: line, paragraph or file.
        field: key or column of the text in the other two.
        valid_fraction: share of `files` held out from their end, where no files are given for it.
        test_fraction: likewise, after the validation part.
    """

    files: Sequence[Path]
    valid: Sequence[Path] = ()
    test: Sequence[Path] = ()
    unit: str = "line"
    field: str = "text"
    valid_fraction: float = 0.05
    test_fraction: float = 0.05

    def __post_init__(self) -> None:
        if self.unit not in UNITS:
            raise ConfigError(f"unit={self.unit} is unknown; choose {', '.join(UNITS)}")
        for path in (*self.files, *self.valid, *self.test):
            if not path.is_file():
                found = "is a folder" if path.is_dir() else "does not exist"
                raise DataError(f"{path} {found}; name files")
            if path.suffix.lower() in _OTHER_FORMATS:
                raise DataError(
                    f"{path} is neither text nor .jsonl nor .parquet; unpack or convert it first"
                )
        if not (min(self._fractions) >= 0 and sum(self._fractions) <= 1):
            raise ConfigError(
                "valid_fraction and test_fraction must not be negative and their sum at most 1, "
                f"got {self.valid_fraction} and {self.test_fraction}"
            )

    @property
    def _fractions(self) -> tuple[float, float]:
        """Shares of `files` that are held out; none of what has files of its own."""
        return (
            0.0 if self.valid else self.valid_fraction,
            0.0 if self.test else self.test_fraction,
        )

    @property
    def rule(self) -> str:
        """Files, or fractions."""
        valid, test = self._fractions
        if not valid + test:
            return "files"
        return f"position in the files (valid {valid:.3g} and test {test:.3g} at their end)"

    def identity(self) -> dict[str, Any]:
        """Hashes of the files in their order, and what is read of them."""
        digests = {
            name: [[path.suffix, file_digest(path, "sha256")] for path in paths]
            for name, paths in (("files", self.files), ("valid", self.valid), ("test", self.test))
        }
        return {**digests, "unit": self.unit, "field": self.field, "fractions": self._fractions}

    def splits(self) -> Mapping[str, Iterator[str]]:
        """Documents of each split; a single document is cut, several are dealt out whole."""
        given = {"valid": self.valid, "test": self.test}
        parts: dict[str, Iterator[str]] = {"train": self._read(self.files)}
        if any(self._fractions):
            total = sum(1 for _ in self._read(self.files))
            if total == 1:
                text = next(self._read(self.files))
                train, valid = self._cuts(len(text))
                pieces = (text[:train], text[train:valid], text[valid:])
                parts = {
                    name: iter([piece]) for name, piece in zip(SPLITS, pieces, strict=True) if piece
                }
            else:
                parts = {}
                train, valid = self._cuts(total)
                for name, first, last in (
                    ("train", 0, train),
                    ("valid", train, valid),
                    ("test", valid, total),
                ):
                    if first < last:
                        parts[name] = itertools.islice(self._read(self.files), first, last)
        return parts | {name: self._read(paths) for name, paths in given.items() if paths}

    def _cuts(self, total: int) -> tuple[int, int]:
        """Where train and valid end; a part that is wanted is not empty if three are to be had."""
        valid, test = self._fractions
        num_test = round(total * test)
        num_valid = round(total * (valid + test)) - num_test
        if total >= len(SPLITS):
            num_valid, num_test = max(num_valid, valid > 0), max(num_test, test > 0)
        return total - num_valid - num_test, total - num_test

    def _read(self, paths: Sequence[Path]) -> Iterator[str]:
        for path in paths:
            if path.suffix.lower() == ".parquet":
                yield from _parquet(path, self.field)
            elif path.suffix.lower() in (".jsonl", ".ndjson"):
                yield from _json_lines(path, self.field)
            else:
                yield from _text(path, self.unit)


@dataclass(frozen=True)
class HubPart:
    """Rows of one split of a data set; `first` and `last` as in a Python slice."""

    split: str
    first: int | None = None
    last: int | None = None


@dataclass(frozen=True)
class HubDataset:
    """A data set of the Hugging Face hub that needs no loading script.

    Attributes:
        path: its id.
        parts: our split -> which rows.
        config: its configuration, or None.
        folder: where its .parquet files lie, by split, for a branch without configurations; of a
            large data set the hub may hold only the beginning of train there.
        field: column of the text.
        revision: branch or commit.
        characters: cut all text, as one document, at these characters: ends of train and valid.
    """

    path: str
    parts: Mapping[str, HubPart]
    config: str | None = None
    folder: str | None = None
    field: str = "text"
    revision: str | None = None
    characters: tuple[int, int] | None = None

    @property
    def rule(self) -> str:
        """Which rows are which split."""
        return ", ".join(
            f"{name}: {part.split}[{part.first or ''}:{part.last or ''}]"
            for name, part in self.parts.items()
        ) + (f", cut at characters {self.characters}" if self.characters else "")

    def identity(self) -> dict[str, Any]:
        """The commit of the data set, and what is read of it."""
        return {
            "hub": self.path,
            "commit": self._commit,
            "config": self.config or self.folder,
            "field": self.field,
            "rule": self.rule,
        }

    def splits(self) -> Mapping[str, Iterator[str]]:
        """Documents of each split."""
        parts = {name: self._rows(part) for name, part in self.parts.items()}
        if self.characters is None:
            return parts
        text = "".join(itertools.chain(*parts.values()))
        train, valid = self.characters
        pieces = {"train": text[:train], "valid": text[train:valid], "test": text[valid:]}
        return {name: iter([piece]) for name, piece in pieces.items()}

    @functools.cached_property
    def _commit(self) -> str:
        """The commit of the branch; without a network, that of the copy in the cache of the hub."""
        hub, _ = _packages()
        try:
            copy = hub.snapshot_download(
                self.path,
                repo_type="dataset",
                revision=self.revision,
                allow_patterns=["README.md"],
            )
        except hub_failures() as error:
            raise self._not_there(error) from error
        return Path(copy).name

    def _rows(self, part: HubPart) -> Iterator[str]:
        _, datasets = _packages()
        if self.folder is None:
            which = {"name": self.config}
        else:
            which = {"data_files": {part.split: f"{self.folder}/*{part.split}/*.parquet"}}
        try:
            rows = datasets.load_dataset(
                self.path, split=part.split, revision=self._commit, **which
            )
        except (*hub_failures(), ValueError, RuntimeError) as error:
            raise self._not_there(error) from error
        if self.field not in rows.column_names:
            raise DataError(
                f"{self.path} has no column {self.field!r}, but {', '.join(rows.column_names)}; "
                "report this, or download it and give files= and field="
            )
        first, last, _ = slice(part.first, part.last).indices(len(rows))
        for number, row in enumerate(rows.select(range(first, last)), start=first + 1):
            yield _checked(row[self.field], f"row {number} of {self.path}")

    def _not_there(self, error: BaseException) -> DataError:
        hub, _ = _packages()
        said = (str(error).strip() or type(error).__name__).splitlines()[0]
        return DataError(
            f"the Hugging Face hub does not give {self.path} ({said}), and there is no copy in "
            f"{hub.constants.HF_HUB_CACHE}; run this command on a machine with a network and bring "
            "the folder out= here, or give local files: files=, valid= and test="
        )


def _packages() -> tuple[Any, Any]:
    try:
        import datasets  # pyright: ignore[reportMissingImports]
        import huggingface_hub  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise ConfigError(
            f"data sets of the hub need the package datasets; {_NEEDS}, or give files="
        ) from error
    return huggingface_hub, datasets


_HALF_OF_A_PAIR = re.compile("[\ud800-\udfff]")


def _checked(value: object, place: str) -> str:
    """A text that is one."""
    if isinstance(value, str):
        half = _HALF_OF_A_PAIR.search(value)
        if half is None:
            return value
        raise DataError(
            f"{place}: the text has half of a surrogate pair at position {half.start() + 1}, which "
            "UTF-8 cannot encode; remove it"
        )
    found = "nothing" if value is None else f"a value of type {type(value).__name__}"
    raise DataError(f"{place} holds {found} where a text should be; take it out")


def _text(path: Path, unit: str) -> Iterator[str]:
    with _reading(path), path.open(encoding="utf-8-sig") as file:
        if unit == "line":
            yield from (line.rstrip("\n") for line in file)
        elif unit == "file":
            yield file.read()
        else:
            for is_blank, lines in itertools.groupby(file, lambda line: not line.strip()):
                if not is_blank:
                    yield "".join(lines).rstrip("\n")


def _json_lines(path: Path, field: str) -> Iterator[str]:
    with _reading(path), path.open(encoding="utf-8-sig") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                value = json.loads(line)
            except json.JSONDecodeError as error:
                raise DataError(f"{path}, line {number} is not JSON ({error})") from error
            if not isinstance(value, dict) or field not in value:
                known = ", ".join(value) if isinstance(value, dict) else type(value).__name__
                raise DataError(
                    f"{path}, line {number} has no text under {field!r}, but {known}; give field="
                )
            yield _checked(value[field], f"{path}, line {number}")


def _parquet(path: Path, field: str) -> Iterator[str]:
    import pyarrow
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(path) as file:
            if field not in file.schema_arrow.names:
                raise DataError(
                    f"{path} has no column {field!r}, but {', '.join(file.schema_arrow.names)}; "
                    "give field="
                )
            number = 0
            for batch in file.iter_batches(columns=[field]):
                for value in batch.column(0).to_pylist():
                    number += 1
                    yield _checked(value, f"{path}, row {number}")
    except (OSError, pyarrow.ArrowException) as error:
        said = str(error).splitlines()[0]
        raise DataError(f"{path} is not a .parquet file that can be read ({said})") from error


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Files that are not text are refused by name."""
    try:
        yield
    except UnicodeDecodeError as error:
        raise DataError(f"{path}{_first_odd_byte(path)}; save it as UTF-8 text") from error


def _first_odd_byte(path: Path) -> str:
    """Line and byte at which a file is no UTF-8."""
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError as error:
                return f", line {number}: byte 0x{line[error.start]:02x} is not UTF-8"
    return " is not UTF-8"

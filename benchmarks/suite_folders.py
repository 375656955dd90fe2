"""Where the table of a suite of variants lies in a folder, by the names that the suites publish.

| suite | the first of these that is there |
| --- | --- |
| traitgym-KIND | `KIND_traits_matched_9/test.parquet`, then `KIND_traits/test.parquet` |
| marin-KIND | `KIND/test.parquet`, `KIND/data/test-*.parquet` |
| sge, caqtl, dsqtl | `NAME/test.parquet`, `NAME/data/test-*.parquet` |
| caqtl of DART-Eval | `Afr.CaQTLS.tsv` |
| dsqtl of DART-Eval | `yoruban.dsqtls.benchmarking.tsv` |
| clinvar, sge, ... | `NAME*.parquet`, `.tsv`, `.csv` |

TSV and CSV may be compressed with gzip. The subsets of TraitGym are `subset/NAME.parquet` beside
the table.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from dnamdlm.errors import DataError

_DART = {"caqtl": "Afr.CaQTLS.tsv*", "dsqtl": "yoruban.dsqtls.benchmarking.tsv*"}


def _published(stem: str) -> tuple[str, ...]:
    return (f"{stem}/test.parquet", f"{stem}/data/test-*.parquet", f"{stem}/test-*.parquet")


def _files(stem: str) -> tuple[str, ...]:
    return tuple(f"{stem}*.{end}" for end in ("parquet", "tsv", "tsv.gz", "csv", "csv.gz"))


LAYOUTS: Mapping[str, tuple[str, ...]] = {
    **{
        f"traitgym-{kind}": (*_published(f"{kind}_traits_matched_9"), *_published(f"{kind}_traits"))
        for kind in ("mendelian", "complex")
    },
    **{
        f"marin-{kind}": (*_published(kind), *_published(f"{kind}_traits"), *_files(kind))
        for kind in ("mendelian", "complex")
    },
    **{
        name: (*_published(name), *((_DART[name],) if name in _DART else ()), *_files(name))
        for name in ("sge", "caqtl", "dsqtl")
    },
    "clinvar": (*_published("clinvar"), *_files("clinvar")),
}
"""Suite -> patterns below its folder, the first with a file counts."""


def table_of(suite: str, folder: Path) -> Path:
    """The one table of a suite.

    Args:
        suite: a key of `LAYOUTS`.
        folder: as it was downloaded.

    Raises:
        DataError: if there is none, or several stand where one is expected.
    """
    if not folder.is_dir():
        raise DataError(f"folder={folder} is not a folder; give the one that holds suite={suite}")
    for pattern in LAYOUTS[suite]:
        found = sorted(path for path in folder.glob(pattern) if path.is_file())
        if len(found) > 1:
            names = ", ".join(path.relative_to(folder).as_posix() for path in found[:4])
            raise DataError(
                f"{folder} has {len(found)} tables of suite={suite} ({names}); name one with table="
            )
        if found:
            return found[0]
    raise DataError(
        f"{folder} has no table of suite={suite}; wanted is one of {', '.join(LAYOUTS[suite])}"
    )


def subset_of(table: Path, name: str) -> Path:
    """The file of a subset of a table.

    Raises:
        DataError: if there is none of that name.
    """
    path = table.parent / "subset" / f"{name}.parquet"
    if not path.is_file():
        known = sorted(other.stem for other in path.parent.glob("*.parquet"))
        raise DataError(f"{path} is missing; subsets of the table: {', '.join(known) or 'none'}")
    return path

"""Variants with labels, read from a table in the layout of a suite, and written as a VCF file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dnamdlm.assembly.score.label_figures import NEGATIVE, POSITIVE, label_of
from dnamdlm.assembly.score.variant_baselines import around_place
from dnamdlm.data.variants.variant_places import Places
from dnamdlm.errors import ConfigError, DataError
from dnamdlm.evaluation.rankings import neighbours

# names of a column in the layouts that are known, the first that is there being taken
_COLUMNS: Mapping[str, tuple[str, ...]] = {
    "chrom": ("chrom", "#chrom", "chr", "chromosome", "chr_hg38", "var.chrom", "var.chr"),
    "pos": (
        "pos",
        "pos_grch38",
        "pos_hg38",
        "position",
        "position (hg19)",
        "var.pos",
        "var.pos_hg38",
    ),
    "ref": ("ref", "reference", "allele1", "var.allele1"),
    "alt": ("alt", "alternate", "allele2", "var.allele2"),
    "label": (
        "label",
        "label_p_or_b",
        "func.class",
        "clinical_significance",
        "label_binary",
        "var.label",
        "obs.label",
    ),
    "match_group": ("match_group",),
    "consequence": ("subset", "consequence", "consequence_group"),
}
_NEEDED = ("pos", "ref", "alt", "label")
# columns of DART-Eval: a row takes part only where each that is there says true.
_USED = ("isused", "in_peaks", "var.isused")
# DART-Eval writes controls of dsQTLs as -1.
_CONTROL = "-1"
_PLACE = ("chrom", "pos", "ref", "alt")


@dataclass(frozen=True)
class LabelledVariants:
    """Exchanges of one base with a label each.

    Attributes:
        chrom: name of the chromosome (N,).
        pos: 1-based (N,).
        ref: base of the genome (N,).
        alt: other base (N,).
        is_positive: (N,).
        match_group: of a positive row and the negative rows matched to it, or None.
        consequence: class of the row, or None.
        left_out: what was not taken -> rows.
    """

    chrom: NDArray[np.str_]
    pos: NDArray[np.int64]
    ref: NDArray[np.str_]
    alt: NDArray[np.str_]
    is_positive: NDArray[np.bool_]
    match_group: NDArray[np.str_] | None
    consequence: NDArray[np.str_] | None
    left_out: Mapping[str, int]

    def __len__(self) -> int:
        return len(self.pos)

    def taken(self, rows: NDArray[np.int64]) -> LabelledVariants:
        """The rows of these numbers."""
        groups = (self.match_group, self.consequence)
        match_group, consequence = (None if g is None else g[rows] for g in groups)
        return LabelledVariants(
            self.chrom[rows], self.pos[rows], self.ref[rows], self.alt[rows],
            self.is_positive[rows], match_group, consequence, self.left_out,
        )  # fmt: skip

    def clusters(self, block: int) -> tuple[str, NDArray[np.str_]]:
        """What depends on each other: match groups, chromosomes, or blocks of one chromosome.

        Args:
            block: bases of a block, for rows of one chromosome without match groups.

        Returns:
            The name of the clusters, and the cluster of each row.
        """
        if self.match_group is not None:
            return "match groups", self.match_group
        return neighbours(self.chrom, self.pos, block)

    def oriented(self, places: Places) -> tuple[LabelledVariants, int]:
        """The same rows with the base of the genome as `ref`, and how many were exchanged.

        Tables of two alleles (`allele1`, `allele2`) do not say which one the genome has.

        Args:
            places: where the rows lie in the genome.
        """
        ref, alt = self.ref.copy(), self.alt.copy()
        for row in range(len(self)):
            around = around_place(places, str(self.chrom[row]), int(self.pos[row]) - 1)
            # what comes after the place before is the place itself.
            if around is not None and around[1][:1] == alt[row] != ref[row]:
                ref[row], alt[row] = alt[row], ref[row]
        return replace(self, ref=ref, alt=alt), int((ref != self.ref).sum())

    def write_vcf(self, path: Path) -> None:
        """Write one row per variant, in order."""
        lines = ["##fileformat=VCFv4.2", "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO"]
        for chrom, pos, ref, alt in zip(self.chrom, self.pos, self.ref, self.alt, strict=True):
            lines.append(f"{chrom}\t{pos}\t.\t{ref}\t{alt}\t.\t.\t.")
        path.write_text("\n".join(lines) + "\n")


def read_labelled(
    path: Path, *, chrom: str | None = None, subset: Path | None = None
) -> LabelledVariants:
    """Read a parquet, CSV or TSV table of variants.

    Args:
        path: with the columns `chrom`, `pos` (1-based), `ref`, `alt` and `label`, or their names in
            ClinVar, SGE, TraitGym and DART-Eval tables; `match_group` and `consequence` are taken
            if there, and of DART-Eval only rows that are used.
        chrom: name of the chromosome for a table without such a column.
        subset: table with chrom, pos, ref and alt of the rows to take, as those of TraitGym.

    Raises:
        DataError: if a column is missing or no row is usable.
        ConfigError: if the chromosome is named neither by the table nor by the call.
    """
    table = _read(path)
    columns = {
        ours: next((name for name in names if name in table.columns), None)
        for ours, names in _COLUMNS.items()
    }
    missing = [ours for ours in _NEEDED if columns[ours] is None]
    if missing:
        raise DataError(
            f"{path} has no column {missing[0]} (known names: {', '.join(_COLUMNS[missing[0]])}); "
            f"it has {', '.join(table.columns)}"
        )
    if columns["chrom"] is None and chrom is None:
        raise ConfigError(f"{path} has no column of chromosomes; name the one with --chrom")
    table, num_unused = _used(table, columns, subset)
    labels = table[columns["label"]].replace(_CONTROL, "0").map(label_of)
    is_known = labels.notna()
    is_snv = table[columns["ref"]].str.fullmatch("[ACGT]") & table[columns["alt"]].str.fullmatch(
        "[ACGT]"
    )
    kept = table[is_known & is_snv]
    if kept.empty:
        raise DataError(
            f"{path} has no exchange of one base with a label of {', '.join(sorted(POSITIVE))} or "
            f"{', '.join(sorted(NEGATIVE))}"
        )

    def column(name: str) -> NDArray[np.str_] | None:
        found = columns[name]
        return None if found is None else kept[found].to_numpy(np.str_)

    names = column("chrom")
    return LabelledVariants(
        np.full(len(kept), str(chrom)) if names is None else names,
        kept[columns["pos"]].astype(np.int64).to_numpy(),
        kept[columns["ref"]].to_numpy(np.str_),
        kept[columns["alt"]].to_numpy(np.str_),
        labels[kept.index].to_numpy(np.bool_),
        column("match_group"),
        column("consequence"),
        {
            "another label": int((~is_known).sum()),
            "no exchange of one base": int((is_known & ~is_snv).sum()),
            **({"not used, or not in the subset": num_unused} if num_unused else {}),
        },
    )


def _used(table: Any, columns: Mapping[str, str | None], subset: Path | None) -> tuple[Any, int]:
    """The rows that take part, and how many do not."""
    kept = np.ones(len(table), np.bool_)
    for name in _USED:
        if name in table.columns:
            kept &= table[name].str.strip().str.lower().isin(("true", "1")).to_numpy()
    if subset is not None:
        wanted = _read(subset)
        if missing := [name for name in _PLACE if name not in wanted.columns]:
            raise DataError(f"{subset} has no column {missing[0]}, which a subset of rows needs")
        keys = set(map(tuple, wanted[list(_PLACE)].to_numpy().tolist()))
        names = [columns[name] for name in _PLACE]
        if None in names:
            raise ConfigError("a subset needs a table with chromosomes; leave it out")
        kept &= np.array([tuple(row) in keys for row in table[names].to_numpy().tolist()], bool)
    return table[kept].reset_index(drop=True), int((~kept).sum())


def _read(path: Path) -> Any:
    name = path.name.lower().removesuffix(".gz")
    if name.endswith(".parquet"):
        table: Any = pd.read_parquet(path).astype(str)
    elif name.endswith((".csv", ".tsv")):
        separator = "," if name.endswith(".csv") else "\t"
        table = pd.read_csv(path, sep=separator, dtype=str, keep_default_na=False)
    else:
        raise DataError(f"{path} is no table; allowed are .parquet, .csv, .tsv, and .gz of the two")
    table.columns = [str(column).lower() for column in table.columns]
    return table.reset_index(drop=True)

"""The methods of a model that score variants."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dnamdlm.assembly.building.field_types import Strands, as_tuple
from dnamdlm.assembly.class_labels import asked_label
from dnamdlm.assembly.models import LoadedModel
from dnamdlm.assembly.number_conditions import Condition, condition_texts
from dnamdlm.assembly.score.change_texts import parse_change
from dnamdlm.assembly.score.score_settings import Control, Kind, ScoreSettings
from dnamdlm.assembly.score.scoring import VariantScorer, scored_table
from dnamdlm.data.genome.genome_files import open_genome
from dnamdlm.data.genome.store import GenomeStore
from dnamdlm.data.variants.all_substitutions import variants_of

if TYPE_CHECKING:
    from pandas import DataFrame
    from pyfaidx import Fasta


class ScoringVariants:
    """The methods `score_variants` and `score` of a model.

    Attributes:
        loaded: the model.
    """

    loaded: LoadedModel

    def score_variants(
        self,
        variants: str | Path | Sequence[str] | DataFrame,
        fasta: str | Path | Fasta | GenomeStore,
        *,
        bed: str | Path | None = None,
        scores: Kind | Sequence[Kind] = ("llr", "elbo"),
        length: int | None = None,
        draws: int = 8,
        control: Control = "none",
        label: str | int | None = None,
        condition: Condition | None = None,
        strands: Strands = "both",
        match_names: bool = False,
        max_mismatch: float = 0.01,
        region: str | None = None,
        within: str | None = None,
        circular: Sequence[str] | None = None,
        rna: bool = False,
        batch_size: int | None = None,
        seed: int = 0,
        cache_dir: str | None = None,
    ) -> DataFrame:
        """Score variants, as `dnamdlm score` does.

        Args:
            variants: a file (VCF, BCF, CSV, TSV, parquet), a DataFrame with the columns chrom, pos
                (from 1), ref and alt, texts such as 'chr17:43044346:C:T', or 'all'.
            fasta: the genome that the variants were called on: a file, or a `pyfaidx.Fasta`.
            bed: for 'all': the intervals within which every substitution is scored.
            scores: any of `llr`, `elbo` and `embedding`.
            length: bases of a window; None is that of the training.
            draws: noise draws per allele for `elbo`.
            control: 'experts' lowers the noise of `elbo` by what the counts of the model give.
            label: name or index of a class that the model is given; None is no class.
            condition: numbers that it is given, as {'activity': 2.5} or {'activity': 'q0.99'}.
            strands: 'one' reads the given strand, 'other' its reverse complement, 'both' averages
                the two.
            match_names: take 20 and chr20 for the same record.
            max_mismatch: share of rows that may contradict the genome.
            region: part of a chromosome that `fasta` holds, such as 'chr17:43008077-43128366'.
            within: regions whose rows are scored, such as 'chr17:43008077-43128366', or a BED file.
            circular: names of circular records.
            rna: read U as T.
            batch_size: pairs of windows at once; None is what suits the device.
            seed: of the noise.
            cache_dir: folder of prepared genomes.

        Returns:
            One row per row of the file; `alt`, the scores and `reason` hold a list with one entry
            per allele, which `DataFrame.explode` spreads. `attrs` says what each score means.

        Raises:
            ConfigError: for an impossible setting, or a model that cannot score.
            DataError: for a file that is refused.
        """
        self.loaded.require_dna()
        settings = ScoreSettings(as_tuple(scores), length, draws, strands, match_names,
                                 max_mismatch, batch_size, seed, region, control, label,
                                 condition_texts(condition))  # fmt: skip
        store = open_genome(fasta, cache_dir=cache_dir, rna=rna, circular=circular)
        return scored_table(self.loaded, variants_of(variants, bed, store, within), store, settings)

    def score(
        self,
        change: str,
        fasta: str | Path | Fasta | GenomeStore,
        *,
        scores: Kind | Sequence[Kind] = ("llr", "elbo"),
        draws: int = 8,
        label: str | int | None = None,
        condition: Condition | None = None,
        strands: Strands = "both",
        region: str | None = None,
        circular: Sequence[str] | None = None,
        rna: bool = False,
        seed: int = 0,
    ) -> dict[str, float]:
        """Score one variant given as text, such as 'chr1:12345 A>G' (1-based, as in VCF).

        Args:
            change: chrom:position REF>ALT.
            fasta: the genome, or one that is open already.
            scores: any of `llr`, `elbo` and `embedding`.
            draws: noise draws per allele for `elbo`.
            label: name or index of a class that the model is given; None is no class.
            condition: numbers that it is given, as {'activity': 2.5} or {'activity': 'q0.99'}.
            strands: 'one' reads the given strand, 'other' its reverse complement, 'both' averages
                the two.
            region: the part of a chromosome that `fasta` holds.
            circular: names of circular records; None: as a genome that is open says, or none.
            rna: read U as T, in the change too.
            seed: of the noise.

        Returns:
            Name of a column of `dnamdlm score` -> value.

        Raises:
            ConfigError: for a change that cannot be read.
            DataError: if it contradicts the genome, or cannot be scored.
        """
        row = parse_change(change, rna=rna)
        store = open_genome(fasta, rna=rna, circular=circular)
        how = ScoreSettings(
            as_tuple(scores), None, draws, strands, seed=seed, region=region, label=label,
            condition=condition_texts(condition),
        )  # fmt: skip
        given = asked_label(self.loaded, how.label, how.condition)
        return VariantScorer(self.loaded, store, how, given=given).score_one(row)

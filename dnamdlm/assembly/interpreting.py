"""Interpret a model at stretches of a genome: the entry `interpret`, and the method of a model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dnamdlm.assembly.building.field_types import Strands, as_tuple
from dnamdlm.assembly.devices import plan_for, windows_at_once
from dnamdlm.assembly.head_model import Head
from dnamdlm.assembly.held_out import warn_if_worse
from dnamdlm.assembly.interpret.dependencies import dependencies, window_around
from dnamdlm.assembly.interpret.head_changes import interpret_head
from dnamdlm.assembly.interpret.interpret_settings import (
    HowToInterpret,
    InterpretedGenome,
    InterpretSettings,
    Part,
    Score,
)
from dnamdlm.assembly.interpret.interpretation import Interpretation, file_stem
from dnamdlm.assembly.interpret.interpreted_places import places_of
from dnamdlm.assembly.interpret.mutagenesis import Mutagenesis, Windows, mutagenesis
from dnamdlm.assembly.model_data import DataChanges, genome_data
from dnamdlm.assembly.models import LoadedModel, load_model
from dnamdlm.assembly.operations import start_ops
from dnamdlm.assembly.strands import with_strands
from dnamdlm.data.files import make_folder, write_together
from dnamdlm.data.genome.genome_files import open_genome
from dnamdlm.data.genome.intervals import Interval
from dnamdlm.data.genome.opened_genome import OpenGenome
from dnamdlm.data.genome.store import GenomeStore
from dnamdlm.data.path_kinds import is_fine_tuned
from dnamdlm.data.targets import check_target, inputs_of
from dnamdlm.data.variants.variant_places import bases
from dnamdlm.errors import ConfigError, DataError
from dnamdlm.lm.dependency import DependencyMap
from dnamdlm.lm.masked import MaskedDiffusionLM
from dnamdlm.progress import Progress
from dnamdlm.threads import running_with

if TYPE_CHECKING:
    from pyfaidx import Fasta


def interpret(settings: InterpretSettings) -> tuple[Path, str]:
    """Interpret a model at loci, or at every record of a file, and write tables and pictures.

    Returns:
        The folder, and a sentence.

    Raises:
        ConfigError: for an impossible setting, or a model that cannot be interpreted.
        DataError: for a locus outside the genome, or a file that cannot be written.
    """
    folder = Path(settings.out)
    start_ops(settings.ops, settings.device, settings.precision)
    if is_fine_tuned(Path(settings.model)):
        head = Head(settings.model, device=settings.device, trust=settings.trust)
        _refuse_for_head(settings)
        store, inputs = _genome_of(settings.data, None), inputs_of(settings)
        places = places_of(store, as_tuple(settings.locus))
        _check_targets(folder, places, settings.parts, inputs)
        found = [interpret_head(head, store, where) for where in places]
    else:
        loaded = load_model(
            settings.model, weights=settings.weights, device=settings.device, trust=settings.trust
        )
        warn_if_worse(loaded)
        store = _genome_of(settings.data, loaded)
        places = places_of(store, as_tuple(settings.locus))
        _check_targets(folder, places, settings.parts, inputs_of([settings, loaded.config.data]))
        found = interpret_places(loaded, store, places, settings, threads=settings.threads)
    make_folder(folder)
    writers = {path: write for part in found for path, write in part.files(folder).items()}
    write_together(writers)
    total = sum(len(part.where) for part in found)
    noun = "stretch" if len(found) == 1 else "stretches"
    return folder, f"{len(found)} {noun}, {total:,} bases; {len(writers)} files"


def interpret_places(
    loaded: LoadedModel,
    store: GenomeStore,
    places: Sequence[Interval],
    how: HowToInterpret,
    *,
    threads: int | None = None,
) -> list[Interpretation]:
    """Interpret a language model at stretches of a genome.

    Args:
        loaded: a masked diffusion model of DNA.
        store: the genome.
        places: the stretches.
        how: what is computed.
        threads: of the CPU; None is chosen by the size of the network.

    Raises:
        ConfigError: if the model is of another kind, or a stretch does not fit a window.
    """
    lm = with_strands(_checked(loaded), how.strands)
    length = how.length or loaded.length
    at_once = how.batch_size or windows_at_once(length, loaded.device)
    windows = Windows(store, length, at_once, loaded.device)
    if "dependency" in how.parts:
        for where in places:
            window_around(windows, where)
    made_by = {"step": loaded.step, "model_sha256": loaded.digest, "data": store.sha256}
    done: list[Interpretation] = []
    total = sum(map(len, places)) * len(how.parts)
    with (
        running_with(plan_for(lm, at_once * length, threads=threads).threads),
        Progress("interpreting", total, "positions") as progress,
    ):
        for where in places:
            mutants: Mutagenesis | None = None
            mapped: DependencyMap | None = None
            if "mutagenesis" in how.parts:
                mutants = mutagenesis(
                    lm, windows, where, how.scores, draws=how.draws, seed=how.seed,
                    advance=progress.advance,
                )  # fmt: skip
            if "dependency" in how.parts:
                mapped = dependencies(lm, windows, where, how)
                progress.advance(len(where))
            pairs = () if mapped is None else tuple(mapped.strongest(how.pairs, how.min_distance))
            sequence = bases(store, where.chrom, where.start, where.end)
            done.append(Interpretation(where, sequence, mutants, mapped, pairs, made_by))
    return done


def _checked(loaded: LoadedModel) -> MaskedDiffusionLM:
    loaded.require_dna()
    lm = loaded.language_model
    if not isinstance(lm, MaskedDiffusionLM):
        raise ConfigError(
            f"a {type(lm).__name__} does not see both sides of a base, which interpret needs; give "
            "a model of masked diffusion"
        )
    return lm


def _genome_of(data: InterpretedGenome, loaded: LoadedModel | None) -> GenomeStore:
    if data.fasta is not None:
        return open_genome(
            data.fasta, cache_dir=data.cache_dir, rna=data.rna, circular=data.circular
        )
    if loaded is None:
        raise DataError(
            "a fine-tuned head does not say which genome a locus is from; give data.fasta=FILE"
        )
    loaded.require_dna()
    opened = genome_data(
        loaded, DataChanges(circular=data.circular, cache_dir=data.cache_dir)
    ).open()
    if not isinstance(opened, OpenGenome):
        raise ConfigError("a locus belongs to one genome; give data.fasta=FILE of that genome")
    return opened.store


def _refuse_for_head(settings: InterpretSettings) -> None:
    """Refuse what a head cannot do; its only part is mutagenesis."""
    if "parts" in settings.given and tuple(settings.parts) != ("mutagenesis",):
        raise ConfigError(
            f"{settings.model} is a fine-tuned head, whose predictions have no dependency map; "
            "give parts=[mutagenesis], or a language model"
        )
    for name in ("scores", "strands", "weights", "length", "stride", "pairs", "min_distance"):
        if name in settings.given:
            raise ConfigError(
                f"{name} has no effect on a fine-tuned head, whose own prediction is the score; "
                "leave it out"
            )


def _check_targets(
    folder: Path, places: Sequence[Interval], parts: Sequence[Part], inputs: Sequence[str]
) -> None:
    names = [f"{part}.{kind}" for part in parts for kind in ("png", "svg")]
    names += ["mutagenesis.tsv", "dependency.npz", "dependency.bedpe", "interpret.json"]
    for where in places:
        for name in names:
            check_target(folder / f"{file_stem(where)}.{name}", inputs=inputs, makes_folders=True)


class Interpretable:
    """The method `interpret` of a model.

    Attributes:
        loaded: the model.
    """

    loaded: LoadedModel

    def interpret(
        self,
        locus: str | Sequence[str] = (),
        fasta: str | Path | Fasta | GenomeStore | None = None,
        *,
        parts: Part | Sequence[Part] = ("mutagenesis", "dependency"),
        scores: Score | Sequence[Score] = ("llr",),
        length: int | None = None,
        stride: int = 16,
        pairs: int = 50,
        min_distance: int = 10,
        draws: int = 8,
        strands: Strands = "both",
        circular: Sequence[str] | None = None,
        rna: bool = False,
        batch_size: int | None = None,
        seed: int = 0,
        cache_dir: str | None = None,
    ) -> list[Interpretation]:
        """Saturation mutagenesis and dependency maps, as `dnamdlm interpret` makes them.

        Args:
            locus: one or several, such as 'chrXVI:1000-1200' (0-based, half-open); none: every
                record of `fasta`.
            fasta: the genome; None is that of the training.
            parts: 'mutagenesis', 'dependency' or both.
            scores: of mutations, 'llr', 'elbo' or both.
            length: bases of a window; None is that of the training.
            stride: every stride-th position is hidden at a time in a dependency map; as long as
                the stretch hides one at a time, which is exact.
            pairs: number of strongest pairs that are listed.
            min_distance: least distance of such a pair, bases.
            draws: noise draws per allele for `elbo`.
            strands: 'one' reads the given strand, 'other' its reverse complement, 'both' averages
                the two.
            circular: names of circular records.
            rna: read U as T.
            batch_size: windows at once; None is what suits the device.
            seed: of the noise.
            cache_dir: folder of prepared genomes.

        Returns:
            One per stretch, with `table()`, `dependency.norms`, `dependency.influences`, `pairs`
            and `figures()`.

        Raises:
            ConfigError: for an impossible setting, or a model that cannot be interpreted.
            DataError: for a locus outside the genome.

        Example:
            >>> (found,) = model.interpret("chrIV:100-160")  # doctest: +SKIP
            >>> found.table().head(1)  # doctest: +SKIP
        """
        how = HowToInterpret(
            as_tuple(parts), as_tuple(scores), length, stride, pairs, min_distance, draws, strands,
            batch_size, seed,
        )  # fmt: skip
        if not as_tuple(locus) and fasta is None:
            raise ConfigError("give a locus, or a FASTA file whose records are interpreted")
        circles = None if circular is None else tuple(circular)
        store = (
            _genome_of(InterpretedGenome(None, cache_dir, circles, rna), self.loaded)
            if fasta is None
            else open_genome(fasta, cache_dir=cache_dir, rna=rna, circular=circular)
        )
        return interpret_places(self.loaded, store, places_of(store, as_tuple(locus)), how)

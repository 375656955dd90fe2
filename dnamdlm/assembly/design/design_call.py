"""`Model.design`: the call of Python, with the settings of `dnamdlm design`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from dnamdlm.assembly.building.field_types import as_tuple
from dnamdlm.assembly.design.design_settings import DesignSettings
from dnamdlm.assembly.design.designing import Given, designed
from dnamdlm.assembly.design.designs import Designs
from dnamdlm.assembly.design.reward_terms import RewardLike
from dnamdlm.assembly.models import LoadedModel
from dnamdlm.assembly.number_conditions import Condition as NumbersAsked
from dnamdlm.assembly.number_conditions import condition_texts
from dnamdlm.assembly.sample.sampling import sampler_of
from dnamdlm.diffusion.steps import StepRule
from dnamdlm.diffusion.tilt import Proposal
from dnamdlm.lm.sampling.samplers import Sampler


def designs_of(
    loaded: LoadedModel,
    reward: RewardLike,
    num_sequences: int = 16,
    length: int | None = None,
    *,
    reward_class: str | None = None,
    select: Literal["draw", "best"] = "draw",
    temperature: float | None = None,
    population: int | None = None,
    value: str | Path = "draws",
    value_class: str | None = None,
    guesses: int = 4,
    proposal: Proposal = "bootstrap",
    pool: int | None = None,
    most_draws: int | None = None,
    template: str | Path | None = None,
    motif: str | Sequence[str] | None = None,
    require: str | Sequence[str] | None = None,
    avoid: str | Sequence[str] | None = None,
    constraints: Literal["reject", "steer"] = "reject",
    gc: tuple[float, float] | None = None,
    longest_run: int | None = None,
    unlike: str | Path | Sequence[str] | None = None,
    unlike_share: float = 0.5,
    unlike_word: int = 24,
    label: str | int | None = None,
    condition: NumbersAsked | None = None,
    guidance: float = 1.0,
    audit: RewardLike | None = None,
    audit_class: str | None = None,
    natural: str | Path | None = None,
    natural_column: str | None = None,
    motifs: str | Path | None = None,
    baselines: bool = True,
    likelihood_draws: int = 8,
    sampler: str | StepRule | Sampler | None = None,
    batch_size: int = 64,
    trust: str | Sequence[str] = (),
    seed: int = 1,
) -> Designs:
    """Design sequences with a high reward under constraints, as `dnamdlm design` does.

    Args:
        loaded: the model.
        reward: run folder of `dnamdlm finetune`, a list of terms, a function of a list of
            strings, or what `dnamdlm.reward` gives.
        num_sequences: sequences that satisfy every constraint.
        length: bases per sequence; None is the length of the windows or of the template.
        reward_class: class, label or number of a head that predicts several.
        select: 'draw', or 'best' for the highest rewards of the pool.
        temperature: tilts the draws by exp(reward / temperature); None does not.
        population: members that steer each draw; None tilts a pool of draws by resampling.
        value: how members with masks are valued, see `dnamdlm.diffusion.Tilt`; or the run folder of
            a training with lm=regressor or lm=classifier.
        value_class: class or number of that run.
        guesses: completed sequences per value of 'draws'.
        proposal: 'bootstrap', or 'first_order', see `Tilt`.
        pool: draws that pass, to select from; None is 20 per sequence to tilt or rank, and one for
            each with `population`.
        most_draws: draws after which it gives up; None is 50 times the pool.
        template: letters in which N is filled; a `Path` names a FASTA file with one record.
        motif: letters@place from 0, one or several.
        require: words that occur somewhere, on either strand, or enzymes.
        avoid: words that occur nowhere, or enzymes.
        constraints: 'reject' leaves out draws that fail; 'steer' draws bases so that words, runs
            and gc hold, and weighs populations to the model given the constraints.
        gc: lowest and highest share of G and C.
        longest_run: most repeats of one base in a row.
        unlike: sequences that no design copies; a text or `Path` names a file.
        unlike_share: share of the words of a design that one of them must not hold.
        unlike_word: bases of these words.
        label: name or index of a class of this model.
        condition: numbers that the model was trained with, as {'activity': 2.5}, or
            {'activity': 'q0.99'} for a quantile of the training rows.
        guidance: strength of the class or the numbers.
        audit: held-out oracle: 'kmer', or as `reward`.
        audit_class: class, label or number of its head.
        natural: table of sequences and activities to compare with.
        natural_column: its column of activities.
        motifs: a JASPAR or MEME file, or jaspar:GROUP, whose matches in designs and in the most
            active tenth of `natural` are compared.
        baselines: compare with the best natural sequences, mutation, draws without reward, and
            rejection sampling.
        likelihood_draws: noise draws for bits per base; 0 leaves them out.
        sampler: the name of a sampler, a step rule, or a sampler.
        batch_size: sequences at once; does not change the result.
        trust: packages, and stems of reward files, whose code may run.
        seed: of all noise.

    Returns:
        Sequences, a table with the columns of the file, and a report.

    Raises:
        CheckpointError: if a folder holds no head.
        ConfigError: for an impossible setting, or constraints that contradict each other.
        DataError: for a file that cannot be used, a reward that is no number, or too few draws.
    """
    given = Given(
        reward=reward,
        audit=audit,
        template=template if isinstance(template, str) else None,
        unlike=None if unlike is None or isinstance(unlike, str | Path) else list(unlike),
    )
    settings = DesignSettings(
        model=str(loaded.run_dir or loaded.folder),
        reward=reward if isinstance(reward, str) else "",
        out="",
        reward_class=reward_class,
        num_sequences=num_sequences,
        length=length,
        select=select,
        temperature=None if temperature is None else float(temperature),
        population=population,
        value=str(value),
        value_class=value_class,
        guesses=guesses,
        proposal=proposal,
        pool=pool,
        most_draws=most_draws,
        template=None if template is None else str(template),
        motif=None if motif is None else as_tuple(motif),
        require=None if require is None else as_tuple(require),
        avoid=None if avoid is None else as_tuple(avoid),
        constraints=constraints,
        gc=_shares(gc),
        longest_run=longest_run,
        unlike=None if unlike is None else str(unlike) if given.unlike is None else "sequences",
        unlike_share=float(unlike_share),
        unlike_word=unlike_word,
        label=label,
        condition=condition_texts(condition),
        guidance=float(guidance),
        audit=None if audit is None else audit if isinstance(audit, str) else "",
        audit_class=audit_class,
        natural=None if natural is None else str(natural),
        natural_column=natural_column,
        motifs=None if motifs is None else str(motifs),
        baselines=baselines,
        likelihood_draws=likelihood_draws,
        sampler=sampler_of(loaded, sampler),
        batch_size=batch_size,
        device=str(loaded.device),
        trust=as_tuple(trust),
        seed=seed,
    )
    return designed(loaded, settings, given)


def _shares(gc: Any) -> Any:
    """Two shares as floats, whatever sequence they are given as; the settings check the rest."""
    return tuple(map(float, gc)) if isinstance(gc, list | tuple) else gc

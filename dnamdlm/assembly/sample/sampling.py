"""Sequences from a trained model: into a file, or as strings."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from dnamdlm.assembly.block_lengths import with_block_length
from dnamdlm.assembly.building.without_effect import (
    changed_from_default,
    reasons_of,
    refuse_without_effect,
)
from dnamdlm.assembly.class_labels import NamedGuidance, guidance_of
from dnamdlm.assembly.held_out import warn_if_worse
from dnamdlm.assembly.modality import Text, refuse_foreign
from dnamdlm.assembly.models import LoadedModel, load_model
from dnamdlm.assembly.noisy_heads import value_of
from dnamdlm.assembly.operations import start_ops
from dnamdlm.assembly.sample.edit_requests import read_edits
from dnamdlm.assembly.sample.generating import Generation, check_memory, generated, is_held
from dnamdlm.assembly.sample.pointed_samples import OpenPointers, pointers_of
from dnamdlm.assembly.sample.prompts import of_prompt
from dnamdlm.assembly.sample.requests import (
    Request,
    check_motifs,
    of_interval,
    of_length,
    of_templates,
    without,
)
from dnamdlm.assembly.sample.sample_runs import SamplingSummary, at_once, ignore, in_parts
from dnamdlm.assembly.sample.sample_settings import SampleSettings
from dnamdlm.assembly.sample.sample_writers import Origin, check_ending, writer_of
from dnamdlm.assembly.sample.steering_request import (
    SteeredStrings,
    SteeringRequest,
    steering_of,
)
from dnamdlm.assembly.sample.template_files import read_templates
from dnamdlm.data.genome.genome_files import open_genome
from dnamdlm.data.genome.intervals import Interval, read_bed
from dnamdlm.data.genome.store import GenomeStore
from dnamdlm.data.output_streams import stream_of
from dnamdlm.data.targets import check_target, inputs_of
from dnamdlm.diffusion.categorical import Choice
from dnamdlm.diffusion.lookahead import Lookahead, StateValue
from dnamdlm.diffusion.steps import StepRule
from dnamdlm.errors import ConfigError
from dnamdlm.lm.block import BlockDiffusionLM
from dnamdlm.lm.causal import CausalLM
from dnamdlm.lm.sampling.sampler_names import as_sampler
from dnamdlm.lm.sampling.samplers import (
    AncestralSampler,
    LeftToRightSampler,
    Sampler,
    SemiAutoregressiveSampler,
)
from dnamdlm.lm.sampling.served import check_edited, check_guided, check_served
from dnamdlm.lm.sampling.steered import check_steered

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Inputs:
    """What the settings name besides the model, read before the model is."""

    templates: list[Request] | None = None
    infill: tuple[GenomeStore, tuple[Interval, ...]] | None = None


def sample(settings: SampleSettings, reward: Any = None) -> SamplingSummary:
    """Generate sequences and write them, complete or not at all.

    Args:
        settings: of `sample`.
        reward: what `settings.reward` names, see `SteeringRequest`.

    Raises:
        ConfigError: for a setting out of range, or a sampler that the model cannot serve.
        DataError: for a template, a genome, an interval or a target that cannot be used.
    """
    out = Path(settings.out)
    check_target(out, inputs=inputs_of(settings), compressed=(".gz",))
    inputs = _read_inputs(settings)
    start_ops(settings.ops, settings.device, settings.precision)
    loaded = load_model(
        settings.model, weights=settings.weights, device=settings.device, trust=settings.trust
    )
    loaded = with_block_length(loaded, settings.block_length)
    refuse_foreign(settings, loaded.modality)
    warn_if_worse(loaded)
    guide = _guide(settings, loaded)
    named = _guidance(settings, loaded, guide)
    requests = _requests(settings, loaded, inputs)
    check_ending(settings.out, loaded.modality)
    asked = steering_of(settings, reward, _value(settings, loaded))
    steering = _steering(settings, loaded, named, asked, requests)
    pointers = pointers_of(settings, loaded)
    origin = Origin(
        loaded.digest,
        settings.sampler.name,
        settings.sampler.steps,
        settings.seed,
        _changed_draws(settings) + named.note + _of_population(steering) + _of_pointer(settings),
    )
    # a reward is computed in this process.
    workers = settings.workers if settings.reward is None else 1
    run = _generation(settings, loaded, named, steering, workers=workers, pointers=pointers)
    is_file = stream_of(out) is None
    if is_file and is_held(requests) and settings.reward is None:
        summary = in_parts(settings, run, requests, origin, guide)
    else:
        summary = at_once(settings, run, requests, origin)
    if pointers is not None and is_file and not summary.shard_sentence:
        logger.info("%s", pointers.novelty(out))
    return summary


def _guide(settings: SampleSettings, loaded: LoadedModel) -> LoadedModel | None:
    """The classifier that is asked for, from its run folder."""
    check_served(loaded.language_model, settings.sampler)
    if settings.guide is None:
        return None
    return load_model(
        settings.guide,
        weights=settings.weights,
        device=str(loaded.device),
        setting="guide",
        trust=settings.trust,
    )


def sampled_strings(
    loaded: LoadedModel,
    settings: SampleSettings,
    *,
    templates: Sequence[Request] | None = None,
    guide: LoadedModel | None = None,
    reward: Any = None,
    value: StateValue | None = None,
) -> list[str]:
    """The strings that `sample` writes with the same settings.

    Args:
        loaded: the model, in place of `settings.model`.
        settings: `out` is not used.
        templates: requests in place of the file `settings.template`.
        guide: the classifier in place of `settings.guide`.
        reward: what `settings.reward` names.
        value: a function in place of `settings.value`.

    Returns:
        The strings; those of populations are `SteeredStrings`.

    Raises:
        ConfigError: as `sample`, and for a setting that differs from its default without effect.
    """
    refuse_without_effect(changed_from_default(settings), reasons_of(settings))
    loaded = with_block_length(loaded, settings.block_length)
    refuse_foreign(settings, loaded.modality)
    named = _guidance(settings, loaded, guide or _guide(settings, loaded))
    inputs = _Inputs(list(templates)) if templates is not None else _read_inputs(settings)
    requests = _requests(settings, loaded, inputs)
    asked = steering_of(settings, reward, value or _value(settings, loaded))
    steering = _steering(settings, loaded, named, asked, requests)
    pointers = pointers_of(settings, loaded)
    run = _generation(settings, loaded, named, steering, workers=1, pointers=pointers)
    made = generated(run, requests, settings.num_sequences)
    strings = list(writer_of(loaded.modality).strings(made))
    if steering is None:
        return strings
    return SteeredStrings(strings, [run.figures[number] for number in range(len(strings))])


def _value(settings: SampleSettings, loaded: LoadedModel) -> Lookahead | StateValue:
    """How members with masks are valued; the default where no reward steers."""
    if settings.reward is None:
        return "draws"
    return value_of(
        settings.value, settings.value_class, loaded, settings.reward_temperature,
        trust=settings.trust,
    )  # fmt: skip


def _generation(
    settings: SampleSettings,
    loaded: LoadedModel,
    named: NamedGuidance,
    steering: SteeringRequest | None,
    *,
    workers: int | None,
    pointers: OpenPointers | None,
) -> Generation:
    """How the sequences of a call are made; their progress is not shown."""
    return Generation(
        loaded,
        settings.sampler,
        Choice(settings.temperature, settings.top_p, settings.top_k),
        named.guidance,
        settings.seed,
        settings.batch_size,
        ignore,
        settings.threads,
        workers,
        steering=steering,
        pointers=None if pointers is None else pointers.pointers,
    )


def _steering(
    settings: SampleSettings,
    loaded: LoadedModel,
    named: NamedGuidance,
    steering: SteeringRequest | None,
    requests: Sequence[Request],
) -> SteeringRequest | None:
    """The populations that are asked for, checked against the model and the sampler."""
    if steering is not None:
        steering.check(loaded)
    check_steered(
        loaded.language_model,
        None if steering is None else steering.target,
        sampler=settings.sampler,
        guidance=named.guidance,
        choice=Choice(settings.temperature, settings.top_p, settings.top_k),
    )
    if steering is not None:
        check_memory(steering, loaded, requests)
        steering.try_reward(loaded, requests[0])
    return steering


def _of_population(steering: SteeringRequest | None) -> str:
    """The size of the populations and what they are weighed by, for a header."""
    if steering is None:
        return ""
    tilt = "" if steering.reward is None else f" reward_temperature={steering.temperature:g}"
    return f" population={steering.population}{tilt}"


def _of_pointer(settings: SampleSettings) -> str:
    """The probability of a copied place, for a header, where it is not 0."""
    return f" pointer={settings.pointer:g}" if settings.pointer else ""


def sampler_of(loaded: LoadedModel, sampler: str | StepRule | Sampler | None) -> Sampler:
    """The sampler that Python asks for; None is the usual one of the model.

    Raises:
        ConfigError: for an unknown sampler.
    """
    if sampler is not None:
        return as_sampler(sampler)
    is_causal = isinstance(loaded.language_model, CausalLM)
    return LeftToRightSampler() if is_causal else AncestralSampler()


def _changed_draws(settings: SampleSettings) -> str:
    """How tokens are drawn, for a header, where it is not from the model itself."""
    defaults = Choice()
    return "".join(
        f" {field.name}={value:g}"
        for field in fields(defaults)
        if (value := getattr(settings, field.name)) != getattr(defaults, field.name)
    )


def _read_inputs(settings: SampleSettings) -> _Inputs:
    check_motifs(settings.motif or (), settings.length)
    if settings.template is not None:
        return _Inputs(of_templates(read_templates(settings.template, rna=settings.data.rna)))
    if settings.edit is not None:
        return _Inputs(read_edits(settings.edit, settings.noise_level, rna=settings.data.rna))
    if settings.infill is not None and settings.data.fasta is not None:
        store = open_genome(
            settings.data.fasta,
            cache_dir=settings.data.cache_dir,
            rna=settings.data.rna,
            circular=settings.data.circular,
        )
        return _Inputs(infill=(store, read_bed(settings.infill, store.lengths).intervals))
    return _Inputs()


def _guidance(
    settings: SampleSettings, loaded: LoadedModel, guide: LoadedModel | None = None
) -> NamedGuidance:
    """The guidance that is asked for, by the classifier or by a class of the model."""
    check_served(loaded.language_model, settings.sampler)
    if settings.edit is not None:
        check_edited(loaded.language_model, settings.noise_level)
    named = guidance_of(
        loaded,
        label=settings.label,
        condition=settings.condition,
        strength=settings.guidance,
        guide=guide,
        guide_label=settings.guide_label,
        order=settings.guide_order,
        corrected=settings.corrected,
    )
    check_guided(loaded.language_model, named.guidance)
    return named


def _of_intervals(
    store: GenomeStore,
    intervals: Sequence[Interval],
    flank: int,
    loaded: LoadedModel,
    *,
    left_only: bool,
) -> list[Request]:
    """Intervals that are filled within what the model sees of their context."""
    if left_only and flank:
        raise ConfigError(
            f"flank={flank} is context on both sides, and this model "
            f"({type(loaded.language_model).__name__}) sees only what lies to the left of an "
            "interval; leave flank out, or use a model of lm=mdlm"
        )
    return [
        of_interval(store, interval, window=loaded.length, flank=flank, left_only=left_only)
        for interval in intervals
    ]


def _requests(settings: SampleSettings, loaded: LoadedModel, inputs: _Inputs) -> list[Request]:
    """What is to be made, checked against what the model was trained on."""
    window, sampler = loaded.length, settings.sampler
    if isinstance(sampler, SemiAutoregressiveSampler):
        sampler.window_and_overlap(window)
    is_causal = isinstance(loaded.language_model, CausalLM)
    by_blocks = isinstance(loaded.language_model, BlockDiffusionLM)
    if isinstance(loaded.modality, Text):
        to_the_right = is_causal or by_blocks
        requests = [
            of_prompt(loaded.modality, settings.prompt, settings.length, is_causal=to_the_right)
        ]
    elif inputs.templates is not None:
        requests = inputs.templates
    elif inputs.infill is not None:
        requests = _of_intervals(
            *inputs.infill, settings.flank, loaded, left_only=is_causal or by_blocks
        )
    else:
        requests = [of_length(settings.length or window, settings.motif or ())]
    if settings.forbid:
        requests = [without(request, settings.forbid) for request in requests]
    longest = max(len(request.template) for request in requests)
    # a network that attends to neighbours alone sees nothing new in a longer sequence.
    is_local = bool(getattr(loaded.lm.backbone, "attention_window", 0))
    # block diffusion keeps to the window by itself.
    by_windows = isinstance(sampler, SemiAutoregressiveSampler) or by_blocks
    if longest > window and not by_windows and not is_local:
        logger.warning(
            "%s of %s %s are longer than the windows of %d that the network was trained on; "
            "%s makes long ones from windows of that length",
            loaded.modality.strings,
            f"{longest:,}",
            loaded.modality.units,
            window,
            "a masked diffusion model with sampler=semi_ar" if is_causal else "sampler=semi_ar",
        )
    return requests

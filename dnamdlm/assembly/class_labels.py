"""Classes by name: those of the data, those of a model, and guidance towards one or a number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dnamdlm.assembly.building.model_config import TrainedLM
from dnamdlm.assembly.models import LoadedModel
from dnamdlm.assembly.number_conditions import asked_numbers, check_same_scales
from dnamdlm.data.data_source import OpenData
from dnamdlm.data.genome.fasta_writer import header_word
from dnamdlm.errors import ConfigError
from dnamdlm.lm.classifier import NoisyClassifier
from dnamdlm.lm.sampling.class_guidance import (
    ClassGuidance,
    ClassifierGuidance,
    Guidance,
    GuideOrder,
    NumberGuidance,
)


def labels_of(lm: TrainedLM, opened: OpenData) -> tuple[str, ...]:
    """Names of the classes that a model will be trained with; empty for one without classes.

    Raises:
        ConfigError: if the data have another number of classes.
    """
    wanted, names = getattr(lm, "num_classes", 0), opened.label_names
    if wanted == 0:
        return ()
    setting = "lm.num_classes" if isinstance(lm, NoisyClassifier) else "backbone.num_classes"
    if not names:
        raise ConfigError(
            f"{setting}={wanted} needs data with classes, and these have none; name them in "
            "data.labels, or train on data=mixture"
        )
    if len(names) != wanted:
        raise ConfigError(
            f"{setting}={wanted}, but these data have {len(names)} classes "
            f"({_shown(names)}); use {setting}={len(names)}"
        )
    return names


def check_same_labels(loaded: LoadedModel, opened: OpenData) -> None:
    """Refuse data whose classes or numbers are others than those the model knows.

    Data without them will do: the model is then asked without one.

    Raises:
        ConfigError: naming both.
    """
    if loaded.labels and opened.label_names and opened.label_names != loaded.labels:
        raise ConfigError(
            f"this model knows the classes {_shown(loaded.labels)}, but these data have "
            f"{_shown(opened.label_names)}; use the same, or data without labels"
        )
    check_same_scales(loaded.scales, opened)


def find_label(names: Sequence[str], label: str | int, setting: str = "label") -> int:
    """Index of a class that is given by its name or, where no class has that name, by its index.

    Args:
        names: of the classes of a model.
        label: name or index from 0.
        setting: for messages.

    Raises:
        ConfigError: if there are no classes, or not this one.
    """
    if not names:
        raise ConfigError(
            f"{setting}={label} is given, but this model was trained without classes; train one "
            "with backbone.num_classes, or let a classifier guide sample with guide=RUN"
        )
    if str(label) in names:
        return list(names).index(str(label))
    if isinstance(label, int) and 0 <= label < len(names):
        return label
    raise ConfigError(
        f"unknown class {setting}={label}; this model knows {_shown(names)}; give one of these "
        f"names, or an index below {len(names)}"
    )


def check_one_asked(label: str | int | None, condition: Sequence[str] | None) -> None:
    """Refuse a class and numbers together, with a `ConfigError`."""
    if label is not None and condition is not None:
        raise ConfigError(
            "label and condition are both given; a model knows classes or numbers, so leave one out"
        )


def asked_label(
    loaded: LoadedModel, label: str | int | None, condition: Sequence[str] | None
) -> int | tuple[float, ...] | None:
    """What every row is conditioned on: the index of a class, or standardised numbers.

    Args:
        loaded: the model.
        label: name or index of a class; None is no class.
        condition: numbers of the model, see `number_conditions`; None is none.

    Returns:
        None for a model that is asked for nothing; a number that is left open is nan.

    Raises:
        ConfigError: if the model has no such class or number, or both are given.
    """
    check_one_asked(label, condition)
    if condition is not None:
        return asked_numbers(loaded.scales, condition).values
    return None if label is None else find_label(loaded.labels, label)


@dataclass(frozen=True)
class NamedGuidance:
    """A guidance, and what a FASTA header says of it; None and nothing without one."""

    guidance: Guidance | None = None
    note: str = ""


def guidance_of(
    loaded: LoadedModel,
    *,
    label: str | int | None,
    condition: Sequence[str] | None = None,
    strength: float,
    guide: LoadedModel | None = None,
    guide_label: str | int | None = None,
    order: GuideOrder = "exact",
    corrected: bool = False,
) -> NamedGuidance:
    """The guidance that settings ask for.

    Args:
        loaded: the model that is sampled from.
        label: class of this model; None where a classifier guides, or nothing does.
        condition: numbers of this model, see `number_conditions`.
        strength: 0 is without the class or numbers, 1 with them, above 1 sharpens them.
        guide: a classifier of noisy sequences.
        guide_label: class of the classifier.
        order: see `ClassifierGuidance`.
        corrected: see `ClassGuidance`.

    Raises:
        ConfigError: for an unknown class or number, or a model that cannot be guided so.
    """
    said = f"guidance={strength:g}"
    if condition is not None:
        asked = asked_numbers(loaded.scales, condition)
        return NamedGuidance(
            NumberGuidance(asked.values, float(strength), corrected),
            f"{asked.note} {said}{' corrected=true' * corrected}",
        )
    if label is not None:
        index = find_label(loaded.labels, label)
        return NamedGuidance(
            ClassGuidance(index, float(strength), corrected),
            f" label={header_word(loaded.labels[index])} {said}{' corrected=true' * corrected}",
        )
    if guide is None or guide_label is None:
        return NamedGuidance()
    index = find_label(guide.labels, guide_label, "guide_label")
    return NamedGuidance(
        classifier_guidance(loaded, guide, index, strength, order),
        f" guide={guide.digest[:12]} guide_label={header_word(guide.labels[index])} {said} "
        f"guide_order={order}",
    )


def classifier_guidance(
    loaded: LoadedModel, guide: LoadedModel, label: int, gamma: float, order: GuideOrder
) -> ClassifierGuidance:
    """Guidance of one model by another.

    Raises:
        ConfigError: if the other is not a classifier, or reads other token ids.
    """
    if not isinstance(guide.lm, NoisyClassifier):
        raise ConfigError(
            f"guide={guide.run_dir or guide.folder} is a {type(guide.lm).__name__} and classifies "
            "nothing; give the run folder of a training with lm=classifier"
        )
    if guide.lm.vocabulary.fingerprint() != loaded.lm.vocabulary.fingerprint():
        raise ConfigError(
            f"guide={guide.run_dir or guide.folder} reads other token ids than the model; train "
            "it with the same tokens"
        )
    return ClassifierGuidance(guide.lm, label, float(gamma), order)


def _shown(names: Sequence[str]) -> str:
    """The first names."""
    return ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")

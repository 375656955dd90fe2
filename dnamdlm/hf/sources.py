"""From what `from_pretrained` is given to a model: folders, hub ids, classifiers with a head."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from jaxtyping import Bool, Float, Int
from torch import Tensor

from dnamdlm.assembly.building.model_config import ModelConfig
from dnamdlm.assembly.building.published import from_hub
from dnamdlm.assembly.exporting import Exported
from dnamdlm.assembly.finetune.predictors import strand_of
from dnamdlm.assembly.models import LoadedModel, WeightSet, load_model
from dnamdlm.assembly.pretrained import place_of
from dnamdlm.errors import CheckpointError, ConfigError
from dnamdlm.lm.module_weights import load_weights
from dnamdlm.lm.published.exported_folder import (
    WEIGHTS_FILE,
    Record,
    is_exported,
    read_exported,
    read_record,
    verify_exported,
)
from dnamdlm.lm.published.letter_rows import is_as_ours, letter_ids
from dnamdlm.lm.states.heads import SequenceClassifier, opposite
from dnamdlm.lm.states.state_pooling import WindowSettings

_SCALE = ("target_mean", "target_deviation")


def local_folder(name: str, **hub: Any) -> Path:
    """The folder of a model: a path, the name of a model of the package, or a hub id.

    Args:
        name: what the user gave.
        hub: settings of the hub, such as `revision`.

    Raises:
        CheckpointError: if there is none.
    """
    place = place_of(name)
    if place.exists():
        return place
    found = from_hub(name, "pretrained_model_name_or_path", **hub)
    if found is None:
        raise CheckpointError(
            f"{name} does not exist; give an exported folder, published weights or a hub id"
        )
    return found


def check_ids(folder: Path) -> None:
    """Refuse published weights whose tokenizer has other ids than the network has here.

    Raises:
        ConfigError: naming the command that writes a folder with ids that agree.
    """
    ids = None if is_exported(folder) else letter_ids(folder)
    if ids is not None and not is_as_ours(ids):
        raise ConfigError(
            f"{folder} has token ids of its own, which its network does not keep here; write a "
            f"folder with ours by dnamdlm export model={folder} out=DIR, and load that"
        )


def weights_in(folder: Path) -> WeightSet:
    """The set of weights that a folder holds."""
    return read_record(folder).weights if is_exported(folder) else "average"


@dataclass(frozen=True)
class Classifier:
    """A language model with a head.

    Attributes:
        classifier: both.
        loaded: the language model, with what it was trained with.
        head: what is recorded of the head, without the names of the outputs.
    """

    classifier: SequenceClassifier
    loaded: LoadedModel
    head: Mapping[str, Any]

    def outputs(
        self, tokens: Int[Tensor, "B L"], present: Bool[Tensor, "B L"]
    ) -> Float[Tensor, "B C"]:
        """Outputs as those of `dnamdlm predict`: the mean over strands where the head has both."""
        sequences = [
            ids[is_there].cpu().numpy() for ids, is_there in zip(tokens, present, strict=True)
        ]
        found = self._called(sequences)
        if self.classifier.both_strands:
            vocabulary = self.classifier.vocabulary
            found = (found + self._called([opposite(ids, vocabulary) for ids in sequences])) / 2
        mean, deviation = (found.new_tensor(self.head[key]) for key in _SCALE)
        return found * deviation + mean if self.head["kind"] == "regression" else found

    def _called(self, sequences: Sequence[Any]) -> Tensor:
        device = self.classifier.head.weight.device
        return self.classifier(self.classifier.collate(sequences).to(device))

    def exported(self, names: Sequence[str], title: str) -> Exported:
        """What a folder of it holds.

        Args:
            names: of the outputs.
            title: of the model.
        """
        head = {**self.head, "label_names": list(names)}
        return Exported(self.loaded, self.classifier, title, head=head, may_have_changed=True)


def open_classifier(folder: Path, num_outputs: int) -> Classifier:
    """The classifier of a folder, or the language model of a folder with a new head.

    Args:
        folder: exported or published.
        num_outputs: of a new head, whose weights are zero; an exported one must have as many.

    Raises:
        CheckpointError: if the folder is damaged, or its head has another number of outputs.
    """
    record = verify_exported(folder) if is_exported(folder) else None
    if record is not None and record.head:
        return _with_its_head(folder, record, num_outputs)
    loaded = load_model(str(folder), weights=weights_in(folder))
    windows = WindowSettings(loaded.length)
    strand = strand_of("auto", loaded)
    classifier = SequenceClassifier(loaded.language_model, num_outputs, windows, strand)
    head = {
        "kind": "classes", "task": "transformers", "text_columns": [], "strand": strand,
        "windows": asdict(windows), "target_mean": [0.0], "target_deviation": [1.0],
        "vocabulary": loaded.lm.vocabulary.fingerprint(),
    }  # fmt: skip
    return Classifier(classifier.eval(), loaded, head)


def _with_its_head(folder: Path, record: Record, num_outputs: int) -> Classifier:
    head = record.head
    if len(head["label_names"]) != num_outputs:
        raise CheckpointError(
            f"{folder} has a head with {len(head['label_names'])} outputs, and {num_outputs} are "
            "asked for; leave num_labels out, or start from a language model"
        )
    config = ModelConfig.stored(record.description["config"]).without_local_places()
    lm = config.build(seed=0)
    windows = WindowSettings(**head["windows"])
    classifier = SequenceClassifier(lm, num_outputs, windows, head["strand"])  # pyright: ignore[reportArgumentType]
    load_weights(classifier, read_exported(folder, classifier), folder / WEIGHTS_FILE)
    loaded = LoadedModel(
        lm,
        config,
        record.description["step"],
        record.sha256,
        folder,
        None,
        labels=tuple(head["label_names"]),
    )
    return Classifier(classifier.eval(), loaded, head)

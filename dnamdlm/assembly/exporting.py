"""A model as a folder that the Hugging Face libraries and other projects read: `dnamdlm export`.

The folder is complete or absent. It holds one set of weights, what is needed to build the model
again, and a model card; no command, no optimizer state and no folder of this machine.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from torch import nn

from dnamdlm.assembly.adapted_models import export_adapters
from dnamdlm.assembly.building.field_types import check_fields
from dnamdlm.assembly.building.model_config import NODES, ModelConfig
from dnamdlm.assembly.finetune.prediction import head_folders, load_head
from dnamdlm.assembly.held_out import SPLITS, HeldOut, held_out_by_split
from dnamdlm.assembly.hub_upload import check_can_push, push
from dnamdlm.assembly.modality import Text
from dnamdlm.assembly.model_card import model_card
from dnamdlm.assembly.models import LoadedModel, WeightSet, load_model
from dnamdlm.assembly.shared_with_train import shared_rows_of
from dnamdlm.assembly.without_folders import without_folders
from dnamdlm.data.files import whole_folder
from dnamdlm.data.path_kinds import is_fine_tuned
from dnamdlm.data.targets import check_new_folder
from dnamdlm.errors import ConfigError
from dnamdlm.lm.causal import CausalLM
from dnamdlm.lm.checkpoint import FILES, file_hash, tensors_writer
from dnamdlm.lm.masked import MaskedDiffusionLM
from dnamdlm.lm.noisy_predictor import NoisyPredictor
from dnamdlm.lm.published.exported_folder import (
    CARD,
    RECORD,
    WEIGHTS_FILE,
    Record,
    exported_tensors,
    is_exported,
    layout_of,
    read_record,
)
from dnamdlm.lm.published.import_mdlm import HUB_CONFIG
from dnamdlm.lm.published.original_layout import OriginalLayout
from dnamdlm.tokens.tokenizer_json import tokenizer_config, tokenizer_json
from dnamdlm.training.run_folder import read_run

_TOKENIZER, _TOKENIZER_CONFIG = "tokenizer.json", "tokenizer_config.json"
# of the config of a training, what says how the model was made.
_KEPT = ("data", *NODES, "optimizer", "learning_rate", "trainer", "seed")


@dataclass(frozen=True)
class ExportSettings:
    """What is exported, and where to; the meaning of each field stands in `configs/export.yaml`."""

    model: str
    out: str
    weights: WeightSet = "average"
    seed: int | None = None
    adapter_of: str | None = None
    license: str | None = None
    data_license: str | None = None
    push: str | None = None
    trust: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True)
class ExportedModel:
    """The folder that was made.

    Attributes:
        folder: the folder.
        layout: whose tensor names the weights have.
        num_bytes: of all its files.
        address: of its commit on the hub, where it was uploaded.
    """

    folder: Path
    layout: str
    num_bytes: int
    address: str | None = None

    @property
    def sentence(self) -> str:
        """What was made, for people."""
        return self._written + (f"\nuploaded to {self.address}" if self.address else "")

    @property
    def _written(self) -> str:
        if self.layout == "peft":
            return (
                f"wrote {self.folder}: {self.num_bytes / 1e6:,.2f} MB of adapters for PEFT; "
                f"model={self.folder} works in every command where the base model is found"
            )
        names = "dnamdlm" if self.layout == "own" else f"the original {self.layout}"
        return (
            f"wrote {self.folder}: {self.num_bytes / 1e6:,.2f} MB, with the tensor names of "
            f"{names}; model={self.folder} works in every command"
        )


def export(settings: ExportSettings) -> ExportedModel:
    """Export a model, or a fine-tuned head, that is named as in every command.

    Raises:
        CheckpointError: if there is no such model.
        ConfigError: if the target exists or belongs to a run, or a setting has no effect.
        DataError: if the folder cannot be written; nothing stays of it.
    """
    check_new_folder(Path(settings.out))
    if settings.push is not None:
        check_can_push(settings.push)
    if is_fine_tuned(Path(settings.model)):
        return export_head(settings)
    if settings.adapter_of is not None:
        raise ConfigError(
            f"adapter_of has no effect on model={settings.model}, which has no adapters; give a "
            "run of dnamdlm finetune with method=lora"
        )
    if settings.seed is not None:
        raise ConfigError("seed chooses a head of a fine-tuning run; leave it out for this model")
    loaded = load_model(settings.model, weights=settings.weights, trust=settings.trust)
    return export_loaded(loaded, settings)


def export_loaded(loaded: LoadedModel, settings: ExportSettings) -> ExportedModel:
    """Export a model that is open; of the settings, `model`, `weights` and `trust` are not used."""
    out = Path(settings.out)
    check_new_folder(out)
    if settings.push is not None:
        check_can_push(settings.push)
    licenses = (settings.license, settings.data_license)
    return _pushed(_made(out, Exported(loaded, loaded.lm, out.name, *licenses)), settings)


def export_head(settings: ExportSettings) -> ExportedModel:
    """Export the one head of a fine-tuning run."""
    folders = head_folders(Path(settings.model), settings.seed)
    if len(folders) != 1:
        raise ConfigError(
            f"model={settings.model} has {len(folders)} heads, whose mean it predicts, and an "
            "exported folder holds one; give the seed of one as seed="
        )
    if settings.weights != "average":
        raise ConfigError("weights has no effect on a fine-tuned head; leave it out")
    (folder,) = folders
    if settings.adapter_of is not None:
        if settings.data_license is not None:
            raise ConfigError("data_license has no effect with adapter_of; leave it out")
        out = Path(settings.out)
        size = export_adapters(folder, out, settings.adapter_of, license=settings.license)
        return _pushed(ExportedModel(out, "peft", size), settings)
    classifier, head, _ = load_head(folder, trust=settings.trust)
    config = ModelConfig.stored(head.pop("model_config"), settings.trust)
    if shared := shared_rows_of(folder):
        head["shared_rows"] = shared
    lm = classifier.lm
    assert isinstance(lm, MaskedDiffusionLM | CausalLM | NoisyPredictor)
    loaded = LoadedModel(lm, config, 0, "", folder, None, labels=tuple(head["label_names"]))
    out = Path(settings.out)
    exported = Exported(loaded, classifier, out.name, settings.license, settings.data_license, head)
    return _pushed(_made(out, exported), settings)


def _pushed(done: ExportedModel, settings: ExportSettings) -> ExportedModel:
    """The same model, uploaded if that was asked for."""
    if settings.push is None:
        return done
    return replace(done, address=push(done.folder, settings.push))


def save_into(folder: Path, exported: Exported) -> None:
    """Write the files into a folder that may exist, replacing those of the same names."""
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / f".partial-{os.getpid()}"
    try:
        partial.mkdir()
        exported.write(partial)
        for path in partial.iterdir():
            path.replace(folder / path.name)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


@dataclass(frozen=True)
class Exported:
    """What goes into a folder.

    Attributes:
        loaded: the language model and what it was trained with.
        module: the language model again, or a classifier that holds it.
        title: name of the model, for its card.
        license: of the weights.
        data_license: of the training data.
        head: of a classifier, see `Record`.
        may_have_changed: the weights may have been trained further; figures and hashes are then
            those of the folder that was loaded only if its weights are the same.
    """

    loaded: LoadedModel
    module: nn.Module
    title: str
    license: str | None = None
    data_license: str | None = None
    head: Mapping[str, Any] | None = None
    may_have_changed: bool = False

    def write(self, folder: Path) -> Record:
        """Write the files into an empty folder."""
        loaded = self.loaded
        layout = None if self.head else layout_of(loaded.lm, length=loaded.length)
        tensors_writer(exported_tensors(self.module, layout))(folder / WEIGHTS_FILE)
        sha256 = file_hash(folder / WEIGHTS_FILE)
        if self.may_have_changed and sha256 != loaded.digest:
            loaded = replace(loaded, digest="")
        record = _record(loaded, layout, sha256, self.head or {})
        config = _config(loaded, layout, record)
        texts = {HUB_CONFIG: _json(config), **_tokenizer_files(loaded)}
        card = model_card(
            loaded, record, title=self.title, license=self.license,
            data_license=self.data_license, has_tokenizer=_TOKENIZER in texts,
        )  # fmt: skip
        for name, text in {**texts, CARD: card}.items():
            (folder / name).write_bytes(text.encode("utf-8"))
        return record


def _made(out: Path, exported: Exported) -> ExportedModel:
    """A new folder, complete or absent."""
    with whole_folder(out) as partial:
        record = exported.write(partial)
    return ExportedModel(out, record.layout, sum(path.stat().st_size for path in out.iterdir()))


def _record(
    loaded: LoadedModel, layout: OriginalLayout | None, sha256: str, head: Mapping[str, Any]
) -> Record:
    described = loaded.config.describe(loaded.labels, loaded.scales)
    # the tokenizer of a model of text is a file of the folder, not a part of the record.
    described.pop(FILES, None)
    tree = {key: value for key, value in loaded.config.tree.items() if key in _KEPT}
    described |= {"config": without_folders(tree), "step": loaded.step}
    return Record(
        layout="own" if layout is None else layout.family,
        weights=loaded.weights,
        sha256=sha256,
        description=described,
        held_out=_held_out(loaded, sha256),
        run=_run_of(loaded),
        head=dict(head),
    )


def _held_out(loaded: LoadedModel, sha256: str) -> dict[str, Any]:
    """The figures of exactly these weights, under the hash of the exported file."""
    found: Mapping[str, HeldOut] = held_out_by_split(loaded)
    return {
        split: {**asdict(found[split]), "model_sha256": sha256}
        for split in SPLITS
        if split in found and found[split].model_sha256 == loaded.digest
    }


def _run_of(loaded: LoadedModel) -> dict[str, Any]:
    if loaded.run_dir is not None:
        run = read_run(loaded.run_dir)
        # the recipe is worth knowing, the folders in it are nobody's business.
        command = [_without_folder(word) for word in run.get("command", [])]
        return {**without_folders(run), **({"arguments": command} if command else {})}
    return read_record(loaded.folder).run if is_exported(loaded.folder) else {}


def _without_folder(word: str) -> str:
    """A word of a command line without the folder of the path in it."""
    key, equals, value = word.rpartition("=")
    return f"{key}{equals}{without_folders(value)}"


def _config(loaded: LoadedModel, layout: OriginalLayout | None, record: Record) -> dict[str, Any]:
    """Content of `config.json`."""
    vocabulary = loaded.lm.vocabulary
    size = int(loaded.lm.get_submodule("backbone").vocab_size)  # pyright: ignore[reportArgumentType]
    names = {"id2label": dict(enumerate(record.head["label_names"]))} if record.head else {}
    return {
        "model_type": "dnamdlm" if layout is None else layout.family,
        "architectures": _architectures(loaded, record),
        "vocab_size": size,
        "mask_token_id": vocabulary.mask_id,
        "pad_token_id": vocabulary.pad_id,
        "torch_dtype": "float32",
        **names,
        **({} if layout is None else dict(layout.config)),
        RECORD: record.to_json(),
    }


def _architectures(loaded: LoadedModel, record: Record) -> list[str]:
    """The class of transformers; none for models that its auto classes do not have."""
    if record.head:
        return ["DnamdlmForSequenceClassification"]
    if not isinstance(loaded.lm, MaskedDiffusionLM):
        return []
    return ["BertForMaskedLM" if record.layout == "bert" else "DnamdlmForMaskedLM"]


def _tokenizer_files(loaded: LoadedModel) -> dict[str, str]:
    if not isinstance(loaded.modality, Text):
        config = tokenizer_config(loaded.length)
        return {_TOKENIZER: _json(tokenizer_json()), _TOKENIZER_CONFIG: _json(config)}
    return dict(loaded.modality.tokenizer_record().get(FILES, {}))


def _json(content: Mapping[str, Any]) -> str:
    return json.dumps(content, indent=1, allow_nan=False) + "\n"

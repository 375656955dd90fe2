"""Language models as training left them on disk, or as other projects published them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from dnamdlm.assembly.adapted_models import base_name, with_adapters
from dnamdlm.assembly.building.foreign_classes import check_foreign
from dnamdlm.assembly.building.model_config import ModelConfig, TrainedLM
from dnamdlm.assembly.building.own_tokenizer import check_vocabulary, config_of_checkpoint
from dnamdlm.assembly.building.published import (
    from_hub,
    is_published,
    read_published,
    reads_bases,
)
from dnamdlm.assembly.building.published_lm import published_lm
from dnamdlm.assembly.devices import choose_device
from dnamdlm.assembly.divided_network import placed
from dnamdlm.assembly.modality import Dna, Text
from dnamdlm.assembly.pretrained import place_of, pretrained_names
from dnamdlm.assembly.weight_ranks import lender
from dnamdlm.data.path_kinds import is_run, what_it_is
from dnamdlm.data.tasks.number_scales import NumberScale
from dnamdlm.errors import CheckpointError, ConfigError
from dnamdlm.lm.block import BlockDiffusionLM
from dnamdlm.lm.causal import CausalLM
from dnamdlm.lm.checkpoint import (
    AVERAGE,
    MODEL,
    WEIGHTS,
    check_keys,
    file_hash,
    list_checkpoints,
    newest_valid,
    read_description,
    read_tensors,
    verify_folder,
)
from dnamdlm.lm.masked import MaskedDiffusionLM
from dnamdlm.lm.module_weights import load_weights
from dnamdlm.lm.noisy_predictor import NoisyPredictor
from dnamdlm.lm.published.exported_folder import (
    WEIGHTS_FILE,
    is_exported,
    read_exported,
    read_record,
    verify_exported,
)
from dnamdlm.lm.published.import_mdlm import HUB_CONFIG
from dnamdlm.lm.states.peft_layout import is_adapter
from dnamdlm.lm.uniform import UniformDiffusionLM
from dnamdlm.suggestions import did_you_mean
from dnamdlm.tokens.nucleotide import NUCLEOTIDE_VOCABULARY
from dnamdlm.tokens.subwords import SubwordTokenizer, has_tokenizer
from dnamdlm.training.run_folder import read_run

WeightSet = Literal["average", "raw"]


@dataclass(frozen=True)
class LoadedModel:
    """A model read from disk.

    Attributes:
        lm: the language model, in evaluation mode.
        config: what it was trained with; `data.tokenizer` of a model of text is the tokenizer that
            it keeps, where it does.
        step: optimizer steps behind it.
        digest: SHA-256 of the weights file.
        folder: the checkpoint folder, the exported folder, or what was published.
        run_dir: the run folder, or None where the checkpoint stands alone.
        labels: names of the classes that it was trained with.
        scales: the numbers that it was trained with.
        weights: which set of weights it has.
        block_length: positions per block of block diffusion, where it is not that of the training.
    """

    lm: TrainedLM
    config: ModelConfig
    step: int
    digest: str
    folder: Path
    run_dir: Path | None
    labels: tuple[str, ...] = ()
    scales: tuple[NumberScale, ...] = ()
    weights: WeightSet = "average"
    block_length: int | None = None

    @property
    def language_model(
        self,
    ) -> MaskedDiffusionLM | CausalLM | BlockDiffusionLM | UniformDiffusionLM:
        """The model, where it is one that scores and makes sequences.

        Raises:
            ConfigError: if it is a classifier or a regression.
        """
        if isinstance(self.lm, NoisyPredictor):
            setting = "guide=" if self.lm.kind == "classifier" else "value="
            raise ConfigError(
                f"this model is a {self.lm.kind} of noisy sequences, which neither scores nor "
                f"makes sequences; give a language model as model=, and this one to sample as "
                f"{setting}"
            )
        # noise of masks alone makes it a masked diffusion model, with all that these can do.
        if isinstance(self.lm, UniformDiffusionLM) and self.lm.uniform_share == 0:
            return self.lm.as_masked()
        return self.lm

    @property
    def modality(self) -> Dna | Text:
        """Whether it is a model of DNA or of text, and what follows from that."""
        return self.config.modality

    @property
    def length(self) -> int:
        """Positions per window in training."""
        return self.config.length

    @property
    def device(self) -> torch.device:
        """Where its weights are."""
        return next(self.lm.parameters()).device

    @property
    def data_record(self) -> Mapping[str, Any]:
        """How its training described the data: content, splits; empty where nothing says."""
        if self.run_dir is not None:
            return read_run(self.run_dir).get("data", {})
        return read_record(self.folder).run.get("data", {}) if is_exported(self.folder) else {}

    @property
    def num_parameters(self) -> int:
        """Number of trained numbers."""
        return sum(parameter.numel() for parameter in self.lm.parameters())

    def require_dna(self) -> None:
        """Refuse a model of text.

        Raises:
            ConfigError: if it was not trained on DNA.
        """
        if self.lm.vocabulary.fingerprint() != NUCLEOTIDE_VOCABULARY.fingerprint():
            raise ConfigError("this model was not trained on DNA; give a model of DNA")


def load_model(
    model: str,
    *,
    weights: WeightSet = "average",
    device: str = "cpu",
    setting: str = "model",
    trust: Sequence[str] = (),
    backbone: nn.Module | None = None,
) -> LoadedModel:
    """Build the model of a run or checkpoint folder, or of another project, with its weights.

    Args:
        model: run folder, checkpoint folder, exported folder, name of a model that comes with the
            package, folder or file of another project, folder of adapters, or hub id.
        weights: 'average', the moving average, or 'raw', the weights as trained.
        device: where the model goes.
        setting: name of the setting, for messages.
        trust: packages besides dnamdlm whose classes the checkpoint may name.
        backbone: the network, which gets the weights of the model; None builds it.

    Raises:
        CheckpointError: if it is missing, damaged or made with another vocabulary.
        ConfigError: if `weights` is neither, or the model needs a class that is not allowed.
    """
    if weights not in ("average", "raw"):
        raise ConfigError(f"weights={weights} is unknown; choose average or raw")
    path = local_path(model, setting=setting)
    if is_adapter(path):
        # weights that ranks share are divided once the adapters are in them.
        base = load_model(base_name(path), weights=weights, trust=trust, backbone=backbone,
                          device=device if lender() is None else "cpu",
                          setting="base_model_name_or_path")  # fmt: skip
        adapted = with_adapters(base, path)
        placed(adapted.lm, choose_device(device), divides=setting == "model")
        return adapted
    if is_foreign(path) and backbone is not None:
        raise ConfigError(f"{setting}={model} is built without your help; leave backbone out")
    if is_foreign(path):
        return _load_published(path, weights, device, setting)
    folder, run_dir = find_checkpoint(str(path), setting=setting)
    description = description_of(folder)
    config = config_of_checkpoint(description, folder, trust)
    check_foreign(description, config.tree, folder, trust=trust, has_backbone=backbone is not None)
    lm = config.build(seed=0, backbone=backbone)
    return _filled(lm, config, folder, run_dir, weights=weights, device=device, setting=setting)


def load_into(
    lm: TrainedLM,
    run_dir: Path,
    *,
    weights: WeightSet = "average",
    device: str = "cpu",
    trust: Sequence[str] = (),
) -> LoadedModel:
    """Fill a model with the weights of the newest checkpoint of the run that trained it.

    Args:
        lm: the model; it gets the weights.
        run_dir: the run folder.
        weights: as in `load_model`.
        device: where the model goes.
        trust: packages besides dnamdlm whose classes the model has.

    Raises:
        CheckpointError: if the run has no checkpoint, or that of another model.
    """
    folder, _ = find_checkpoint(str(run_dir), setting="run_dir")
    config = config_of_checkpoint(description_of(folder), folder, trust)
    return _filled(lm, config, folder, run_dir, weights=weights, device=device)


def description_of(folder: Path) -> dict[str, Any]:
    """What a checkpoint or an exported folder says of its model."""
    if is_exported(folder):
        path, description = folder / HUB_CONFIG, read_record(folder).description
    else:
        path = folder / MODEL
        description = read_description(path)
    check_keys(description, path, config=dict, vocabulary=str, step=int)
    labels = description.setdefault("labels", [])
    if not isinstance(labels, list) or not all(isinstance(name, str) for name in labels):
        raise CheckpointError(
            f"{path} has labels that are not a list of names; use another checkpoint"
        )
    if not isinstance(description.setdefault("numbers", []), list):
        raise CheckpointError(f"{path} has numbers that are not a list; use another checkpoint")
    return description


def _filled(
    lm: TrainedLM,
    config: ModelConfig,
    folder: Path,
    run_dir: Path | None,
    *,
    weights: WeightSet,
    device: str,
    setting: str = "run_dir",
) -> LoadedModel:
    description = description_of(folder)
    check_vocabulary(description, folder, lm.vocabulary.fingerprint(), config)
    tensors, path = stored_weights(lm, folder, weights)
    load_weights(lm, tensors, path)
    placed(lm, choose_device(device), divides=setting == "model").eval()
    return LoadedModel(
        lm, config, int(description["step"]), file_hash(path), folder, run_dir, weights=weights,
        labels=tuple(description["labels"]),
        scales=tuple(map(NumberScale.stored, description["numbers"])),
    )  # fmt: skip


def stored_weights(
    lm: TrainedLM, folder: Path, weights: WeightSet
) -> tuple[dict[str, torch.Tensor], Path]:
    """The weights of a checkpoint or an exported folder for a model, and their file.

    Raises:
        ConfigError: if an exported folder holds the other weights.
        CheckpointError: if they cannot be read.
    """
    if is_exported(folder):
        if weights != (stored := read_record(folder).weights):
            raise ConfigError(
                f"weights={weights} is not in {folder}, which holds the {stored} weights alone; "
                f"give weights={stored}"
            )
        path = folder / WEIGHTS_FILE
        return read_exported(folder, lm), path
    path = folder / (AVERAGE if weights == "average" else WEIGHTS)
    return read_tensors(folder / WEIGHTS) | read_tensors(path), path


def _load_published(path: Path, weights: WeightSet, device: str, setting: str) -> LoadedModel:
    """A language model around the weights of another project."""
    vocabulary, tokenizer = NUCLEOTIDE_VOCABULARY, None
    if path.is_dir() and has_tokenizer(path) and not reads_bases(path):
        vocabulary, tokenizer = SubwordTokenizer(path).vocabulary, str(path)
    published = read_published(path, vocabulary, weights=weights)
    config = ModelConfig.of_published(
        published.node,
        published.length,
        lm=published_lm(published, str(path)),
        tokenizer=tokenizer,
    )
    lm = config.build(seed=0)
    load_weights(lm.get_submodule("backbone"), published.network.state_dict(), published.file)
    placed(lm, choose_device(device), divides=setting == "model").eval()
    return LoadedModel(lm, config, 0, file_hash(published.file), path, None, weights=weights)


def local_path(model: str, *, setting: str = "model") -> Path:
    """Where a model lies that a setting names; one of the hub is fetched.

    Returns:
        The path, which need not exist.

    Raises:
        CheckpointError: if it is a hub id that cannot be fetched.
    """
    path = place_of(model)
    return path if path.exists() else from_hub(model, setting) or path


def is_foreign(path: Path) -> bool:
    """Whether weights at a path are those of another project, not a folder that we exported."""
    return is_published(path) and not is_exported(path)


def find_checkpoint(model: str, *, setting: str = "model") -> tuple[Path, Path | None]:
    """The checkpoint or exported folder that `model=` means, and the run folder it belongs to.

    Args:
        model: run folder, checkpoint folder, exported folder, or name of a model of the package.
        setting: name of the setting, for messages.

    Raises:
        CheckpointError: if there is none, or none that verifies.
    """
    path = place_of(model)
    if is_exported(path):
        if verify_exported(path).head:
            raise CheckpointError(
                f"{setting}={model} is a fine-tuned head that was exported for transformers; load "
                "it with AutoModelForSequenceClassification, or give the run that it is from"
            )
        return path, None
    if (path / MODEL).is_file():
        verify_folder(path)
        is_in_run = path.parent.name == "checkpoints"
        return path, path.parent.parent if is_in_run else None
    if not path.exists():
        names = pretrained_names()
        raise CheckpointError(
            f"{setting}={model} does not exist{did_you_mean(model, names)}; give a run folder, a "
            "checkpoint folder, an exported folder or published weights, or a model that comes "
            f"with dnamdlm ({', '.join(names)}); for a hub id, install huggingface_hub"
        )
    checkpoints = path / "checkpoints"
    has_some = bool(list_checkpoints(checkpoints))
    if not has_some and (found := what_it_is(setting, path, "model")) is not None:
        raise CheckpointError(found)
    if not has_some and not is_run(path):
        raise CheckpointError(
            f"{setting}={model} is a folder without a model; give a run folder, a checkpoint "
            "folder or published weights"
        )
    if not has_some:
        raise CheckpointError(
            f"{setting}={model} holds no checkpoint yet; train first with "
            f"python -m dnamdlm.train config=NAME run_dir={model}"
        )
    newest = newest_valid(checkpoints)
    if newest is None:
        raise CheckpointError(
            f"{setting}={model} holds no checkpoint that verifies, all are damaged; train again in "
            "another run_dir"
        )
    return newest, path

"""Language models from a config tree, and from what training left on disk."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from dnamdlm.assembly.building.own_tokenizer import (
    is_text,
    other_vocabulary,
    trained_with,
    with_own_tokenizer,
)
from dnamdlm.assembly.building.published import (
    Published,
    check_same_form,
    check_same_use,
    from_hub,
    is_published,
    read_published,
)
from dnamdlm.assembly.building.schema import TARGET, build, check_node, resolve_target
from dnamdlm.backbones.autoregressive import CausalTransformer
from dnamdlm.backbones.bert import Bert, too_long
from dnamdlm.data.data_source import DataSource
from dnamdlm.data.genome.genome_source import GenomeData
from dnamdlm.data.text.corpus import TextData
from dnamdlm.diffusion.schedules import LogLinear
from dnamdlm.diffusion.times import Stratified
from dnamdlm.errors import CheckpointError, ConfigError
from dnamdlm.lm.causal import CausalLM
from dnamdlm.lm.checkpoint import (
    AVERAGE,
    FILES,
    MODEL,
    WEIGHTS,
    file_hash,
    list_checkpoints,
    load_weights,
    newest_valid,
    read_json,
    read_tensors,
    verify_folder,
)
from dnamdlm.lm.classifier import NoisyClassifier
from dnamdlm.lm.masked import MaskedDiffusionLM
from dnamdlm.tokens.nucleotide import NUCLEOTIDE_VOCABULARY
from dnamdlm.tokens.subwords import SubwordTokenizer, has_tokenizer
from dnamdlm.tokens.vocabulary import Vocabulary

MODEL_NODES = ("backbone", "noise", "times", "lm")
_PROVIDED = {
    "backbone": ("vocab_size", "complement"),
    "noise": (),
    "times": (),
    "lm": ("backbone", "vocabulary", "schedule", "times"),
}
_FROM_RUN = ("average", "raw")
UNKNOWN_FASTA = "(not known)"
"""Stands for the training data of published weights."""

TrainedLM = MaskedDiffusionLM | CausalLM | NoisyClassifier
"""The models that can be trained and stored."""


@dataclass(frozen=True)
class LoadedModel:
    """A model read from disk.

    Attributes:
        lm: the language model, in evaluation mode.
        tree: the config tree that it was trained with; `data.tokenizer` of a model of text is the
            tokenizer that it keeps, where it does.
        step: optimizer steps behind it.
        digest: SHA-256 of the weights file.
        folder: the checkpoint folder, or what was published.
        run_dir: the run folder, or None where the checkpoint stands alone.
        labels: names of the classes that it was trained with.
    """

    lm: TrainedLM
    tree: dict[str, Any]
    step: int
    digest: str
    folder: Path
    run_dir: Path | None
    labels: tuple[str, ...] = ()

    @property
    def language_model(self) -> MaskedDiffusionLM | CausalLM:
        """The model, where it is one that scores and makes sequences.

        Raises:
            ConfigError: if it is a classifier.
        """
        if isinstance(self.lm, NoisyClassifier):
            raise ConfigError(
                "this model is a classifier of noisy sequences, which neither scores nor makes "
                "sequences; give a language model as model=, and this one to sample as guide="
            )
        return self.lm

    @property
    def num_parameters(self) -> int:
        """Number of trained numbers."""
        return sum(parameter.numel() for parameter in self.lm.parameters())


def check_model(tree: Mapping[str, Any]) -> None:
    """Check the nodes of a model against their classes, without building it."""
    for name in MODEL_NODES:
        check_node(tree.get(name), name, _PROVIDED[name])


def build_language_model(tree: Mapping[str, Any], seed: int) -> TrainedLM:
    """A language model with random weights that are a function of `seed`."""
    check_model(tree)
    vocabulary = vocabulary_of(tree)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        backbone = build(tree["backbone"], "backbone", **_for_backbone(tree, vocabulary))
    length = tree["data"].get("length") or 0
    if isinstance(backbone, Bert) and length > backbone.max_length:
        raise too_long(length, backbone.max_length)
    parts = {
        "backbone": backbone,
        "vocabulary": vocabulary,
        "schedule": build(tree["noise"], "noise"),
        "times": build(tree["times"], "times"),
    }
    # an autoregressive model has no use for noise and times.
    wanted = inspect.signature(resolve_target(tree["lm"][TARGET], "lm")).parameters
    return build(tree["lm"], "lm", **{name: part for name, part in parts.items() if name in wanted})


def initialise_from(lm: TrainedLM, model: str) -> Path:
    """Start from the averaged weights of a trained model, whatever its objective was.

    Args:
        lm: filled in place; every tensor must be there and of the same shape.
        model: run folder, checkpoint folder, or weights of another project (`published`).

    Returns:
        The folder or file that was read.

    Raises:
        CheckpointError: if it is missing, damaged, of another form or of another vocabulary.
    """
    path = published_path(model, setting="init_from")
    if path is not None:
        published = read_published(path, lm.vocabulary)
        check_same_form(published, lm.get_submodule("backbone"), f"init_from={model}")
        load_weights(lm.get_submodule("backbone"), published.network.state_dict(), path)
        return path
    folder, _ = find_checkpoint(model, setting="init_from")
    description = read_json(folder / MODEL)
    if description["vocabulary"] != lm.vocabulary.fingerprint():
        raise CheckpointError(
            f"init_from={model} was trained with another vocabulary; train it again with this one"
        )
    check_same_use(
        description["config"]["backbone"], lm.get_submodule("backbone"), f"init_from={model}"
    )
    path = folder / AVERAGE
    load_weights(lm, read_tensors(folder / WEIGHTS) | read_tensors(path), path)
    return folder


def published_path(model: str, *, setting: str = "model") -> Path | None:
    """Where the weights of another project lie that a setting names; None if it names none.

    Raises:
        CheckpointError: if it is a hub id that cannot be fetched.
    """
    path = Path(model)
    if is_published(path):
        return path
    return None if path.exists() else from_hub(model, setting)


def _tree_of(published: Published, tokenizer: str | None) -> dict[str, Any]:
    """A config tree that describes published weights; the data are left open.

    Args:
        published: what was read.
        tokenizer: folder of the tokenizer of a model of text; None for DNA.
    """
    causal = isinstance(published.network, CausalTransformer)
    targets = {
        "noise": LogLinear,
        "times": Stratified,
        "lm": CausalLM if causal else MaskedDiffusionLM,
        "data": GenomeData if tokenizer is None else TextData,
    }
    tree = {name: {TARGET: f"{x.__module__}.{x.__qualname__}"} for name, x in targets.items()}
    if tokenizer is None:
        data = tree["data"] | {"fasta": UNKNOWN_FASTA, "length": published.length}
    else:
        own = {"corpus": UNKNOWN_FASTA, "tokenizer": tokenizer, "length": published.length}
        data = tree["data"] | own
    return tree | {"backbone": published.node, "data": data}


def _load_published(path: Path, weights: str, device: str) -> LoadedModel:
    """A language model around the weights of another project."""
    vocabulary, tokenizer = NUCLEOTIDE_VOCABULARY, None
    if path.is_dir() and has_tokenizer(path):
        vocabulary, tokenizer = SubwordTokenizer(path).vocabulary, str(path)
    published = read_published(path, vocabulary, weights="raw" if weights == "raw" else "average")
    tree = _tree_of(published, tokenizer)
    lm = build_language_model(tree, seed=0)
    load_weights(lm.get_submodule("backbone"), published.network.state_dict(), published.file)
    lm.to(choose_device(device)).eval()
    return LoadedModel(lm, tree, 0, file_hash(published.file), path, None)


def check_vocabulary(lm: TrainedLM, folder: Path) -> None:
    """Refuse to fill `lm` from a checkpoint whose ids mean other letters.

    Raises:
        CheckpointError: naming the checkpoint.
    """
    description = read_json(folder / MODEL)
    if description["vocabulary"] != lm.vocabulary.fingerprint():
        name = trained_with(description, folder)
        if name is not None:
            raise CheckpointError(
                f"{folder} was trained with the tokenizer {name}, whose ids are not those of the "
                f"text in data.corpus; prepare the corpus with it again, or choose another run_dir"
            )
        raise CheckpointError(
            f"{folder} was trained with another vocabulary; choose another run_dir, or use the "
            "version that wrote it"
        )


def _for_backbone(tree: Mapping[str, Any], vocabulary: Vocabulary) -> dict[str, Any]:
    """What a backbone gets from the vocabulary: of what is offered, the arguments that it has.

    Raises:
        ConfigError: if it needs complements and the vocabulary has none.
    """
    offered = {"vocab_size": len(vocabulary), "complement": vocabulary.complement}
    target = resolve_target(tree["backbone"].get(TARGET), "backbone")
    names = inspect.signature(target).parameters
    if "complement" in names and vocabulary.complement is None:
        raise ConfigError(
            f"backbone.{TARGET}={tree['backbone'][TARGET]} needs complementary letters, which this "
            "vocabulary has not; choose another backbone"
        )
    return {name: value for name, value in offered.items() if name in names}


def vocabulary_of(tree: Mapping[str, Any]) -> Vocabulary:
    """The vocabulary of the data that a config names; no file is opened."""
    source: DataSource = build(tree["data"], "data")
    return source.vocabulary


def describe_model(tree: Mapping[str, Any], labels: Sequence[str] = ()) -> dict[str, Any]:
    """What a checkpoint records so that the model can be built again from it alone.

    Args:
        tree: the config of the training.
        labels: names of the classes that the model is trained with.
    """
    description: dict[str, Any] = {"config": dict(tree), "labels": list(labels)}
    if not is_text(tree):
        return description | {"vocabulary": vocabulary_of(tree).fingerprint()}
    settings: TextData = build(tree["data"], "data")
    tokenizer = settings.open_tokenizer()
    return description | {
        "vocabulary": tokenizer.vocabulary.fingerprint(),
        "tokenizer": tokenizer.name,
        FILES: {name: content.decode("utf-8") for name, content in tokenizer.files().items()},
    }


def find_checkpoint(model: str, *, setting: str = "model") -> tuple[Path, Path | None]:
    """The checkpoint folder that `model=` means, and the run folder it belongs to.

    Args:
        model: run folder or checkpoint folder.
        setting: name of the setting, for messages.

    Raises:
        CheckpointError: if there is none, or none that verifies.
    """
    path = Path(model)
    if (path / MODEL).is_file():
        verify_folder(path)
        is_in_run = path.parent.name == "checkpoints"
        return path, path.parent.parent if is_in_run else None
    if not path.is_dir():
        raise CheckpointError(
            f"{setting}={model} does not exist; give a run folder, a checkpoint folder or "
            "published weights; for a hub id, install huggingface_hub"
        )
    checkpoints = path / "checkpoints"
    if not list_checkpoints(checkpoints):
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


def load_model(
    model: str, *, weights: str = "average", device: str = "cpu", setting: str = "model"
) -> LoadedModel:
    """Build the model of a run or checkpoint folder, or of another project, with its weights.

    Args:
        model: run folder, checkpoint folder, folder or file of another project, or hub id.
        weights: 'average', the moving average, or 'raw', the weights as trained.
        device: where the model goes.
        setting: name of the setting, for messages.

    Raises:
        CheckpointError: if it is missing, damaged or made with another vocabulary.
        ConfigError: if `weights` is neither.
    """
    if weights not in _FROM_RUN:
        raise ConfigError(f"weights={weights} is unknown; choose {' or '.join(_FROM_RUN)}")
    path = published_path(model, setting=setting)
    if path is not None:
        return _load_published(path, weights, device)
    folder, run_dir = find_checkpoint(model, setting=setting)
    description = read_json(folder / MODEL)
    tree = with_own_tokenizer(description, folder)
    lm = build_language_model(tree, seed=0)
    if description["vocabulary"] != lm.vocabulary.fingerprint():
        raise other_vocabulary(description, folder, tree)
    path = folder / (AVERAGE if weights == "average" else WEIGHTS)
    stored = read_tensors(folder / WEIGHTS) | read_tensors(path)
    load_weights(lm, stored, path)
    lm.to(choose_device(device)).eval()
    return LoadedModel(
        lm,
        tree,
        int(description["step"]),
        file_hash(path),
        folder,
        run_dir,
        labels=tuple(description.get("labels", ())),
    )


def windows_at_once(length: int, device: torch.device, num_ids: int = 12) -> int:
    """Windows per call without gradients: what fits the cache of a CPU, or fills a GPU.

    Args:
        length: positions per window.
        device: where the model is.
        num_ids: size of the vocabulary; a large one makes the logits the largest tensor.
    """
    positions, numbers = (4096, 1 << 26) if device.type == "cpu" else (1 << 17, 1 << 31)
    positions = min(positions, numbers // num_ids)
    return max(1, positions // length)


def choose_device(name: str) -> torch.device:
    """`auto` is the first GPU if there is one, else the CPU.

    Raises:
        ConfigError: if the device does not exist here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(
            f"device={name} is not available here; use device=cpu or device=auto"
        ) from error
    return device

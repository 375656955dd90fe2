"""The config of a training, as far as a model and its data are made from it.

It travels with every checkpoint. Other code asks this class for what it says, and never reads it.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from dnamdlm.assembly.building.carried_settings import without_local_places
from dnamdlm.assembly.building.class_targets import (
    TARGET,
    resolve_target,
    target_of,
)
from dnamdlm.assembly.building.foreign_classes import FOREIGN, foreign_classes
from dnamdlm.assembly.building.schema import build, check_node
from dnamdlm.assembly.building.without_effect import reasons_of, refuse_without_effect
from dnamdlm.assembly.modality import Dna, Text, modality_of
from dnamdlm.backbones.backbone import Backbone
from dnamdlm.backbones.bert import too_long
from dnamdlm.backbones.plain_module import as_backbone
from dnamdlm.data.data_source import DataSource
from dnamdlm.data.genome.genome_settings import GenomeData
from dnamdlm.data.tasks.number_scales import NumberScale
from dnamdlm.data.text.corpus import TextData
from dnamdlm.diffusion.schedules import LogLinear
from dnamdlm.diffusion.times import Stratified
from dnamdlm.errors import ConfigError
from dnamdlm.lm.block import BlockDiffusionLM
from dnamdlm.lm.causal import CausalLM
from dnamdlm.lm.classifier import NoisyClassifier
from dnamdlm.lm.iupac_lm import IupacDiffusionLM
from dnamdlm.lm.masked import MaskedDiffusionLM
from dnamdlm.lm.noisy_predictor import NoisyPredictor
from dnamdlm.lm.regressor import NoisyRegressor
from dnamdlm.lm.uniform import UniformDiffusionLM
from dnamdlm.tokens.iupac import with_codes
from dnamdlm.tokens.vocabulary import Vocabulary
from dnamdlm.training.renamed_targets import with_present_names
from dnamdlm.training.run_folder import read_run_config

TrainedLM = MaskedDiffusionLM | CausalLM | BlockDiffusionLM | UniformDiffusionLM | NoisyPredictor
"""The models that can be trained and stored."""

NODES = ("backbone", "noise", "times", "lm")
UNKNOWN_DATA = "(not known)"
"""Stands for the training data of published weights."""
_PROVIDED: Mapping[str, tuple[str, ...]] = {
    "backbone": ("vocab_size", "complement"),
    "noise": (),
    "times": (),
    "lm": ("backbone", "vocabulary", "schedule", "times"),
}


@dataclass(frozen=True)
class ModelConfig:
    """What a model was, or will be, trained with.

    Attributes:
        tree: the whole config of the training, as plain dictionaries and lists.
        trust: packages besides this one whose classes it may name.
    """

    tree: Mapping[str, Any]
    trust: tuple[str, ...] = ()

    @classmethod
    def stored(cls, tree: Mapping[str, Any], trust: Sequence[str] = ()) -> ModelConfig:
        """The config that a file of any version holds."""
        return cls(with_present_names(tree), tuple(trust))

    @classmethod
    def of_published(
        cls,
        backbone: Mapping[str, Any],
        length: int,
        *,
        lm: Mapping[str, Any],
        tokenizer: str | None,
    ) -> ModelConfig:
        """The config that describes published weights; their training data are not known.

        Args:
            backbone: the node that builds the network.
            length: positions per window in training.
            lm: the node that builds the model around it.
            tokenizer: folder of the tokenizer of a model of text; None for DNA.
        """
        data: dict[str, Any] = (
            {TARGET: target_of(GenomeData), "fasta": UNKNOWN_DATA, "length": length}
            if tokenizer is None
            else {
                TARGET: target_of(TextData),
                "corpus": UNKNOWN_DATA,
                "tokenizer": tokenizer,
                "length": length,
            }
        )
        return cls(
            {
                "noise": {TARGET: target_of(LogLinear)},
                "times": {TARGET: target_of(Stratified)},
                "lm": dict(lm),
                "data": data,
                "backbone": dict(backbone),
            }
        )

    def check(self, left_out: Collection[str] = ()) -> None:
        """Check the nodes of the model against their classes, without building it.

        Args:
            left_out: nodes that are not needed.

        Raises:
            ConfigError: naming the first key that is wrong.
        """
        for name in NODES:
            if name not in left_out:
                check_node(self.tree.get(name), name, _PROVIDED[name], self.trust)
        if self._names_logger:
            check_node(self.tree["logger"], "logger")

    @property
    def _names_logger(self) -> bool:
        """Whether the group `logger` names a class; `logger=none` does not."""
        node = self.tree.get("logger")
        return isinstance(node, Mapping) and TARGET in node

    @property
    def logger_name(self) -> str:
        """Name of the class of the logger."""
        return str(self.tree["logger"][TARGET]).rpartition(".")[2]

    def logger(self) -> Any | None:
        """The Lightning logger of the training, or None.

        Raises:
            ImportError: if its package is not installed.
        """
        return build(self.tree["logger"], "logger") if self._names_logger else None

    @functools.cached_property
    def data(self) -> DataSource:
        """The settings of the training data; no file is opened."""
        return build(self.tree.get("data", {}), "data", self.trust)

    @functools.cached_property
    def modality(self) -> Dna | Text:
        """Whether it is a model of DNA or of text, and what follows from that."""
        return modality_of(self.data, coding=self.coding)

    @property
    def has_data(self) -> bool:
        """Whether the config says anything of data; that of a fragment of one does not."""
        return isinstance(self.tree.get("data"), Mapping)

    @property
    def length(self) -> int:
        """Positions per window in training."""
        return self.data.length

    @property
    def data_is_known(self) -> bool:
        """Whether it says what the model was trained on."""
        return UNKNOWN_DATA not in (
            self.tree["data"].get("fasta"),
            self.tree["data"].get("corpus"),
        )

    @property
    def reads_both_strands(self) -> bool:
        """Whether training saw every window on either strand."""
        return bool(getattr(self.data, "reverse_complement", False))

    @property
    def backbone_name(self) -> str:
        """Name of the class of the network."""
        node = self.tree["backbone"]
        # a network of another package lies within its wrapper.
        return str(node.get("module", node)[TARGET]).rpartition(".")[2]

    @property
    def backbone_node(self) -> Mapping[str, Any]:
        """The settings of the network by name."""
        return self.tree["backbone"]

    @property
    def is_classifier(self) -> bool:
        """Whether the model is a classifier or a regression of noisy sequences."""
        targets = (target_of(NoisyClassifier), target_of(NoisyRegressor))
        return self.tree.get("lm", {}).get(TARGET) in targets

    @property
    def vocabulary(self) -> Vocabulary:
        """The vocabulary of the data; no genome is opened."""
        return self.data.vocabulary

    @property
    def _network_vocabulary(self) -> Vocabulary:
        """The ids that the network reads: those of the data, and codes where the model has them."""
        return with_codes(self.vocabulary) if self.coding is not None else self.vocabulary

    @property
    def coding(self) -> str | None:
        """How a model of IUPAC diffusion codes bases; None for all others."""
        node = self.tree.get("lm")
        if not isinstance(node, Mapping):
            return None
        is_coded = node.get(TARGET) == target_of(IupacDiffusionLM)
        return node.get("coding", "mixed") if is_coded else None

    def without_local_places(self) -> ModelConfig:
        """The same config without folders and commands of the machine that wrote it."""
        return ModelConfig(without_local_places(self.tree), self.trust)

    def with_data(self, **changes: Any) -> ModelConfig:
        """The same config with some settings of its data replaced."""
        return ModelConfig({**self.tree, "data": {**self.tree["data"], **changes}}, self.trust)

    def changed_data(self, changes: Mapping[str, Any]) -> DataSource:
        """The settings of the data with some of them replaced.

        Raises:
            ConfigError: for a setting that they do not have, or an impossible value.
        """
        return build({**self.tree["data"], **changes}, "data", self.trust)

    def build(
        self,
        seed: int,
        given: frozenset[str] = frozenset(),
        *,
        backbone: nn.Module | None = None,
    ) -> TrainedLM:
        """A language model with random weights that are a function of `seed`.

        Args:
            seed: of the weights.
            given: dotted names of settings that the user gave on the command line.
            backbone: the network, where the config need not build it; it keeps its weights.

        Raises:
            ConfigError: for settings that are wrong, or were given and have no effect.
        """
        self.check(() if backbone is None else ("backbone",))
        vocabulary = self.vocabulary
        of_network = self._network_vocabulary
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = self._network(of_network) if backbone is None else backbone
        network = backbone_of(network, of_network, self.length or 0)
        parts = {
            "backbone": network,
            "vocabulary": vocabulary,
            "schedule": build(self.tree["noise"], "noise", self.trust),
            "times": build(self.tree["times"], "times", self.trust),
        }
        # an autoregressive model has no use for noise and times.
        target = resolve_target(self.tree["lm"][TARGET], "lm", self.trust)
        wanted = inspect.signature(target).parameters
        lm = build(
            self.tree["lm"],
            "lm",
            self.trust,
            **{name: part for name, part in parts.items() if name in wanted},
        )
        reasons = {
            key: f"{target.__name__} does not use it"
            for key, part in (("noise", "schedule"), ("times", "times"))
            if part not in wanted
        }
        reasons |= reasons_of(network, "backbone.") | reasons_of(lm, "lm.")
        refuse_without_effect(given, reasons)
        return lm

    def describe(
        self, labels: Sequence[str] = (), scales: Sequence[NumberScale] = ()
    ) -> dict[str, Any]:
        """What a checkpoint records so that the model can be built again from it alone.

        Args:
            labels: names of the classes that the model is trained with.
            scales: the numbers that it is trained with.
        """
        foreign = [found.record() for found in foreign_classes(self.tree)]
        return {
            "config": dict(self.tree),
            "labels": list(labels),
            **({"numbers": [scale.record() for scale in scales]} if scales else {}),
            "vocabulary": self.vocabulary.fingerprint(),
            **self.modality.tokenizer_record(),
            **({FOREIGN: foreign} if foreign else {}),
        }

    def _network(self, vocabulary: Vocabulary) -> nn.Module:
        """The network that the config describes."""
        return build(
            self.tree["backbone"], "backbone", self.trust, **self._for_backbone(vocabulary)
        )

    def _for_backbone(self, vocabulary: Vocabulary) -> dict[str, Any]:
        """What a backbone gets from the vocabulary: of what is offered, the arguments it has."""
        offered = {"vocab_size": len(vocabulary), "complement": vocabulary.complement}
        name = self.tree["backbone"].get(TARGET)
        names = inspect.signature(resolve_target(name, "backbone", self.trust)).parameters
        if "complement" in names and vocabulary.complement is None:
            raise ConfigError(
                f"backbone.{TARGET}={name} needs complementary letters, which this vocabulary "
                "does not have; choose another backbone"
            )
        return {key: value for key, value in offered.items() if key in names}


def backbone_of(network: nn.Module, vocabulary: Vocabulary, length: int) -> Backbone:
    """A network with the interface of a backbone, for the ids of a vocabulary.

    Args:
        network: a backbone, or any module from ids to logits, which is wrapped.
        vocabulary: of the ids.
        length: positions per window.

    Raises:
        ConfigError: if it cannot read windows of this length, or has another vocabulary.
    """
    limit = getattr(network, "max_length", None)
    if isinstance(limit, int) and length > limit:
        raise too_long(length, limit)
    if isinstance(network, Backbone):
        return network
    size = getattr(network, "vocab_size", len(vocabulary))
    if size != len(vocabulary):
        raise ConfigError(
            f"{type(network).__name__}.vocab_size={size}, but the vocabulary of the data has "
            f"{len(vocabulary)} ids; make the network with {len(vocabulary)}"
        )
    return as_backbone(network, len(vocabulary))


def config_of_run(run_dir: Path) -> ModelConfig | None:
    """The config that a run folder records; None where it holds no run."""
    tree = read_run_config(run_dir)
    return None if tree is None else ModelConfig.stored(tree)

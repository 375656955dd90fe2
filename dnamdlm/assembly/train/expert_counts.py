"""Giving the experts of a model the words of its training split."""

from __future__ import annotations

from dnamdlm.assembly.building.model_config import TrainedLM
from dnamdlm.data.data_source import OpenData
from dnamdlm.data.genome.opened_genome import OpenGenome
from dnamdlm.data.tasks.opened_table import OpenTable
from dnamdlm.errors import ConfigError
from dnamdlm.lm.expert_gates import ExpertGates


def count_for_experts(lm: TrainedLM, opened: OpenData, strategy: str) -> None:
    """Count the words of the training split, of all genomes of a mixture, if there are experts.

    Args:
        lm: the model.
        opened: the data.
        strategy: how weights are kept on several devices.

    Raises:
        ConfigError: if the model counted another split before, its weights are to be divided, or
            the data are weighted samples.
        DataError: if the split has no word.
    """
    gates = getattr(lm, "expert_gates", None)
    if not isinstance(gates, ExpertGates):
        return
    if strategy == "fsdp2":
        raise ConfigError(
            "trainer.strategy=fsdp2 cannot divide a network with experts; use trainer.strategy=ddp "
            "or experts=none"
        )
    if isinstance(opened, OpenTable) and opened.weights is not None:
        raise ConfigError(
            "data=tilted has samples of a model, whose words experts must not count; fine-tune a "
            "model that was trained with experts=none"
        )
    genomes = [part for part in (opened, *opened.parts.values()) if isinstance(part, OpenGenome)]
    gates.count([(genome.store, genome.splits["train"]) for genome in genomes])

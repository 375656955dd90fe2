"""Samples that copy on purpose: some sequences get a random place of the training split."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from jaxtyping import Int
from torch import Tensor

from dnamdlm.assembly.models import LoadedModel
from dnamdlm.assembly.pointed_genomes import pointed_genome, pointer_channel_of
from dnamdlm.assembly.sample.sample_settings import SampleSettings
from dnamdlm.data.genome.fasta import read_fasta
from dnamdlm.data.genome.opened_genome import OpenGenome
from dnamdlm.data.genome.pointed_windows import PointedGenome
from dnamdlm.diffusion.randomness import RowNoise
from dnamdlm.evaluation.samples.novelty_of_copies import novelty_sentence
from dnamdlm.lm.sampling.served import check_pointed


@dataclass(frozen=True)
class SamplePointers:
    """Where sequences may point.

    Attributes:
        genome: the training split.
        pi: probability that a sequence points.
    """

    genome: PointedGenome
    pi: float

    def templates(self, keys: Int[Tensor, " B"], length: int) -> Int[Tensor, "B L"]:
        """The template of each row, a function of its key; see `Batch.aligned`."""
        addresses = self.genome.drawn(RowNoise(keys.cpu()), pi=self.pi)
        return self.genome.templates(addresses, length).to(keys.device)


@dataclass(frozen=True)
class OpenPointers:
    """The pointers of a call, and the data that they lead into.

    Attributes:
        pointers: for the sequences.
        data: whose training split it is.
    """

    pointers: SamplePointers
    data: OpenGenome

    def novelty(self, path: Path) -> str:
        """How much the sequences of a FASTA file copy, in one sentence."""
        return novelty_sentence(read_fasta(path), self.data.store, self.data.splits["train"])


def pointers_of(settings: SampleSettings, loaded: LoadedModel) -> OpenPointers | None:
    """The pointers that are asked for, into the training split of the model; None without.

    Args:
        settings: of `sample`; `data.fasta` says where the genome is, if not where training found
            it.
        loaded: the model.

    Raises:
        ConfigError: if the model or the sampler cannot copy.
        DataError: if the genome is not at hand.
    """
    if not settings.pointer:
        return None
    setting = f"pointer={settings.pointer:g}"
    pointer_channel_of(loaded.lm, setting)
    is_steered = settings.reward is not None or settings.population is not None
    check_pointed(loaded.language_model, settings.sampler, is_steered=is_steered)
    given = {"fasta": settings.data.fasta, "cache_dir": settings.data.cache_dir}
    changes = {key: value for key, value in given.items() if value is not None}
    opened = loaded.config.changed_data(changes).open()
    genome = pointed_genome(loaded.lm, opened, setting, looks_up=False)
    assert isinstance(opened, OpenGenome), "anything else was refused"
    return OpenPointers(SamplePointers(genome, settings.pointer), opened)

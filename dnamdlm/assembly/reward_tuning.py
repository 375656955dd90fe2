"""The methods of a model that serve fine-tuning on a reward: its draws weighed, its distance."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from dnamdlm.assembly.design.reward_terms import RewardLike, RewardReader
from dnamdlm.assembly.models import LoadedModel
from dnamdlm.assembly.string_scores import at_least_one
from dnamdlm.data.batch import Batch, batch_of_ids
from dnamdlm.data.files import write_text
from dnamdlm.diffusion.path_laws import Paths
from dnamdlm.diffusion.randomness import row_keys
from dnamdlm.errors import ConfigError
from dnamdlm.lm.masked import MaskedDiffusionLM
from dnamdlm.lm.path_weights import model_paths, path_divergence
from dnamdlm.rewards.reward import rewards_of
from dnamdlm.tokens.nucleotide import NUCLEOTIDE_VOCABULARY, NucleotideTokenizer

if TYPE_CHECKING:
    from dnamdlm.assembly.api import Model


@dataclass(frozen=True)
class Distance:
    """How far a model has moved from another, in nats per sequence.

    Attributes:
        nats: estimate of the divergence of the paths of the first from those of the second.
        standard_error: of the mean over the sequences.
        num_sequences: that were drawn from the first.
    """

    nats: float
    standard_error: float
    num_sequences: int


class RewardTuning:
    """The methods `divergence` and `reward_table` of a model.

    Attributes:
        loaded: the model.
    """

    loaded: LoadedModel

    def divergence(
        self,
        other: Model,
        num_sequences: int = 64,
        length: int | None = None,
        *,
        draws: int = 8,
        batch_size: int = 64,
        seed: int = 1,
    ) -> Distance:
        """KL(this model || the other) of the paths of `sampler=first_hitting`.

        It is estimated from sequences that this model draws, at positions that are hidden. With a
        mean reward it says what a fine-tuning on the reward cost.

        Args:
            other: the model that this one was fine-tuned from.
            num_sequences: how many are drawn.
            length: bases per sequence; None is the length of the training windows.
            draws: masked copies of each.
            batch_size: sequences at once; does not change which are drawn.
            seed: of all noise.

        Raises:
            ConfigError: if a number is below 1, or the models cannot be compared.
        """
        at_least_one(num_sequences=num_sequences, draws=draws, batch_size=batch_size)
        lm, reference = _masked(self.loaded), _masked(other.loaded)
        parts = []
        for keys, paths in self._paths(
            [lm], num_sequences, length, batch_size=batch_size, seed=seed
        ):
            rows = batch_of_ids(list(paths.tokens.cpu().numpy()), lm.vocabulary, keys=keys.cpu())
            batch: Batch = rows.to(self.loaded.device)
            parts.append(path_divergence(lm, reference, batch, draws=draws))
        found = torch.cat(parts)
        spread = float(found.std()) if len(found) > 1 else float("nan")
        return Distance(float(found.mean()), spread / len(found) ** 0.5, len(found))

    def reward_table(
        self,
        out: str | Path,
        reward: RewardLike,
        num_sequences: int = 1024,
        length: int | None = None,
        *,
        reference: Model | None = None,
        batch_size: int = 64,
        seed: int = 1,
        trust: tuple[str, ...] = (),
    ) -> Path:
        """Draw sequences with their rewards for `data=tilted`, with weights of their paths.

        The columns are name, sequence, reward and log_ratio, which is log p - log u of the path
        that a sequence was drawn by, p being `reference` and u this model. So a model that is half
        fine-tuned may draw the samples of the next round: the weights exp(reward / a + log_ratio)
        still stand for the tilted distribution of the reference.

        Args:
            out: .tsv file.
            reward: as `dnamdlm.reward` takes it, or a function of a list of sequences.
            num_sequences: how many.
            length: bases per sequence; None is the length of the training windows.
            reference: the pre-trained model; None is this one, whose log_ratio is 0.
            batch_size: sequences at once; does not change the result on a CPU.
            seed: of all noise.
            trust: packages, and stems of reward files, whose code may run.

        Returns:
            `out`.

        Raises:
            ConfigError: if a number is below 1, or the models have different vocabularies.
            DataError: if the reward gives something else than numbers, or `out` cannot be written.
        """
        at_least_one(num_sequences=num_sequences, batch_size=batch_size)
        path = Path(out)
        if path.suffix != ".tsv":
            raise ConfigError(f"out={path} must be a .tsv file, as data=tilted reads it")
        scorer = RewardReader(trust=trust).read(reward)
        lms = [_masked(self.loaded)]
        lms += [] if reference is None else [_masked(reference.loaded)]
        decode = NucleotideTokenizer().decode
        lines, number = ["name\tsequence\treward\tlog_ratio"], 0
        for _, paths in self._paths(lms, num_sequences, length, batch_size=batch_size, seed=seed):
            texts = [decode(row) for row in paths.tokens.cpu().numpy()]
            ratios = paths.log_ratio(len(lms) - 1).tolist()
            values = rewards_of(scorer, texts).tolist()
            for text, value, ratio in zip(texts, values, ratios, strict=True):
                number += 1
                lines.append(f"sample_{number:06d}\t{text}\t{value!r}\t{ratio!r}")
        write_text(path, "\n".join(lines) + "\n")
        return path

    def _paths(
        self,
        lms: list[MaskedDiffusionLM],
        num_sequences: int,
        length: int | None,
        *,
        batch_size: int,
        seed: int,
    ) -> Iterator[tuple[torch.Tensor, Paths]]:
        """Noise keys and paths, some rows at a time."""
        keys = row_keys(seed, torch.arange(num_sequences)).to(self.loaded.device)
        size = self.loaded.length if length is None else length
        at_least_one(length=size)
        for part in keys.split(batch_size):
            yield part, model_paths(lms, part, size)


def _masked(loaded: LoadedModel) -> MaskedDiffusionLM:
    lm = loaded.language_model
    if not isinstance(lm, MaskedDiffusionLM):
        raise ConfigError(
            f"paths of a {type(lm).__name__} have no random order; give masked diffusion models"
        )
    if lm.vocabulary.fingerprint() != NUCLEOTIDE_VOCABULARY.fingerprint():
        raise ConfigError("rewards are of DNA; give a model of A, C, G and T")
    return lm

"""A trained model for use from Python, in terms of DNA strings; `text_api` has those of text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from dnamdlm.assembly.building.own_tokenizer import is_text
from dnamdlm.assembly.class_labels import classifier_guidance, find_label
from dnamdlm.assembly.models import LoadedModel, load_model
from dnamdlm.assembly.score.scoring import ScoreSettings, VariantScorer
from dnamdlm.assembly.strands import read_strands
from dnamdlm.assembly.text_api import TextModel
from dnamdlm.data.batch import Batch
from dnamdlm.data.genome.store import prepare_genome
from dnamdlm.data.variants.variant_tables import as_record
from dnamdlm.data.variants.vcf import VariantFile, check_variants
from dnamdlm.diffusion.categorical import Choice
from dnamdlm.diffusion.randomness import row_keys
from dnamdlm.errors import ConfigError, DataError
from dnamdlm.lm.causal import CausalLM
from dnamdlm.lm.classifier import NoisyClassifier
from dnamdlm.lm.sampling.class_guidance import ClassGuidance, Guidance, GuideOrder
from dnamdlm.lm.sampling.generation import Template, generate_pieces
from dnamdlm.lm.sampling.samplers import AncestralSampler, LeftToRightSampler, Sampler
from dnamdlm.tokens.nucleotide import NucleotideTokenizer

if TYPE_CHECKING:
    from pandas import DataFrame


def load(
    model: str, *, weights: str = "average", device: str = "auto", strands: str = "one"
) -> DnaModel | TextModel:
    """Load a trained model.

    Args:
        model: run folder, checkpoint folder, published weights (folder or file), or hub id.
        weights: 'average', the moving average of the weights, or 'raw'.
        device: 'auto', 'cpu', 'cuda' or another device of torch.
        strands: 'both' averages the network over both strands, which takes twice the time; for
            models of DNA.

    Returns:
        A `DnaModel`, or for a model of text a `TextModel`, whose `sample`, `log_likelihood` and
        `embed` take and give texts.

    Raises:
        CheckpointError: if the model is missing or damaged.
        ConfigError: if the model cannot do what is asked.
    """
    loaded = load_model(model, weights=weights, device=device)
    read_strands(loaded.lm, strands)
    return TextModel(loaded) if is_text(loaded.tree) else DnaModel(loaded)


class DnaModel:
    """Samples, scores and embeds DNA strings with a trained model."""

    def __init__(self, loaded: LoadedModel) -> None:
        self.loaded = loaded
        self._tokenizer = NucleotideTokenizer()

    @property
    def window_length(self) -> int:
        """Bases per window in training."""
        return int(self.loaded.tree["data"]["length"])

    def sample(
        self,
        num_sequences: int,
        length: int | None = None,
        *,
        seed: int = 1,
        sampler: Sampler | None = None,
        temperature: float = 1.0,
        top_p: float = 1.0,
        batch_size: int = 64,
        label: str | int | None = None,
        guidance: float = 1.0,
        guide: DnaModel | None = None,
        guide_order: GuideOrder = "exact",
    ) -> list[str]:
        """Generate sequences; the same seed gives the same sequences, whatever the batch size.

        Args:
            num_sequences: how many.
            length: bases per sequence; None is the length of the training windows.
            seed: of all noise.
            sampler: see `dnamdlm.lm.sampling.samplers`; None is the one that the model is made for.
            temperature: below 1 sharpens every draw.
            top_p: draw from the nucleus of this total probability.
            batch_size: sequences at once.
            label: name or index of a class, of this model or else of `guide`; None is no class.
            guidance: strength: 0 is without the class, 1 is with it, above 1 sharpens it.
            guide: a classifier of noisy sequences that steers this model towards `label`.
            guide_order: 'exact', or 'first_order', which is faster.

        Raises:
            ConfigError: if the model cannot do what is asked.
        """
        lm = self.loaded.language_model
        is_causal = isinstance(lm, CausalLM)
        sampler = sampler or (LeftToRightSampler() if is_causal else AncestralSampler())
        template = Template.of_masks(length or self.window_length, lm.vocabulary)
        towards = self._guidance(label, guidance, guide, guide_order)
        sequences: list[str] = []
        for rows in torch.arange(num_sequences).split(batch_size):
            pieces = generate_pieces(
                lm,
                row_keys(seed, rows).to(self._device),
                template,
                sampler=sampler,
                choice=Choice(temperature=temperature, top_p=top_p),
                trained_length=self.window_length,
                guidance=towards,
            )
            tokens = torch.cat([piece.tokens for piece in pieces], dim=1).cpu().numpy()
            sequences += [self._tokenizer.decode(row) for row in tokens]
        return sequences

    def log_likelihood(
        self,
        sequences: Sequence[str],
        *,
        draws: int = 16,
        seed: int = 0,
        batch_size: int = 64,
        label: str | int | None = None,
    ) -> NDArray[np.float64]:
        """Lower bound of log p in nats for each sequence, shape (num_sequences,).

        N and ambiguity codes are seen but not scored. With a label it is log p given the class.
        """
        lm = self.loaded.language_model
        index = None if label is None else find_label(self.loaded.labels, label)
        scores = []
        for first in range(0, len(sequences), batch_size):
            batch = self._batch(sequences[first : first + batch_size], first, seed)
            if index is not None:
                batch = replace(batch, label=torch.full_like(batch.row, index))
            with torch.inference_mode():
                likelihood = lm.log_likelihood(batch, draws=draws)
            scores.append(-likelihood.nats.double().sum(dim=-1).cpu().numpy())
        return np.concatenate(scores) if scores else np.zeros(0)

    def embed(self, sequences: Sequence[str], *, batch_size: int = 64) -> NDArray[np.float32]:
        """Mean of the last hidden states over the A, C, G, T of each sequence, shape (N, D)."""
        pooled = []
        for first in range(0, len(sequences), batch_size):
            batch = self._batch(sequences[first : first + batch_size], first, 0)
            with torch.inference_mode():
                states = self.loaded.lm.hidden(batch).float()
            weights = batch.valid.float()[..., None]
            mean = (states * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1)
            pooled.append(mean.cpu().numpy())
        return np.concatenate(pooled)

    def score_variants(
        self,
        variants: str | Path,
        fasta: str | Path,
        *,
        scores: Sequence[str] = ("llr", "elbo"),
        length: int | None = None,
        draws: int = 8,
        match_names: bool = False,
        max_mismatch: float = 0.01,
        batch_size: int | None = None,
        seed: int = 0,
        cache_dir: str | None = None,
    ) -> DataFrame:
        """Score a VCF file, as `python -m dnamdlm.score` does; load with `strands="both"` for that.

        Args:
            variants: VCF file.
            fasta: the genome that the variants were called on.
            scores: any of `llr`, `elbo` and `embedding`.
            length: bases of a window; None is that of the training.
            draws: noise draws per allele for `elbo`.
            match_names: take 20 and chr20 for the same record.
            max_mismatch: share of rows that may contradict the genome.
            batch_size: pairs of windows at once; None is what suits the device.
            seed: of the noise.
            cache_dir: folder of prepared genomes.

        Returns:
            One row per row of the file, in order; `alt`, the scores and `reason` hold a list with
            one entry per allele, which `DataFrame.explode` spreads.

        Raises:
            ConfigError: for an impossible setting, or a model that cannot score.
            DataError: for a file that is refused.
        """
        from pandas import DataFrame

        settings = ScoreSettings(
            tuple(scores), length, draws, match_names, max_mismatch, batch_size, seed
        )
        file = VariantFile(variants)
        store = prepare_genome(fasta, cache_dir=cache_dir)
        counts = check_variants(file, store, match_names=match_names, max_mismatch=max_mismatch)
        scorer = VariantScorer(self.loaded, store, settings)
        return DataFrame([as_record(row) for row in scorer.scored(file, counts)])

    def classify(self, sequences: Sequence[str], *, batch_size: int = 64) -> NDArray[np.float64]:
        """Give log p(class | sequence) of a classifier for clean sequences, shape (N, classes).

        The classes are in the order of `loaded.labels`.

        Raises:
            ConfigError: if this model is no classifier.
        """
        classifier = self.loaded.lm
        if not isinstance(classifier, NoisyClassifier):
            raise ConfigError(
                f"a {type(classifier).__name__} classifies nothing; load the run of a training "
                "with lm=classifier"
            )
        rows = []
        for first in range(0, len(sequences), batch_size):
            batch = self._batch(sequences[first : first + batch_size], first, 0)
            with torch.inference_mode():
                time = torch.zeros(len(batch), device=self._device)
                rows.append(classifier.log_probs(batch.tokens, time, batch.attended).cpu().numpy())
        return np.concatenate(rows).astype(np.float64)

    def _guidance(
        self, label: str | int | None, gamma: float, guide: DnaModel | None, order: GuideOrder
    ) -> Guidance | None:
        if guide is not None:
            if label is None:
                raise ConfigError("guide needs a label of the classifier; give label=NAME")
            index = find_label(guide.loaded.labels, label)
            return classifier_guidance(self.loaded, guide.loaded, index, gamma, order)
        if label is not None:
            return ClassGuidance(find_label(self.loaded.labels, label), float(gamma))
        if gamma != 1.0:
            raise ConfigError(f"guidance={gamma} has nothing to guide to; give label=NAME")
        return None

    @property
    def _device(self) -> torch.device:
        return next(self.loaded.lm.parameters()).device

    def _batch(self, sequences: Sequence[str], first: int, seed: int) -> Batch:
        vocabulary = self.loaded.lm.vocabulary
        encoded = [self._tokenizer.encode(sequence) for sequence in sequences]
        if any(len(ids) == 0 for ids in encoded):
            raise DataError("a sequence is empty; give at least one base")
        length = max(len(ids) for ids in encoded)
        tokens = torch.full((len(encoded), length), vocabulary.pad_id)
        for row, ids in enumerate(encoded):
            tokens[row, : len(ids)] = torch.from_numpy(ids)
        rows = torch.arange(len(encoded))
        return Batch(
            tokens=tokens,
            present=tokens != vocabulary.pad_id,
            valid=torch.from_numpy(vocabulary.real_tokens())[tokens],
            weight=None,
            key=row_keys(seed, rows + first),
            row=rows,
            global_size=len(encoded),
        ).to(self._device)

"""A trained model for use from Python, in terms of strings.

Each method calls the function that the command of its name calls, with the same defaults.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from dnamdlm.assembly.building.field_types import Strands
from dnamdlm.assembly.class_labels import find_label
from dnamdlm.assembly.devices import choose_device, plan_for
from dnamdlm.assembly.embed.embedding import embedded_strings, mean_states
from dnamdlm.assembly.modality import Text
from dnamdlm.assembly.model_summary import as_html, as_text, facts_of
from dnamdlm.assembly.models import LoadedModel, WeightSet, load_model
from dnamdlm.assembly.sample.requests import Request, of_strings
from dnamdlm.assembly.sample.sample_settings import GenomeOfInfill, SampleSettings
from dnamdlm.assembly.sample.sampling import sampled_strings
from dnamdlm.assembly.score.score_settings import Kind, ScoreSettings
from dnamdlm.assembly.score.scoring import VariantScorer, parse_change
from dnamdlm.assembly.strands import with_strands
from dnamdlm.assembly.train.fitting import fit as fit_model
from dnamdlm.data.batch import Batch
from dnamdlm.data.genome.genome_files import open_genome
from dnamdlm.data.genome.store import GenomeStore
from dnamdlm.data.variants.variant_tables import as_record
from dnamdlm.data.variants.vcf import VariantFile, check_variants
from dnamdlm.diffusion.steps import StepRule
from dnamdlm.errors import ConfigError, DataError
from dnamdlm.lm.causal import CausalLM
from dnamdlm.lm.classifier import NoisyClassifier
from dnamdlm.lm.sampling.class_guidance import GuideOrder
from dnamdlm.lm.sampling.sampler_names import as_sampler
from dnamdlm.lm.sampling.samplers import AncestralSampler, LeftToRightSampler, Sampler
from dnamdlm.threads import running_with

if TYPE_CHECKING:
    from pandas import DataFrame


def load(
    model: str | Path,
    *,
    weights: WeightSet = "average",
    device: str = "auto",
    strands: Strands = "one",
    trust: Sequence[str] = (),
    backbone: nn.Module | None = None,
) -> Model:
    """Load a trained model.

    Args:
        model: run folder, checkpoint folder, published weights (folder or file), or hub id.
        weights: 'average', the moving average of the weights, or 'raw'.
        device: 'auto', 'cpu', 'cuda' or another device of torch.
        strands: 'both' averages the network over both strands, which takes twice the time; for
            models of DNA.
        trust: packages besides dnamdlm whose classes the checkpoint may name; their code runs.
        backbone: for a model that was trained with a network of yours: such a network, which gets
            the weights.

    Raises:
        CheckpointError: if the model is missing or damaged.
        ConfigError: if the model cannot do what is asked.

    Example:
        >>> model = dnamdlm.load("runs/demo")  # doctest: +SKIP
        >>> model.sample(2, length=20, seed=1)  # doctest: +SKIP
        ['TTTATTTTTCAAAAACAATA', 'CATTGAAGAAGTTTGTCAAT']
    """
    loaded = load_model(str(model), weights=weights, device=device, trust=trust, backbone=backbone)
    return Model(replace(loaded, lm=with_strands(loaded.lm, strands)), strands=strands)


@functools.wraps(fit_model)
def fit(*arguments: Any, **settings: Any) -> Model:
    """Train as `fit_model` does, whose docstring this function gets."""
    return Model(fit_model(*arguments, **settings))


class Model:
    """Samples, scores and embeds strings with a trained model.

    Attributes:
        loaded: the language model, with what it was trained with.
        strands: whether its network is averaged over both strands.
    """

    def __init__(self, loaded: LoadedModel, *, strands: Strands = "one") -> None:
        self.loaded = loaded
        self.strands: Strands = strands

    def __repr__(self) -> str:
        return as_text(facts_of(self.loaded))

    def _repr_html_(self) -> str:
        return as_html(facts_of(self.loaded))

    @property
    def window_length(self) -> int:
        """Bases or tokens per window in training."""
        return self.loaded.length

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.loaded.device

    def to(self, device: str) -> Model:
        """The same model on another device; this one stays where it is.

        Args:
            device: 'auto', 'cpu', 'cuda' or another device of torch.

        Raises:
            ConfigError: if the device does not exist here.
        """
        lm = copy.deepcopy(self.loaded.lm).to(choose_device(device))
        return Model(replace(self.loaded, lm=lm), strands=self.strands)

    def sample(
        self,
        num_sequences: int = 16,
        length: int | None = None,
        *,
        prompt: str | None = None,
        template: str | Sequence[str] | Path | None = None,
        motif: Sequence[str] | None = None,
        forbid: str | Sequence[str] | None = None,
        infill: str | Path | None = None,
        fasta: str | Path | None = None,
        flank: int = 0,
        label: str | int | None = None,
        guidance: float = 1.0,
        guide: Model | None = None,
        guide_order: GuideOrder = "exact",
        sampler: str | StepRule | Sampler | None = None,
        temperature: float = 1.0,
        top_p: float = 1.0,
        top_k: int | None = None,
        batch_size: int = 64,
        seed: int = 1,
    ) -> list[str]:
        """Generate sequences, or texts: those of `dnamdlm sample` with the same settings.

        Args:
            num_sequences: how many; with templates or intervals, this many for each of them.
            length: bases or tokens per sequence; None is the length of the training windows, or
                what the prompt asks for.
            prompt: for a model of text: text that is kept; [MASK*8] is a gap of eight tokens.
            template: for a model of DNA: a sequence or several, in which N is filled and R, Y, ...
                become one of their bases; a `Path` names a FASTA file.
            motif: letters@place from 0, such as 'TATAAA@40'.
            forbid: letters that no filled position becomes.
            infill: BED file; its intervals are filled in the context of `fasta`.
            fasta: genome of `infill`.
            flank: bases of context that are returned on both sides of an interval.
            label: name or index of a class, of this model or else of `guide`; None is no class.
            guidance: 0 is without the class, 1 with it, above 1 sharpens it.
            guide: a classifier of noisy sequences that steers this model towards `label`.
            guide_order: 'exact', or 'first_order', which is faster.
            sampler: the name of a sampler, a step rule, or a sampler; None is that of the command.
            temperature: below 1 sharpens every draw.
            top_p: draw from the nucleus of this total probability.
            top_k: draw from this many most likely tokens; None is all.
            batch_size: sequences at once; does not change the result.
            seed: of all noise.

        Raises:
            ConfigError: if a setting is out of range, has no effect, or the model cannot do it.
            DataError: for a template, a prompt or a file that cannot be used.
        """
        if guide is not None and label is None:
            raise ConfigError("guide needs a class of the classifier; give label=NAME")
        settings = SampleSettings(
            model=str(self.loaded.run_dir or self.loaded.folder),
            out="",
            num_sequences=num_sequences,
            length=length,
            prompt=prompt,
            temperature=float(temperature),
            top_p=float(top_p),
            top_k=top_k,
            template=str(template) if isinstance(template, Path) else None,
            motif=None if motif is None else tuple(motif),
            forbid=forbid if forbid is None or isinstance(forbid, str) else tuple(forbid),
            infill=None if infill is None else str(infill),
            data=GenomeOfInfill(None if fasta is None else str(fasta)),
            flank=flank,
            label=label if guide is None else None,
            guidance=float(guidance),
            guide=None if guide is None else str(guide.loaded.folder),
            guide_label=label if guide is not None else None,
            guide_order=guide_order,
            sampler=self._sampler(sampler),
            batch_size=batch_size,
            seed=seed,
        )
        requests = self._templates(template, length, motif)
        return list(
            sampled_strings(
                self.loaded,
                settings,
                templates=requests,
                guide=None if guide is None else guide.loaded,
            )
        )

    def fill(self, sequences: str | Sequence[str], **settings: object) -> str | list[str]:
        """Fill N, or another ambiguity code, with bases given all others.

        Args:
            sequences: one sequence or several.
            settings: of `sample`, such as `seed=` and `sampler=`.

        Returns:
            One string for one string, else a list.
        """
        if isinstance(sequences, str):
            return self.sample(1, template=[sequences], **settings)[0]  # type: ignore[arg-type]
        return self.sample(1, template=list(sequences), **settings)  # type: ignore[arg-type]

    def log_likelihood(
        self,
        strings: Sequence[str],
        *,
        draws: int = 16,
        seed: int = 0,
        batch_size: int = 64,
        label: str | int | None = None,
    ) -> NDArray[np.float64]:
        """Lower bound of log p in nats for each string, shape (N,); exact for a causal model.

        Of DNA N and ambiguity codes are seen and not scored. Of text the positions are scored that
        training scores: the text, its end, and the other marks with `data.score_marks`. The noise
        is a function of the string and the seed, not of its place in the list.

        Args:
            strings: none of them empty.
            draws: noise draws per row.
            seed: of the noise.
            batch_size: rows at once.
            label: a class, for a model with classes; log p is then given that class.

        Raises:
            ConfigError: for a setting out of range.
            DataError: for a string that is empty, too long, or cannot be represented.
        """
        _at_least_one(draws=draws, batch_size=batch_size)
        lm = self.loaded.language_model
        index = None if label is None else find_label(self.loaded.labels, label)
        totals = np.zeros(len(strings))
        rows = self.loaded.modality.rows(strings, seed=seed, batch_size=batch_size)
        for batch, owner in rows:
            batch = batch.to(self.device)  # noqa: PLW2901
            if index is not None:
                batch = replace(batch, label=torch.full_like(batch.row, index))  # noqa: PLW2901
            with torch.inference_mode(), running_with(self._threads(batch)):
                likelihood = lm.log_likelihood(batch, draws=draws)
            nats = torch.where(likelihood.valid, likelihood.nats.double(), 0.0).sum(dim=-1)
            np.subtract.at(totals, owner, nats.cpu().numpy())
        return totals

    def log_probs(
        self,
        strings: Sequence[str],
        *,
        hide: Literal["each", "none"] = "each",
        batch_size: int = 64,
    ) -> list[NDArray[np.float32]]:
        """Log-probabilities of A, C, G, T (or of all tokens of text) at each position.

        With `hide="each"` every position is hidden in turn, which costs one pass of the network per
        position and gives log p(base | all other bases). With `hide="none"` nothing is hidden: one
        pass, whose values at visible bases are not a conditional distribution. A causal model gives
        the distribution given the bases before, whatever `hide` is.

        Args:
            strings: none of them empty, each of one window at most for text.
            hide: `each` or `none`.
            batch_size: rows at once.

        Returns:
            One array (length, 4) per string, in nats; nan at N and ambiguity codes.

        Raises:
            ConfigError: for a setting out of range.
            DataError: for a string that is empty, too long, or cannot be represented.
        """
        _at_least_one(batch_size=batch_size)
        lm = self.loaded.language_model
        found: list[list[NDArray[np.float32]]] = [[] for _ in strings]
        rows = self.loaded.modality.rows(strings, seed=0, batch_size=batch_size)
        for batch, owner in rows:
            batch = batch.to(self.device)  # noqa: PLW2901
            values = (
                lm.log_probs(batch)
                if isinstance(lm, CausalLM)
                else lm.log_probs(batch, hide=hide, positions_at_once=batch_size)
            )
            for row, number in enumerate(owner):
                kept = values[row][batch.present[row]].float().cpu().numpy()
                found[number].append(kept)
        return [np.concatenate(parts) for parts in found]

    def embed(
        self,
        strings: Sequence[str],
        *,
        strands: Strands | None = None,
        batch_size: int | None = None,
    ) -> NDArray[np.float32]:
        """Mean of the last hidden states over each string, shape (N, D).

        Of DNA over its A, C, G, T, as `dnamdlm embed pooling=mean` does it: longer sequences are
        read in overlapping windows. Of text over the tokens, without the marks.

        Args:
            strings: at least one; none of them empty.
            strands: 'one' or 'both'; None is as the model was loaded.
            batch_size: windows or rows at once; None is what suits the device.

        Raises:
            DataError: for a string that is empty, too long, or cannot be represented.
        """
        if batch_size is not None:
            _at_least_one(batch_size=batch_size)
        modality = self.loaded.modality
        if isinstance(strings, str):
            raise DataError(
                f"one string was given where a list of {modality.strings} is wanted; put it into a "
                "list"
            )
        if not len(strings):
            raise DataError(f"there is nothing to embed; give a list of {modality.strings}")
        if isinstance(modality, Text):
            return mean_states(self.loaded, strings, batch_size=batch_size or 64)
        return embedded_strings(
            self.loaded, strings, strands=strands or "one", batch_size=batch_size
        )

    def score_variants(
        self,
        variants: str | Path,
        fasta: str | Path,
        *,
        scores: Sequence[Kind] = ("llr", "elbo"),
        length: int | None = None,
        draws: int = 8,
        strands: Strands = "both",
        match_names: bool = False,
        max_mismatch: float = 0.01,
        batch_size: int | None = None,
        seed: int = 0,
        cache_dir: str | None = None,
    ) -> DataFrame:
        """Score a VCF file, as `dnamdlm score` does.

        Args:
            variants: VCF file.
            fasta: the genome that the variants were called on.
            scores: any of `llr`, `elbo` and `embedding`.
            length: bases of a window; None is that of the training.
            draws: noise draws per allele for `elbo`.
            strands: 'both' averages the network over both strands, or 'one'.
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

        self.loaded.require_dna()
        settings = ScoreSettings(
            tuple(scores), length, draws, strands, match_names, max_mismatch, batch_size, seed
        )
        file = VariantFile(variants)
        store = open_genome(str(fasta), cache_dir=cache_dir)
        counts = check_variants(file, store, match_names=match_names, max_mismatch=max_mismatch)
        scorer = VariantScorer(self.loaded, store, settings)
        return DataFrame([as_record(row) for row in scorer.scored(file, counts)])

    def score(
        self,
        change: str,
        fasta: str | Path | GenomeStore,
        *,
        scores: Sequence[Kind] = ("llr", "elbo"),
        draws: int = 8,
        strands: Strands = "both",
        seed: int = 0,
    ) -> dict[str, float]:
        """Score one variant given as text, such as 'chr1:12345 A>G' (1-based, as in VCF).

        Args:
            change: chrom:position REF>ALT.
            fasta: the genome, or one that is open already.
            scores: any of `llr`, `elbo` and `embedding`.
            draws: noise draws per allele for `elbo`.
            strands: 'both' averages the network over both strands, or 'one'.
            seed: of the noise.

        Returns:
            Name of a column of `dnamdlm score` -> value.

        Raises:
            ConfigError: for a change that cannot be read.
            DataError: if it contradicts the genome, or cannot be scored.
        """
        row = parse_change(change)
        store = fasta if isinstance(fasta, GenomeStore) else open_genome(str(fasta))
        settings = ScoreSettings(tuple(scores), draws=draws, strands=strands, seed=seed)
        return VariantScorer(self.loaded, store, settings).score_one(row)

    def classify(self, sequences: Sequence[str], *, batch_size: int = 64) -> NDArray[np.float64]:
        """Give log p(class | sequence) of a classifier for clean sequences, shape (N, classes).

        The classes are in the order of `loaded.labels`.

        Raises:
            ConfigError: if this model is not a classifier.
            DataError: for a sequence that is empty.
        """
        _at_least_one(batch_size=batch_size)
        classifier = self.loaded.lm
        if not isinstance(classifier, NoisyClassifier):
            raise ConfigError(
                f"a {type(classifier).__name__} does not classify; load the run of a training "
                "with lm=classifier"
            )
        found = np.zeros((len(sequences), len(self.loaded.labels)))
        rows = self.loaded.modality.rows(sequences, seed=0, batch_size=batch_size)
        for batch, owner in rows:
            batch = batch.to(self.device)  # noqa: PLW2901
            with torch.inference_mode(), running_with(self._threads(batch)):
                time = torch.zeros(len(batch), device=self.device)
                found[owner] = classifier.log_probs(batch.tokens, time, batch.attended).cpu()
        return found

    def _threads(self, batch: Batch) -> int | None:
        """Threads of the CPU for a batch."""
        return plan_for(self.loaded.lm, batch.tokens.numel(), threads=None).threads

    def _sampler(self, sampler: str | StepRule | Sampler | None) -> Sampler:
        if sampler is not None:
            return as_sampler(sampler)
        is_causal = isinstance(self.loaded.language_model, CausalLM)
        return LeftToRightSampler() if is_causal else AncestralSampler()

    def _templates(
        self,
        template: str | Sequence[str] | Path | None,
        length: int | None,
        motif: Sequence[str] | None,
    ) -> list[Request] | None:
        """Requests for templates that are given as strings."""
        if template is None or isinstance(template, Path):
            return None
        if length is not None or motif is not None:
            raise ConfigError(
                "template says all that is to be filled, so leave length and motif out"
            )
        self.loaded.require_dna()
        return of_strings([template] if isinstance(template, str) else template)


def _at_least_one(**counts: int) -> None:
    for name, value in counts.items():
        if not isinstance(value, int) or value < 1:
            raise ConfigError(f"{name}={value} must be a whole number of at least 1")

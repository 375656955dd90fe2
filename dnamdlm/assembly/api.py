"""A trained model for use from Python, in terms of strings.

Each method calls the function that the command of its name calls, with the same defaults.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from dnamdlm.assembly.building.field_types import Strands, as_tuple
from dnamdlm.assembly.design.design_call import designs_of
from dnamdlm.assembly.design.designs import Designs
from dnamdlm.assembly.design.reward_of_samples import reward_of
from dnamdlm.assembly.design.reward_terms import RewardLike
from dnamdlm.assembly.devices import choose_device
from dnamdlm.assembly.embed.embedding import embedded_strings, mean_states
from dnamdlm.assembly.export_method import Exportable
from dnamdlm.assembly.interpreting import Interpretable
from dnamdlm.assembly.modality import Text
from dnamdlm.assembly.model_summary import as_html, as_text, facts_of
from dnamdlm.assembly.models import LoadedModel
from dnamdlm.assembly.number_conditions import Condition, condition_texts
from dnamdlm.assembly.reward_tuning import RewardTuning
from dnamdlm.assembly.sample.edit_requests import edits_of_strings
from dnamdlm.assembly.sample.requests import Request, of_strings
from dnamdlm.assembly.sample.sample_settings import GenomeOfInfill, SampleSettings
from dnamdlm.assembly.sample.sampling import sampled_strings, sampler_of
from dnamdlm.assembly.score.scoring_method import ScoringVariants
from dnamdlm.assembly.string_scores import (
    at_least_one,
    string_classes,
    string_likelihoods,
    string_log_probs,
)
from dnamdlm.assembly.tracks.tracks_method import WritingTracks
from dnamdlm.diffusion.lookahead import StateValue
from dnamdlm.diffusion.steps import StepRule
from dnamdlm.diffusion.tilt import Proposal, check_count
from dnamdlm.errors import ConfigError, DataError
from dnamdlm.lm.sampling.class_guidance import GuideOrder
from dnamdlm.lm.sampling.samplers import Sampler


class Model(Exportable, Interpretable, RewardTuning, ScoringVariants, WritingTracks):
    """Samples, scores and embeds strings with a trained model.

    Attributes:
        loaded: the language model, with what it was trained with.
        strands: which strands its network reads.
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
        block_length: int | None = None,
        prompt: str | None = None,
        template: str | Sequence[str] | Path | None = None,
        motif: str | Sequence[str] | None = None,
        forbid: str | Sequence[str] | None = None,
        infill: str | Path | None = None,
        edit: str | Sequence[str] | Path | None = None,
        noise_level: float = 0.3,
        fasta: str | Path | None = None,
        circular: Sequence[str] | None = None,
        rna: bool = False,
        flank: int = 0,
        label: str | int | None = None,
        condition: Condition | None = None,
        guidance: float = 1.0,
        guide: Model | None = None,
        guide_order: GuideOrder = "exact",
        corrected: bool = False,
        pointer: float = 0.0,
        reward: RewardLike | None = None,
        reward_class: str | None = None,
        reward_temperature: float = 1.0,
        population: int | None = None,
        value: str | Path | StateValue = "draws",
        value_class: str | None = None,
        guesses: int = 4,
        proposal: Proposal = "bootstrap",
        sampler: str | StepRule | Sampler | None = None,
        temperature: float = 1.0,
        top_p: float = 1.0,
        top_k: int | None = None,
        trust: str | Sequence[str] = (),
        batch_size: int = 64,
        seed: int = 1,
    ) -> list[str]:
        """Generate sequences, or texts: those of `dnamdlm sample` with the same settings.

        Args:
            num_sequences: how many; with templates or intervals, this many for each of them.
            length: bases or tokens per sequence; None is the length of the training windows, or
                what the prompt asks for.
            block_length: for a model trained with lm=block: positions per block; None is that of
                the training.
            prompt: for a model of text: text that is kept; [MASK*8] is a gap of eight tokens.
            template: for a model of DNA: a sequence or several, in which N is filled and R, Y, ...
                become one of their bases; a `Path` names a FASTA file.
            motif: letters@place from 0, such as 'TATAAA@40'; one or several.
            forbid: letters that no filled position becomes.
            infill: BED file; its intervals are filled in the context of `fasta`.
            edit: a sequence or several that are noised and denoised; a `Path` names a FASTA file.
            noise_level: share of the bases of `edit` that are noised, in (0, 1].
            fasta: genome of `infill`.
            circular: names of its circular records.
            rna: read U in files as T.
            flank: bases of context that are returned on both sides of an interval.
            label: name or index of a class, of this model or else of `guide`; None is no class.
            condition: numbers that the model was trained with, as {'activity': 2.5}, or
                {'activity': 'q0.99'} for a quantile of the training rows; None is none.
            guidance: 0 is without the class or numbers, 1 with them, above 1 sharpens them.
            guide: a classifier of noisy sequences that steers this model towards `label`.
            guide_order: 'exact', or 'first_order', which is faster.
            corrected: draw from p(x|y)^g p(x)^(1-g) itself, g = guidance; needs `population`.
            pointer: for a model of copying=pointer: probability that a sequence is drawn given a
                random place of the training genome, from which it may copy.
            reward: a function from a list of sequences to a number for each, an object with such a
                method `batch`, a run folder of `dnamdlm finetune`, or a list of terms, see
                `dnamdlm.reward`. Each sequence is one draw from a population that is weighed to
                p(x) exp(reward(x) / reward_temperature) / Z, where p is what the other settings
                draw from; the result has `log_z` and `effective_size` of each population.
            reward_class: class, label or number of a head that predicts several.
            reward_temperature: in the unit of the reward; lower steers harder.
            population: members of each population; None is 16 with a reward. More come
                closer to the target, at as many times the cost.
            value: how members with masks are valued, see `dnamdlm.diffusion.Tilt`; or the run
                folder of a training with lm=regressor or lm=classifier.
            value_class: class or number of that run.
            guesses: completed sequences per value.
            proposal: 'bootstrap' draws tokens as the sampler does; 'first_order' prefers those that
                lead to more reward, which finds rare ones, calls the reward four times as often per
                token, and is best with more guesses; 'gradient' does so by one derivative.
            sampler: the name of a sampler, a step rule, or a sampler; None is that of the command.
            temperature: below 1 sharpens every draw.
            top_p: draw from the nucleus of this total probability.
            top_k: draw from this many most likely tokens; None is all.
            trust: packages, and stems of reward files, whose code may run.
            batch_size: sequences at once; does not change the result.
            seed: of all noise.

        Raises:
            ConfigError: if a setting is out of range, has no effect, or the model cannot do it.
            DataError: for a template, a prompt or a file that cannot be used.
        """
        if guide is not None and label is None:
            raise ConfigError("guide needs a class of the classifier; give label=NAME")
        if callable(value) and reward is None:
            raise ConfigError("value was given but has no effect: there is no reward; leave it out")
        if population is not None:
            check_count("population", population)
        settings = SampleSettings(
            model=str(self.loaded.run_dir or self.loaded.folder),
            out="",
            num_sequences=num_sequences,
            length=length,
            block_length=block_length,
            prompt=prompt,
            temperature=float(temperature),
            top_p=float(top_p),
            top_k=top_k,
            template=str(template) if isinstance(template, Path) else None,
            motif=None if motif is None else as_tuple(motif),
            forbid=forbid if forbid is None or isinstance(forbid, str) else tuple(forbid),
            infill=None if infill is None else str(infill),
            edit=None if edit is None else str(edit) if isinstance(edit, Path) else "strings",
            noise_level=float(noise_level),
            data=GenomeOfInfill(fasta and str(fasta), as_tuple(circular or ()) or None, rna=rna),
            flank=flank,
            label=label if guide is None else None,
            condition=condition_texts(condition),
            guidance=float(guidance),
            guide=None if guide is None else str(guide.loaded.folder),
            guide_label=label if guide is not None else None,
            guide_order=guide_order,
            corrected=corrected,
            pointer=float(pointer),
            reward=None if reward is None else reward if isinstance(reward, str) else "given",
            reward_class=reward_class,
            reward_temperature=float(reward_temperature),
            population=population,
            value="draws" if callable(value) else str(value),
            value_class=value_class,
            guesses=guesses,
            proposal=proposal,
            trust=as_tuple(trust),
            device=str(self.loaded.device),
            sampler=sampler_of(self.loaded, sampler),
            batch_size=batch_size,
            seed=seed,
        )
        requests = self._templates(template, length, motif)
        if edit is not None and not isinstance(edit, Path):
            self.loaded.require_dna()
            requests = edits_of_strings([edit] if isinstance(edit, str) else edit, noise_level)
        other = None if guide is None else guide.loaded
        return sampled_strings(
            self.loaded,
            settings,
            templates=requests,
            guide=other,
            reward=reward_of(settings, reward),
            value=value if callable(value) else None,
        )

    @functools.wraps(designs_of)
    def design(self, *arguments: Any, **settings: Any) -> Designs:
        """Design sequences; `designs_of` gives the docstring."""
        return designs_of(self.loaded, *arguments, **settings)

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
        condition: Condition | None = None,
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
            condition: numbers, for a model with numbers, as in `sample`.

        Raises:
            ConfigError: for a setting out of range.
            DataError: for a string that is empty, too long, or cannot be represented.
        """
        at_least_one(draws=draws, batch_size=batch_size)
        return string_likelihoods(
            self.loaded,
            strings,
            draws=draws,
            seed=seed,
            batch_size=batch_size,
            label=label,
            condition=condition_texts(condition),
        )

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
        at_least_one(batch_size=batch_size)
        return string_log_probs(self.loaded, strings, hide=hide, batch_size=batch_size)

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
            strands: 'one', 'other' or 'both'; None is as the model was loaded.
            batch_size: windows or rows at once; None is what suits the device.

        Raises:
            DataError: for a string that is empty, too long, or cannot be represented.
        """
        if batch_size is not None:
            at_least_one(batch_size=batch_size)
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
            self.loaded, strings, strands=strands or self.strands, batch_size=batch_size
        )

    def classify(self, sequences: Sequence[str], *, batch_size: int = 64) -> NDArray[np.float64]:
        """Give log p(class | sequence) of a classifier for clean sequences, shape (N, classes).

        The classes are in the order of `loaded.labels`.

        Raises:
            ConfigError: if this model is not a classifier.
            DataError: for a sequence that is empty.
        """
        at_least_one(batch_size=batch_size)
        return string_classes(self.loaded, sequences, batch_size=batch_size)

    def _templates(
        self,
        template: str | Sequence[str] | Path | None,
        length: int | None,
        motif: str | Sequence[str] | None,
    ) -> list[Request] | None:
        """Requests for templates that are given as strings."""
        if template is None or isinstance(template, Path):
            return None
        if length is not None or motif is not None:
            raise ConfigError("template says all that is to be filled; leave length and motif out")
        self.loaded.require_dna()
        return of_strings([template] if isinstance(template, str) else template)

"""A trained model of text for use from Python, in terms of strings."""

from __future__ import annotations

import functools
import json
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NoReturn

import numpy as np
import torch
from numpy.typing import NDArray

from dnamdlm.assembly.building.schema import build
from dnamdlm.assembly.models import LoadedModel
from dnamdlm.assembly.sample.text_sampling import sample_text
from dnamdlm.data.batch import Batch
from dnamdlm.data.text.corpus import OpenText, TextData
from dnamdlm.data.text.given_texts import GivenRows
from dnamdlm.data.text.rows import BlockWindows
from dnamdlm.diffusion.categorical import Choice
from dnamdlm.errors import ConfigError, DataError
from dnamdlm.lm.causal import CausalLM
from dnamdlm.lm.sampling.generation import check_served
from dnamdlm.lm.sampling.samplers import (
    AncestralSampler,
    LeftToRightSampler,
    Sampler,
    SemiAutoregressiveSampler,
)
from dnamdlm.tokens.text_tokenizer import TextTokenizer


class TextModel:
    """Samples, scores and embeds texts with a trained model.

    Texts become rows as the model was trained on them. With `data.layout=padded` a text is one row
    with the marks of the tokenizer, and one that is longer than a row is refused. With `packed` a
    text and its end mark are cut into blocks, each of which is read on its own, and what is found
    is summed over them; the first block begins with the text.
    """

    def __init__(self, loaded: LoadedModel) -> None:
        self.loaded = loaded
        self._settings: TextData = build(loaded.tree["data"], "data")

    @functools.cached_property
    def tokenizer(self) -> TextTokenizer:
        """The tokenizer of the model: text to ids and back.

        Raises:
            DataError: if neither the model nor its corpus has it any more.
        """
        return self._settings.open_tokenizer()

    @property
    def window_length(self) -> int:
        """Tokens per row in training, marks included."""
        return self._settings.length

    def sample(
        self,
        num_sequences: int,
        length: int | None = None,
        *,
        prompt: str = "",
        seed: int = 1,
        sampler: Sampler | None = None,
        temperature: float = 1.0,
        top_p: float = 1.0,
        top_k: int | None = None,
        batch_size: int = 64,
    ) -> list[str]:
        """Generate texts: with the same settings those of `python -m dnamdlm.sample`.

        Args:
            num_sequences: how many.
            length: tokens per text; None fills the gaps of the prompt, or without gaps one row of
                the training.
            prompt: text that is kept; [MASK] is a token to fill, [MASK*8] eight.
            seed: of all noise; the same seed gives the same texts, whatever the batch size.
            sampler: see `dnamdlm.lm.sampling.samplers`; None is the one that the model is made for.
            temperature: below 1 sharpens every draw.
            top_p: draw from the nucleus of this total probability.
            top_k: draw from this many most likely tokens; None is all.
            batch_size: texts at once.

        Raises:
            ConfigError: for a setting out of range, or a sampler that the model cannot serve.
            DataError: for a prompt that the tokenizer cannot represent.
        """
        counts = {"num_sequences": num_sequences, "length": length, "batch_size": batch_size}
        for name, value in counts.items():
            if value is not None and value < 1:
                raise ConfigError(f"{name}={value} must be at least 1")
        lm = self.loaded.language_model
        if sampler is None:
            sampler = LeftToRightSampler() if isinstance(lm, CausalLM) else AncestralSampler()
        check_served(lm, sampler)
        if isinstance(sampler, SemiAutoregressiveSampler):
            sampler.window_and_overlap(self.window_length)
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "texts.jsonl"
            tree = counts | {"prompt": prompt or None, "seed": seed, "out": str(out)}
            sample_text(tree, self.loaded, sampler, Choice(temperature, top_p, top_k))
            with out.open(encoding="utf-8", newline="\n") as file:
                return [json.loads(line)["text"] for line in file]

    def log_likelihood(
        self, texts: Sequence[str], *, draws: int = 16, seed: int = 0, batch_size: int = 64
    ) -> NDArray[np.float64]:
        """Lower bound of log p in nats for each text, shape (num_texts,).

        It is exact for an autoregressive model. What is scored are the positions of a row that
        training scores: the text, its end, and the other marks with `data.score_marks`.

        Args:
            texts: none of them empty; see `TextModel` for long ones.
            draws: noise draws per row; an exact model ignores it.
            seed: of the noise.
            batch_size: rows at once.

        Raises:
            DataError: for a text that is empty or too long, or that the tokenizer cannot represent.
        """
        lm = self.loaded.language_model
        totals = np.zeros(len(texts))
        for batch, owner in self._batches(texts, seed, batch_size):
            with torch.inference_mode():
                likelihood = lm.log_likelihood(batch, draws=draws)
            nats = torch.where(likelihood.valid, likelihood.nats.double(), 0.0).sum(dim=-1)
            np.subtract.at(totals, owner, nats.cpu().numpy())
        return totals

    def embed(self, texts: Sequence[str], *, batch_size: int = 64) -> NDArray[np.float32]:
        """Mean of the last hidden states over the tokens of each text, shape (num_texts, D).

        The marks are read and not counted.

        Raises:
            DataError: for a text that is empty or too long, or that the tokenizer cannot represent.
        """
        if not len(texts):
            raise DataError("there is no text to embed; give at least one")
        lm, marks = self.loaded.language_model, [self.tokenizer.begin_id, self.tokenizer.end_id]
        total: torch.Tensor | None = None
        counts = torch.zeros(len(texts))
        for batch, owner in self._batches(texts, 0, batch_size):
            with torch.inference_mode():
                states = lm.hidden(batch).float()
            is_text = batch.present.clone()
            for mark in marks:
                # no text becomes a mark.
                is_text &= batch.tokens != (-1 if mark is None else mark)
            rows = torch.where(is_text[..., None], states, 0.0).sum(dim=1).cpu()
            if total is None:
                total = torch.zeros(len(texts), rows.shape[-1])
            index = torch.from_numpy(owner)
            total.index_add_(0, index, rows)
            counts.index_add_(0, index, is_text.sum(dim=1).float().cpu())
        assert total is not None
        return (total / counts[:, None]).numpy()

    def score_variants(self, *_: object, **__: object) -> NoReturn:
        """Refuse: variants are changes of DNA.

        Raises:
            ConfigError: always.
        """
        raise _of_dna("score_variants")

    def classify(self, *_: object, **__: object) -> NoReturn:
        """Refuse: classes belong to DNA; `python -m dnamdlm.predict` is for heads of text.

        Raises:
            ConfigError: always.
        """
        raise _of_dna("classify")

    def _batches(
        self, texts: Sequence[str], seed: int, batch_size: int
    ) -> Iterator[tuple[Batch, NDArray[np.int64]]]:
        """Rows, and the text that each belongs to."""
        if isinstance(texts, str):
            raise DataError("one text was given where several are wanted; put it into a list")
        if not len(texts):
            return
        rule = OpenText(self._settings, {}, self.tokenizer).rule()
        rows = GivenRows(texts, rule, self.tokenizer)
        device = next(self.loaded.lm.parameters()).device
        done = 0
        for batch in BlockWindows(rows, seed=seed).batches(batch_size):
            yield batch.to(device), rows.owner[done : done + len(batch)]
            done += len(batch)


def _of_dna(method: str) -> ConfigError:
    return ConfigError(
        f"{method} is for models of DNA, and this is one of text; use sample, log_likelihood or "
        "embed, or load a model of DNA"
    )

"""Causal models that score text of other models: checkpoints of ours, and Hugging Face models.

A scorer has its own tokenizer: text is tokenized again, whatever tokens it was sampled as.

Shapes: B rows, L positions.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray
from torch import Tensor

from dnamdlm.data.batch import Batch
from dnamdlm.data.text.tokenizers import open_tokenizer
from dnamdlm.errors import ConfigError, DataError
from dnamdlm.lm.causal import CausalLM
from dnamdlm.ops.precision import computing_on
from dnamdlm.tokens.subwords import has_tokenizer
from dnamdlm.tokens.text_tokenizer import TextTokenizer

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[\w.-]+)?")
_NEEDS = "install it with pip install 'dnamdlm[text]', or give a run of your own (lm=ar) as scorer"


@runtime_checkable
class Scorer(Protocol):
    """A causal model with its tokenizer."""

    @property
    def name(self) -> str:
        """Name shown to people."""
        ...

    @property
    def tokenizer(self) -> TextTokenizer:
        """Tokenizer of the model."""
        ...

    @property
    def context(self) -> int:
        """Largest number of tokens that it reads at once."""
        ...

    def nats(
        self, tokens: Int[Tensor, "B L"], present: Bool[Tensor, "B L"]
    ) -> Float[Tensor, "B L"]:
        """-log p of each token given those before it in its row; the first value has no meaning.

        Args:
            tokens: ids, with padding at the end of rows.
            present: False at padding.
        """
        ...

    def states(
        self, tokens: Int[Tensor, "B L"], present: Bool[Tensor, "B L"]
    ) -> Float[Tensor, "B D"]:
        """Last hidden state of the last token of each row."""
        ...


class CheckpointScorer:
    """An autoregressive model of ours.

    Args:
        lm: in evaluation mode.
        tokenizer: of its corpus.
        context: tokens per row in training, without the marks that rows begin and end with.
        name: shown to people.
        begin_id: mark at the start of training rows; it is put before the text and not scored. None
            for rows without one.
    """

    def __init__(
        self,
        lm: CausalLM,
        tokenizer: TextTokenizer,
        context: int,
        name: str,
        begin_id: int | None = None,
    ) -> None:
        self.lm, self.tokenizer, self.context, self.name = lm, tokenizer, context, name
        self._device = next(lm.parameters()).device
        self._begin_id = begin_id

    @torch.no_grad()
    def nats(
        self, tokens: Int[Tensor, "B L"], present: Bool[Tensor, "B L"]
    ) -> Float[Tensor, "B L"]:
        """-log p of each token, the first one after the start mark."""
        num_tokens = tokens.shape[1]
        tokens, present = self._begun(tokens, present)
        with computing_on(tokens.device):
            log_probs = self.lm.next_log_probs(tokens, None if bool(present.all()) else present)
        nats = -log_probs.gather(-1, tokens.unsqueeze(-1)).squeeze(-1).double().cpu()
        return nats[:, nats.shape[1] - num_tokens :]

    @torch.no_grad()
    def states(
        self, tokens: Int[Tensor, "B L"], present: Bool[Tensor, "B L"]
    ) -> Float[Tensor, "B D"]:
        """Last hidden state of the last token of each row."""
        tokens, present = self._begun(tokens, present)
        keys = torch.zeros(len(tokens), dtype=torch.int64)
        batch = Batch(tokens, present, present, None, keys, keys, len(tokens), None)
        return _last(self.lm.hidden(batch.to(self._device)), present)

    def _begun(self, tokens: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
        """Rows as in training, on the device of the model."""
        if self._begin_id is not None:
            tokens = torch.nn.functional.pad(tokens, (1, 0), value=self._begin_id)
            present = torch.nn.functional.pad(present, (1, 0), value=True)
        return tokens.to(self._device), present.to(self._device)


class HuggingFaceScorer:
    """A causal model of `transformers`.

    Args:
        model: from `AutoModelForCausalLM`.
        tokenizer: its tokenizer.
        name: shown to people.
        device: where it runs.

    Raises:
        DataError: if the tokenizer gives ids outside the vocabulary of the model.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: TextTokenizer,
        name: str,
        device: torch.device | str = "cpu",
    ) -> None:
        self.model, self.tokenizer, self.name = model.to(device).eval(), tokenizer, name
        config = model.config
        known = (getattr(config, key, None) for key in ("n_positions", "max_position_embeddings"))
        self.context = int(next((size for size in known if size), 1024))
        self._num_ids = int(config.vocab_size)
        self._device = torch.device(device)
        largest = max(tokenizer.vocabulary.real_ids)
        if largest >= self._num_ids:
            raise DataError(
                f"the tokenizer of scorer={name} gives ids up to {largest}, but the model has "
                f"{self._num_ids}; put the tokenizer of the model into its folder"
            )

    @torch.no_grad()
    def nats(
        self, tokens: Int[Tensor, "B L"], present: Bool[Tensor, "B L"]
    ) -> Float[Tensor, "B L"]:
        """-log p of each token; 0 for the first of a row, which has no context."""
        result = torch.zeros(tokens.shape, dtype=torch.float64)
        if tokens.shape[1] > 1:
            logits = self.model(**self._inputs(tokens, present)).logits[:, :-1].float()
            following = self._known(tokens, present)[:, 1:].to(self._device)
            log_probs = logits.log_softmax(dim=-1)
            nats = -log_probs.gather(-1, following.unsqueeze(-1)).squeeze(-1)
            result[:, 1:] = nats.double().cpu()
        return result

    @torch.no_grad()
    def states(
        self, tokens: Int[Tensor, "B L"], present: Bool[Tensor, "B L"]
    ) -> Float[Tensor, "B D"]:
        """Last hidden state of the last token of each row."""
        output = self.model(**self._inputs(tokens, present), output_hidden_states=True)
        return _last(output.hidden_states[-1], present)

    def _inputs(self, tokens: Tensor, present: Tensor) -> dict[str, Tensor]:
        return {
            "input_ids": self._known(tokens, present).to(self._device),
            "attention_mask": present.long().to(self._device),
        }

    def _known(self, tokens: Tensor, present: Tensor) -> Tensor:
        """Ids with 0 in place of our padding, which the model does not know."""
        return torch.where(present, tokens, 0)


def hugging_face_scorer(name: str, device: torch.device | str = "cpu") -> HuggingFaceScorer:
    """A causal model of the Hugging Face hub, or of a folder with its weights and tokenizer.

    Raises:
        ConfigError: if transformers is not installed.
        DataError: if the model or its tokenizer does not exist.
    """
    folder = Path(name)
    is_mistyped_path = folder.parent != Path() and folder.parent.is_dir()
    if not folder.exists() and (is_mistyped_path or not _HUB_ID.fullmatch(name)):
        raise DataError(
            f"scorer={name} does not exist; give a run folder of ours (lm=ar), the folder of a "
            "Hugging Face model, or a hub id such as gpt2-large"
        )
    try:
        import transformers  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise ConfigError(
            f"scorer={name} is read with the package transformers, which is not installed; {_NEEDS}"
        ) from error
    if folder.is_dir() and not has_tokenizer(folder):
        raise DataError(
            f"scorer={name} has no tokenizer; put tokenizer.json, or vocab.json and merges.txt, "
            "of the model into it"
        )
    try:
        model = transformers.AutoModelForCausalLM.from_pretrained(name)
    except (OSError, ValueError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise DataError(
            f"scorer={name} cannot be read as a causal model ({reason.rstrip('.')}); give a "
            "run folder of ours (lm=ar), the folder of a Hugging Face model, or download one with "
            "hf download NAME --local-dir DIR on a machine with a network"
        ) from error
    return HuggingFaceScorer(model, open_tokenizer(name), folder.name or name, device)


def padded(
    rows: Sequence[NDArray[np.int64]], pad_id: int
) -> tuple[Int[Tensor, "B L"], Bool[Tensor, "B L"]]:
    """Rows of ids as one tensor with padding at their ends, and a mask that is False at padding."""
    length = max(map(len, rows))
    tokens = torch.full((len(rows), length), pad_id, dtype=torch.int64)
    present = torch.zeros(tokens.shape, dtype=torch.bool)
    for number, row in enumerate(rows):
        tokens[number, : len(row)] = torch.from_numpy(row)
        present[number, : len(row)] = True
    return tokens, present


def _last(hidden: Tensor, present: Tensor) -> Tensor:
    place = present.sum(dim=1).to(hidden.device) - 1
    return hidden[torch.arange(len(hidden), device=hidden.device), place].double().cpu()

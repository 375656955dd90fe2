"""The autoregressive language model: the baseline whose likelihood needs no bound.

The mask serves as the start token, since it never stands in data. Unknown bases and padding are
context at most: they are neither predicted nor scored.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from dnamdlm.backbones.autoregressive import CausalTransformer
from dnamdlm.backbones.backbone import Backbone
from dnamdlm.data.batch import Batch
from dnamdlm.diffusion.categorical import UNCHANGED, Choice
from dnamdlm.diffusion.constraints import Constraints
from dnamdlm.diffusion.parameterization import restricted
from dnamdlm.diffusion.randomness import RowNoise, Stream
from dnamdlm.diffusion.reverse import Generated
from dnamdlm.errors import ConfigError
from dnamdlm.lm.classes import num_classes_of
from dnamdlm.lm.language_model import LossTerms, TokenLikelihood
from dnamdlm.lm.sampling.network_calls import ROWS_PER_CALL, ROWS_PER_CALL_CPU
from dnamdlm.tokens.vocabulary import Vocabulary


class CausalLM(nn.Module):
    """Predicts each token from those before it."""

    real_tokens: Tensor

    def __init__(self, backbone: Backbone, vocabulary: Vocabulary) -> None:
        """Join network and vocabulary.

        Args:
            backbone: a module with the interface of `Backbone` whose outputs see only the past.
            vocabulary: meaning of the ids.

        Raises:
            ConfigError: if the backbone sees the future, is told classes or knows too few ids.
        """
        super().__init__()
        if not getattr(backbone, "causal", False):
            raise ConfigError(
                f"lm=ar needs a backbone that sees only the past, and {type(backbone).__name__} "
                "sees both sides; use backbone=ar"
            )
        if num_classes_of(backbone):
            raise ConfigError(
                f"backbone.num_classes={num_classes_of(backbone)}, but an autoregressive model is "
                "trained without classes; use backbone.num_classes=0, or lm=mdlm"
            )
        if backbone.vocab_size < len(vocabulary):
            raise ConfigError(
                f"backbone.vocab_size={backbone.vocab_size} is below the {len(vocabulary)} ids of "
                f"the vocabulary; use {len(vocabulary)} or more"
            )
        self.backbone = backbone
        self._vocabulary = vocabulary
        real_tokens = torch.zeros(backbone.vocab_size, dtype=torch.bool)
        real_tokens[list(vocabulary.real_ids)] = True
        self.register_buffer("real_tokens", real_tokens, persistent=False)

    @property
    def vocabulary(self) -> Vocabulary:
        """The meaning of the token ids."""
        return self._vocabulary

    def log_probs(
        self, tokens: Int[Tensor, "B L"], present: Bool[Tensor, "B L"] | None = None
    ) -> Float[Tensor, "B L V"]:
        """Log-probabilities of each token given those before it, over the real tokens.

        Args:
            tokens: ids; the last one is predicted and not seen.
            present: False at padding; None means no padding.
        """
        start = torch.full_like(tokens[:, :1], self._vocabulary.mask_id)
        seen = torch.cat([start, tokens[:, :-1]], dim=1)
        if present is not None:
            present = torch.cat([torch.ones_like(present[:, :1]), present[:, :-1]], dim=1)
        return restricted(self.backbone(seen, None, present), self.real_tokens)

    def hidden(self, batch: Batch) -> Float[Tensor, "B L D"]:
        """Last hidden states; each has seen its own token and those before."""
        return self.backbone.hidden(batch.tokens, None, batch.attended)

    def forward(self, batch: Batch) -> LossTerms:
        """The same as `loss_terms`, for wrappers that call modules."""
        return self.loss_terms(batch)

    def loss_terms(self, batch: Batch) -> LossTerms:
        """Surprise of every valid token; nothing is random but dropout."""
        return LossTerms(self._nats(batch), batch.valid)

    @torch.no_grad()
    def log_likelihood(self, batch: Batch, *, draws: int = 1) -> TokenLikelihood:
        """The exact -log p of the valid tokens; `draws` has no effect."""
        del draws
        was_training = self.training
        self.eval()
        try:
            nats = self._nats(batch)
        finally:
            self.train(was_training)
        return TokenLikelihood(nats, batch.valid, "exact")

    @torch.no_grad()
    def generate(
        self,
        keys: Int[Tensor, " B"],
        length: int,
        *,
        initial: Int[Tensor, "B L"] | None = None,
        batch_size: int = 64,
        choice: Choice = UNCHANGED,
        constraints: Constraints | None = None,
        watch: Callable[[int], None] | None = None,
    ) -> Generated:
        """Draw from left to right, one sequence per key; transformers keep keys and values.

        A sequence is a function of its key and the settings; the batch it is made in and the other
        keys do not change it.

        Args:
            keys: noise keys, see `row_keys`; their device is that of the result.
            length: tokens per sequence.
            initial: ids to start from; masks are filled, and what follows a mask must be a mask,
                because a model of the past cannot be conditioned on the future.
            batch_size: sequences held at once.
            choice: temperature and nucleus of every draw.
            constraints: tokens that masks may become. They narrow each token's law given the past,
                which does not look ahead to what later positions must be.
            watch: told how many tokens were filled.

        Raises:
            ConfigError: if a number is out of range or `initial` does not fit.
        """
        initial = self._initial(len(keys), length, initial, batch_size).to(keys.device)
        rows = ROWS_PER_CALL_CPU if keys.device.type == "cpu" else ROWS_PER_CALL
        was_training = self.training
        self.eval()
        tokens, network_calls, row_calls = [initial[:0]], 0, 0
        try:
            for group in torch.arange(len(keys), device=keys.device).split(min(batch_size, rows)):
                if len(group) == 0:
                    continue
                todo = initial[group] == self._vocabulary.mask_id
                filled = self._continue(
                    RowNoise(keys[group]),
                    initial[group],
                    rows,
                    choice,
                    None if constraints is None else constraints.select(group),
                )
                tokens.append(filled)
                places = torch.arange(1, length + 1, device=todo.device)
                last = (todo * places).amax(dim=1)
                network_calls += int(last.max())
                row_calls += int(last.sum())
                if watch is not None:
                    watch(int(todo.sum()))
        finally:
            self.train(was_training)
        return Generated(torch.cat(tokens), network_calls, row_calls)

    def _continue(
        self,
        noise: RowNoise,
        initial: Tensor,
        num_rows: int,
        choice: Choice,
        constraints: Constraints | None,
    ) -> Tensor:
        """Fill the masks of a few rows; the network always sees `num_rows` of them."""
        tokens = initial.clone()
        masked = initial == self._vocabulary.mask_id
        if not bool(masked.any()):
            return tokens
        last = int(masked.any(dim=0).nonzero().max()) + 1
        # rows that only fill the call up repeat the last one.
        repeated = torch.arange(num_rows, device=tokens.device).clamp(max=len(tokens) - 1)
        step = self._stepper(num_rows, last)
        seen = initial.new_full((num_rows,), self._vocabulary.mask_id)
        for place in range(last):
            logits = step(seen)[: len(initial), None]
            law = restricted(logits, self.real_tokens)
            if constraints is not None:
                law = constraints.at(place).apply(law, masked[:, place : place + 1])
            log_probs = law[:, 0]
            drawn = choice.draw(log_probs, noise.uniform(Stream.TOKENS, place))
            tokens[:, place] = torch.where(masked[:, place], drawn, tokens[:, place])
            seen = tokens[repeated, place]
        return tokens

    def _stepper(self, num_rows: int, length: int) -> Callable[[Tensor], Tensor]:
        """A function from the newest tokens (rows,) to the logits (rows, V) of what follows."""
        if isinstance(self.backbone, CausalTransformer):
            return partial(self.backbone.step, cache=self.backbone.new_cache(num_rows, length))
        past: list[Tensor] = []

        def step(tokens: Tensor) -> Tensor:
            # without a cache the whole past is read again.
            past.append(tokens)
            return self.backbone(torch.stack(past, dim=1), None, None)[:, -1]

        return step

    def _nats(self, batch: Batch) -> Tensor:
        log_probs = self.log_probs(batch.tokens, batch.attended)
        surprise = -log_probs.gather(-1, batch.tokens.unsqueeze(-1)).squeeze(-1)
        # where, not multiply: an unknown base has no probability at all.
        return torch.where(batch.valid, surprise, 0.0)

    def _initial(self, rows: int, length: int, initial: Tensor | None, batch_size: int) -> Tensor:
        """The checked start of generation."""
        if length < 1 or batch_size < 1:
            raise ConfigError(
                f"length and batch_size must be at least 1, got {length} and {batch_size}"
            )
        mask_id, pad_id = self._vocabulary.mask_id, self._vocabulary.pad_id
        if initial is None:
            return torch.full((rows, length), mask_id)
        if tuple(initial.shape) != (rows, length):
            raise ConfigError(
                f"initial has shape {tuple(initial.shape)}, but {rows} sequences of length "
                f"{length} were asked for"
            )
        if bool(((initial < 0) | (initial >= len(self._vocabulary))).any()):
            raise ConfigError(f"initial holds ids outside [0, {len(self._vocabulary)})")
        after_mask = (initial == mask_id).cumsum(dim=1) > 0
        if bool((after_mask & (initial != mask_id) & (initial != pad_id)).any()):
            raise ConfigError(
                "an autoregressive model continues a prefix and cannot fill gaps before given "
                "tokens; use a masked diffusion model for this template"
            )
        return initial

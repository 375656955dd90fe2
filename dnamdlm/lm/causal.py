"""The autoregressive language model: the baseline whose likelihood needs no bound.

The mask serves as the start token, since it never occurs in data. Unknown bases and padding are
at most context: they are neither predicted nor scored.

Shapes: B sequences, L positions, V outputs of the network, R real tokens (4 for DNA).
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
from dnamdlm.lm.estimators import exact_estimator
from dnamdlm.lm.language_model import LossTerms, TokenLikelihood
from dnamdlm.lm.model_parts import checked_start, evaluating, network_of
from dnamdlm.lm.network_model import NetworkModel
from dnamdlm.lm.sampling.network_calls import rows_per_call
from dnamdlm.ops.precision import computing_on
from dnamdlm.tokens.vocabulary import Vocabulary


class CausalLM(NetworkModel):
    """Predicts each token from those before it.

    Example:
        >>> from dnamdlm.backbones.autoregressive import CausalTransformer
        >>> from dnamdlm.diffusion.randomness import row_keys
        >>> from dnamdlm.tokens.nucleotide import NUCLEOTIDE_VOCABULARY
        >>> backbone = CausalTransformer(vocab_size=12, hidden_size=16, num_blocks=1, num_heads=2)
        >>> lm = CausalLM(backbone, NUCLEOTIDE_VOCABULARY)
        >>> lm.generate(row_keys(seed=1, index=torch.arange(3)), length=10).tokens.shape
        torch.Size([3, 10])
    """

    def __init__(self, backbone: Backbone | nn.Module, vocabulary: Vocabulary) -> None:
        """Join network and vocabulary.

        Args:
            backbone: a network with the interface of `Backbone`, or any other module from ids to
                logits, whose outputs depend on the past alone; its attribute `causal` says so.
            vocabulary: meaning of the ids.

        Raises:
            ConfigError: if the backbone sees the future, has classes, or has too few outputs.
        """
        backbone = network_of(backbone, vocabulary)
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
        super().__init__(backbone, vocabulary)

    def next_log_probs(
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

    @torch.no_grad()
    def log_probs(self, batch: Batch) -> Float[Tensor, "B L R"]:
        """Log-probabilities of the real tokens (A, C, G, T for DNA) given the tokens before.

        The tokens after a position do not enter, unlike in `MaskedDiffusionLM.log_probs`.

        Args:
            batch: sequences; positions that are not `valid` have nan.
        """
        with evaluating(self):
            found = self.next_log_probs(batch.tokens, batch.attended)
        found = found[..., list(self._vocabulary.real_ids)]
        return found.masked_fill(~batch.valid.unsqueeze(-1), torch.nan)

    def hidden(
        self, batch: Batch, *, soft: Float[Tensor, "B L V"] | None = None
    ) -> Float[Tensor, "B L D"]:
        """Last hidden states, each of its own token and those before; see `SoftEncoder`."""
        tokens = batch.tokens if soft is None else soft
        with computing_on(batch.tokens.device):
            return self.backbone.hidden(tokens, None, batch.attended)

    def forward(self, batch: Batch) -> LossTerms:
        """The same as `loss_terms`, for wrappers that call modules."""
        return self.loss_terms(batch)

    def loss_terms(self, batch: Batch) -> LossTerms:
        """-log p of every valid token in nats; only dropout is random."""
        return LossTerms(self._nats(batch), batch.valid)

    @torch.no_grad()
    def log_likelihood(
        self, batch: Batch, *, draws: int = 1, estimator: str = "auto"
    ) -> TokenLikelihood:
        """The exact -log p of the valid tokens; `draws` has no effect.

        Raises:
            ConfigError: for an estimator other than `auto`.
        """
        del draws
        self.chosen_estimator(estimator)
        with evaluating(self):
            nats = self._nats(batch)
        return TokenLikelihood(nats, batch.valid, "exact")

    def chosen_estimator(self, estimator: str) -> str:
        """`auto`; a `ConfigError` for every other estimator, since the likelihood is exact."""
        return exact_estimator(estimator, type(self).__name__)

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
            choice: temperature, top_p and top_k of every draw.
            constraints: tokens that masks may become. They restrict the distribution of each token
                given the past, and do not look ahead to what later positions must be.
            watch: called with the number of tokens just filled.

        Raises:
            ConfigError: if a number is out of range or `initial` does not fit.
        """
        initial = self._checked_prefix(
            checked_start(self._vocabulary, len(keys), length, initial, batch_size)
        ).to(keys.device)
        rows = rows_per_call(length, is_cpu=keys.device.type == "cpu")
        tokens, network_calls, row_calls = [initial[:0]], 0, 0
        with evaluating(self):
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
            log_probs = restricted(logits, self.real_tokens)
            if constraints is not None:
                log_probs = constraints.at(place).apply(log_probs, masked[:, place : place + 1])
            drawn = choice.draw(log_probs[:, 0], noise.uniform(Stream.TOKENS, place))
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
        log_probs = self.next_log_probs(batch.tokens, batch.attended)
        surprise = -log_probs.gather(-1, batch.tokens.unsqueeze(-1)).squeeze(-1)
        # where, not multiply: an unknown base has probability 0.
        return torch.where(batch.valid, surprise, 0.0)

    def _checked_prefix(self, initial: Tensor) -> Tensor:
        """The start of generation, in which nothing but masks and padding follows a mask."""
        mask_id, pad_id = self._vocabulary.mask_id, self._vocabulary.pad_id
        after_mask = (initial == mask_id).cumsum(dim=1) > 0
        if bool((after_mask & (initial != mask_id) & (initial != pad_id)).any()):
            raise ConfigError(
                "an autoregressive model continues a prefix and cannot fill gaps before given "
                "tokens; use a masked diffusion model for this template"
            )
        return initial

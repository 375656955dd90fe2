"""Sets of sequences that an automaton reads, and exact draws within them.

Given weights w_i(a) of each symbol at each position, the product distribution restricted to the
accepted sequences, q(x) ~ prod_i w_i(x_i) 1[x is accepted], is drawn exactly: backward messages

    beta_L(s) = 1[s accepts],   beta_i(s) = sum_a w_i(a) beta_{i+1}(next(s, a)),

then position by position from the left, x_i ~ w_i(a) beta_{i+1}(next(s_i, a)). The total is
beta_0(start), the probability that an unrestricted draw is accepted.

What this gives a reverse process. A step has the product of the denoiser's conditionals over all
masks; restricted to the accepted sequences it is drawn exactly, and the step shows the positions
that it reveals. The sequence of such steps is not the model given the constraint, since the product
is not the model: each step is off by total(before) / total(after), with both totals under the
distributions of the step. `Steering` counts these ratios as weights, so that populations draw from
p(x) 1[x is accepted] / Z, and Z, the probability that a draw of p is accepted, is estimated without
bias. Where one step reveals all masks, or the denoiser's conditionals do not depend on the tokens,
the ratios are constant.

Shapes: B sequences, L positions, A symbols, S states.

Source: Rabiner 1989, Proceedings of the IEEE 77:257 (messages); Fruehwirth-Schnatter 1994, Journal
of Time Series Analysis 15:183 (draws from the end of the messages).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float64, Int
from torch import Tensor

from dnamdlm.diffusion.categorical import inverse_cdf

# numbers in the messages of the sequences that are computed together.
_NUMBERS_AT_ONCE = 1 << 24


@dataclass(frozen=True)
class Automaton:
    """A deterministic automaton, which starts in state 0.

    Attributes:
        next_states: state after each symbol, (S, A).
        accepts: whether a sequence may end in each state, (S,).
        symbols: token id of each symbol, (A,).

    Example: of two symbols, never the second twice in a row.
        >>> rule = Automaton(
        ...     torch.tensor([[0, 1], [0, 2], [2, 2]]),
        ...     torch.tensor([True, True, False]),
        ...     torch.tensor([0, 1]),
        ... )
        >>> even = torch.full((1, 3, 2), 0.5).double()
        >>> rule.log_totals(even).exp()  # 5 of 8
        tensor([0.6250], dtype=torch.float64)
        >>> rule.draw(torch.tensor([[[0.0, 1.0], [0.5, 0.5], [0.5, 0.5]]]).double(),
        ...           torch.full((1, 3), 0.9).double())
        tensor([[1, 0, 1]])
    """

    next_states: Int[Tensor, "S A"]
    accepts: Bool[Tensor, " S"]
    symbols: Int[Tensor, " A"]

    def to(self, device: torch.device) -> Automaton:
        """The same on a device."""
        return Automaton(
            self.next_states.to(device), self.accepts.to(device), self.symbols.to(device)
        )

    def weights(
        self, probs: Float64[Tensor, "B L V"], tokens: Int[Tensor, "B L"], mask_id: int
    ) -> Float64[Tensor, "B L A"]:
        """Weights of the symbols: of the masks as given, of visible tokens 1 for the one that is.

        Args:
            probs: of every token at every position; read at the masks.
            tokens: ids with masks.
            mask_id: id of the mask.
        """
        shown = (tokens[..., None] == self.symbols).double()
        return torch.where((tokens == mask_id)[..., None], probs[..., self.symbols], shown)

    def log_totals(self, weights: Float64[Tensor, "B L A"]) -> Float64[Tensor, " B"]:
        """Log of the summed weight of the accepted sequences, -inf where there is none."""
        found = [self._messages(part)[1] for part in self._parts(weights)]
        return torch.cat(found) if found else weights.new_zeros(0)

    def draw(
        self, weights: Float64[Tensor, "B L A"], uniforms: Float64[Tensor, "B L"]
    ) -> Int[Tensor, "B L"]:
        """Accepted sequences in proportion to their weights, as token ids.

        Args:
            weights: of rows of which some sequence is accepted; other rows are arbitrary.
            uniforms: one number in (0, 1) per position.
        """
        parts = zip(self._parts(weights), self._parts(uniforms, weights), strict=True)
        found = [self._drawn(part, numbers) for part, numbers in parts]
        return torch.cat(found) if found else uniforms.new_zeros(uniforms.shape, dtype=torch.int64)

    def _rows(self, weights: Tensor) -> int:
        return max(1, _NUMBERS_AT_ONCE // ((weights.shape[1] + 1) * len(self.accepts)))

    def _parts(self, values: Tensor, weights: Tensor | None = None) -> list[Tensor]:
        """Rows that are computed together, as many as `weights`, or the values, allow."""
        rows = self._rows(values if weights is None else weights)
        return [values[first : first + rows] for first in range(0, len(values), rows)]

    def _messages(self, weights: Tensor) -> tuple[list[Tensor], Float64[Tensor, " B"]]:
        """Messages after each position, each divided by its largest, and log of the total."""
        num_rows, length, num_symbols = weights.shape
        message = self.accepts.double().expand(num_rows, -1)
        messages = [message]
        log_scale = weights.new_zeros(num_rows)
        for position in range(length - 1, -1, -1):
            message = sum(
                (
                    weights[:, position, a, None] * message[:, self.next_states[:, a]]
                    for a in range(num_symbols)
                ),
                start=torch.zeros((), dtype=weights.dtype, device=weights.device),
            )
            largest = message.amax(dim=1)
            log_scale = log_scale + largest.log()
            message = message / torch.where(largest > 0, largest, 1.0)[:, None]
            messages.append(message)
        # position 0 is read from the start alone.
        return messages[::-1], log_scale + message[:, 0].log()

    def _drawn(self, weights: Tensor, uniforms: Tensor) -> Int[Tensor, "B L"]:
        messages, log_totals = self._messages(weights)
        possible = log_totals.isfinite()
        state = torch.zeros(len(weights), dtype=torch.int64, device=weights.device)
        tokens: list[Tensor] = []
        for position in range(weights.shape[1]):
            after = self.next_states[state]
            shares = weights[:, position] * messages[position + 1].gather(1, after)
            shares = torch.where(possible[:, None], shares, 1.0)
            shares = shares / shares.sum(dim=1, keepdim=True)
            symbol = inverse_cdf(shares, uniforms[:, position])
            tokens.append(self.symbols[symbol])
            state = after.gather(1, symbol[:, None])[:, 0]
        return torch.stack(tokens, dim=1)

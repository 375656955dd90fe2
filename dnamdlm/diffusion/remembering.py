"""A denoiser that keeps the last result of each row.

A population looks at a sequence to value it, and once more to go on from it. A network that does
not see the time gives the same distributions both times, so the second call is saved.
"""

from __future__ import annotations

from collections.abc import Callable

from jaxtyping import Float, Float64, Int
from torch import Tensor


class RememberingDenoiser:
    """Log p(x0 | xt) of rows, from the network or from its last call.

    Attributes:
        calls: calls of the network so far.
        row_calls: rows summed over these calls.
    """

    def __init__(self, denoise: Callable[..., Tensor], *, num_rows: int, remembers: bool) -> None:
        """Wrap a denoiser.

        Args:
            denoise: see `dnamdlm.diffusion.reverse.Denoiser`.
            num_rows: rows of the whole batch.
            remembers: whether the result is a function of the tokens alone.
        """
        self.denoise = denoise
        self.remembers = remembers
        self.calls, self.row_calls = 0, 0
        self.num_rows = num_rows
        self.tokens: Tensor | None = None
        self.results: Tensor | None = None

    def __call__(
        self, xt: Int[Tensor, "b L"], time: Float64[Tensor, " b"], rows: Int[Tensor, " b"]
    ) -> Float[Tensor, "b L V"]:
        """The result for some rows; only those are computed whose tokens have changed."""
        if not self.remembers:
            return self._called(xt, time, rows)
        if self.tokens is None:
            self.tokens = xt.new_full((self.num_rows, xt.shape[1]), -1)
        new = (self.tokens[rows] != xt).any(dim=1)
        if bool(new.any()):
            found = self._called(xt[new], time[new], rows[new])
            if self.results is None:
                self.results = found.new_zeros((self.num_rows, *found.shape[1:]))
            self.tokens[rows[new]], self.results[rows[new]] = xt[new], found
        assert self.results is not None
        return self.results[rows]

    def move(self, ancestors: Int[Tensor, " B"]) -> None:
        """Follow rows that were copied: row i is now what row `ancestors[i]` was."""
        if self.tokens is not None and self.results is not None:
            self.tokens, self.results = self.tokens[ancestors], self.results[ancestors]

    def _called(self, xt: Tensor, time: Tensor, rows: Tensor) -> Tensor:
        self.calls, self.row_calls = self.calls + 1, self.row_calls + len(rows)
        return self.denoise(xt, time, rows)

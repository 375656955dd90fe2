"""Which positions of a sequence the prediction of a base depends on: dependency maps.

For two positions i and j of a sequence x, with the other bases as they are, let

    J[a, b] = log p(x_j = b | x_i = a, other bases)    for bases a and b,

less its mean over a and its mean over b. This is the categorical Jacobian of the model, and the
interaction of the two positions: for the conditionals of one distribution it is log p(a, b |
others) centred in the same way, so that J of (i, j) is the transpose of J of (j, i), and zero if
the two are independent given the others. The map holds the Frobenius norms,

    D[i, j] = sqrt(sum_ab J[a, b]^2)    in nats,

and is made symmetric by the mean of D and its transpose. How much the two differ says how far a
network is from the conditionals of one distribution.

The same passes tell how much one exchange matters to its surroundings, its influence: with the base
r of the sequence at i,

    I[i, a] = mean_j max_b |logit p(x_j = b | x_i = a) - logit p(x_j = b | x_i = r)|    in nats,

over the other positions j, the other bases as they are; zero for a = r.

Position j is hidden, since a denoiser predicts nothing at a base that it sees. One pass hides every
`stride`-th position; a stride of the length hides one at a time, which is exact and as many times
as expensive. Source: Zhang et al. 2024 (PNAS 121, e2406285121) for the categorical Jacobian, da
Silva et al. 2024 ("Nucleotide dependency analysis") for its use on DNA and the influence of a
variant.

Shapes: L positions of the window, n of them mapped, R real tokens (4 for DNA), V outputs.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float64, Int
from numpy.typing import NDArray
from torch import Tensor

from dnamdlm.data.batch import Batch
from dnamdlm.errors import ConfigError
from dnamdlm.lm.model_parts import evaluating
from dnamdlm.lm.position_probs import MaskedModel


@dataclass(frozen=True)
class DependencyMap:
    """How strongly pairs of positions depend on each other.

    Attributes:
        norms: float64 (n, n), symmetric, nats; zero on the diagonal, nan at positions without a
            base.
        asymmetry: mean of |D - D^T| divided by the mean of D, over pairs; 0 for the conditionals of
            one distribution.
        influences: float64 (n, R), nats: of each real token at each position, zero for the one that
            is there; nan at positions without a base, and where there is no other.
    """

    norms: NDArray[np.float64]
    asymmetry: float
    influences: NDArray[np.float64]

    def strongest(self, number: int, min_distance: int) -> list[tuple[int, int, float]]:
        """The pairs (i, j, D) with i < j that are at least `min_distance` apart, strongest first.

        >>> import numpy as np
        >>> norms = np.array([[0.0, 3.0, 1.0], [3.0, 0.0, 2.0], [1.0, 2.0, 0.0]])
        >>> DependencyMap(norms, 0.0, np.zeros((3, 4))).strongest(2, 1)
        [(0, 1, 3.0), (1, 2, 2.0)]
        """
        rows, columns = np.triu_indices(len(self.norms), max(min_distance, 1))
        values = self.norms[rows, columns]
        known = np.flatnonzero(np.isfinite(values))
        best = known[np.argsort(-values[known], kind="stable")][:number]
        return [(int(rows[k]), int(columns[k]), float(values[k])) for k in best]


def dependency_map(
    lm: MaskedModel,
    batch: Batch,
    *,
    start: int = 0,
    end: int | None = None,
    stride: int = 16,
    batch_size: int = 64,
) -> DependencyMap:
    """The dependency map of a stretch of one window.

    Args:
        lm: a masked diffusion model; dropout is off meanwhile.
        batch: one row, the window.
        start: first position of the stretch.
        end: position after its last; None is the end of the window.
        stride: every stride-th position of the stretch is hidden at a time.
        batch_size: rows per call of the network.

    Raises:
        ConfigError: for more than one row, a stretch outside the window, or counts below 1.

    Example: an untrained network, whose output layer is zero, depends on nothing.
        >>> from dnamdlm.backbones.dit import DiT
        >>> from dnamdlm.lm.masked import MaskedDiffusionLM
        >>> from dnamdlm.tokens.nucleotide import NUCLEOTIDE_VOCABULARY
        >>> lm = MaskedDiffusionLM(DiT(12, 16, 1, 2), NUCLEOTIDE_VOCABULARY)
        >>> tokens, row = torch.tensor([[7, 8, 9, 10]]), torch.zeros(1, dtype=torch.int64)
        >>> seen = torch.ones_like(tokens, dtype=torch.bool)
        >>> batch = Batch(tokens, seen, seen, None, key=row, row=row, global_size=1)
        >>> float(dependency_map(lm, batch).norms.max())
        0.0
    """
    end = batch.length if end is None else end
    if len(batch) != 1 or not 0 <= start < end <= batch.length:
        raise ConfigError(
            f"a dependency map of positions {start} to {end} needs one window that holds them, not "
            f"{len(batch)} of {batch.length}"
        )
    if stride < 1 or batch_size < 1:
        raise ConfigError(f"stride={stride} and batch_size={batch_size} must be at least 1")
    stretch = _Stretch(lm, batch, start, end, min(stride, end - start))
    with evaluating(lm), torch.no_grad():  # pyright: ignore[reportArgumentType]
        norms, influences = stretch.measured(batch_size)
    both = (norms + norms.T) / 2
    off = np.isfinite(both) & ~np.eye(len(both), dtype=bool)
    mean = float(both[off].mean()) if off.any() else 0.0
    gap = float(np.abs(norms - norms.T)[off].mean()) if off.any() else 0.0
    return DependencyMap(both, gap / mean if mean > 0 else 0.0, influences)


def _log_odds(log_probs: Float64[Tensor, "R n R"]) -> Float64[Tensor, "R n R"]:
    """Log of p(b) over the sum of the others: finite where p(b) rounds to 1, too."""
    least = math.log(torch.finfo(log_probs.dtype).tiny)
    known = log_probs.clamp(min=least)
    own = torch.eye(known.shape[2], dtype=torch.bool, device=known.device)
    others = known[:, :, None].masked_fill(own, -torch.inf).logsumexp(dim=3)
    return known - others


@dataclass(frozen=True)
class _Query:
    """One row of the network: base `base` at position `place`, and phase `phase` hidden."""

    place: int
    base: int
    phase: int


@dataclass(frozen=True)
class _Stretch:
    """Positions of one window whose dependencies are wanted."""

    lm: MaskedModel
    batch: Batch
    start: int
    end: int
    stride: int

    def measured(self, batch_size: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """D of every ordered pair, float64 (n, n), and influences, (n, R); nan without a base."""
        size = self.end - self.start
        real = list(self.lm.process.vocabulary.real_ids)
        tokens = self.batch.tokens[0, self.start : self.end].tolist()
        is_base = np.array([token in real for token in tokens])
        shared = self._shared(batch_size)
        found = np.full((size, size), np.nan)
        influences = np.full((size, len(real)), np.nan)
        for place in np.flatnonzero(is_base).tolist():
            jacobian = self._of_place(place, tokens[place], shared, batch_size)
            centred = jacobian - jacobian.mean(dim=0, keepdim=True)
            centred = centred - centred.mean(dim=2, keepdim=True)
            found[place] = centred.square().sum(dim=(0, 2)).sqrt().cpu().numpy()
            found[place, place] = 0.0
            odds = _log_odds(jacobian)
            moved = (odds - odds[real.index(tokens[place])]).abs().amax(dim=2).cpu().numpy()
            others = is_base & (np.arange(size) != place)
            if others.any():
                influences[place] = moved[:, others].mean(axis=1)
        found[:, ~is_base] = np.nan
        return found, influences

    def _shared(self, batch_size: int) -> Float64[Tensor, "n R"]:
        """Log-probabilities with the window as it is, each position hidden in its own phase."""
        queries = [_Query(-1, -1, phase) for phase in range(self.stride)]
        rows = torch.cat(list(self._answers(queries, batch_size)))
        places = torch.arange(self.end - self.start, device=rows.device)
        return rows[places % self.stride, places]

    def _of_place(
        self, place: int, base: int, shared: Float64[Tensor, "n R"], batch_size: int
    ) -> Float64[Tensor, "R n R"]:
        """Give log p(x_j = b | x_i = a) for one i, every a, j, b; that of j = i has no meaning."""
        own = place % self.stride
        real = list(self.lm.process.vocabulary.real_ids)
        # where the position itself would be hidden, the row with the base as it is differs too.
        queries = [
            _Query(place, other, phase)
            for other in real
            for phase in range(self.stride)
            if other != base or phase == own
        ]
        places = torch.arange(len(shared), device=shared.device)
        found = shared.expand(len(real), *shared.shape).clone()
        for query, row in zip(
            queries, torch.cat(list(self._answers(queries, batch_size))), strict=True
        ):
            in_phase = places % self.stride == query.phase
            found[real.index(query.base), in_phase] = row[in_phase]
        return found

    def _answers(
        self, queries: list[_Query], batch_size: int
    ) -> Iterator[Float64[Tensor, "B n R"]]:
        """Log-probabilities of the real tokens in the stretch, some queries at a time."""
        process = self.lm.process
        real = list(process.vocabulary.real_ids)
        places = torch.arange(self.end - self.start, device=self.batch.tokens.device)
        stretch = slice(self.start, self.end)
        for first in range(0, len(queries), batch_size):
            part = queries[first : first + batch_size]
            rows = self.batch.rows(places.new_zeros(len(part)))
            tokens: Int[Tensor, "B L"] = rows.tokens.clone()
            for number, query in enumerate(part):
                hidden = places % self.stride == query.phase
                hidden &= rows.valid[number, stretch]
                tokens[number, stretch] = tokens[number, stretch].masked_fill(
                    hidden, process.mask_id
                )
                if query.place >= 0:
                    # the changed position is seen, in whatever phase.
                    tokens[number, self.start + query.place] = query.base
            time = process.time_of_masks(tokens, rows.valid)
            found = self.lm.denoise(tokens, time, rows.attended, label=rows.label)
            yield found[:, stretch, real].double()

"""Values of the members of populations, from the reward and what the denoiser predicts.

The reward is called for each population apart, so that a reward whose rounding depends on the
sequences of a call gives the same values whatever shares the batch.

Shapes: B rows in all, of which b take part, L positions, V vocabulary, G guesses, M places.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from jaxtyping import Float64, Int
from torch import Tensor

from dnamdlm.diffusion.lookahead import (
    checked_reward,
    completed,
    log_mean_exp,
    most_likely,
    with_token,
)
from dnamdlm.diffusion.randomness import RowNoise, Stream
from dnamdlm.diffusion.steps import Step
from dnamdlm.diffusion.tilt import Tilt
from dnamdlm.errors import ConfigError


class Valuation:
    """Values of partly masked and of complete rows, as a `Tilt` says."""

    def __init__(
        self, tilt: Tilt, noise: RowNoise, predicted: Callable[..., Tensor], *, mask_id: int
    ) -> None:
        """Keep what values are made from.

        Args:
            tilt: the reward, and how rows with masks are valued.
            noise: of all rows.
            predicted: from rows, times and numbers of rows to log p(x0 | xt) at their masks.
            mask_id: id of the mask.
        """
        self.tilt, self.noise, self.predicted, self.mask_id = tilt, noise, predicted, mask_id

    def of_rows(
        self, xt: Int[Tensor, "b L"], rows: Tensor, time: Tensor, address: int
    ) -> Float64[Tensor, " b"]:
        """V of each row: r / a where it is complete, and what the tilt says where it is not.

        Args:
            xt: some rows.
            rows: their numbers in the batch.
            time: of each of them.
            address: of the guesses.
        """
        if self.tilt.reward is None:
            return torch.zeros(len(xt), dtype=torch.float64, device=xt.device)
        is_open = (xt == self.mask_id).any(dim=-1)
        values = torch.zeros(len(xt), dtype=torch.float64, device=xt.device)
        if bool((~is_open).any()):
            values[~is_open] = self.rewards(xt[~is_open], rows[~is_open])
        if not bool(is_open.any()):
            return values
        xt, rows, time = xt[is_open], rows[is_open], time[is_open]
        if callable(self.tilt.value):
            values[is_open] = self._by_function(xt, rows, time)
        else:
            log_probs = self.predicted(xt, time, rows)
            guesses = self._guesses(xt, rows, log_probs, address)
            values[is_open] = self._of_guesses(guesses, rows)
        return values

    def _guesses(
        self, xt: Tensor, rows: Tensor, log_probs: Tensor, address: int
    ) -> Int[Tensor, "b G L"]:
        """Completed sequences of each row."""
        if self.tilt.value == "likely":
            return most_likely(xt, log_probs, mask_id=self.mask_id)
        noise = self.noise.select(rows)
        uniforms = noise.uniform(Stream.GUESSES, address, self.tilt.guesses, xt.shape[1])
        return completed(xt, log_probs, uniforms, mask_id=self.mask_id)

    def of_tokens(
        self,
        step: Step,
        rows: Tensor,
        *,
        log_probs: Tensor,
        revealed: Tensor,
        probs: Float64[Tensor, "M V"],
        time: Tensor,
        address: int,
    ) -> Float64[Tensor, "M V"]:
        """Value of each row with each possible token at each position that it reveals.

        Args:
            step: the rows before the step.
            rows: their numbers in the batch.
            log_probs: of their masks.
            revealed: positions that the step reveals, M in all.
            probs: probability of each token there; values are given where it is positive.
            time: of each row after the step.
            address: of the guesses.
        """
        places = revealed.nonzero()
        place, token = (probs > 0).nonzero(as_tuple=True)
        row, position = places[place].unbind(dim=1)
        if callable(self.tilt.value):
            edited = with_token(step.tokens[:, None], row, position, token)[:, 0]
            found = self.of_rows(edited, rows[row], time[row], 0)
        elif self.tilt.proposal == "gradient":
            guesses = self._guesses(step.tokens, rows, log_probs, address)
            found = self._by_gradient(guesses, rows, row, position, token)
        else:
            guesses = self._guesses(step.tokens, rows, log_probs, address)
            found = self._of_guesses(with_token(guesses, row, position, token), rows[row])
        values = torch.zeros_like(probs)
        values[place, token] = found
        return values

    def _of_guesses(self, guesses: Int[Tensor, "M G L"], rows: Tensor) -> Float64[Tensor, " M"]:
        num_guesses = guesses.shape[1]
        rewards = self.rewards(guesses.flatten(0, 1), rows.repeat_interleave(num_guesses))
        return log_mean_exp(rewards.view(-1, num_guesses))

    def _by_gradient(
        self,
        guesses: Int[Tensor, "b G L"],
        rows: Tensor,
        row: Int[Tensor, " M"],
        position: Int[Tensor, " M"],
        token: Int[Tensor, " M"],
    ) -> Float64[Tensor, " M"]:
        """Log of the mean over the guesses of exp(r + slope of the token - slope of its own)."""
        assert self.tilt.gradient is not None
        num_guesses = guesses.shape[1]
        owners = rows.repeat_interleave(num_guesses)
        values: list[Tensor] = []
        slopes: list[Tensor] = []
        for part in self._populations(owners):
            value, slope = self.tilt.gradient(guesses.flatten(0, 1)[part])
            values.append(value)
            slopes.append(slope)
        # populations come in the order of their rows.
        value = torch.cat(values).view(-1, num_guesses)
        slope = torch.cat(slopes).view(*guesses.shape, -1)
        own = guesses[row, :, position]
        at = slope[row, :, position]
        gained = at.gather(-1, token[:, None, None].expand(-1, num_guesses, 1))[..., 0]
        lost = at.gather(-1, own[..., None])[..., 0]
        return log_mean_exp(value[row] + gained - lost)

    def rewards(self, ids: Tensor, rows: Tensor) -> Float64[Tensor, " N"]:
        """The reward of complete sequences, which come from `rows`."""
        values = torch.zeros(len(ids), dtype=torch.float64, device=ids.device)
        if self.tilt.reward is not None:
            for part in self._populations(rows):
                values[part] = checked_reward(self.tilt.reward, ids[part])
        return values

    def _by_function(self, xt: Tensor, rows: Tensor, time: Tensor) -> Float64[Tensor, " b"]:
        """V by the function of the user."""
        assert callable(self.tilt.value)
        values = torch.zeros(len(xt), dtype=torch.float64, device=xt.device)
        for part in self._populations(rows):
            found = self.tilt.value(xt[part], time[part]).to(values)
            if found.shape != part.shape or not bool(found.isfinite().all()):
                raise ConfigError(
                    "the function value= must give one finite number for each sequence; it gave "
                    f"the shape {tuple(found.shape)} for {len(part)}, or a number that is not"
                )
            values[part] = found
        return values

    def _populations(self, rows: Tensor) -> Iterator[Tensor]:
        """Places in `rows` of each population that has any."""
        number = rows // self.tilt.size
        for population in range(int(number.min()), int(number.max()) + 1) if len(rows) else ():
            part = (number == population).nonzero()[:, 0]
            if len(part):
                yield part

"""How -log p of a sequence is estimated: the names of the estimators, and the inputs they need.

`time` draws t and hides tokens independently; `count` draws how many tokens are hidden and then
which, which has the lower variance and does not depend on the schedule. Both have the same
expectation for a network without time conditioning and a schedule that runs from 1 to 0.
`objective` is the bound that belongs to the objective (T steps, score entropy). `orders:K` is the
bound of K random orders of revealing one token at a time; its expectation is that of `count` for
K = 1, and falls with K. The others give the exact likelihood of revealing one token at a time in an
order that follows from the predictions, see `dnamdlm.diffusion.ordered`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from jaxtyping import Float64, Int64
from torch import Tensor

from dnamdlm.data.batch import Batch
from dnamdlm.diffusion.ordered import ORDER_RULES
from dnamdlm.diffusion.randomness import RowNoise, Stream
from dnamdlm.errors import ConfigError
from dnamdlm.lm.noising import Draw, NoiseProcess
from dnamdlm.lm.objectives import BoundedObjective, Objective

ESTIMATORS = ("auto", "time", "count", "objective", *ORDER_RULES)
"""Names of the estimators without a number."""

_ORDERS = "orders"


def check_known(estimator: str) -> None:
    """Refuse an unknown name.

    Raises:
        ConfigError: listing the known ones.
    """
    if estimator not in ESTIMATORS and number_of_orders(estimator) is None:
        raise ConfigError(
            f"estimator={estimator} is unknown; choose one of {', '.join(ESTIMATORS)}, {_ORDERS}:K"
        )


def number_of_orders(estimator: str) -> int | None:
    """K of `orders:K`; None for another estimator.

    Raises:
        ConfigError: if K is not a whole number of at least 1.

    Example:
        >>> number_of_orders("orders:8"), number_of_orders("count")
        (8, None)
    """
    name, _, number = estimator.partition(":")
    if name != _ORDERS:
        return None
    if not re.fullmatch("0*[1-9][0-9]{0,5}", number):
        raise ConfigError(
            f"estimator={estimator} needs a number of orders from 1 to 999999 after the colon; "
            f"use, for instance, estimator={_ORDERS}:8"
        )
    return int(number)


def random_orders(
    keys: Int64[Tensor, " B"], length: int, *, number: int
) -> Iterator[Float64[Tensor, "B L"]]:
    """Priorities of positions in independent uniform orders, a function of the key of a row.

    Args:
        keys: noise keys of the rows.
        length: positions of a row.
        number: how many orders.
    """
    noise = RowNoise(keys)
    return (noise.uniform(Stream.ORDERS, order, length) for order in range(number))


def exact_estimator(estimator: str, model: str) -> str:
    """`auto`, the only estimator of a model whose likelihood is exact.

    Args:
        estimator: as the user chose it.
        model: name of the class of the model.

    Raises:
        ConfigError: if another one is chosen.
    """
    check_known(estimator)
    if estimator != "auto":
        raise ConfigError(
            f"estimator={estimator} is for masked diffusion models, and the likelihood of a "
            f"{model} is exact without one; use estimator=auto"
        )
    return "auto"


def chosen_estimator(estimator: str, objective: Objective, *, sees_time: bool) -> str:
    """The estimator of a masked diffusion model, with `auto` resolved.

    `auto` is `objective` where the objective has its own bound, else `count` for a network without
    time conditioning, else `time`.

    Args:
        estimator: as the user chose it.
        objective: what the model was trained on.
        sees_time: whether the network is conditioned on time.

    Raises:
        ConfigError: if the estimator is unknown, or the model does not have it.
    """
    check_known(estimator)
    has_own = isinstance(objective, BoundedObjective)
    if estimator == "auto":
        if has_own:
            return "objective"
        return "time" if sees_time else "count"
    if estimator == "objective" and not has_own:
        raise ConfigError(
            f"the objective {type(objective).__name__} has no bound of its own; use estimator=auto"
        )
    if sees_time and estimator not in {"time", "objective"}:
        raise ConfigError(
            f"estimator={estimator} has no time for a network with time_conditioning=true; use "
            "estimator=time"
        )
    return estimator


def bound_draws(
    estimator: str,
    process: NoiseProcess,
    objective: Objective,
    batch: Batch,
    *,
    draw: int,
    draws: int,
) -> Sequence[Draw]:
    """Inputs of the network whose losses add up to one draw of the bound, from its stratum.

    Args:
        estimator: `time`, `count` or `objective`.
        process: noise process of the model.
        objective: what the model was trained on.
        batch: clean sequences.
        draw: number of the stratum, below `draws`.
        draws: number of equal strata.
    """
    if estimator == "objective":
        assert isinstance(objective, BoundedObjective)
        return objective.hide_for_bound(process, batch, draw, draws)
    noise = RowNoise(batch.key)
    if estimator == "count":
        place = (noise.uniform(Stream.COUNTS, draw) + draw) / draws
        return [process.bound_at_count(batch, place, draw)]
    t = (noise.uniform(Stream.TIMES, draw) + draw) / draws
    return [process.bound_at_time(batch, t, draw)]

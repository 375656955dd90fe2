"""The likelihood of a masked diffusion model when tokens are revealed one by one.

Shapes: B sequences, L positions, V vocabulary.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from jaxtyping import Float, Int
from torch import Tensor

from dnamdlm.attribute_protocols import ByAttributes
from dnamdlm.data.batch import Batch
from dnamdlm.diffusion.ordered import ORDER_RULES, mean_order_nats, ordered_nats
from dnamdlm.lm.estimators import number_of_orders, random_orders
from dnamdlm.lm.language_model import TokenLikelihood


@runtime_checkable
class _Denoiser(Protocol, metaclass=ByAttributes):
    """What is used of a masked diffusion model."""

    @property
    def mask_id(self) -> int: ...

    def denoise(
        self, xt: Int[Tensor, "B L"], time: None, present: Tensor | None, *, label: Tensor | None
    ) -> Float[Tensor, "B L V"]: ...


def order_likelihood(lm: _Denoiser, batch: Batch, estimator: str) -> TokenLikelihood | None:
    """Exact for the order of a rule, an upper bound for the mean over random orders.

    Args:
        lm: the model.
        batch: windows; only `valid` tokens are hidden and scored.
        estimator: one of `ORDER_RULES`, or `orders:K`.

    Returns:
        None if the estimator is not an order.
    """

    def denoise(xt: Tensor) -> Tensor:
        given = {} if batch.aligned is None else {"aligned": batch.aligned}
        return lm.denoise(xt, None, batch.attended, label=batch.label, **given)

    if estimator in ORDER_RULES:
        nats = ordered_nats(
            denoise,
            batch.tokens,
            batch.valid,
            rule=estimator,  # pyright: ignore[reportArgumentType]
            mask_id=lm.mask_id,
        )
        return TokenLikelihood(nats, batch.valid, "exact")
    number = number_of_orders(estimator)
    if number is None:
        return None
    orders = random_orders(batch.key, batch.tokens.shape[1], number=number)
    nats = mean_order_nats(denoise, batch.tokens, batch.valid, orders=orders, mask_id=lm.mask_id)
    return TokenLikelihood(nats, batch.valid, "upper bound")

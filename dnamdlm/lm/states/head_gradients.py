"""Derivatives of fine-tuned heads by the bases that they read.

The network reads one-hot vectors in place of token ids: its embedding is linear in them, so that a
mixture of bases is a mixture of embeddings. One backward pass gives the derivative of an output by
every possible base at every place.

Shapes: N sequences, L positions, W windows, V ids of the network, C outputs, D channels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from dnamdlm.backbones.plain_module import ModuleBackbone
from dnamdlm.errors import ConfigError
from dnamdlm.lm.block import BlockDiffusionLM
from dnamdlm.lm.states.heads import SequenceClassifier, calls_of, opposite
from dnamdlm.lm.states.state_pooling import Windows, WindowSettings, tiles_of

Wanted: TypeAlias = Callable[[Float[Tensor, "B C"]], Float[Tensor, " B"]]
"""Outputs -> the number of each sequence that is differentiated."""


def output_gradients(
    classifier: SequenceClassifier,
    sequences: Sequence[NDArray[np.integer]],
    wanted: Wanted,
    *,
    tokens_at_once: int = 4096,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """A number of the outputs of a head, and its derivatives by one-hot bases.

    With strands read apart (`both_strands`) the outputs are the mean of both, as in predictions.

    Args:
        classifier: in evaluation mode.
        sequences: N sequences of token ids, all of one length L.
        wanted: the number, from the outputs in float64.
        tokens_at_once: bound on the tokens of one call, which bounds the memory.

    Returns:
        The numbers, (N,), and the derivatives, (N, L, R), with one column for each real token in
        the order of its id.

    Raises:
        ConfigError: for a network that reads nothing but ids.
    """
    check_soft(classifier)
    lengths = np.array([len(item) for item in sequences])
    real = classifier.vocabulary.real_ids
    values = np.zeros(len(sequences))
    slopes = np.zeros((len(sequences), int(lengths[0]), len(real)))
    for rows in calls_of(lengths, tokens_at_once):
        chosen = [sequences[row] for row in rows]
        value, found = _of_call(classifier, chosen, wanted)
        values[rows] = value
        slopes[rows] = found[..., list(real)]
    return values, slopes


def check_soft(classifier: SequenceClassifier) -> None:
    """Refuse a head whose network cannot be differentiated by its tokens.

    Raises:
        ConfigError: naming what to use instead.
    """
    lm = classifier.lm
    if isinstance(lm, BlockDiffusionLM) or isinstance(
        getattr(lm, "backbone", None), ModuleBackbone
    ):
        kind = type(getattr(lm, "backbone", lm)).__name__
        raise ConfigError(
            f"proposal=gradient needs a network that reads mixtures of bases, and this head is on "
            f"a {type(lm).__name__} with a {kind}; use proposal=first_order"
        )


def _of_call(
    classifier: SequenceClassifier, sequences: Sequence[NDArray[np.integer]], wanted: Wanted
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The numbers, (B,), and their derivatives by all ids, (B, L, V)."""
    strands = [list(sequences)]
    if classifier.both_strands:
        strands.append([opposite(item, classifier.vocabulary) for item in sequences])
    device = classifier.head.weight.device
    with torch.enable_grad():
        windows = [classifier.collate(strand).to(device) for strand in strands]
        inputs = [_one_hot(classifier, item).requires_grad_() for item in windows]
        outputs = [
            classifier(item, soft).double() for item, soft in zip(windows, inputs, strict=True)
        ]
        values = wanted(torch.stack(outputs).mean(dim=0))
        slopes = torch.autograd.grad(values.sum(), inputs)
    length = len(sequences[0])
    found = [
        _of_sequences(slope.double().cpu().numpy(), len(sequences), length, classifier.windows)
        for slope in slopes
    ]
    if classifier.both_strands:
        complement = classifier.vocabulary.complement
        assert complement is not None
        table = [*complement, *range(len(complement), found[1].shape[-1])]
        found = [found[0] + found[1][:, ::-1, table]]
    return values.detach().cpu().numpy(), found[0]


def _one_hot(classifier: SequenceClassifier, windows: Windows) -> Float[Tensor, "W L V"]:
    """The tokens of windows as distributions, in the type of the weights."""
    width: int = classifier.lm.backbone.vocab_size  # pyright: ignore[reportAttributeAccessIssue]
    tokens = windows.batch.tokens
    return functional.one_hot(tokens, width).to(classifier.head.weight.dtype)


def _of_sequences(
    slopes: NDArray[np.float64], count: int, length: int, settings: WindowSettings
) -> NDArray[np.float64]:
    """Derivatives by the tokens of windows, summed over the windows that read each position."""
    found = np.zeros((count, length, slopes.shape[-1]))
    padded = settings.pooling == "mean_padded"
    for window, (row, tile) in enumerate(tiles_of([length] * count, settings)):
        size = tile.end - tile.start
        shift = slopes.shape[1] - size if padded else 0
        found[row, tile.start : tile.end] += slopes[window, shift : shift + size]
    return found

"""Prediction heads: a linear map of pooled hidden states, with one strand or both.

`forward` reads each sequence on one strand. The hidden states of an equivariant network
(Caduceus-PS) are averaged over its two strands, so that its output is the same for both. For every
other network `strand="conjoined"` trains on random strands and averages the outputs of both in
prediction; since the head is linear, averaging hidden states and averaging outputs are the same.

Shapes: B sequences, D channels, C outputs.
Source: Schiff et al. 2024 (arXiv:2403.03234), section 4 (post-hoc conjoining, equivariant heads).
"""

from __future__ import annotations

import typing
from collections.abc import Sequence
from typing import Any, Literal, Protocol, get_args, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor, nn

from dnamdlm.attribute_protocols import ByAttributes
from dnamdlm.backbones.caduceus import CaduceusPS
from dnamdlm.data.tasks.sequence_inputs import TokenRows
from dnamdlm.errors import ConfigError
from dnamdlm.lm.states.state_pooling import (
    Encoder,
    SoftEncoder,
    Windows,
    WindowSettings,
    make_windows,
    mean_of_states,
)
from dnamdlm.tokens.vocabulary import Vocabulary

Strand = Literal["one", "conjoined", "invariant"]
_PROBE_LENGTH = 8


@runtime_checkable
class SequencePredictor(Protocol, metaclass=ByAttributes):
    """A module from sequences to C numbers each."""

    vocabulary: Vocabulary
    both_strands: bool

    def collate(self, sequences: Sequence[NDArray[np.integer]]) -> Any:
        """What `forward` takes, on the CPU; it has a method `to(device)`."""
        ...

    def __call__(self, inputs: Any) -> Float[Tensor, "B C"]:
        """Logits, or numbers of a regression, in float32."""
        ...


class SequenceClassifier(nn.Module):
    """A language model with a linear head on its pooled hidden states."""

    def __init__(
        self, lm: Encoder, num_outputs: int, windows: WindowSettings, strand: str = "one"
    ) -> None:
        """Add a head of zero weights to a language model.

        Args:
            lm: a module with `hidden`.
            num_outputs: C.
            windows: how sequences become windows.
            strand: `one`, `conjoined` or `invariant`.

        Raises:
            ConfigError: if the network or the vocabulary does not allow this strand.
        """
        super().__init__()
        if strand not in get_args(Strand):
            raise ConfigError(
                f"strand={strand} is unknown; choose auto, {', '.join(get_args(Strand))}"
            )
        self.lm = lm
        self.vocabulary = lm.vocabulary
        self.windows = windows
        self.strand = strand
        if strand == "invariant" and not is_equivariant(lm):
            raise ConfigError(
                "strand=invariant needs an equivariant network such as Caduceus-PS; use "
                "strand=conjoined"
            )
        if strand == "conjoined" and self.vocabulary.complement is None:
            raise ConfigError("strand=conjoined needs complementary letters; use strand=one")
        self.both_strands = strand == "conjoined"
        self.head = nn.Linear(self._num_features(), num_outputs)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def collate(self, sequences: Sequence[NDArray[np.integer]]) -> Windows:
        """Windows of the sequences."""
        return make_windows(sequences, self.vocabulary, self.windows)

    def features(
        self, inputs: Windows, soft: Float[Tensor, "W L V"] | None = None
    ) -> Float[Tensor, "B D"]:
        """Pooled hidden states; with `soft` of what `SoftEncoder` reads in place of the tokens."""
        if soft is None:
            states = self.lm.hidden(inputs.batch)
        else:
            states = typing.cast(SoftEncoder, self.lm).hidden(inputs.batch, soft=soft)
        pooled = mean_of_states(states, inputs)
        if self.strand != "invariant":
            return pooled
        return mean_of_halves(pooled)

    def forward(
        self, inputs: Windows, soft: Float[Tensor, "W L V"] | None = None
    ) -> Float[Tensor, "B C"]:
        """Logits; `soft` as in `features`."""
        return self.head(self.features(inputs, soft).to(self.head.weight.dtype))

    def _num_features(self) -> int:
        device = next(self.lm.parameters()).device if isinstance(self.lm, nn.Module) else "cpu"
        real = np.full(_PROBE_LENGTH, self.vocabulary.real_ids[0])
        with torch.no_grad():
            return self.features(self.collate([real]).to(device)).shape[-1]


def mean_of_halves(states: Float[Tensor, "*rows D2"]) -> Float[Tensor, "*rows D"]:
    """Mean of the two strands at each position, in the hidden states of an equivariant network."""
    ahead, back = states.chunk(2, dim=-1)
    return (ahead + back.flip(-1)) / 2


def is_equivariant(lm: Encoder) -> bool:
    """Whether the two halves of the hidden states belong to the two strands."""
    return isinstance(getattr(lm, "backbone", None), CaduceusPS)


def opposite(sequence: NDArray[np.integer], vocabulary: Vocabulary) -> NDArray[np.integer]:
    """Ids of the reverse complement.

    Raises:
        ConfigError: if the vocabulary has no complements.
    """
    if vocabulary.complement is None:
        raise ConfigError("this vocabulary has no complementary letters; use strand=one")
    table = np.array(vocabulary.complement, dtype=sequence.dtype)
    return table[sequence[::-1]]


def predict_outputs(
    predictor: SequencePredictor,
    sequences: TokenRows,
    *,
    tokens_at_once: int = 4096,
    device: torch.device | str = "cpu",
    features: bool = False,
) -> NDArray[np.float32]:
    """Outputs, or pooled hidden states, of all sequences in order, whatever the batches.

    Args:
        predictor: in evaluation mode.
        sequences: token ids of each.
        tokens_at_once: bound on the tokens of one call.
        device: where the predictor is.
        features: return the pooled hidden states in place of the outputs.
    """
    call = predictor.features if features else predictor  # pyright: ignore[reportAttributeAccessIssue]
    lengths = np.array([len(sequences[i]) for i in range(len(sequences))])
    results: list[NDArray[np.float32]] = []
    calls = calls_of(lengths, tokens_at_once)
    for rows in calls:
        chosen = [sequences[i] for i in rows]
        with torch.inference_mode():
            found = call(predictor.collate(chosen).to(device))
            if predictor.both_strands:
                other = [opposite(sequence, predictor.vocabulary) for sequence in chosen]
                found = (found + call(predictor.collate(other).to(device))) / 2
        results.append(found.float().cpu().numpy())
    return in_order(calls, results)


def calls_of(lengths: NDArray[np.integer], tokens_at_once: int) -> list[NDArray[np.intp]]:
    """Which sequences go through the network together: from the shortest to the longest.

    The sequences of some consecutive calls, in this order, make the same calls again.

    Args:
        lengths: tokens of each sequence, shape (N,).
        tokens_at_once: bound on the tokens of one call, padding included, unless it is one
            sequence.

    >>> [call.tolist() for call in calls_of(np.array([3, 1, 2]), 4)]
    [[1, 2], [0]]
    """
    order = np.argsort(lengths, kind="stable")
    calls: list[NDArray[np.intp]] = []
    start = 0
    while start < len(order):
        size = 1
        while (
            start + size < len(order)
            and (size + 1) * lengths[order[start + size]] <= tokens_at_once
        ):
            size += 1
        calls.append(order[start : start + size])
        start += size
    return calls


def in_order(
    calls: Sequence[NDArray[np.intp]], results: Sequence[NDArray[np.float32]]
) -> NDArray[np.float32]:
    """The results of calls, (B, C) each, in the order of the sequences, (N, C)."""
    joined = np.concatenate(results)
    ordered = np.empty_like(joined)
    ordered[np.concatenate(calls)] = joined
    return ordered

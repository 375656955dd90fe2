"""What the language models over a network have in common: checks, and evaluation mode.

Shapes: B sequences, L positions, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from jaxtyping import Bool, Int
from torch import Tensor, nn

from dnamdlm.backbones.backbone import Backbone
from dnamdlm.backbones.plain_module import as_backbone
from dnamdlm.errors import ConfigError
from dnamdlm.ops.held_tables import holding_tables
from dnamdlm.ops.precision import computing_on
from dnamdlm.tokens.vocabulary import Vocabulary


def network_of(backbone: Backbone | nn.Module, vocabulary: Vocabulary) -> Backbone:
    """The network of a model: a `Backbone`, or any module from ids to logits in a wrapper.

    Args:
        backbone: see `dnamdlm.backbones.as_backbone`; a module that does not say how many logits it
            gives is expected to give one for each id.
        vocabulary: the meaning of the ids.
    """
    if isinstance(backbone, Backbone):
        return backbone
    is_sized = getattr(backbone, "vocab_size", None) is not None
    return as_backbone(backbone, None if is_sized else len(vocabulary))


def real_token_mask(vocabulary: Vocabulary, vocab_size: int) -> Bool[Tensor, " V"]:
    """True for the ids that a model may predict, among the V outputs of its network.

    Args:
        vocabulary: the meaning of the ids.
        vocab_size: V; a network may have more outputs than there are ids.

    Raises:
        ConfigError: if the network has too few outputs.
    """
    if vocab_size < len(vocabulary):
        raise ConfigError(
            f"backbone.vocab_size={vocab_size} is below the {len(vocabulary)} ids of "
            f"the vocabulary; use {len(vocabulary)} or more"
        )
    flags = torch.zeros(vocab_size, dtype=torch.bool)
    flags[list(vocabulary.real_ids)] = True
    return flags


def checked_start(
    vocabulary: Vocabulary,
    num_rows: int,
    length: int,
    initial: Int[Tensor, "B L"] | None,
    batch_size: int,
) -> Int[Tensor, "B L"]:
    """The ids from which generation starts: `initial`, or masks alone.

    Raises:
        ConfigError: if a number is below 1, or `initial` has another shape or foreign ids.
    """
    if length < 1 or batch_size < 1:
        raise ConfigError(
            f"length and batch_size must be at least 1, got {length} and {batch_size}"
        )
    if initial is None:
        return torch.full((num_rows, length), vocabulary.mask_id)
    if tuple(initial.shape) != (num_rows, length):
        raise ConfigError(
            f"initial has shape {tuple(initial.shape)}, but {num_rows} sequences of length "
            f"{length} were requested"
        )
    if bool(((initial < 0) | (initial >= len(vocabulary))).any()):
        raise ConfigError(f"initial holds ids outside [0, {len(vocabulary)})")
    return initial


def present_of(tokens: Int[Tensor, "B L"], vocabulary: Vocabulary) -> Bool[Tensor, "B L"] | None:
    """False at padding; None without padding."""
    present = tokens != vocabulary.pad_id
    # attention without a mask is faster than any wait for this answer.
    return None if bool(present.all()) else present


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Switch dropout off, and compute in the precision of the process, within a block.

    Calls within the block share the tables of positions.
    """
    was_training = module.training
    module.eval()
    try:
        weight = next(module.parameters(), None)
        place = torch.device("cpu") if weight is None else weight.device
        with computing_on(place), holding_tables():
            yield
    finally:
        module.train(was_training)


@torch.no_grad()
def hidden_size_of(backbone: Backbone) -> int:
    """Channels of the hidden states of a network, from a call with one position."""
    assert isinstance(backbone, nn.Module)
    was_training = backbone.training
    place = next(backbone.parameters()).device
    tokens = torch.zeros((1, 1), dtype=torch.int64, device=place)
    states = backbone.eval().hidden(tokens, torch.zeros(1, device=place))
    backbone.train(was_training)
    return states.shape[-1]

"""The convolutional baseline that is published with Genomic Benchmarks.

An embedding of 100 channels, three convolutions of width 8 with 16, 8 and 4 channels, each with
batch norm, ReLU and pooling of pairs, then two linear layers over 512 channels without a function
in between. Sequences are cut or filled to one length. Two classes have two logits here instead of
one, which is the same family of functions.

Shapes: B sequences, L positions, C outputs.
Source: Gresova et al. 2023, BMC Genomic Data 24:25 (its PyTorch model).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor, nn

from dnamdlm.tokens.vocabulary import Vocabulary

EMBEDDING_SIZE = 100
CHANNELS = (16, 8, 4)
KERNEL = 8
DENSE_SIZE = 512
# the shortest input that leaves one position after three convolutions and poolings.
SHORTEST = 64


class SuiteCnn(nn.Module):
    """The CNN of Genomic Benchmarks; it reads one strand."""

    def __init__(self, vocabulary: Vocabulary, num_outputs: int, length: int) -> None:
        """Build the network.

        Args:
            vocabulary: of the ids.
            num_outputs: C.
            length: L; longer sequences are cut, shorter ones filled on the right.
        """
        super().__init__()
        self.vocabulary = vocabulary
        self.both_strands = False
        self.length = max(length, SHORTEST)
        self.embedding = nn.Embedding(len(vocabulary), EMBEDDING_SIZE)
        layers: list[nn.Module] = []
        size = self.length
        for before, after in zip((EMBEDDING_SIZE, *CHANNELS), CHANNELS, strict=False):
            layers += [nn.Conv1d(before, after, KERNEL), nn.BatchNorm1d(after), nn.ReLU()]
            layers.append(nn.MaxPool1d(2))
            size = (size - KERNEL + 1) // 2
        self.convolutions = nn.Sequential(*layers, nn.Flatten())
        self.dense = nn.Sequential(
            nn.Linear(size * CHANNELS[-1], DENSE_SIZE), nn.Linear(DENSE_SIZE, num_outputs)
        )

    def collate(self, sequences: Sequence[NDArray[np.integer]]) -> Int[Tensor, "B L"]:
        """Ids of one length."""
        tokens = np.full((len(sequences), self.length), self.vocabulary.pad_id, dtype=np.int64)
        for row, sequence in enumerate(sequences):
            kept = sequence[: self.length]
            tokens[row, : len(kept)] = kept
        return torch.from_numpy(tokens)

    def forward(self, inputs: Int[Tensor, "B L"]) -> Float[Tensor, "B C"]:
        """Logits."""
        return self.dense(self.convolutions(self.embedding(inputs).transpose(1, 2)))

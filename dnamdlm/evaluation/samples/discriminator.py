"""How well a classifier distinguishes generated from real sequences: the area under its ROC curve.

0.5 means that it cannot. Every sequence is scored by a classifier that was fitted without it (five
folds). Two classifiers: a logistic regression on words, which sees composition, and a small
convolutional network, which also sees patterns. Results are a function of the seed.

Shapes: B sequences, L positions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from scipy.stats import rankdata
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn

from dnamdlm.evaluation.auroc import auroc
from dnamdlm.evaluation.resampling import NUM_RESAMPLES, Estimate, interval, resampled_rows
from dnamdlm.evaluation.samples.frechet import kmer_vectors
from dnamdlm.tokens.nucleotide import reverse_complement

FOLDS = 5
LEAST = 10
"""Smallest number of sequences of each kind."""
_CHANNELS, _KERNEL, _EPOCHS, _BATCH = 32, 11, 12, 32
_LEARNING_RATE = 0.005
_NETWORK_BASES, _NETWORK_LEAST = 1 << 17, 64

FitAndScore = Callable[[list[np.ndarray], np.ndarray, list[np.ndarray], int], np.ndarray]


def discriminate(
    sample: Sequence[np.ndarray],
    reference: Sequence[np.ndarray],
    seed: int,
    *,
    network: bool,
) -> Estimate:
    """Cross-validated AUROC of distinguishing a sample from a reference.

    Args:
        sample: sequences, store codes.
        reference: others, about as many.
        seed: of folds, initial weights and order of training.
        network: use the convolutional network instead of the regression; it takes the first 2^17
            bases of each kind, or 64 sequences if those have more.

    Returns:
        The area with its interval over resampled sequences; nan for fewer than 10 of a kind.
    """
    if min(len(sample), len(reference)) < LEAST:
        return Estimate(float("nan"))
    if network:
        # one network is fitted for each sample and fold: this bounds their time.
        longest = max(len(item) for part in (sample, reference) for item in part)
        most = max(_NETWORK_BASES // longest, _NETWORK_LEAST)
        sample, reference = sample[:most], reference[:most]
    sequences = [*sample, *reference]
    labels = np.repeat([1, 0], [len(sample), len(reference)])
    rng = np.random.default_rng(seed)
    folds = np.empty(len(labels), int)
    for label in (0, 1):
        members = rng.permutation(np.flatnonzero(labels == label))
        folds[members] = np.arange(len(members)) % FOLDS
    fit: FitAndScore = _network_scores if network else _regression_scores
    scores = np.empty(len(labels))
    for fold in range(FOLDS):
        inside, outside = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
        found = fit(
            [sequences[row] for row in inside],
            labels[inside],
            [sequences[row] for row in outside],
            seed,
        )
        # each fold has its own classifier, so that scores are comparable as ranks only.
        scores[outside] = rankdata(found) / (len(found) + 1)
    kinds = [np.flatnonzero(labels == label) for label in (0, 1)]
    is_sample = labels == 1
    draws = [
        auroc(is_sample[rows], scores[rows]) for rows in resampled_rows(kinds, rng, NUM_RESAMPLES)
    ]
    return Estimate(auroc(is_sample, scores), *interval(np.array(draws)))


def _regression_scores(
    train: list[np.ndarray], labels: np.ndarray, test: list[np.ndarray], seed: int
) -> np.ndarray:
    scaler = StandardScaler()
    model = LogisticRegression(C=0.01, max_iter=2000, random_state=seed)
    model.fit(scaler.fit_transform(kmer_vectors(train)), labels)
    return model.decision_function(scaler.transform(kmer_vectors(test)))


class _Network(nn.Module):
    """One convolution, mean and maximum of each channel, and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv1d(4, _CHANNELS, _KERNEL, padding=_KERNEL // 2)
        self.dense = nn.Linear(2 * _CHANNELS, 1)

    def forward(self, codes: Int[Tensor, "B L"]) -> Float[Tensor, " B"]:
        """Logits; code 4 is padding."""
        present = (codes < 4).unsqueeze(1)
        bases = nn.functional.one_hot(codes, 5)[..., :4].transpose(1, 2).float()
        features = torch.relu(self.convolution(bases)) * present
        mean = features.sum(dim=2) / present.sum(dim=2).clamp(min=1)
        return self.dense(torch.cat([mean, features.amax(dim=2)], dim=1)).squeeze(1)


def _network_scores(
    train: list[np.ndarray], labels: np.ndarray, test: list[np.ndarray], seed: int
) -> np.ndarray:
    codes, targets = _padded(train), torch.from_numpy(labels).float()
    other = _padded([reverse_complement(np.asarray(item, np.uint8)) for item in train])
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(seed)
        network = _Network()
        optimizer = torch.optim.AdamW(network.parameters(), lr=_LEARNING_RATE, weight_decay=0.01)
        for epoch in range(_EPOCHS):
            texts = other if epoch % 2 else codes
            for rows in torch.randperm(len(texts), generator=generator).split(_BATCH):
                loss = nn.functional.binary_cross_entropy_with_logits(
                    network(texts[rows]), targets[rows]
                )
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
    network.eval()
    with torch.no_grad():
        forward = torch.cat([network(part) for part in _padded(test).split(256)])
        backward = torch.cat(
            [
                network(part)
                for part in _padded(
                    [reverse_complement(np.asarray(item, np.uint8)) for item in test]
                ).split(256)
            ]
        )
    return ((forward + backward) / 2).double().numpy()


def _padded(sequences: Sequence[NDArray[np.integer]]) -> Int[Tensor, "B L"]:
    table = np.full((len(sequences), max(map(len, sequences))), 4, np.int64)
    for row, sequence in zip(table, sequences, strict=True):
        row[: len(sequence)] = sequence
    return torch.from_numpy(table)

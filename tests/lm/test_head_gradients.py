"""Derivatives of fine-tuned heads by their bases: finite differences, and exact ones."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from dnamdlm.backbones.caduceus import CaduceusPS
from dnamdlm.backbones.dit import DiT
from dnamdlm.backbones.plain_module import ModuleBackbone
from dnamdlm.diffusion.schedules import LogLinear
from dnamdlm.diffusion.times import Uniform
from dnamdlm.errors import ConfigError
from dnamdlm.lm.masked import MaskedDiffusionLM
from dnamdlm.lm.states.head_gradients import output_gradients
from dnamdlm.lm.states.heads import SequenceClassifier
from dnamdlm.lm.states.state_pooling import WindowSettings
from dnamdlm.tokens.nucleotide import NUCLEOTIDE_VOCABULARY

COMPLEMENT = NUCLEOTIDE_VOCABULARY.complement
BASES = range(7, 11)
STEP = 1e-5


def rows(length, count=2):
    return list(np.random.default_rng(3).integers(7, 11, (count, length)).astype(np.uint8))


def head_of(lm, strand="one", windows=None):
    made = SequenceClassifier(lm, 3, windows or WindowSettings(16), strand).double().eval()
    torch.manual_seed(1)
    nn.init.normal_(made.head.weight)
    return made


def network(backbone):
    torch.manual_seed(0)
    for parameter in backbone.parameters():
        if parameter.ndim > 1:
            nn.init.normal_(parameter, std=0.3)
    return MaskedDiffusionLM(backbone, NUCLEOTIDE_VOCABULARY, LogLinear(), Uniform()).double()


class Additive(nn.Module):
    """Hidden states that are linear in the tokens, each at its own place."""

    vocabulary = NUCLEOTIDE_VOCABULARY

    def __init__(self):
        super().__init__()
        torch.manual_seed(5)
        self.table = nn.Parameter(torch.randn(12, 6, dtype=torch.float64))
        self.backbone = nn.Module()
        self.backbone.vocab_size = 12

    def hidden(self, batch, *, soft=None):
        tokens = functional.one_hot(batch.tokens, 12) if soft is None else soft
        place = torch.arange(1, 1 + batch.length)[:, None]
        return (tokens.to(self.table.dtype) @ self.table) * place


def of_ids(made, sequences):
    """The second output for sequences as they are, without distributions."""
    with torch.no_grad():
        found = made(made.collate(sequences))[:, 1]
        if made.both_strands:
            other = [np.array(COMPLEMENT)[item[::-1]].astype(np.uint8) for item in sequences]
            found = (found + made(made.collate(other))[:, 1]) / 2
    return found.numpy()


def second(outputs):
    return outputs[:, 1]


@pytest.mark.parametrize("strand", ["one", "conjoined"])
@pytest.mark.parametrize(
    "windows",
    [
        WindowSettings(16),
        WindowSettings(5),
        WindowSettings(8, "cut"),
        WindowSettings(16, pooling="mean_padded"),
        WindowSettings(16, pooling="first"),
    ],
    ids=["one window", "tiles", "cut", "padded", "first"],
)
def test_of_a_linear_head_they_are_the_differences_of_single_changes(strand, windows):
    made = head_of(Additive(), strand, windows)
    sequences = rows(11)
    values, slopes = output_gradients(made, sequences, second)
    before = of_ids(made, sequences)
    np.testing.assert_allclose(values, before, rtol=1e-12)
    for place in range(11):
        for column, base in enumerate(BASES):
            changed = [item.copy() for item in sequences]
            for item in changed:
                item[place] = base
            own = slopes[range(2), place, [item[place] - 7 for item in sequences]]
            gained = slopes[:, place, column] - own
            # sums of some dozens of float64 of size 100.
            np.testing.assert_allclose(gained, of_ids(made, changed) - before, rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    ("backbone", "strand"),
    [
        (lambda: DiT(12, 16, 1, 2, stem_width=3, local_radius=1, local_size=8), "conjoined"),
        (lambda: CaduceusPS(12, COMPLEMENT, 8, 1), "invariant"),
    ],
    ids=["dit", "caduceus_ps"],
)
def test_of_any_head_they_are_those_of_finite_differences(backbone, strand):
    made = head_of(network(backbone()), strand)
    sequences = rows(6, 1)

    def wanted(outputs):
        return outputs.softmax(dim=1)[:, 1]

    values, slopes = output_gradients(made, sequences, wanted)
    strands = [sequences]
    if made.both_strands:
        strands.append([np.array(COMPLEMENT)[item[::-1]].astype(np.uint8) for item in sequences])
    windows = [made.collate(item) for item in strands]
    given = [functional.one_hot(item.batch.tokens, 12).double() for item in windows]

    def value(place, base, step):
        soft = [item.clone() for item in given]
        soft[0][0, place, base] += step
        if len(soft) > 1:
            soft[1][0, 5 - place, COMPLEMENT[base]] += step
        outputs = [made(item, part) for item, part in zip(windows, soft, strict=True)]
        return wanted(torch.stack(outputs).mean(dim=0)).item()

    with torch.no_grad():
        expected = [
            [(value(place, base, STEP) - value(place, base, -STEP)) / (2 * STEP) for base in BASES]
            for place in range(6)
        ]
        assert values[0] == pytest.approx(value(0, 7, 0.0), rel=1e-12)
    # the error of central differences is of the order of the step squared, 1e-10, and of rounding
    # over the step, 1e-11.
    np.testing.assert_allclose(slopes[0], expected, rtol=1e-6, atol=1e-9)
    assert np.abs(slopes).max() > 1e-4


def test_a_network_that_reads_ids_alone_is_refused():
    module = nn.Sequential(nn.Embedding(12, 8), nn.Linear(8, 12))
    made = head_of(network(ModuleBackbone(module, 12)))
    with pytest.raises(ConfigError, match="use proposal=first_order"):
        output_gradients(made, rows(6), second)

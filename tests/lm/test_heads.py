"""Heads on pooled states, adapters, and the published CNN."""

import numpy as np
import pytest
import torch

from dnamdlm.backbones.caduceus import CaduceusPS
from dnamdlm.backbones.dit import DiT
from dnamdlm.diffusion.schedules import LogLinear
from dnamdlm.diffusion.times import Uniform
from dnamdlm.errors import ConfigError
from dnamdlm.lm.masked import MaskedDiffusionLM
from dnamdlm.lm.states.adapters import add_adapters, merge_adapters
from dnamdlm.lm.states.heads import SequenceClassifier, opposite, predict_outputs
from dnamdlm.lm.states.state_pooling import WindowSettings
from dnamdlm.lm.states.suite_cnn import SuiteCnn
from dnamdlm.tokens.nucleotide import NUCLEOTIDE_VOCABULARY, NucleotideTokenizer
from tests.helpers.rounding import rounding

SEQUENCES = [
    np.random.default_rng(i).integers(7, 11, size=5 + (11 * i) % 30).astype(np.uint8)
    for i in range(12)
]


def language_model(backbone):
    torch.manual_seed(0)
    for parameter in backbone.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.3)
    lm = MaskedDiffusionLM(backbone, NUCLEOTIDE_VOCABULARY, LogLinear(), Uniform())
    return lm.double().eval()


def classifier(strand="one", window=16, backbone=None):
    lm = language_model(backbone or DiT(12, 16, 1, 2))
    made = SequenceClassifier(lm, 3, WindowSettings(window), strand).eval()
    torch.nn.init.normal_(made.head.weight)
    return made


def assert_alike(found, expected):
    """Equal up to the rounding of float32 heads; the states under them are float64."""
    # a mean over windows, 16 features, and a mean over strands.
    allowed = rounding(24, np.abs(expected).max())
    np.testing.assert_allclose(found, expected, rtol=0, atol=allowed)


def test_the_opposite_strand_is_the_reverse_complement():
    ids = NucleotideTokenizer().encode("AACGTN")
    assert NucleotideTokenizer().decode(opposite(ids, NUCLEOTIDE_VOCABULARY)) == "NACGTT"


def test_outputs_do_not_depend_on_the_batches():
    made = classifier()
    together = predict_outputs(made, SEQUENCES)
    alone = np.concatenate([predict_outputs(made, [part]) for part in SEQUENCES])
    assert_alike(together, alone)
    assert_alike(predict_outputs(made, SEQUENCES, tokens_at_once=50), together)


def test_conjoined_answers_are_the_mean_of_both_strands():
    one, both = classifier("one"), classifier("conjoined")
    both.load_state_dict(one.state_dict())
    turned = [opposite(part, NUCLEOTIDE_VOCABULARY) for part in SEQUENCES]
    expected = (predict_outputs(one, SEQUENCES) + predict_outputs(one, turned)) / 2
    assert_alike(predict_outputs(both, SEQUENCES), expected)
    assert_alike(predict_outputs(both, turned), expected)
    assert np.abs(predict_outputs(one, turned) - predict_outputs(one, SEQUENCES)).max() > 0.01


def test_the_head_of_an_equivariant_network_is_invariant():
    complement = NUCLEOTIDE_VOCABULARY.complement
    made = classifier("invariant", 64, CaduceusPS(12, complement, 8, 2))
    assert made.head.in_features == 8
    turned = [opposite(part, NUCLEOTIDE_VOCABULARY) for part in SEQUENCES]
    assert_alike(predict_outputs(made, SEQUENCES), predict_outputs(made, turned))


def test_features_under_the_head_give_its_outputs():
    made = classifier("conjoined")
    features = predict_outputs(made, SEQUENCES, features=True)
    with torch.no_grad():
        outputs = made.head(torch.from_numpy(features)).numpy()
    assert_alike(predict_outputs(made, SEQUENCES), outputs)


def test_impossible_strands_are_refused():
    with pytest.raises(ConfigError, match="strand=both is unknown; choose auto, one, conjoined"):
        classifier("both")
    with pytest.raises(ConfigError, match="needs an equivariant network"):
        classifier("invariant")


def test_adapters_begin_as_nothing_learn_alone_and_merge_into_the_weights():
    made = classifier()
    before = predict_outputs(made, SEQUENCES)
    trained = add_adapters(made.lm, rank=2, alpha=4.0)
    learning = [name for name, p in made.lm.named_parameters() if p.requires_grad]
    assert all("parametrizations" in name for name in learning)
    assert trained == sum(p.numel() for p in made.lm.parameters() if p.requires_grad)
    assert_alike(predict_outputs(made, SEQUENCES), before)
    for name, parameter in made.lm.named_parameters():
        if name.endswith(".up"):
            torch.nn.init.normal_(parameter)
    changed = predict_outputs(made, SEQUENCES)
    assert np.abs(changed - before).max() > 1e-3
    merge_adapters(made)
    assert_alike(predict_outputs(made, SEQUENCES), changed)
    assert set(made.state_dict()) == set(classifier().state_dict())


def test_an_adapter_adds_the_product_of_its_matrices_times_alpha_over_rank():
    layer = torch.nn.Linear(3, 5).double()
    before = layer.weight.detach().clone()
    add_adapters(layer, rank=2, alpha=6.0)
    layer.double()  # the matrices of the adapter too
    (update,) = layer.parametrizations.weight
    torch.nn.init.normal_(update.up)
    expected = before + 3.0 * update.up @ update.down
    torch.testing.assert_close(layer.weight, expected)


def test_adapters_need_a_rank_and_a_linear_layer():
    with pytest.raises(ConfigError, match="lora_rank=0"):
        add_adapters(torch.nn.Linear(2, 2), rank=0, alpha=1.0)
    with pytest.raises(ConfigError, match="no linear layer"):
        add_adapters(torch.nn.LayerNorm(2), rank=1, alpha=1.0)


@pytest.mark.parametrize("length", [20, 200, 251])
def test_the_cnn_has_the_published_shape(length):
    network = SuiteCnn(NUCLEOTIDE_VOCABULARY, 2, length).eval()
    assert predict_outputs(network, SEQUENCES).shape == (12, 2)
    size = max(length, 64)
    for _ in range(3):
        size = (size - 7) // 2
    # embedding, convolutions with batch norm, two dense layers.
    expected = 12 * 100 + (100 * 8 + 1 + 2) * 16 + (16 * 8 + 3) * 8 + (8 * 8 + 3) * 4
    expected += (4 * size + 1) * 512 + 513 * 2
    assert sum(parameter.numel() for parameter in network.parameters()) == expected

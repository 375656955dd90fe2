"""The classifier of noisy sequences: its loss, what it pools, and laws of tokens as its input."""

import dataclasses
import math

import pytest
import torch

from dnamdlm.backbones.bidirectional import Mamba
from dnamdlm.backbones.caduceus import CaduceusPS
from dnamdlm.backbones.dit import DiT
from dnamdlm.backbones.equivariance import StrandAverage
from dnamdlm.data.batch import Batch
from dnamdlm.diffusion.guidance import first_order_ratios
from dnamdlm.diffusion.randomness import row_keys
from dnamdlm.diffusion.schedules import LogLinear
from dnamdlm.diffusion.times import Importance, Stratified
from dnamdlm.errors import ConfigError, DataError
from dnamdlm.lm.classifier import NoisyClassifier
from dnamdlm.lm.language_model import LanguageModel, Trainable
from dnamdlm.tokens.nucleotide import NUCLEOTIDE_VOCABULARY
from tests.backbones.cases import COMPLEMENT
from tests.helpers.rounding import additions, rounding

BACKBONES = {
    "dit": lambda: DiT(12, 16, 1, 2),
    "dit-time": lambda: DiT(12, 16, 1, 2, time_conditioning=True, cond_size=8),
    "dit-tied-stem": lambda: DiT(12, 16, 1, 2, tie_embeddings=True, local_radius=2, local_size=8),
    "mamba": lambda: Mamba(12, 16, 1, state_size=4, vocab_multiple=8),
    "caduceus": lambda: CaduceusPS(12, COMPLEMENT, 16, 1, state_size=4),
    "average": lambda: StrandAverage(Mamba(12, 16, 1, state_size=4), COMPLEMENT),
}


def _classifier(name="dit", std=0.4):
    torch.manual_seed(0)
    classifier = NoisyClassifier(
        BACKBONES[name](), NUCLEOTIDE_VOCABULARY, LogLinear(), Stratified(), num_classes=3
    )
    if std:
        for parameter in classifier.parameters():
            torch.nn.init.normal_(parameter, std=std)
    return classifier


def _batch(rows=6, length=12, label=True):
    tokens = torch.randint(7, 11, (rows, length), generator=torch.Generator().manual_seed(1))
    everywhere = torch.ones_like(tokens, dtype=torch.bool)
    return Batch(
        tokens=tokens, present=everywhere, valid=everywhere, weight=None,
        key=row_keys(0, torch.arange(rows)), row=torch.arange(rows), global_size=rows,
        label=torch.arange(rows) % 3 if label else None,
    )  # fmt: skip


def test_it_can_be_trained_but_is_no_language_model():
    assert isinstance(_classifier(), Trainable)
    assert not isinstance(_classifier(), LanguageModel)


@pytest.mark.parametrize("name", BACKBONES)
def test_an_untrained_classifier_knows_nothing_and_every_weight_takes_part(name):
    terms = _classifier(name, std=0).double().loss_terms(_batch())
    assert terms.nats.mean().item() == pytest.approx(math.log(3), rel=1e-12)
    assert bool(terms.valid.all())
    classifier = _classifier(name)
    classifier.loss_terms(_batch()).nats.sum().backward()
    idle = [n for n, p in classifier.named_parameters() if p.grad is None or not p.grad.any()]
    assert idle == []


def test_the_loss_is_a_function_of_the_key_and_the_mean_over_positions_is_per_label():
    classifier, batch = _classifier().double(), _batch()
    nats = classifier.loss_terms(batch).nats
    assert bool((nats == nats[:, :1]).all())
    alone = classifier.loss_terms(batch.rows(slice(4, 5))).nats
    torch.testing.assert_close(alone, nats[4:5])


def test_the_score_counts_surprise_and_hits():
    classifier, batch = _classifier().double(), _batch()
    nats, right = classifier.score(batch, draws=4)
    assert nats.shape == right.shape == (6,)
    assert set((right * 4).tolist()) <= {0.0, 1.0, 2.0, 3.0, 4.0}
    # at no noise it is the classification of the sequence itself.
    clean = dataclasses.replace(batch, valid=torch.zeros_like(batch.valid))
    log_probs = classifier.log_probs(batch.tokens)
    nats, right = classifier.score(clean, draws=2)
    expected = -log_probs.gather(-1, batch.label[:, None]).squeeze(-1)
    torch.testing.assert_close(nats, expected)
    assert torch.equal(right == 1, log_probs.argmax(-1) == batch.label)


@pytest.mark.parametrize("name", BACKBONES)
def test_padding_and_unknown_bases_are_not_pooled(name):
    classifier = _classifier(name).double()
    xt, time = torch.tensor([[7, 3, 9, 11, 10, 4, 4]]), torch.tensor([0.3]).double()
    present = xt != 4
    short = classifier.log_probs(xt[:, :5], time, present[:, :5])
    torch.testing.assert_close(classifier.log_probs(xt, time, present), short)
    states = classifier.backbone.hidden(
        xt[:, :5], time if not classifier.sees_time else -torch.log(1 - time).float(), None
    )
    pooled = states[:, [0, 1, 2, 4]].mean(dim=1)
    # the network is given the time in float32.
    allowed = rounding(additions(classifier), short.abs().max().item())
    torch.testing.assert_close(classifier.head(pooled).log_softmax(-1), short, rtol=0, atol=allowed)


@pytest.mark.parametrize("name", BACKBONES)
def test_a_one_hot_law_changes_nothing_and_its_slope_is_first_order(name):
    classifier = _classifier(name).double().eval()
    xt = torch.tensor([[7, 3, 9, 3, 10], [3, 3, 8, 8, 8]])
    time = torch.tensor([0.4, 0.7]).double()
    width, dtype = classifier.soft_like
    one_hot = torch.nn.functional.one_hot(xt, width).to(dtype)
    torch.testing.assert_close(
        classifier.log_probs(xt, time, soft=one_hot), classifier.log_probs(xt, time)
    )
    first = first_order_ratios(
        lambda soft: classifier.log_probs(xt, time, soft=soft)[:, 1],
        xt, num_tokens=width, dtype=dtype,
    )  # fmt: skip
    # a small step from the mask of one position towards G, in either direction.
    towards = torch.zeros_like(one_hot)
    towards[0, 1, 9], towards[0, 1, 3] = 1e-5, -1e-5
    ahead, back = (
        classifier.log_probs(xt, time, soft=one_hot + sign * towards)[0, 1] for sign in (1, -1)
    )
    assert first[0, 1, 9].item() == pytest.approx((ahead - back).item() / 2e-5, rel=1e-4, abs=1e-7)
    assert first[0, 1, 3] == 0


def test_what_cannot_classify_is_refused():
    make = {"vocabulary": NUCLEOTIDE_VOCABULARY, "schedule": LogLinear(), "times": Stratified()}
    with pytest.raises(ConfigError, match=r"lm\.num_classes=1"):
        NoisyClassifier(DiT(12, 8, 1, 1), num_classes=1, **make)
    with pytest.raises(ConfigError, match=r"backbone\.num_classes=2 would give"):
        NoisyClassifier(DiT(12, 8, 1, 1, num_classes=2), num_classes=2, **make)
    with pytest.raises(ConfigError, match="sees only the past"):
        NoisyClassifier(Mamba(12, 8, 1, directions="forward"), num_classes=2, **make)
    with pytest.raises(ConfigError, match="times=Importance"):
        NoisyClassifier(DiT(12, 8, 1, 1), num_classes=2, **make | {"times": Importance()})
    with pytest.raises(DataError, match="no labels"):
        _classifier().loss_terms(_batch(label=False))

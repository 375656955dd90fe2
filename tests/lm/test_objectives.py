"""Objectives of the masked model: oracle, exhaustive sums, switches, refusals."""

import itertools
import math

import pytest
import torch

from dnamdlm.backbones.autoregressive import CausalTransformer
from dnamdlm.backbones.dit import DiT
from dnamdlm.data.batch import Batch
from dnamdlm.diffusion.randomness import RowNoise, Stream, row_keys
from dnamdlm.diffusion.schedules import Cosine, LogLinear
from dnamdlm.diffusion.score_entropy import log_score
from dnamdlm.diffusion.times import Clipped, Importance, Stratified, Uniform
from dnamdlm.errors import ConfigError
from dnamdlm.lm.causal import CausalLM
from dnamdlm.lm.language_model import LanguageModel
from dnamdlm.lm.markov import MarkovLM
from dnamdlm.lm.masked import MaskedDiffusionLM
from dnamdlm.lm.objectives import (
    ChangeOfVariables,
    ContinuousTime,
    DiscreteTime,
    ExactCount,
    MaskedPrediction,
    Objective,
    ScoreEntropy,
    SimpleCrossEntropy,
)
from dnamdlm.tokens.nucleotide import NUCLEOTIDE_VOCABULARY
from tests.helpers.oracle import OracleBackbone, TabulatedLaw

LAW = TabulatedLaw()
N_ID = 11
OBJECTIVES = [
    ContinuousTime(),
    ChangeOfVariables(),
    SimpleCrossEntropy(),
    ExactCount(),
    DiscreteTime(num_steps=7),
    DiscreteTime(num_steps=7, carry_over=False),
    DiscreteTime(num_steps=7, carry_over=False, zero_mask=False),
    ScoreEntropy(),
    MaskedPrediction(),
]


class _NormalisedOracle(OracleBackbone):
    """The oracle with logits that are relative scores: no shift, no probability of the mask."""

    def forward(self, tokens, time, present):
        logits = self.law.logits(tokens) - 3.0 + math.log(self.law.num_symbols)
        real = torch.arange(self.vocab_size) < self.law.num_symbols
        return torch.where(real, logits, -100.0) * self.scale


def _oracle(objective, times=None, schedule=None):
    return MaskedDiffusionLM(
        _NormalisedOracle(LAW),
        LAW.vocabulary,
        schedule or LogLinear(),
        times or Stratified(),
        objective,
    )


def _network(objective=None, *, times=None, **options):
    torch.manual_seed(0)
    backbone = DiT(12, 16, 1, 2, **options)
    for parameter in backbone.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    return MaskedDiffusionLM(
        backbone, NUCLEOTIDE_VOCABULARY, LogLinear(), times or Stratified(), objective
    )


def _batch(tokens, *, valid=None, present=None, seed=0):
    everywhere = torch.ones_like(tokens, dtype=torch.bool)
    return Batch(
        tokens=tokens,
        present=everywhere if present is None else present,
        valid=everywhere if valid is None else valid,
        weight=None,
        key=row_keys(seed, torch.arange(len(tokens))),
        row=torch.arange(len(tokens)),
        global_size=len(tokens),
    )


def _bases(rows, length, seed=0):
    return torch.randint(7, 11, (rows, length), generator=torch.Generator().manual_seed(seed))


def _standard_scores(nats, expected):
    by_sequence = nats.sum(dim=1).reshape(-1, len(LAW.sequences))
    spread = by_sequence.std(dim=0) / len(by_sequence) ** 0.5
    return (by_sequence.mean(dim=0) - expected) / spread


@pytest.mark.parametrize(
    ("objective", "times"),
    [
        (ContinuousTime(), Importance()),
        (ContinuousTime(), Uniform()),
        # the part that is left out is a millionth.
        (ChangeOfVariables(lowest=1e-6), Stratified()),
        (SimpleCrossEntropy(), Stratified()),
        (ExactCount(), Stratified()),
        (ScoreEntropy(), Stratified()),
        (ScoreEntropy(), Importance()),
    ],
    ids=repr,
)
@pytest.mark.parametrize("schedule", [LogLinear(), Cosine()], ids=repr)
def test_the_reported_loss_of_the_oracle_averages_to_the_likelihood(objective, times, schedule):
    tokens = LAW.sequences.repeat(3000, 1)
    terms = _oracle(objective, times, schedule).loss_terms(_batch(tokens))
    # eight standard scores below 4 each.
    assert _standard_scores(terms.nats, -LAW.probs.log()).abs().max() < 4


@pytest.mark.parametrize("objective", [ScoreEntropy(), DiscreteTime(num_steps=4)], ids=repr)
def test_the_likelihood_of_an_objective_with_its_own_bound_is_the_mean_of_its_loss(objective):
    tokens = LAW.sequences.repeat(3000, 1)
    model = _oracle(objective)
    loss = model.loss_terms(_batch(tokens, seed=1)).nats
    estimate = model.log_likelihood(_batch(tokens), draws=1, estimator="auto")
    assert estimate.kind == "upper bound"
    mean = estimate.nats.sum(dim=1).reshape(-1, len(LAW.sequences)).mean(dim=0)
    # two estimates, the second one with its own error: below 6 standard scores of one.
    assert _standard_scores(loss, mean).abs().max() < 6


def test_one_step_is_the_product_of_the_marginals():
    model = _oracle(DiscreteTime(num_steps=1))
    nats = model.log_likelihood(_batch(LAW.sequences), draws=1).nats
    empty = torch.full((1, LAW.length), LAW.mask_id)
    marginals = LAW.log_probs(empty).expand(len(LAW.sequences), -1, -1)
    expected = -marginals.gather(-1, LAW.sequences[..., None]).squeeze(-1)
    torch.testing.assert_close(nats, expected)


def test_four_steps_cost_the_sum_over_the_steps_and_all_masks():
    # each of the four draws takes a step of its own, so that only the masks are random.
    tokens = LAW.sequences.repeat(2000, 1)
    model = _oracle(DiscreteTime(num_steps=4))
    nats = model.log_likelihood(_batch(tokens), draws=4).nats
    expected = torch.zeros(len(LAW.sequences), dtype=torch.float64)
    for mask in itertools.product([False, True], repeat=LAW.length):
        hidden = torch.tensor(mask)
        log_probs = LAW.log_probs(torch.where(hidden, LAW.mask_id, LAW.sequences))
        surprise = -log_probs.gather(-1, LAW.sequences[..., None]).squeeze(-1)
        for step in range(1, 5):
            likely = (step / 4) ** sum(mask) * (1 - step / 4) ** (LAW.length - sum(mask))
            # of the tokens hidden after this many quarters, one in `step` was hidden in the last.
            expected += likely / step * (surprise * hidden).sum(dim=1)
    # eight standard scores below 4 each.
    assert _standard_scores(nats, expected).abs().max() < 4


def test_without_zero_mask_or_carry_over_the_oracle_costs_the_same():
    batch = _batch(LAW.sequences.repeat(20, 1))
    plain, ablated = (
        _oracle(DiscreteTime(num_steps=5, zero_mask=zero_mask)).loss_terms(batch).nats
        for zero_mask in (True, False)
    )
    torch.testing.assert_close(plain, ablated)


def test_what_a_network_does_not_copy_it_has_to_reconstruct():
    batch = _batch(_bases(4, 20))
    with_copy, without = (
        _network(DiscreteTime(num_steps=9, carry_over=carry_over)).double()
        for carry_over in (True, False)
    )
    gap = without.loss_terms(batch).nats - with_copy.loss_terms(batch).nats
    log_probs = without.backbone(batch.tokens)[..., 7:11].log_softmax(-1)
    expected = -log_probs.gather(-1, (batch.tokens - 7)[..., None]).squeeze(-1)
    torch.testing.assert_close(gap, expected)


def test_simple_cross_entropy_minimises_the_loss_without_the_weight_of_the_time():
    model, batch = _network(SimpleCrossEntropy()).double(), _batch(_bases(16, 30))
    terms = model.loss_terms(batch)
    bound = _network().double().loss_terms(batch).nats
    torch.testing.assert_close(terms.nats, bound)
    noise = RowNoise(batch.key)
    t = Stratified()(noise.uniform(Stream.TIMES, 0), batch.row, 16)
    torch.testing.assert_close(terms.minimised, bound * t[:, None])
    assert not terms.nats.requires_grad
    assert terms.minimised.requires_grad


def test_masked_prediction_predicts_the_chosen_share_from_the_corrupted_sequence():
    model, seen = _network(MaskedPrediction()), []
    model.backbone.register_forward_pre_hook(lambda _module, args: seen.append(args[0]))
    tokens = _bases(40, 500)
    tokens[:, :50] = N_ID
    valid = tokens != N_ID
    terms = model.loss_terms(_batch(tokens, valid=valid))
    share = (terms.nats > 0).sum() / valid.sum()
    # four standard deviations of 18,000 choices.
    assert share.item() == pytest.approx(0.15, abs=0.011)
    assert set(seen[0].unique().tolist()) == {3, 7, 8, 9, 10, N_ID}
    assert bool((seen[0][:, :50] == N_ID).all())
    uniform = _network(MaskedPrediction())
    for parameter in uniform.parameters():
        torch.nn.init.zeros_(parameter)
    mean = uniform.loss_terms(_batch(tokens, valid=valid)).nats.sum() / valid.sum()
    assert mean.item() == pytest.approx(math.log(4), rel=0.08)


@pytest.mark.parametrize("objective", OBJECTIVES, ids=repr)
def test_every_objective_spares_what_is_not_valid_and_has_finite_gradients(objective):
    tokens = _bases(6, 24)
    tokens[:, 5] = N_ID
    present = torch.ones_like(tokens, dtype=torch.bool)
    present[:3, 18:] = False
    tokens[~present] = NUCLEOTIDE_VOCABULARY.pad_id
    valid = present & (tokens != N_ID)
    model = _network(objective)
    assert isinstance(model, LanguageModel)
    terms = model.loss_terms(_batch(tokens, valid=valid, present=present))
    loss = terms.nats if terms.minimised is None else terms.minimised
    assert bool((loss[~valid] == 0).all())
    assert bool((terms.nats[~valid] == 0).all())
    loss.sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert bool(parameter.grad.isfinite().all()), name


@pytest.mark.parametrize("objective", OBJECTIVES, ids=repr)
def test_the_loss_of_a_row_does_not_depend_on_its_batch(objective):
    model, batch = _network(objective).double(), _batch(_bases(6, 24))
    part = batch.rows(torch.tensor([4, 1]))
    torch.testing.assert_close(model.loss_terms(part).nats, model.loss_terms(batch).nats[[4, 1]])
    torch.testing.assert_close(
        model.log_likelihood(part, draws=2).nats, model.log_likelihood(batch, draws=2).nats[[4, 1]]
    )


def test_clipped_times_hide_a_share_within_the_range():
    model, seen = _network(times=Clipped(0.4, 0.6)), []
    model.backbone.register_forward_pre_hook(lambda _module, args: seen.append(args[0]))
    model.loss_terms(_batch(_bases(20, 1000)))
    share = (seen[0] == 3).float().mean(dim=1)
    # four standard deviations of 1000 tokens.
    assert share.min() > 0.4 - 0.064
    assert share.max() < 0.6 + 0.064


def test_scores_are_given_for_samplers():
    xt = torch.tensor([[7, 3, 3, 9]])
    model = _network(ScoreEntropy(), time_conditioning=True).double()
    t = torch.tensor([0.25], dtype=torch.float64)
    scores = log_score(
        model.logits(xt, t), xt, model.schedule.alpha(t),
        real_tokens=model.real_tokens, mask_id=model.mask_id,
    )  # fmt: skip
    # one factor per position: odds of 3 times the sum that normalises the scores.
    ratio = (scores - model.denoise(xt, t))[0, 1:3, 7:11]
    torch.testing.assert_close(ratio, ratio[:, :1].expand(-1, 4))
    scores = scores.exp()
    assert scores[0, 0].tolist() == [0.0] * 7 + [1.0] + [0.0] * 4
    assert scores[0, 1, 3] == 1.0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: _network(ExactCount(), time_conditioning=True),
            "ExactCount has no time for a network",
        ),
        (lambda: _network(MaskedPrediction(), time_conditioning=True), "has no time for a network"),
        (lambda: _network(ExactCount(), times=Importance()), "does not suit the objective"),
        (lambda: _network(DiscreteTime(), times=Clipped()), "use times=stratified"),
        (lambda: _network(ChangeOfVariables(), times=Clipped()), "use times=stratified"),
        (lambda: ChangeOfVariables(lowest=1.0), r"lowest=1\.0 must lie in \(0, 1\)"),
        (lambda: DiscreteTime(num_steps=0), "num_steps=0 must be at least 1"),
        (lambda: MaskedPrediction(rate=0.0), r"rate=0\.0 must lie in \(0, 1\]"),
        (lambda: MaskedPrediction(mask_share=0.9, random_share=0.2), "at most 1, got 0.9 and 0.2"),
        (
            lambda: _network(time_conditioning=True).log_likelihood(
                _batch(_bases(1, 4)), draws=1, estimator="margin"
            ),
            "estimator=margin has no time for a network",
        ),
        (
            lambda: _network(time_conditioning=True).chosen_estimator("orders:2"),
            "estimator=orders:2 has no time for a network",
        ),
        (lambda: _network().chosen_estimator("orders"), "needs a number of orders from 1"),
        (
            lambda: _network().log_likelihood(_batch(_bases(1, 4)), draws=1, estimator="objective"),
            "ContinuousTime has no bound of its own",
        ),
    ],
)
def test_what_does_not_fit_together_is_refused(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


def test_weights_pass_from_one_objective_to_the_next():
    first, second = _network(MaskedPrediction()), _network(ContinuousTime())
    second.load_state_dict(first.state_dict(), strict=True)


class HalfHidden:
    """An objective from outside the package: always half of the tokens hidden."""

    def check(self, process):
        pass

    def hide(self, process, batch):
        half = torch.full((len(batch),), 0.5)
        xt = process.hide_with(batch, half, draw=0)
        t = process.schedule.time_of(half)
        return [process.cross_entropy(batch, xt, t, weight=1 / half)]


def test_an_objective_from_outside_trains_the_model():
    assert isinstance(HalfHidden(), Objective)
    rows = 400
    terms = _oracle(HalfHidden()).loss_terms(_batch(LAW.sequences.repeat(rows, 1)))
    # over all masks that hide each token with probability 1/2: sum of 2 -log p at hidden tokens.
    expected = torch.zeros(len(LAW.sequences), dtype=torch.float64)
    for hidden in itertools.product([False, True], repeat=LAW.length):
        mask = torch.tensor(hidden)
        xt = torch.where(mask, LAW.mask_id, LAW.sequences)
        nats = -LAW.log_probs(xt).gather(-1, LAW.sequences[..., None]).squeeze(-1)
        expected += (nats * mask).sum(dim=1) * 2 / 2**LAW.length
    assert _standard_scores(terms.nats, expected).abs().max() < 4
    assert terms.minimised is None


def test_an_objective_makes_its_draws_without_a_network():
    process = _network(time_conditioning=True).process
    batch = _batch(_bases(4, 20))
    (draw,) = ContinuousTime().hide(process, batch)
    assert torch.equal(draw.scored, draw.xt == process.mask_id)
    assert torch.equal(draw.xt[~draw.scored], batch.tokens[~draw.scored])
    with_clean = DiscreteTime(num_steps=4, carry_over=False).hide(process, batch)
    assert [bool((part.xt == process.mask_id).any()) for part in with_clean] == [True, False]


@pytest.mark.parametrize("model", ["causal", "markov"])
def test_a_model_with_an_exact_likelihood_has_no_other_estimator(model):
    if model == "causal":
        lm = CausalLM(CausalTransformer(12, 16, 1, 2), NUCLEOTIDE_VOCABULARY)
    else:
        lm = MarkovLM.__new__(MarkovLM)
    assert lm.chosen_estimator("auto") == "auto"
    with pytest.raises(ConfigError, match="estimator=count is for masked diffusion models"):
        lm.log_likelihood(_batch(_bases(1, 4)), draws=1, estimator="count")
    with pytest.raises(ConfigError, match="estimator=best is unknown; choose one of auto, time"):
        lm.chosen_estimator("best")


def test_auto_is_the_estimator_that_suits_objective_and_network():
    assert _network().chosen_estimator("auto") == "count"
    assert _network(time_conditioning=True).chosen_estimator("auto") == "time"
    assert _network(ScoreEntropy()).chosen_estimator("auto") == "objective"

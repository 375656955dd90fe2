"""Uniform and hybrid noise: enumerated laws, and masked diffusion at one end."""

import pytest
import torch

from dnamdlm.backbones.dit import DiT
from dnamdlm.data.batch import batch_of_ids
from dnamdlm.diffusion.randomness import RowNoise, row_keys
from dnamdlm.diffusion.schedules import Cosine, LogLinear
from dnamdlm.diffusion.times import Stratified
from dnamdlm.diffusion.uniform_noise import noisy_probs, reverse_probs
from dnamdlm.diffusion.uniform_steps import Replacing, forgetful_probs, replaced_process
from dnamdlm.errors import ConfigError
from dnamdlm.lm.classifier import NoisyClassifier
from dnamdlm.lm.masked import MaskedDiffusionLM
from dnamdlm.lm.objectives import ContinuousTime, DiscreteTime, ExactCount
from dnamdlm.lm.sampling.class_guidance import ClassGuidance, ClassifierGuidance
from dnamdlm.lm.sampling.generation import Template, generate_pieces
from dnamdlm.lm.sampling.network_calls import NetworkCalls
from dnamdlm.lm.sampling.samplers import AncestralSampler, RemaskSampler, RenoiseSampler
from dnamdlm.lm.sampling.uniform_generation import CleanPredictions, GuidedPredictor
from dnamdlm.lm.uniform import UniformDiffusionLM
from dnamdlm.lm.uniform_noising import ReplacingSteps
from dnamdlm.tokens.nucleotide import NUCLEOTIDE_VOCABULARY, NucleotideTokenizer
from tests.helpers.oracle import OracleBackbone, TabulatedLaw
from tests.helpers.replaced_law import ReplacedLaw

LAW = TabulatedLaw(length=3, num_symbols=3)
MASK, PAD = NUCLEOTIDE_VOCABULARY.mask_id, NUCLEOTIDE_VOCABULARY.pad_id
NOT_A_BASE = int(NucleotideTokenizer().encode("N")[0])
NUM_ROWS = 20_000


class ReplacedOracle(OracleBackbone):
    """The exact c of one law without a class, and of one for each class."""

    def __init__(self, laws, share):
        super().__init__(laws[0])
        self.laws = [ReplacedLaw(law, share) for law in laws]
        self.time_conditioning = True
        self.num_classes = len(laws) - 1

    def forward(self, tokens, time=None, present=None, label=None):
        alpha = (-time.double()).exp()
        assert len(alpha.unique()) == 1
        which = 0
        if label is not None and int(label[0]) < self.num_classes:
            which = int(label[0]) + 1
        return self.laws[which].others(tokens, alpha[0]).log()

    def hidden(self, tokens, time=None, present=None, label=None):
        return self(tokens, time, present, label)


def oracle(share, laws=(LAW,), **settings):
    return UniformDiffusionLM(
        ReplacedOracle(laws, share), LAW.vocabulary, uniform_share=share, **settings
    )


def network(**settings):
    torch.manual_seed(2)
    net = DiT(12, 16, 2, 2, **settings).double()
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return net


def batch_of(*texts):
    encode = NucleotideTokenizer().encode
    keys = row_keys(3, torch.arange(len(texts)))
    return batch_of_ids([encode(text) for text in texts], NUCLEOTIDE_VOCABULARY, keys=keys)


@pytest.mark.parametrize("objective", [None, ContinuousTime(), DiscreteTime(8), ExactCount(2.0)])
def test_noise_of_masks_alone_is_masked_diffusion_bit_for_bit(objective):
    sees_time = not isinstance(objective, ExactCount)
    parts = (network(time_conditioning=sees_time), NUCLEOTIDE_VOCABULARY, Cosine(), None, objective)
    masked, hybrid = MaskedDiffusionLM(*parts), UniformDiffusionLM(*parts, uniform_share=0)
    batch = batch_of("ACGTNACGTT", "GGA", "TTTTACGACG")
    assert torch.equal(masked.loss_terms(batch).nats, hybrid.loss_terms(batch).nats)
    expected, found = (lm.log_likelihood(batch, draws=3) for lm in (masked, hybrid))
    assert torch.equal(expected.nats, found.nats)
    assert torch.equal(masked.hidden(batch), hybrid.hidden(batch))
    assert masked.state_dict().keys() == hybrid.state_dict().keys()
    template = Template.of_masks(10, NUCLEOTIDE_VOCABULARY)
    keys = row_keys(1, torch.arange(2))
    samplers = (AncestralSampler(6), "first_hitting", RemaskSampler(num_steps=6, eta=0.3))
    for sampler in samplers:
        pieces = (
            next(generate_pieces(lm, keys, template, sampler=sampler, trained_length=10))
            for lm in (masked, hybrid)
        )
        expected, found = pieces
        assert torch.equal(expected.tokens, found.tokens)


@pytest.mark.parametrize("share", [1.0, 0.3])
def test_draws_of_the_bound_of_t_steps_have_the_enumerated_mean(share):
    objective = ReplacingSteps(num_steps=2)
    lm = oracle(share, objective=objective)
    expected = lm.backbone.laws[0].chain_bound([1.0, 0.5, 0.0])
    copies = 1500
    number = torch.arange(len(LAW.sequences)).repeat_interleave(copies)
    texts = list(LAW.sequences[number].numpy())
    keys = row_keys(5, torch.arange(len(texts)))
    # each of two strata is one step, so that all rows of a call have one time, as the oracle needs.
    likelihood = lm.log_likelihood(batch_of_ids(texts, LAW.vocabulary, keys=keys), draws=2)
    assert likelihood.kind == "upper bound"
    found = likelihood.nats.sum(dim=1).reshape(-1, copies)
    error = found.std(dim=1) / copies**0.5
    assert ((found.mean(dim=1) - expected) / error).abs().max() < 4.5


@pytest.mark.parametrize("share", [1.0, 0.3])
def test_sequences_have_the_law_of_the_reverse_chain(share):
    lm = oracle(share)
    law = lm.backbone.laws[0]
    found = drawn_share(lm, [1.0, 0.6, 0.25, 0.0], Replacing())
    expected = law.reverse_transitions([1.0, 0.75, 0.4, 0.0])[law.index_of(LAW.sequences)]
    # four and a half standard errors of a share.
    assert ((found - expected).abs() < 4.5 * (expected / NUM_ROWS) ** 0.5 + 1e-6).all()


def drawn_share(lm, times, rule):
    """How often each clean sequence is drawn."""
    keys = row_keys(11, torch.arange(NUM_ROWS))
    start = torch.full((NUM_ROWS, LAW.length), LAW.mask_id)
    free = torch.ones_like(start, dtype=torch.bool)
    tokens = replaced_process(
        predictor(lm),
        lm._noised(start, free, 1.0, RowNoise(keys)),
        free,
        rule=rule,
        schedule=lm.schedule,
        times=torch.tensor(times, dtype=torch.float64),
        noise_law=lm.noise,
        noise=RowNoise(keys),
    )
    counts = torch.bincount(LAW.index_of(tokens), minlength=len(LAW.sequences))
    return counts / NUM_ROWS


def predictor(lm, guidance=None):
    calls = NetworkCalls(CleanPredictions(lm), is_cpu=False, takes_unnormalized=False)
    # all rows in one call, which suits an oracle without rounding.
    calls.rows_per_call = lambda length: NUM_ROWS
    return GuidedPredictor(calls, None, guidance, lm.noise > 0)


@pytest.mark.parametrize("share", [1.0, 0.3])
def test_corrections_have_their_enumerated_law_and_bring_it_nearer_to_that_of_the_data(share):
    lm = oracle(share)
    law = lm.backbone.laws[0]
    alphas = torch.tensor([1.0, 0.75, 0.0], dtype=torch.float64)
    first, last = law.kernel(alphas[2], alphas[1]), law.kernel(alphas[1], alphas[0])
    mixed = torch.linalg.matrix_power(gibbs(law, alphas[1]), 9)
    whole = torch.eye(len(mixed), dtype=torch.float64)
    clean = law.index_of(LAW.sequences)
    plain, expected = ((law.prior() @ first @ more @ last)[clean] for more in (whole, mixed))
    gaps = [(made - LAW.probs).abs().sum() for made in (plain, expected)]
    assert gaps[1] < 0.7 * gaps[0]
    found = drawn_share(lm, [1.0, 0.25, 0.0], Replacing(corrections=9, sites=1))
    # four and a half standard errors of a share.
    assert ((found - expected).abs() < 4.5 * (expected / NUM_ROWS) ** 0.5 + 1e-5).all()


def gibbs(law, alpha):
    """The kernel that draws one position given the others, each with the same probability."""
    probs = noisy_probs(law.others(law.states, alpha), alpha.expand(len(law.states)), law.noise)
    kernel = torch.zeros(len(law.states), len(law.states), dtype=torch.float64)
    rows = torch.arange(len(law.states))
    for place in range(LAW.length):
        for symbol in law.symbols:
            moved = law.states.clone()
            moved[:, place] = symbol
            number = law.index_of(moved)
            kernel[rows, number] += probs[:, place, symbol] / LAW.length
    return kernel


@pytest.mark.parametrize("share", [1.0, 0.3])
@pytest.mark.parametrize("eta", [0.0, 0.4, 1.0])
def test_a_forgetful_step_keeps_the_marginal_of_a_position(share, eta):
    law = ReplacedLaw(TabulatedLaw(length=1, num_symbols=3), share)
    alpha_t, alpha_s = torch.tensor([0.3, 0.65], dtype=torch.float64)
    rows = len(law.states)
    kernel = forgetful_probs(
        law.others(law.states, alpha_t), law.states,
        alpha_t.expand(rows), alpha_s.expand(rows), law.noise, eta=eta,
    )[:, 0][:, law.symbols]  # fmt: skip
    found = law.marginal(alpha_t) @ kernel
    torch.testing.assert_close(found, law.marginal(alpha_s), rtol=0, atol=1e-15)


@pytest.mark.parametrize("gamma", [0.0, 1.0, 2.5])
def test_guidance_by_a_class_mixes_the_enumerated_reverse_steps(gamma):
    laws = [TabulatedLaw(length=3, num_symbols=3, seed=seed) for seed in (0, 4, 5)]
    lm = oracle(0.3, laws)
    law = lm.backbone.laws[0]
    alpha_t, alpha_s = torch.tensor([0.35, 0.6], dtype=torch.float64)
    rows = len(law.states)
    steps = [
        reverse_probs(
            each.others(law.states, alpha_t), law.states,
            alpha_t.expand(rows), alpha_s.expand(rows), law.noise,
        )
        for each in (lm.backbone.laws[2], law)
    ]  # fmt: skip
    expected = steps[0] ** gamma * steps[1] ** (1 - gamma)
    expected = torch.where(law.noise > 0, expected, 0.0)
    expected /= expected.sum(dim=-1, keepdim=True)

    def after(log_probs):
        return reverse_probs(
            log_probs.double().exp(), law.states,
            alpha_t.expand(rows), alpha_s.expand(rows), law.noise,
        )  # fmt: skip

    time = (1 - alpha_t).expand(rows)
    found = predictor(lm, ClassGuidance(label=1, gamma=gamma))(law.states, time, after)
    # the network is told -log alpha in float32.
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


def test_guidance_by_a_classifier_weighs_every_change_of_a_token():
    lm = UniformDiffusionLM(network(time_conditioning=True), NUCLEOTIDE_VOCABULARY,
                            uniform_share=0.5)  # fmt: skip
    classifier = NoisyClassifier(DiT(12, 16, 1, 2), NUCLEOTIDE_VOCABULARY, LogLinear(),
                                 Stratified(), num_classes=3, uniform_share=0.5).eval()  # fmt: skip
    torch.nn.init.normal_(classifier.head.weight)
    xt = batch_of("ACGTNA").tokens
    xt[0, 1] = MASK
    alpha_t, alpha_s = torch.tensor([[0.4], [0.7]], dtype=torch.float64)

    def after(log_probs):
        return reverse_probs(log_probs.double().exp(), xt, alpha_t, alpha_s, lm.noise)

    guidance = ClassifierGuidance(classifier, label=2, gamma=1.7)
    guidance.check(CleanPredictions(lm))
    calls = NetworkCalls(CleanPredictions(lm), is_cpu=True, takes_unnormalized=False)
    time = 1 - alpha_t
    found = GuidedPredictor(calls, None, guidance, lm.noise > 0)(xt, time, after)
    plain = after(lm.predict(xt, time))
    expected = plain.clone()
    for place in (0, 1, 2, 3, 5):
        for symbol in torch.nonzero(lm.noise > 0).flatten().tolist():
            changed = xt.clone()
            changed[0, place] = symbol
            ratio = classifier.log_probs(changed)[0, 2] - classifier.log_probs(xt)[0, 2]
            expected[0, place, symbol] *= (1.7 * ratio).double().exp()
    expected /= expected.sum(dim=-1, keepdim=True)
    real = [0, 1, 2, 3, 5]
    # a classifier in float32.
    torch.testing.assert_close(found[:, real], expected[:, real], rtol=1e-4, atol=1e-6)


def test_what_is_no_base_is_neither_replaced_nor_scored():
    lm = UniformDiffusionLM(network(time_conditioning=True), NUCLEOTIDE_VOCABULARY)
    batch = batch_of("ACNGT", "AC")
    drawn = lm.process.hide_at(batch, torch.ones(2), 0)
    assert torch.equal(drawn[~batch.valid], batch.tokens[~batch.valid])
    real = torch.tensor(NUCLEOTIDE_VOCABULARY.real_ids)
    assert torch.isin(drawn[batch.valid], real).all()
    terms = lm.loss_terms(batch)
    assert torch.equal(terms.nats[~batch.valid], torch.zeros(4))
    terms.nats.sum().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in lm.parameters())


@pytest.mark.parametrize("share", [1.0, 0.4])
def test_a_sequence_does_not_depend_on_its_batch(share):
    lm = UniformDiffusionLM(network(time_conditioning=True), NUCLEOTIDE_VOCABULARY,
                            uniform_share=share)  # fmt: skip
    keys = row_keys(7, torch.arange(5))
    rule = Replacing(eta=0.2, corrections=1, sites=2)
    together = lm.generate(keys, 8, rule=rule, num_steps=4).tokens
    apart = lm.generate(keys, 8, rule=rule, num_steps=4, batch_size=2).tokens
    assert torch.equal(together, apart)
    assert torch.equal(together[3:4], lm.generate(keys[3:4], 8, rule=rule, num_steps=4).tokens)
    assert torch.isin(together, torch.tensor(NUCLEOTIDE_VOCABULARY.real_ids)).all()


@pytest.mark.parametrize("kind", ["masked", "uniform", "hybrid"])
def test_an_edit_changes_more_at_a_higher_level_and_keeps_what_is_no_base(kind):
    # without training its predictions are uniform.
    net = DiT(12, 16, 1, 2, time_conditioning=kind != "masked")
    if kind == "masked":
        lm = MaskedDiffusionLM(net, NUCLEOTIDE_VOCABULARY)
    else:
        share = 1.0 if kind == "uniform" else 0.4
        lm = UniformDiffusionLM(net, NUCLEOTIDE_VOCABULARY, uniform_share=share)
    ids = batch_of("ACGTNACGTT" * 8).tokens[0].numpy()
    keys = row_keys(1, torch.arange(3))
    changed = []
    for level in (0.02, 0.3, 1.0):
        (piece,) = generate_pieces(
            lm, keys, Template(ids, None), sampler=AncestralSampler(num_steps=12),
            trained_length=80, noise_level=level,
        )  # fmt: skip
        before = torch.from_numpy(ids)
        assert ((piece.tokens == before) | (before != NOT_A_BASE)).all()
        changed.append(int((piece.tokens != before).sum()))
    assert changed[0] < 0.06 * 240 < changed[1] < changed[2]
    assert changed[2] > 0.5 * 240


def test_samplers_that_need_masks_and_given_bases_are_refused():
    lm = UniformDiffusionLM(network(time_conditioning=True), NUCLEOTIDE_VOCABULARY)
    keys = row_keys(1, torch.arange(1))
    masks = Template.of_masks(6, NUCLEOTIDE_VOCABULARY)
    for sampler in ("first_hitting", "confidence", "remask", "semi_ar", "block", "left_to_right",
                    "entropy_bounded", "analytic"):  # fmt: skip
        with pytest.raises(ConfigError, match="needs masks that are revealed and stay"):
            next(generate_pieces(lm, keys, masks, sampler=sampler, trained_length=6))
    masked = MaskedDiffusionLM(network(), NUCLEOTIDE_VOCABULARY)
    with pytest.raises(ConfigError, match="sampler=renoise needs noise that replaces"):
        next(generate_pieces(masked, keys, masks, sampler=RenoiseSampler(), trained_length=6))
    ids = batch_of("ACGTNA").tokens[0].numpy()
    with pytest.raises(ConfigError, match="cannot be conditioned exactly on given ones"):
        next(generate_pieces(lm, keys, Template(ids, None), trained_length=6))
    for level in (0.0, 1.2, float("nan")):
        with pytest.raises(ConfigError, match=r"must lie in \(0, 1\]"):
            next(
                generate_pieces(lm, keys, Template(ids, None), trained_length=6, noise_level=level)
            )


def test_objectives_estimators_and_classifiers_of_masks_are_refused():
    net = network()
    with pytest.raises(ConfigError, match="the objective ExactCount is for masks"):
        UniformDiffusionLM(net, NUCLEOTIDE_VOCABULARY, objective=ExactCount())
    with pytest.raises(ConfigError, match="ReplacingSteps is for noise that replaces"):
        MaskedDiffusionLM(net, NUCLEOTIDE_VOCABULARY, objective=ReplacingSteps())
    with pytest.raises(ConfigError, match=r"uniform_share=1\.5 must lie in \[0, 1\]"):
        UniformDiffusionLM(net, NUCLEOTIDE_VOCABULARY, uniform_share=1.5)
    lm = UniformDiffusionLM(net, NUCLEOTIDE_VOCABULARY)
    for estimator in ("count", "left_to_right", "orders:3"):
        with pytest.raises(ConfigError, match="reveals masks"):
            lm.log_likelihood(batch_of("ACGT"), estimator=estimator)
    with pytest.raises(ConfigError, match="log_probs hides bases by masks"):
        lm.log_probs(batch_of("ACGT"))
    classifier = NoisyClassifier(
        DiT(12, 16, 1, 2), NUCLEOTIDE_VOCABULARY, LogLinear(), Stratified(), num_classes=2
    )
    with pytest.raises(ConfigError, match=r"trained with lm\.uniform_share=0"):
        ClassifierGuidance(classifier, label=1).check(CleanPredictions(lm))

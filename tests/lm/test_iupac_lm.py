"""IUPAC diffusion: exact on an enumerated law in every coding, and symmetric in the two strands."""

import itertools
import math

import numpy as np
import pytest
import torch

from dnamdlm.backbones.bidirectional import Mamba
from dnamdlm.backbones.caduceus import CaduceusPS
from dnamdlm.backbones.dit import DiT
from dnamdlm.backbones.equivariance import StrandAverage
from dnamdlm.data.batch import Batch
from dnamdlm.diffusion.randomness import row_keys
from dnamdlm.diffusion.schedules import Cosine, Geometric, Linear, LogLinear, nelbo_weight
from dnamdlm.errors import ConfigError
from dnamdlm.lm.expert_gates import Experts
from dnamdlm.lm.iupac_lm import IupacDiffusionLM
from dnamdlm.lm.masked import MaskedDiffusionLM
from dnamdlm.lm.objectives import (
    ChangeOfVariables,
    ContinuousTime,
    DiscreteTime,
    ExactCount,
    MaskedPrediction,
    ScoreEntropy,
    SimpleCrossEntropy,
)
from dnamdlm.tokens.iupac import BASES_OF_CODE, with_codes
from dnamdlm.tokens.nucleotide import NUCLEOTIDE_VOCABULARY
from tests.helpers.oracle import TabulatedLaw

LAW = TabulatedLaw(length=2, num_symbols=4)
LETTERS = "ACGT._RYSWKM"
SINGLE = {"ry_sw": ("RY", "SW"), "ry_km": ("RY", "KM"), "sw_km": ("SW", "KM")}


class CodedOracle(torch.nn.Module):
    """Exact conditionals given the sets of bases that codes and masks stand for."""

    def __init__(self, law=LAW):
        super().__init__()
        self.law, self.vocab_size, self.time_conditioning = law, 12, False
        self.scale = torch.nn.Parameter(torch.ones((), dtype=torch.float64))
        of_letter = {**BASES_OF_CODE, ".": "ACGT", "_": ""}
        self.fits = torch.tensor([[base in of_letter[x] for base in "ACGT"] for x in LETTERS])

    def forward(self, tokens, time=None, present=None):
        sequences = self.law.sequences
        one_hot = torch.nn.functional.one_hot(sequences, 4).double()
        agrees = torch.einsum("blv,slv->bsl", self.fits[tokens].double(), one_hot).prod(dim=-1)
        joint = agrees * self.law.probs
        marginals = torch.einsum("bs,slv->blv", joint / joint.sum(-1, keepdim=True), one_hot)
        nonsense = torch.full((*tokens.shape, 8), 5.0, dtype=torch.float64)
        # what a code excludes is for the model to leave out, not for its network.
        scores = torch.where(marginals > 0, marginals.log() + 2.0, 3.0)
        return torch.cat([scores, nonsense], dim=-1) * self.scale

    def hidden(self, *inputs):
        return self(*inputs)

    def head(self, states):
        return states


def model(coding, law=LAW, **settings):
    return IupacDiffusionLM(CodedOracle(law), law.vocabulary, coding=coding, **settings)


def batch_of(tokens, valid=None, seed=3):
    rows = torch.arange(len(tokens))
    everywhere = torch.ones_like(tokens, dtype=torch.bool)
    return Batch(
        tokens=tokens, present=everywhere, valid=everywhere if valid is None else valid,
        weight=None, key=row_keys(seed, rows), row=rows, global_size=len(tokens),
    )  # fmt: skip


def letter_left(base, pair, hidden):
    """The letter that shows the bits of a base that are not hidden."""
    left = set("ACGT")
    for halves, is_hidden in zip(pair, hidden, strict=True):
        if not is_hidden:
            left &= set(next(BASES_OF_CODE[half] for half in halves if base in BASES_OF_CODE[half]))
    return {frozenset(BASES_OF_CODE[x]): x for x in "ACGTRYSWKM"}.get(frozenset(left), ".")


def every_noise(coding):
    """Number of hidden bits and noisy sequences, one per sequence of the law, and their share."""
    words = ["".join("ACGT"[i] for i in row) for row in LAW.sequences.tolist()]
    single = [SINGLE[coding]] if coding in SINGLE else list(SINGLE.values())
    for pairs in itertools.product(single, repeat=LAW.length):
        for flags in itertools.product([False, True], repeat=2 * LAW.length):
            shown = [
                [
                    LETTERS.index(letter_left(base, pairs[i], flags[2 * i : 2 * i + 2]))
                    for i, base in enumerate(word)
                ]
                for word in words
            ]
            yield sum(flags), torch.tensor(shown), 1 / len(single) ** LAW.length


# alpha runs from 1 to 0, exactly or to far below the tolerance.
SCHEDULES = [
    LogLinear(),
    Cosine(),
    Linear(sigma_min=0.0, sigma_max=45.0),
    Geometric(sigma_min=1e-13, sigma_max=45.0),
]


def integral(schedule, count, num_bits):
    """Of the weight of the bound times the probability that just these bits are hidden."""
    nodes, widths = (torch.from_numpy(x) for x in np.polynomial.legendre.leggauss(12))
    # over u = 1 - alpha; every schedule is a clock of it: weight dt = du / u, found by differences.
    u = (nodes + 1) / 2
    t = schedule.time_of(1 - u)
    slope = -schedule.alpha_rate(t)
    return float((widths / 2 * nelbo_weight(schedule, t) / slope * u**count
                  * (1 - u) ** (num_bits - count)).sum())  # fmt: skip


@pytest.mark.parametrize("coding", [*SINGLE, "mixed"])
def test_exact_conditionals_give_minus_log_p_for_every_schedule(coding):
    lm, batch = model(coding), batch_of(LAW.sequences)
    one = torch.ones(len(batch), dtype=torch.float64)
    by_count = torch.zeros(2 * LAW.length + 1, len(batch), dtype=torch.float64)
    for count, xt, share in every_noise(coding):
        draw = lm.process.cross_entropy(batch, xt, None, one)
        by_count[count] += lm._nats(draw, batch, None).sum(dim=1) * share
    assert not by_count[0].any()
    num_bits, expected = 2 * LAW.length, -LAW.probs.log()
    subsets = torch.tensor([math.comb(num_bits, k) for k in range(1, num_bits + 1)])
    counts = torch.arange(1, num_bits + 1)
    exact = (by_count[1:] / (subsets * counts)[:, None]).sum(dim=0)
    torch.testing.assert_close(exact, expected, rtol=1e-10, atol=0)
    for schedule in SCHEDULES:
        weights = [integral(schedule, k, num_bits) for k in range(1, num_bits + 1)]
        total = (torch.tensor(weights, dtype=torch.float64)[:, None] * by_count[1:]).sum(dim=0)
        torch.testing.assert_close(total, expected, rtol=1e-10, atol=0)


@pytest.mark.parametrize("coding", [*SINGLE, "mixed"])
@pytest.mark.parametrize("estimator", ["orders:2", "entropy", "margin", "left_to_right"])
def test_exact_conditionals_give_minus_log_p_in_every_order_of_bits(coding, estimator):
    lm, batch = model(coding), batch_of(LAW.sequences)
    found = lm.log_likelihood(batch, estimator=estimator)
    torch.testing.assert_close(found.nats.sum(dim=1), -LAW.probs.log(), rtol=1e-10, atol=0)
    is_exact = coding != "mixed" and estimator != "orders:2"
    assert found.kind == ("exact" if is_exact else "upper bound")


@pytest.mark.parametrize("objective", [ContinuousTime(), ExactCount(power=2.0)], ids=repr)
def test_draws_of_the_bound_average_to_minus_log_p(objective):
    lm = model("mixed", objective=objective)
    tokens = LAW.sequences[5:6].expand(4000, -1)
    expected = -LAW.probs[5].log()
    trained = lm.loss_terms(batch_of(tokens)).nats.sum(dim=1)
    evaluated = lm.log_likelihood(batch_of(tokens), estimator="count", draws=2).nats.sum(dim=1)
    for nats in (trained, evaluated):
        # four standard errors, of draws whose weights are wide.
        error = nats.std() / len(nats) ** 0.5
        assert abs(nats.mean() - expected) < 4 * error < 0.2


def test_hidden_bits_are_those_of_the_rate_and_the_coding():
    lm, tokens = model("ry_km"), torch.arange(4).repeat(1, 5000)
    xt = lm.process.hide_with(batch_of(tokens), torch.tensor([0.3]), draw=0)
    shown = torch.bincount(xt[0], minlength=12) / xt.shape[1]
    expected = torch.tensor([0.49 / 4] * 4 + [0.09, 0.0] + [0.105, 0.105, 0.0, 0.0, 0.105, 0.105])
    # four standard errors of a share of 0.1.
    torch.testing.assert_close(shown, expected, rtol=0, atol=4 * (0.1 * 0.9 / 20000) ** 0.5)
    fits = lm.tables.may_be[xt[0], tokens[0]]
    assert bool(fits.all())


def test_a_count_hides_so_many_bits():
    lm, tokens = model("mixed"), LAW.sequences.repeat(1, 6)
    valid = torch.arange(12).expand(16, -1) < 9
    place = torch.linspace(0.01, 0.99, 16)
    draw = lm.process.bound_at_count(batch_of(tokens, valid), place, draw=0)
    hidden = lm.process._hidden_bits(draw.xt)
    assert hidden.sum(dim=1).tolist() == [1 + int(18 * p) for p in place.tolist()]
    assert not hidden[:, 9:].any()


def network(kind, **settings):
    complement = with_codes(NUCLEOTIDE_VOCABULARY).complement
    torch.manual_seed(2)
    net = {
        "dit": lambda: DiT(18, 16, 1, 2, **settings),
        "ps": lambda: CaduceusPS(18, complement, 8, 1, state_size=4),
        "ph": lambda: StrandAverage(Mamba(18, 8, 1, state_size=4), complement),
        "symmetrised dit": lambda: StrandAverage(DiT(18, 16, 1, 2), complement),
    }[kind]().double()
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return net.eval()


@pytest.mark.parametrize("kind", ["ps", "ph", "symmetrised dit"])
def test_both_strands_have_the_same_predictions_of_complementary_codes(kind):
    lm = IupacDiffusionLM(network(kind), NUCLEOTIDE_VOCABULARY)
    complement = torch.tensor(lm.network_vocabulary.complement)
    xt = torch.tensor([[7, 3, 12, 14, 9, 17, 13, 3, 10, 15, 16, 8]])
    ahead, back = lm.denoise(xt), lm.denoise(complement[xt.flip(1)])
    # rounding of sums in another order.
    torch.testing.assert_close(back.exp(), ahead.exp().flip(1)[..., complement], rtol=0, atol=1e-12)
    batch = batch_of(torch.full_like(xt, 7))
    one = torch.ones(1, dtype=torch.float64)
    clean = torch.tensor([[7, 8, 9, 8, 9, 8, 10, 7, 10, 10, 9, 8]])
    costs = [
        lm._nats(lm.process.cross_entropy(batch_of(x0), noisy, None, one), batch, None)
        for x0, noisy in [(clean, xt), (complement[clean.flip(1)], complement[xt.flip(1)])]
    ]
    torch.testing.assert_close(costs[0], costs[1].flip(1), rtol=1e-10, atol=0)


def test_predictions_are_normalised_and_within_the_code():
    lm = IupacDiffusionLM(network("dit").float(), NUCLEOTIDE_VOCABULARY)
    xt = torch.arange(18)[None]
    log_probs = lm.denoise(xt)
    assert log_probs.dtype == torch.float32
    torch.testing.assert_close(log_probs.exp().sum(dim=-1), torch.ones(1, 18))
    for token, symbol in enumerate(lm.network_vocabulary.symbols):
        possible = {i for i, x in enumerate(log_probs[0, token].tolist()) if x > -torch.inf}
        bases = BASES_OF_CODE["N" if symbol == "[MASK]" else symbol] if token >= 12 or (
            symbol in "ACGT" or token == 3) else None  # fmt: skip
        expected = {token} if bases is None else {7 + "ACGT".index(base) for base in bases}
        assert possible == expected


def test_without_codes_the_predictions_are_those_of_masked_diffusion_bit_for_bit():
    net = network("dit")
    coded = IupacDiffusionLM(net, NUCLEOTIDE_VOCABULARY)
    plain = MaskedDiffusionLM(net, NUCLEOTIDE_VOCABULARY)
    batch = batch_of(torch.tensor([[7, 8, 11, 9, 10, 4]]))
    xt = torch.tensor([[3, 8, 11, 3, 10, 4]])
    assert torch.equal(coded.denoise(xt), plain.denoise(xt))
    for hide in ("each", "none"):
        expected = plain.log_probs(batch, hide=hide)
        assert torch.equal(coded.log_probs(batch, hide=hide).nan_to_num(), expected.nan_to_num())


def test_a_code_in_a_sequence_is_evidence_and_is_not_scored():
    lm = model("mixed")
    # C, then R: the purines A and G.
    tokens = torch.tensor([[1, 6]])
    batch = batch_of(tokens, torch.tensor([[True, False]]))
    agrees = LAW.probs.view(4, 4)[:, [0, 2]]
    expected = -(agrees[1].sum() / agrees.sum()).log()
    for estimator in ("entropy", "orders:3", "left_to_right"):
        found = lm.log_likelihood(batch, estimator=estimator).nats[0]
        torch.testing.assert_close(found.sum(), expected, rtol=1e-10, atol=0)
    given = lm.log_probs(batch)[0, 1].exp()
    expected = torch.where(torch.tensor([True, False, True, False]), LAW.probs.view(4, 4)[1], 0.0)
    torch.testing.assert_close(given, expected / expected.sum(), rtol=1e-10, atol=0)


def test_experts_take_a_code_for_hidden():
    experts = Experts(wildcards=(2,), chain=2)
    lm = IupacDiffusionLM(DiT(18, 16, 1, 2), NUCLEOTIDE_VOCABULARY, experts=experts)
    wildcards, chain = lm.expert_gates.members
    with_code, with_mask = torch.tensor([[7, 12, 9, 10]]), torch.tensor([[7, 3, 9, 10]])
    assert torch.equal(wildcards.patterns(with_code), wildcards.patterns(with_mask))
    assert torch.equal(chain.codes[with_code], chain.codes[with_mask])
    assert lm.denoise(with_code).exp().sum(dim=-1).allclose(torch.ones(1, 4))


@pytest.mark.parametrize(
    ("objective", "accepted"),
    [
        (SimpleCrossEntropy(), True), (ChangeOfVariables(), True), (ExactCount(), True),
        (DiscreteTime(), False), (ScoreEntropy(), False), (MaskedPrediction(), False),
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_objectives_that_hide_whole_bases_are_refused(objective, accepted):
    if accepted:
        lm = IupacDiffusionLM(DiT(18, 16, 1, 2), NUCLEOTIDE_VOCABULARY, objective=objective)
        assert lm.loss_terms(batch_of(torch.tensor([[7, 8, 9, 10]]))).nats.isfinite().all()
        return
    with pytest.raises(ConfigError, match=f"{type(objective).__name__} hides whole bases"):
        IupacDiffusionLM(DiT(18, 16, 1, 2), NUCLEOTIDE_VOCABULARY, objective=objective)


def test_what_does_not_fit_is_refused():
    with pytest.raises(ConfigError, match=r"vocab_size=12 is below the 18 ids of lm=iupac"):
        IupacDiffusionLM(DiT(12, 16, 1, 2), NUCLEOTIDE_VOCABULARY)
    of_three = TabulatedLaw(length=2, num_symbols=3).vocabulary
    with pytest.raises(ConfigError, match="is not that of DNA; use lm=mdlm"):
        IupacDiffusionLM(DiT(18, 16, 1, 2), of_three)
    with pytest.raises(ConfigError, match=r"lm\.coding=rysw is unknown; choose mixed, ry_sw"):
        IupacDiffusionLM(DiT(18, 16, 1, 2), NUCLEOTIDE_VOCABULARY, coding="rysw")

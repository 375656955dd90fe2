"""Generation bit by bit, against the enumerated law and its conditionals given templates."""

import itertools

import pytest
import torch

from dnamdlm.backbones.dit import DiT
from dnamdlm.diffusion.categorical import Choice
from dnamdlm.diffusion.confidence import EntropyBounded, SurestFirst
from dnamdlm.diffusion.constraints import Constraints
from dnamdlm.diffusion.grids import linear_grid
from dnamdlm.diffusion.randomness import RowNoise, row_keys
from dnamdlm.diffusion.remasking import Capped, Remasking
from dnamdlm.diffusion.schedules import LogLinear
from dnamdlm.diffusion.steps import Ancestral, FirstHitting
from dnamdlm.diffusion.tilt import Tilt
from dnamdlm.diffusion.times import Stratified
from dnamdlm.errors import ConfigError
from dnamdlm.lm.classifier import NoisyClassifier
from dnamdlm.lm.iupac_lm import IupacDiffusionLM
from dnamdlm.lm.sampling.bit_generation import BitSteps, evident_view
from dnamdlm.lm.sampling.class_guidance import ClassGuidance, ClassifierGuidance, NumberGuidance
from dnamdlm.lm.sampling.generation import Template, generate_pieces
from dnamdlm.tokens.iupac import BASES_OF_CODE, set_table
from dnamdlm.tokens.nucleotide import NUCLEOTIDE_VOCABULARY
from tests.helpers.oracle import TabulatedLaw
from tests.lm.test_iupac_lm import LAW, LETTERS, SINGLE, model, network

NUM_ROWS = 20_000
MASK = 4
# the 0.9999 quantiles of the chi-square distribution with so many degrees of freedom less one.
LARGEST_CHI_SQUARE = {2: 15.2, 3: 18.5, 4: 21.2, 8: 29.9, 16: 44.3}


def drawn(lm, rule, num_steps=1, letters="..", allowed=None):
    """Many sequences from a start in letters, by the parts of `generate` in one batch."""
    start = torch.tensor([[LETTERS.index(x) for x in letters]]).repeat(NUM_ROWS, 1)
    keys = row_keys(0, torch.arange(NUM_ROWS))
    constraints = None
    if allowed is not None:
        fits = [[base in BASES_OF_CODE[x] for base in "ACGT"] + [False] * 8 for x in allowed]
        constraints = Constraints(torch.tensor(fits).expand(NUM_ROWS, -1, -1))
    view = evident_view(start, keys, constraints, coding=lm.coding, tables=lm.tables)
    steps = BitSteps(rule, view, lambda xt, _time, _rows: lm.denoise(xt))
    return lm._revealed(
        steps, lm.process.is_hidden(start), times=linear_grid(num_steps), noise=RowNoise(keys),
        watch=None,
    )  # fmt: skip


def assert_drawn_from(tokens, probs, law=LAW):
    counts = torch.bincount(law.index_of(tokens), minlength=len(probs)).double()
    possible = probs > 0
    assert counts[~possible].sum() == 0
    expected = probs[possible] / probs.sum() * len(tokens)
    chi_square = ((counts[possible] - expected) ** 2 / expected).sum().item()
    assert chi_square < LARGEST_CHI_SQUARE[int(possible.sum())]


def agreeing(*sets, law=LAW):
    """Probabilities of the sequences whose bases lie in these sets, 0 for all others."""
    words = [["ACGT"[i] for i in row] for row in law.sequences.tolist()]
    fits = [all(x in s for x, s in zip(word, sets, strict=True)) for word in words]
    return torch.where(torch.tensor(fits), law.probs, 0.0)


@pytest.mark.parametrize("coding", [*SINGLE, "mixed"])
@pytest.mark.parametrize(
    ("rule", "num_steps"),
    [(FirstHitting(), 1), (EntropyBounded(bound=0.0), 1), (SurestFirst(), 4)],
    ids=["first_hitting", "entropy_bounded", "confidence"],
)
def test_one_bit_per_call_draws_from_the_law_itself(coding, rule, num_steps):
    assert_drawn_from(drawn(model(coding), rule, num_steps), LAW.probs)


@pytest.mark.parametrize("coding", SINGLE)
def test_ancestral_steps_have_their_enumerated_law(coding):
    expected = torch.zeros(16, dtype=torch.float64)
    sides = [[set(BASES_OF_CODE[half]) for half in halves] for halves in SINGLE[coding]]
    everything = set("ACGT")
    for flags in itertools.product([False, True], repeat=4):
        options = [
            [
                first & second
                for first in (sides[0] if flags[2 * i] else [everything])
                for second in (sides[1] if flags[2 * i + 1] else [everything])
            ]
            for i in range(2)
        ]
        # bits of one step are drawn independently at the two positions, jointly at each.
        for left, right in itertools.product(*options):
            reached = agreeing(left, everything).sum() * agreeing(everything, right).sum()
            state = agreeing(left, right).view(4, 4) / agreeing(left, right).sum()
            made = torch.outer(state.sum(dim=1), state.sum(dim=0)).flatten()
            expected += 0.5**4 * reached * made
    assert_drawn_from(drawn(model(coding), Ancestral(), num_steps=2), expected)


@pytest.mark.parametrize("coding", [*SINGLE, "mixed"])
def test_one_step_draws_both_bits_of_a_base_together(coding):
    table = LAW.probs.view(4, 4)
    apart = torch.outer(table.sum(dim=1), table.sum(dim=0)).flatten()
    assert_drawn_from(drawn(model(coding), Ancestral()), apart)


@pytest.mark.parametrize(
    ("coding", "letters"),
    [("ry_sw", "R."), ("ry_km", ".K"), ("sw_km", "WM"), ("mixed", "YS"), ("mixed", "KC")],
)
def test_codes_of_a_template_are_evidence(coding, letters):
    sets = [BASES_OF_CODE["N" if x == "." else x] for x in letters]
    expected = agreeing(*sets)
    assert_drawn_from(drawn(model(coding), FirstHitting(), letters=letters), expected)
    masked = "".join(x if x in "ACGT" else "." for x in letters)
    allowed = letters.replace(".", "N")
    made = drawn(model(coding), FirstHitting(), letters=masked, allowed=allowed)
    assert_drawn_from(made, expected)


@pytest.mark.parametrize("coding", [*SINGLE, "mixed"])
@pytest.mark.parametrize("allowed", ["B", "K", "S", "H"])
@pytest.mark.parametrize("rule", [FirstHitting(), Ancestral()], ids=lambda r: type(r).__name__)
def test_any_other_set_restricts_what_is_drawn(coding, allowed, rule):
    law = TabulatedLaw(length=1, num_symbols=4, seed=4)
    made = drawn(model(coding, law), rule, num_steps=3, letters=".", allowed=allowed)
    assert_drawn_from(made, agreeing(BASES_OF_CODE[allowed], law=law), law)


def test_a_code_of_another_coding_is_not_shown_to_the_network():
    lm = model("ry_sw")
    start = torch.tensor([[LETTERS.index("K"), LETTERS.index("R")]])
    view = evident_view(start, row_keys(0, torch.arange(1)), None, coding="ry_sw", tables=lm.tables)
    assert view.shown(view.start()).tolist() == [[MASK, LETTERS.index("R")]]
    assert view.allowed.tolist() == [[12, 5]]


def test_bits_that_are_reopened_stay_within_what_is_given():
    made = drawn(model("mixed"), Remasking(Capped(0.5)), num_steps=8, letters="RS")
    assert set(made[:, 0].tolist()) == {0, 2}
    assert set(made[:, 1].tolist()) == {1, 2}


def trained():
    return IupacDiffusionLM(network("dit", num_classes=2).float(), NUCLEOTIDE_VOCABULARY)


def template(letters):
    sets = set_table()[torch.tensor(list(letters.encode())).numpy()]
    return Template.of_sets(sets, NUCLEOTIDE_VOCABULARY)


SAMPLERS = ["ancestral", "first_hitting", "confidence", "entropy_bounded", "remask", "block",
            "semi_ar"]  # fmt: skip


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.slow
def test_every_sampler_fills_a_template_whatever_the_batch(sampler):
    lm, keys, letters = trained(), row_keys(2, torch.arange(3)), "ACRYNNSWKMBNNTGN"
    settings = {"sampler": sampler, "trained_length": 12, "guidance": ClassGuidance(1, 1.5)}
    told = []
    pieces = generate_pieces(lm, keys, template(letters), watch=told.append, **settings)
    made = torch.cat([piece.tokens for piece in pieces], dim=1)
    for row in made.tolist():
        assert all("ACGT"[x - 7] in BASES_OF_CODE[y] for x, y in zip(row, letters, strict=True))
    alone = generate_pieces(lm, keys[1:2], template(letters), **settings)
    assert torch.equal(torch.cat([piece.tokens for piece in alone], dim=1), made[1:2])
    if sampler not in ("semi_ar",):
        assert sum(told) == 3 * sum(letter not in "ACGT" for letter in letters)


@pytest.mark.slow
def test_numbers_guide_as_classes_do():
    net = network("dit", num_numbers=1)
    lm, keys = IupacDiffusionLM(net, NUCLEOTIDE_VOCABULARY), row_keys(2, torch.arange(8))
    low, high = (
        lm.generate(keys, 6, guidance=NumberGuidance((x,), 1.5)).tokens for x in (-1.0, 1.0)
    )
    assert not torch.equal(low, high)
    plain = lm.generate(keys, 6).tokens
    assert torch.equal(lm.generate(keys, 6, guidance=NumberGuidance((1.0,), 0.0)).tokens, plain)


def test_what_is_given_stays_and_what_is_not_filled_stays_hidden():
    lm, keys = trained(), row_keys(2, torch.arange(2))
    initial = torch.tensor([[7, 3, 12, 11, 3, 4], [7, 8, 9, 11, 10, 4]])
    fill = torch.tensor([[True, True, True, True, False, False]]).expand(2, -1)
    made = lm.generate(keys, 6, initial=initial, fill=fill, rule=FirstHitting())
    assert made.tokens[1].tolist() == initial[1].tolist()
    assert made.tokens[0, [0, 3, 4, 5]].tolist() == [7, 11, 3, 4]
    assert made.tokens[0, 2] in (7, 9)
    # two bits of a mask and one of a code.
    assert made.row_calls == 3


def test_a_sharp_choice_takes_the_likelier_half():
    made = drawn(model("ry_sw"), FirstHitting(Choice(top_k=1)), letters="AR")
    table = LAW.probs.view(4, 4)
    assert set(made[:, 1].tolist()) == {0 if table[0, 0] > table[0, 2] else 2}


def test_what_cannot_reveal_bits_is_refused_in_a_sentence():
    lm, keys = trained(), row_keys(2, torch.arange(2))
    classifier = NoisyClassifier(
        DiT(12, 16, 1, 2), NUCLEOTIDE_VOCABULARY, LogLinear(), Stratified(), num_classes=3
    )
    with pytest.raises(ConfigError, match="a classifier reads bases and masks"):
        lm.generate(keys, 6, guidance=ClassifierGuidance(classifier.eval(), 1))
    tilt = Tilt(reward=lambda rows: torch.zeros(len(rows)), size=2)
    with pytest.raises(ConfigError, match="a population weighs sequences of bases and masks"):
        list(generate_pieces(lm, keys, template("NNNN"), trained_length=4, tilt=tilt))
    allowed = torch.zeros(18, dtype=torch.bool)
    allowed[8] = True
    with pytest.raises(ConfigError, match="constraints allow no token at some position"):
        lm.generate(keys[:1], 1, initial=torch.tensor([[12]]), constraints=Constraints(allowed))

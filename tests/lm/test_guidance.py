"""Guided generation: the laws it draws from, what it keeps, what it costs and what it refuses."""

import copy
import dataclasses

import pytest
import torch
from torch import nn

from dnamdlm.backbones.dit import DiT
from dnamdlm.diffusion.categorical import UNCHANGED
from dnamdlm.diffusion.grids import linear_grid
from dnamdlm.diffusion.randomness import row_keys
from dnamdlm.diffusion.schedules import Cosine, LogLinear
from dnamdlm.diffusion.steps import Ancestral, FirstHitting
from dnamdlm.diffusion.times import Stratified, Uniform
from dnamdlm.errors import ConfigError
from dnamdlm.lm.classifier import NoisyClassifier
from dnamdlm.lm.masked import MaskedDiffusionLM
from dnamdlm.lm.sampling import class_guidance as guidance_module
from dnamdlm.lm.sampling import network_calls as calls
from dnamdlm.lm.sampling.class_guidance import ClassGuidance, ClassifierGuidance
from dnamdlm.lm.sampling.generation import generate_pieces
from dnamdlm.tokens.nucleotide import NUCLEOTIDE_VOCABULARY
from tests.helpers.oracle import OracleBackbone, TabulatedLaw
from tests.lm.test_generation import _template
from tests.lm.test_samplers import SAMPLERS

LAW = TabulatedLaw()
MASK = LAW.mask_id
OF_CLASS = torch.tensor([0.9, 0.05, 0.3, 0.7, 0.1, 0.6, 0.2, 0.95]).double()
NUM_ROWS = 8_000


def _joint(gamma=1.0):
    """The law of x given the class, p(x) p(y | x)^gamma normalised."""
    joint = TabulatedLaw()
    weights = LAW.probs * OF_CLASS**gamma
    joint.probs = weights / weights.sum()
    return joint


class TabulatedClassifier(NoisyClassifier):
    """Exact log p(y | xt) of two classes, without a network."""

    num_classes = 2
    schedule = LogLinear()
    sees_time = False
    mask_id = MASK
    soft_like = (LAW.vocab_size, torch.float64)

    def __init__(self):
        nn.Module.__init__(self)

    def log_probs(self, xt, time=None, present=None, *, soft=None):
        assert soft is None
        of_class = LAW.posterior(xt) @ OF_CLASS
        return torch.stack([1 - of_class, of_class], dim=-1).log()


class LinearClassifier(TabulatedClassifier):
    """A classifier whose logarithm is linear in the one-hot tokens."""

    slope = torch.randn(3, 4, generator=torch.Generator().manual_seed(2), dtype=torch.float64)

    def log_probs(self, xt, time=None, present=None, *, soft=None):
        tokens = nn.functional.one_hot(xt, LAW.vocab_size).double() if soft is None else soft
        score = torch.einsum("nlv,lv->n", tokens, self.slope) - 9.0
        return torch.stack([-score, score], dim=-1)


class TwoLaws(OracleBackbone):
    """An oracle that knows p(x) and p(x | y), y = 1; class 0 has the law of p(x) too."""

    def __init__(self):
        super().__init__(LAW)
        self.num_classes = 2
        self.joint = _joint()

    def forward(self, tokens, time, present=None, label=None):
        given = torch.zeros(len(tokens)).eq(1) if label is None else label == 1
        return torch.where(given[:, None, None], self.joint.logits(tokens), LAW.logits(tokens))

    def hidden(self, tokens, time, present=None, label=None):
        return self(tokens, time, present, label)


class OneClass(nn.Module):
    """A network whose class is fixed, by an independent path."""

    def __init__(self, backbone, label):
        super().__init__()
        self.backbone, self.label = backbone, label
        self.vocab_size, self.time_conditioning = backbone.vocab_size, backbone.time_conditioning

    def forward(self, tokens, time=None, present=None, label=None):
        fixed = torch.full((len(tokens),), self.label)
        return self.backbone(tokens, time, present, fixed)

    def hidden(self, tokens, time=None, present=None):
        fixed = torch.full((len(tokens),), self.label)
        return self.backbone.hidden(tokens, time, present, fixed)

    def head(self, states):
        return self.backbone.head(states)


def _oracle(backbone=None, schedule=None):
    return MaskedDiffusionLM(
        backbone or OracleBackbone(LAW), LAW.vocabulary, schedule or LogLinear(), Stratified()
    )


@pytest.fixture
def _large_groups(monkeypatch):
    """Oracles do not mind how many rows share a call, and tests have many rows."""
    monkeypatch.setattr(calls, "ROWS_PER_CALL_CPU", NUM_ROWS)
    monkeypatch.setattr(guidance_module, "EDITS_PER_CALL_CPU", 1 << 20)


def _draw(lm, guidance, *, rule, steps=1, start=(MASK, MASK, MASK), rows=NUM_ROWS):
    return lm.generate(
        row_keys(3, torch.arange(rows)),
        3,
        initial=torch.tensor([start]).repeat(rows, 1),
        rule=rule,
        times=linear_grid(steps),
        batch_size=rows,
        guidance=guidance,
    )


def _chi_square(tokens, probs):
    counts = torch.bincount(LAW.index_of(tokens), minlength=8).double()
    possible = probs > 0
    assert counts[~possible].sum() == 0
    expected = probs[possible] * len(tokens)
    return ((counts[possible] - expected) ** 2 / expected).sum().item()


@pytest.mark.usefixtures("_large_groups")
@pytest.mark.parametrize("start", [(MASK, MASK, MASK), (MASK, 1, MASK)], ids=["free", "clamped"])
@pytest.mark.parametrize(
    ("rule", "steps"), [(FirstHitting(), 1), (Ancestral(), 48)], ids=["first_hitting", "ancestral"]
)
@pytest.mark.parametrize("kind", ["class", "classifier"])
def test_strength_one_draws_from_the_law_given_the_class(kind, rule, steps, start, monkeypatch):
    if kind == "classifier":
        # one group: the exact classifier does not mind either.
        monkeypatch.setattr(ClassifierGuidance, "_exact", _exact_in_one_group)
        lm, guidance = _oracle(), ClassifierGuidance(TabulatedClassifier(), 1)
    else:
        lm, guidance = _oracle(TwoLaws()), ClassGuidance(1)
    generated = _draw(lm, guidance, rule=rule, steps=steps, start=start)
    law = _joint().posterior(torch.tensor([start])).squeeze(0)
    # beyond the 0.9999 quantile for 7 degrees of freedom.
    assert _chi_square(generated.tokens, law) < 29.9
    assert _chi_square(generated.tokens, LAW.posterior(torch.tensor([start])).squeeze(0)) > 100


def _exact_in_one_group(self, calls, inputs, time, symbols):
    return guidance_module.exact_ratios(
        lambda tokens, rows: self.classifier.log_probs(tokens)[:, self.label],
        inputs.xt, real_tokens=calls.lm.real_tokens, mask_id=MASK, wanted=inputs.wanted,
    )  # fmt: skip


STATES = LAW.partial_sequences()
HIDDEN = STATES == MASK


def _law_of(lm, guidance, *, wanted=None):
    counted = calls.NetworkCalls(lm, is_cpu=True, takes_unnormalized=False)
    denoiser = calls.denoiser_of(counted, None, guidance)
    time, rows = torch.full((len(STATES),), 0.5).double(), torch.arange(len(STATES))
    if wanted is None:
        return denoiser(STATES, time, rows), counted
    return denoiser.at(STATES, time, rows, wanted).dense(), counted


@pytest.mark.parametrize("gamma", [0.0, 0.4, 1.0, 2.5])
def test_a_class_is_mixed_as_defined_in_every_state(gamma):
    laws, _ = _law_of(_oracle(TwoLaws()), ClassGuidance(1, gamma))
    weights = _joint().log_probs(STATES).exp() ** gamma * LAW.log_probs(STATES).exp() ** (1 - gamma)
    weights = torch.where(weights.isfinite(), weights, 0.0)
    torch.testing.assert_close(laws.exp(), weights / weights.sum(-1, keepdim=True))


@pytest.mark.parametrize("gamma", [0.0, 0.4, 1.0, 2.5])
def test_a_classifier_weighs_as_defined_in_every_state(gamma):
    laws, _ = _law_of(_oracle(), ClassifierGuidance(TabulatedClassifier(), 1, gamma))
    ratio = _joint().log_probs(STATES) - LAW.log_probs(STATES)
    weights = LAW.log_probs(STATES).exp() * torch.where(ratio.isfinite(), gamma * ratio, 0).exp()
    torch.testing.assert_close(laws.exp(), weights / weights.sum(-1, keepdim=True))


def test_a_classifier_is_only_asked_where_a_rule_reads():
    wanted = HIDDEN & (torch.arange(3) == 1)
    guidance = ClassifierGuidance(TabulatedClassifier(), 1)
    everywhere, _ = _law_of(_oracle(), guidance)
    laws, counted = _law_of(_oracle(), guidance, wanted=wanted)
    torch.testing.assert_close(laws[wanted], everywhere[wanted])
    assert bool(laws[~wanted].isneginf().all())
    # the model, the classifier, and two letters at each position that is read.
    assert counted.num_rows == 2 * len(STATES) + 2 * int(wanted.sum())


def test_one_gradient_guides_as_the_exact_ratios_of_a_linear_classifier():
    exact, _ = _law_of(_oracle(), ClassifierGuidance(LinearClassifier(), 1, 1.5, "exact"))
    first, _ = _law_of(_oracle(), ClassifierGuidance(LinearClassifier(), 1, 1.5, "first_order"))
    torch.testing.assert_close(first.exp(), exact.exp())


@pytest.mark.parametrize(
    ("guidance", "calls_per_step", "rows_per_row"),
    [
        (None, 1, 1),
        (ClassGuidance(1, 0.0), 1, 1),
        (ClassGuidance(1), 1, 1),
        (ClassGuidance(1, 2.0), 2, 2),
        (ClassifierGuidance(LinearClassifier(), 1, 0.0), 1, 1),
        (ClassifierGuidance(LinearClassifier(), 1, order="first_order"), 2, 2),
        # the model, the sequence as it is, and two letters at the one position that is read.
        (ClassifierGuidance(LinearClassifier(), 1), 3, 4),
    ],
    ids=["none", "without", "with", "mixed", "unused", "first_order", "exact"],
)
def test_every_call_is_counted(guidance, calls_per_step, rows_per_row):
    generated = _draw(_oracle(TwoLaws()), guidance, rule=FirstHitting(), rows=5)
    assert generated.network_calls == 3 * calls_per_step
    assert generated.row_calls == 15 * rows_per_row


def _random(backbone, std=0.5):
    torch.manual_seed(1)
    for parameter in backbone.parameters():
        nn.init.normal_(parameter, std=std)
    return backbone


def _network(num_classes=2, objective=None, **options):
    backbone = _random(DiT(12, 16, 1, 2, num_classes=num_classes, **options))
    return MaskedDiffusionLM(
        backbone, NUCLEOTIDE_VOCABULARY, LogLinear(), Uniform(), objective
    ).eval()


def _classifier(backbone=None, schedule=None, std=0.5):
    torch.manual_seed(2)
    classifier = NoisyClassifier(
        backbone or DiT(12, 16, 1, 2), NUCLEOTIDE_VOCABULARY, schedule or LogLinear(), Uniform(),
        num_classes=2,
    )  # fmt: skip
    return _random(classifier, std).eval()


GUIDANCES = {
    "class": ClassGuidance(1),
    "mixed": ClassGuidance(0, 2.0),
    "exact": ClassifierGuidance(_classifier(), 1, 2.0, "exact"),
    "first_order": ClassifierGuidance(_classifier(), 0, 2.0, "first_order"),
}
TEMPLATE = _template("NNTA..RYSNACND")


def _tokens(lm, rows, sampler, guidance):
    keys = row_keys(3, torch.as_tensor(rows))
    pieces = generate_pieces(
        lm, keys, TEMPLATE, sampler=sampler, choice=UNCHANGED, trained_length=12, guidance=guidance
    )
    return torch.cat([piece.tokens for piece in pieces], dim=1)


# every sampler once, every guidance with several.
PAIRS = [(sampler, list(GUIDANCES)[1 + number % 3]) for number, sampler in enumerate(SAMPLERS)] + [
    (SAMPLERS[3], name) for name in GUIDANCES
]


@pytest.mark.parametrize(("sampler", "name"), PAIRS, ids=repr)
def test_every_sampler_keeps_letters_and_does_not_depend_on_the_batch(sampler, name):
    lm, guidance = _network(), GUIDANCES[name]
    tokens = _tokens(lm, range(2), sampler, guidance)
    given = torch.from_numpy(TEMPLATE.ids).long()
    kept = given != NUCLEOTIDE_VOCABULARY.mask_id
    assert bool((tokens == given)[:, kept].all())
    assert bool(((tokens >= 7) & (tokens <= 10)).all())
    assert torch.equal(_tokens(lm, [1], sampler, guidance), tokens[[1]])


@pytest.mark.parametrize("sampler", SAMPLERS[::3], ids=repr)
def test_strength_one_is_the_model_of_the_class_and_zero_the_model(sampler):
    lm = _network()
    of_class = _network()
    of_class.backbone = OneClass(lm.backbone, 1)
    given = _tokens(of_class, range(2), sampler, None)
    free = _tokens(lm, range(2), sampler, None)
    assert torch.equal(_tokens(lm, range(2), sampler, ClassGuidance(1)), given)
    assert torch.equal(_tokens(lm, range(2), sampler, ClassGuidance(1, 0.0)), free)
    assert not torch.equal(given, free)


@pytest.mark.parametrize("name", GUIDANCES)
def test_groups_of_rows_as_on_a_gpu_give_the_same_laws(name, monkeypatch):
    monkeypatch.setattr(calls, "ROWS_PER_CALL", 4)
    monkeypatch.setattr(guidance_module, "EDITS_PER_CALL", 16)
    xt = torch.tensor([[3, 7, 3, 3], [9, 3, 10, 8], [7, 8, 3, 4]])
    time, rows = torch.tensor([0.7, 0.3, 0.5]).double(), torch.arange(3)
    guidance = GUIDANCES[name]
    if isinstance(guidance, ClassifierGuidance):
        wide = copy.deepcopy(guidance.classifier).double()
        guidance = dataclasses.replace(guidance, classifier=wide)
    one, group = (
        calls.NetworkCalls(_network().double(), is_cpu=is_cpu, takes_unnormalized=False)
        for is_cpu in (True, False)
    )
    found = [
        calls.denoiser_of(counted, xt != 4, guidance)(xt, time, rows) for counted in (one, group)
    ]
    torch.testing.assert_close(found[0].exp(), found[1].exp())
    assert (one.num_calls, one.num_rows) == (group.num_calls, group.num_rows)


def test_a_classifier_that_sees_time_is_asked_at_its_own_time():
    seen = []

    class Spy(TabulatedClassifier):
        sees_time = True
        schedule = Cosine()

        def log_probs(self, xt, time=None, present=None, *, soft=None):
            seen.append(time)
            return super().log_probs(xt)

    _law_of(_oracle(schedule=LogLinear()), ClassifierGuidance(Spy(), 1))
    # half is masked at time 0.5 of the model.
    expected = Cosine().time_of(torch.tensor(0.5).double())
    assert all(torch.allclose(time, expected) for time in seen)


REFUSED = [
    (_network(0), ClassGuidance(0), "trained without classes"),
    (_network(2), ClassGuidance(2), "label=2 is not a class"),
    (_network(2), ClassGuidance(-1), "label=-1 is not a class"),
    (_network(2), ClassGuidance(0, -0.5), "guidance=-0.5 must be at least 0"),
    (_network(2), ClassGuidance(0, float("nan")), "guidance=nan must"),
    (_network(0), ClassifierGuidance(_classifier(), 2), "guide_label=2 is not a class"),
    (_network(0), ClassifierGuidance(TabulatedClassifier(), 0), "other token ids"),
]


@pytest.mark.parametrize(("lm", "guidance", "message"), REFUSED, ids=[r[2] for r in REFUSED])
def test_what_cannot_be_guided_is_refused(lm, guidance, message):
    with pytest.raises(ConfigError, match=message):
        lm.generate(row_keys(0, torch.arange(1)), 4, guidance=guidance)

"""A student of half the steps: its loss over every random choice, and what it is without."""

import itertools

import pytest
import torch
from torch import nn

from dnamdlm.backbones.dit import DiT
from dnamdlm.data.batch import Batch
from dnamdlm.diffusion.randomness import Stream, row_keys
from dnamdlm.diffusion.schedules import Cosine, LogLinear
from dnamdlm.diffusion.times import Importance
from dnamdlm.errors import ConfigError
from dnamdlm.lm.block import BlockDiffusionLM
from dnamdlm.lm.distilled import DistilledDiffusionLM
from dnamdlm.lm.expert_gates import Experts
from dnamdlm.lm.iupac_lm import IupacDiffusionLM
from dnamdlm.lm.masked import MaskedDiffusionLM
from dnamdlm.lm.objectives import DiscreteTime
from dnamdlm.tokens.nucleotide import NUCLEOTIDE_VOCABULARY
from tests.helpers.every_choice import expectation
from tests.helpers.oracle import TabulatedLaw
from tests.helpers.table_networks import TableNetwork, marginals, step_kernel
from tests.helpers.tiny_models import batch as batch_of_bases

LAW = TabulatedLaw(2, num_symbols=3)
STATES = LAW.partial_sequences()


def _tables(*, time_conditioning=False):
    teacher, student = (
        TableNetwork(LAW, seed, time_conditioning=time_conditioning) for seed in (1, 2)
    )
    return (
        MaskedDiffusionLM(teacher, LAW.vocabulary),
        DistilledDiffusionLM(student, LAW.vocabulary, num_steps=4),
    )


def _batch(sequence):
    one = torch.zeros(1, dtype=torch.int64)
    everywhere = torch.ones(1, 2, dtype=torch.bool)
    return Batch(sequence[None], everywhere, everywhere, None, row_keys(0, one), one, 1)


# alpha is 1 - t: a half is hidden at t = 1/2; the first of two steps reveals 1/4 or 1/2.
CELLS = {(Stream.TIMES, 0): 2, (Stream.MASKS, 0): 2, (Stream.REVEALS, 0): 4}


def _exact(teacher, student, sequence):
    """The expected loss by definition: divergence of marginals, summed over two pairs of steps."""
    total = 0.0
    for t, m, s in ((1.0, 0.75, 0.5), (0.5, 0.25, 0.0)):
        first, second = (t - m) / t, (m - s) / m
        of_teacher = [
            teacher.denoise(STATES, torch.full((len(STATES),), time).double()).exp().detach()
            for time in (t, m)
        ]
        kernel = step_kernel(LAW, of_teacher[0], first) @ step_kernel(LAW, of_teacher[1], second)
        revealed = marginals(LAW, kernel)[..., :3]
        log_probs = student.denoise(STATES, torch.full((len(STATES),), t).double())[..., :3]
        for masked in itertools.product((False, True), repeat=2):
            share = t ** sum(masked) * (1 - t) ** (2 - sum(masked))
            xt = torch.where(torch.tensor(masked), LAW.mask_id, sequence)
            (state,) = (xt == STATES).all(dim=1).nonzero()[0].tolist()
            for place in range(2):
                if masked[place]:
                    own = log_probs[state, place]
                    total = total - share * (revealed[state, place] * own).sum()
    return total


@pytest.mark.parametrize("time_conditioning", [False, True])
def test_the_expected_loss_is_that_against_the_two_step_marginals(monkeypatch, time_conditioning):
    teacher, student = _tables(time_conditioning=time_conditioning)
    student.learn_from(teacher)
    sequence = torch.tensor([2, 0])

    def run():
        terms = student.loss_terms(_batch(sequence))
        return torch.stack([terms.minimised.sum(), terms.nats.sum()])

    found, count = expectation(run, monkeypatch, cells=CELLS, twisted=False)
    assert count > 100
    assert (found[0] - _exact(teacher, student, sequence)).abs() < 1e-12
    # what is reported is the bound of a process with half the steps.
    as_steps = MaskedDiffusionLM(student.backbone, LAW.vocabulary, objective=DiscreteTime(2))

    def run_steps():
        return as_steps.loss_terms(_batch(sequence)).nats.sum()

    bound, _ = expectation(run_steps, monkeypatch, cells=CELLS, twisted=False)
    assert (found[1] - bound).abs() < 1e-12


def test_the_gradient_is_that_of_the_student_alone(monkeypatch):
    teacher, student = _tables()
    student.learn_from(teacher)
    before = {name: value.clone() for name, value in teacher.state_dict().items()}

    def gradient(loss):
        return torch.autograd.grad(loss, student.backbone.logits)[0]

    exact = gradient(_exact(teacher, student, torch.tensor([1, 1])))
    found, _ = expectation(
        lambda: gradient(student.loss_terms(_batch(torch.tensor([1, 1]))).minimised.sum()),
        monkeypatch, cells=CELLS, twisted=False,
    )  # fmt: skip
    assert (found - exact).abs().max() < 1e-12
    assert exact.abs().max() > 1e-2
    assert teacher.backbone.logits.grad is None
    assert all(torch.equal(before[name], value) for name, value in teacher.state_dict().items())


def _dit(vocab_size=12, **settings):
    torch.manual_seed(0)
    network = DiT(vocab_size, hidden_size=16, num_blocks=1, num_heads=2, **settings)
    with torch.no_grad():
        # what is zero at first would hide the branches that have dropout.
        for weight in network.parameters():
            weight.add_(0.1 * torch.randn(weight.shape))
    return network


def _student(network=None, **settings):
    return DistilledDiffusionLM(network or _dit(dropout=0.5), NUCLEOTIDE_VOCABULARY, **settings)


def test_a_teacher_is_no_part_of_the_student_and_has_no_dropout():
    teacher, student = MaskedDiffusionLM(_dit(dropout=0.5), NUCLEOTIDE_VOCABULARY), _student()
    names = [*student.state_dict()]
    student.learn_from(teacher)
    assert [*student.state_dict()] == names
    assert len([*student.parameters()]) == len([*teacher.parameters()])
    student.eval()
    teacher.train()
    batch = batch_of_bases(padded=True, labelled=False)
    first, again = (student.loss_terms(batch).minimised for _ in range(2))
    assert torch.equal(first, again)
    assert teacher.training
    assert not first[~batch.valid].any()
    assert first[batch.valid].any()


def test_rows_of_a_loss_do_not_depend_on_their_batch():
    student = _student(_dit())
    student.learn_from(MaskedDiffusionLM(_dit(), NUCLEOTIDE_VOCABULARY))
    batch = batch_of_bases(padded=False, labelled=False)
    alone = batch.rows(slice(1, 2))
    together = student.loss_terms(batch).minimised[1:2]
    torch.testing.assert_close(student.loss_terms(alone).minimised, together, rtol=1e-5, atol=1e-6)


def test_without_a_teacher_it_is_a_masked_model():
    student = _student(_dit())
    plain = MaskedDiffusionLM(student.backbone, NUCLEOTIDE_VOCABULARY)
    keys = row_keys(1, torch.arange(4))
    same = [lm.generate(keys, 12, num_steps=4).tokens for lm in (student, plain)]
    assert torch.equal(*same)
    batch = batch_of_bases(padded=False, labelled=False)
    likelihoods = [lm.log_likelihood(batch).nats for lm in (student, plain)]
    assert torch.equal(*likelihoods)
    with pytest.raises(ConfigError, match=r"learns from another model and has none; give lm\.teac"):
        student.loss_terms(batch)


@pytest.mark.parametrize("steps", [-2, 0, 1, 7])
def test_steps_that_have_no_half_are_refused(steps):
    with pytest.raises(ConfigError, match=rf"lm\.num_steps={steps} must be even and at least 2"):
        _student(num_steps=steps)


def test_warped_times_are_refused():
    with pytest.raises(ConfigError, match="does not suit the objective DistilledDiffusionLM"):
        _student(times=Importance())


def _masked(network, **settings):
    return MaskedDiffusionLM(network, NUCLEOTIDE_VOCABULARY, **settings)


@pytest.mark.parametrize(
    ("teacher", "message"),
    [
        (lambda: nn.Linear(2, 2), "is a Linear, which takes no ancestral steps"),
        (lambda: BlockDiffusionLM(_dit(), NUCLEOTIDE_VOCABULARY, block_length=4),
         "is a BlockDiffusionLM, which takes no ancestral steps"),
        (lambda: IupacDiffusionLM(_dit(18), NUCLEOTIDE_VOCABULARY), "another vocabulary"),
        (lambda: MaskedDiffusionLM(TableNetwork(LAW), LAW.vocabulary), "another vocabulary"),
        (lambda: _masked(_dit(time_conditioning=True)),
         r"backbone\.time_conditioning is True in lm\.teacher and False in the student"),
        (lambda: _masked(_dit(num_classes=3)),
         r"backbone\.num_classes is 3 in lm\.teacher and 0 in the student"),
        (lambda: _masked(_dit(), schedule=Cosine()), r"noise is Cosine\(.*\) in lm\.teacher"),
        (lambda: _masked(_dit(), experts=Experts((1,))), "give a teacher with experts=none"),
    ],
    ids=["module", "blocks", "codes", "symbols", "time", "classes", "noise", "experts"],
)  # fmt: skip
def test_a_teacher_that_does_not_suit_is_refused(teacher, message):
    student = _student(schedule=LogLinear())
    with pytest.raises(ConfigError, match=message):
        student.learn_from(teacher())
    assert not student.has_teacher

"""The short forms are the long ones: the same masks, bounds and samples as a model has."""

import subprocess
import sys

import pytest
import torch

from dnamdlm.data.batch import Batch
from dnamdlm.diffusion import (
    Alphabet,
    Constraints,
    Cosine,
    FirstHitting,
    Importance,
    LogLinear,
    Stratified,
    mask,
    nelbo,
    row_keys,
    sample,
    subs,
)
from dnamdlm.lm.masked import MaskedDiffusionLM
from dnamdlm.tokens import NUCLEOTIDE_VOCABULARY, NucleotideTokenizer
from tests.helpers.oracle import OracleBackbone, TabulatedLaw
from tests.repository.sources import ROOT

LAW = TabulatedLaw()
DNA = NUCLEOTIDE_VOCABULARY

# what a user writes to train and sample with the mathematics alone
SNIPPET = """
import torch
from dnamdlm.diffusion import LogLinear, nelbo, sample, subs
from dnamdlm.tokens import NucleotideTokenizer
dna, schedule = NucleotideTokenizer(), LogLinear()
net = torch.nn.Sequential(torch.nn.Embedding(12, 32), torch.nn.Linear(32, 12))
optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
x0 = torch.from_numpy(dna.encode("TATAATGC")).repeat(16, 1)
denoise = lambda xt, t: subs(net(xt), xt, dna.vocabulary)
for step in range(20):
    loss = nelbo(denoise, x0, dna.vocabulary, schedule=schedule, seed=step).mean()
    optimizer.zero_grad(), loss.backward(), optimizer.step()
print([dna.decode(row) for row in sample(denoise, 2, 8, dna.vocabulary, schedule=schedule, seed=1)])
"""


def _denoise(xt, _time):
    return LAW.log_probs(xt)


def _model(schedule, times):
    return MaskedDiffusionLM(OracleBackbone(LAW), LAW.vocabulary, schedule, times)


def test_the_mathematics_alone_takes_a_dozen_lines_and_no_framework():
    code = SNIPPET + "import sys; print(*sorted({name.split('.')[0] for name in sys.modules}))"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    sequences, modules = done.stdout.splitlines()
    assert len(SNIPPET.strip().splitlines()) == 12
    assert sequences.count("'") == 4
    loaded = set(modules.split())
    assert not loaded & {"lightning", "hydra", "omegaconf", "pandas", "sklearn", "pyarrow"}


def test_a_vocabulary_is_an_alphabet():
    assert isinstance(DNA, Alphabet)


def test_only_real_tokens_are_hidden_and_a_seed_repeats_itself():
    x0 = torch.from_numpy(NucleotideTokenizer().encode("ACGTN" * 200)).repeat(4, 1)
    x0[:, -5:] = DNA.pad_id
    t = torch.tensor([0.0, 0.25, 0.75, 1.0])
    xt = mask(x0, t, DNA, schedule=Cosine(), seed=3)
    hidden = xt == DNA.mask_id
    real = (x0 >= 7) & (x0 <= 10)
    assert torch.equal(xt[~hidden], x0[~hidden])
    assert not hidden[~real].any()
    share = hidden.sum(dim=1) / real.sum(dim=1)
    # cos(pi t / 2) is visible; four standard deviations of a share of 796 draws are 0.071.
    torch.testing.assert_close(share, 1 - torch.cos(torch.pi / 2 * t), rtol=0, atol=0.071)
    assert torch.equal(xt, mask(x0, t, DNA, schedule=Cosine(), seed=3))
    assert not torch.equal(xt, mask(x0, t, DNA, schedule=Cosine(), seed=4))


def test_more_logits_than_ids_are_impossible():
    logits, expected = torch.zeros(2, 1, 2, 16, dtype=torch.float64)
    log_probs = subs(logits, torch.tensor([[DNA.mask_id, 8]]), DNA)
    expected[0, 0, 7:11] = 0.25
    expected[0, 1, 8] = 1.0
    torch.testing.assert_close(log_probs.exp(), expected)


@pytest.mark.parametrize("times", [Stratified(), Importance()], ids=repr)
@pytest.mark.parametrize("schedule", [LogLinear(), Cosine()], ids=repr)
def test_the_bound_is_the_loss_of_a_model_with_the_same_keys(schedule, times):
    x0 = LAW.sequences.repeat(4, 1)
    rows = torch.arange(len(x0))
    everywhere = torch.ones_like(x0, dtype=torch.bool)
    batch = Batch(
        tokens=x0, present=everywhere, valid=everywhere, weight=None, key=row_keys(5, rows),
        row=rows, global_size=len(x0),
    )  # fmt: skip
    expected = _model(schedule, times).loss_terms(batch).nats.sum(dim=1)
    found = nelbo(_denoise, x0, LAW.vocabulary, schedule=schedule, times=times, seed=5)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_the_bound_of_an_exact_model_is_tight():
    # by the chain rule every order of revealing gives -log p exactly, and so does their mean.
    x0 = LAW.sequences[3].repeat(40_000, 1)
    nats = nelbo(_denoise, x0, LAW.vocabulary, seed=0)
    four_errors = 4 * nats.std() / len(nats) ** 0.5
    assert abs(nats.mean() + LAW.probs[3].log()) < four_errors


@pytest.mark.parametrize("rule", [None, FirstHitting()], ids=repr)
def test_samples_are_those_of_a_model_with_the_same_keys(rule):
    settings = {} if rule is None else {"rule": rule}
    lm = _model(Cosine(), Stratified())
    expected = lm.generate(row_keys(9, torch.arange(50)), LAW.length, num_steps=7, **settings)
    settings |= {"schedule": Cosine(), "num_steps": 7, "seed": 9}
    found = sample(_denoise, 50, LAW.length, LAW.vocabulary, **settings)
    assert torch.equal(found, expected.tokens)
    assert torch.equal(sample(_denoise, 3, LAW.length, LAW.vocabulary, **settings), found[:3])


def test_samples_obey_constraints():
    allowed = torch.tensor([False, True, False, False])
    tokens = sample(_denoise, 5, 3, LAW.vocabulary, constraints=Constraints(allowed), seed=0)
    assert bool((tokens == 1).all())


def test_a_network_sees_times_of_the_default_type():
    seen = set()

    def denoise(xt, t):
        seen.add(t.dtype)
        return LAW.log_probs(xt)

    nelbo(denoise, LAW.sequences, LAW.vocabulary, seed=0)
    sample(denoise, 2, 3, LAW.vocabulary, seed=0)
    assert seen == {torch.float32}

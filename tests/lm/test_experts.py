"""Experts in a denoiser: exact laws of their own, and their sum with a network, by enumeration."""

import itertools
import math

import numpy as np
import pytest
import torch
from torch import nn

from dnamdlm.assembly.strands import with_strands
from dnamdlm.backbones.dit import DiT
from dnamdlm.data.batch import Batch
from dnamdlm.diffusion.categorical import Choice
from dnamdlm.diffusion.randomness import row_keys
from dnamdlm.errors import ConfigError
from dnamdlm.lm.expert_gates import Experts
from dnamdlm.lm.experts import ChainExpert, Expert, WildcardExpert
from dnamdlm.lm.masked import MaskedDiffusionLM
from dnamdlm.lm.sampling import AncestralSampler, EntropyBoundedSampler, FirstHittingSampler
from dnamdlm.tokens.nucleotide import NUCLEOTIDE_VOCABULARY
from dnamdlm.tokens.vocabulary import Vocabulary
from dnamdlm.words.kmers import add_reverse_complement
from dnamdlm.words.wildcards import smoothed_table

MASK, PAD, A, N = 3, 4, 7, 11
LETTERS = [MASK, 7, 8, 9, 10]
LENGTH = 4
SEQUENCES = torch.tensor(list(itertools.product([7, 8, 9, 10], repeat=LENGTH)))
COMPLEMENT = torch.tensor(NUCLEOTIDE_VOCABULARY.complement)
# float64 sums of at most 256 terms.
TOLERANCE = 1e-10


def counts_of(word_length, seed=0):
    rng = np.random.default_rng(seed)
    return add_reverse_complement(rng.integers(0, 40, 4**word_length))


def give_counts(lm_or_expert, seed=0):
    """Random counts for each expert, in the way in which a checkpoint gives them."""
    experts = getattr(lm_or_expert, "expert_gates", None)
    for member in [lm_or_expert] if experts is None else experts.members:
        counts = torch.from_numpy(counts_of(member.word_length, seed)).int()
        member.load_state_dict({"counts": counts})
    return lm_or_expert


def wildcard(width, dtype=torch.float64):
    return give_counts(WildcardExpert(width).to(dtype))


def model(experts, *, random=True, dtype=torch.float64, backbone=None):
    torch.manual_seed(1)
    lm = MaskedDiffusionLM(backbone or DiT(12, 8, 1, 2), NUCLEOTIDE_VOCABULARY, experts=experts).to(
        dtype
    )
    if random:
        for parameter in lm.parameters():
            nn.init.normal_(parameter, std=0.3)
    return give_counts(lm).eval()


def batch_of(tokens):
    everywhere = torch.ones_like(tokens, dtype=torch.bool)
    rows = torch.arange(len(tokens))
    return Batch(
        tokens=tokens, present=everywhere, valid=everywhere, weight=None,
        key=row_keys(3, rows), row=rows, global_size=len(tokens),
    )  # fmt: skip


def all_states(length=LENGTH):
    return torch.tensor(list(itertools.product(LETTERS, repeat=length)))


def bound(lm, tokens):
    """The bound of each sequence: the mean over all sets of hidden positions of each size."""
    total = torch.zeros(len(tokens), dtype=torch.float64)
    length = tokens.shape[1]
    for hidden in itertools.product([False, True], repeat=length):
        number = sum(hidden)
        if number:
            mask = torch.tensor(hidden)
            log_probs = lm.denoise(torch.where(mask, MASK, tokens))
            nats = -log_probs.gather(2, tokens[..., None])[..., 0][:, mask].sum(1)
            total += nats / number / math.comb(length, number)
    return total


@pytest.mark.parametrize("expert", [WildcardExpert(2), ChainExpert(2)], ids=["table", "chain"])
def test_experts_are_normalised_wherever_they_look(expert):
    expert = give_counts(expert.double())
    assert isinstance(expert, Expert)
    tokens = torch.cat([all_states(), torch.tensor([[MASK, N, MASK, PAD], [A, A, N, N]])])
    sums = expert(tokens).exp().sum(-1)
    torch.testing.assert_close(sums, torch.ones_like(sums), rtol=0, atol=TOLERANCE)


def test_an_expert_without_counts_knows_nothing():
    for expert in (WildcardExpert(3), ChainExpert(3)):
        assert not expert.is_counted
        assert torch.allclose(expert(all_states()).exp(), torch.tensor(0.25))


def test_a_lookup_gives_the_law_of_the_pattern():
    expert = wildcard(1)
    table = smoothed_table(counts_of(3), 1, 1)
    found = expert(torch.tensor([[8, MASK, 10, N, PAD]])).exp()[0]
    # patterns (left, right): (*, *), (C, T), (*, *), (T, *), (*, *).
    for position, pattern in enumerate([(4, 4), (1, 3), (4, 4), (3, 4), (4, 4)]):
        expected = table.probs[5 * pattern[0] + pattern[1]]
        np.testing.assert_allclose(found[position].numpy(), expected, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("width", [1, 2, 3])
def test_tables_treat_both_strands_alike_bit_for_bit(width, dtype):
    expert = wildcard(width, dtype)
    tokens = all_states(5)
    turned = expert(COMPLEMENT[tokens.flip(1)])
    assert torch.equal(turned.flip(1, 2), expert(tokens))


def test_a_table_as_wide_as_the_sequences_has_the_conditionals_of_their_law():
    counts = counts_of(3).astype(float) + 1
    expert = WildcardExpert(1).double()
    table = smoothed_table(counts, 1, 1, pseudo_count=0.0)
    expert.log_probs = torch.from_numpy(np.log(table.probs))
    words = torch.tensor(list(itertools.product([7, 8, 9, 10], repeat=3)))
    weights = torch.from_numpy(counts)
    for state in all_states(3):
        others = [i for i in (0, 2) if state[i] != MASK]
        agrees = (words[:, others] == state[others]).all(1)
        joint = torch.stack([weights[agrees & (words[:, 1] == base)].sum() for base in LETTERS[1:]])
        found = expert(state[None])[0, 1].exp()
        assert torch.allclose(found, joint / joint.sum(), rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("order", [1, 2])
def test_the_bound_of_a_markov_expert_is_its_exact_likelihood(order):
    lm = model(Experts((), chain=order), random=False)
    exact = lm.log_likelihood(batch_of(SEQUENCES), estimator="left_to_right").nats.sum(1)
    assert torch.allclose((-exact).exp().sum(), torch.tensor(1.0, dtype=torch.float64))
    assert torch.allclose(bound(lm, SEQUENCES), exact, rtol=0, atol=TOLERANCE)
    other_order = lm.log_likelihood(batch_of(SEQUENCES), estimator="entropy").nats.sum(1)
    assert torch.allclose(other_order, exact, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("experts", [Experts((2,)), Experts((1, 2), chain=1)], ids=str)
def test_logits_are_the_network_plus_weighted_laws(experts):
    lm = model(experts)
    states, gates = all_states(), lm.expert_gates
    weights = lm.backbone.hidden(states) @ gates.weight.T + gates.bias
    scores = gates.gain * lm.backbone(states)[..., 7:11]
    for number, member in enumerate(gates.members):
        scores = scores + weights[..., number, None] * member(states)
    expected = scores.exp() / scores.exp().sum(-1, keepdim=True)
    found = lm.denoise(states).exp()
    is_hidden = states == MASK
    assert torch.allclose(found[..., 7:11][is_hidden], expected[is_hidden], rtol=0, atol=TOLERANCE)
    assert (found[~is_hidden].amax(-1) == 1).all()
    assert torch.allclose(found.sum(-1), torch.ones((), dtype=found.dtype), rtol=0, atol=TOLERANCE)


def test_the_likelihood_of_network_and_experts_sums_to_one():
    lm = model(Experts((1, 2)))
    nats = lm.log_likelihood(batch_of(SEQUENCES), estimator="left_to_right").nats.sum(1)
    assert (-nats).exp().sum() == pytest.approx(1.0, abs=TOLERANCE)
    assert (bound(lm, SEQUENCES).neg().exp().sum()) <= 1 + TOLERANCE


class _Own(nn.Module):
    """A network whose last layer is not zero at first."""

    def __init__(self):
        super().__init__()
        self.embedding, self.last = nn.Embedding(12, 6), nn.Linear(6, 12)

    def forward(self, tokens):
        return self.last(self.embedding(tokens))


@pytest.mark.parametrize("backbone", [None, _Own()], ids=["zero", "not zero"])
def test_training_starts_from_the_first_expert(backbone):
    lm = model(Experts((2, 1)), random=False, backbone=backbone)
    states = all_states()
    found = lm.denoise(states)[..., 7:11][states == MASK]
    expected = lm.expert_gates.members[0](states)[states == MASK]
    assert torch.allclose(found, expected, rtol=0, atol=TOLERANCE)
    lm.train()
    lm.loss_terms(batch_of(SEQUENCES)).nats.mean().backward()
    gates = lm.expert_gates
    assert all(p.grad is not None and p.grad.any() for p in (gates.bias, gates.weight, gates.gain)
               if p is not gates.gain or backbone is not None)  # fmt: skip


def test_in_training_a_window_does_not_vote_for_itself():
    lm = model(Experts((2,)), random=False)
    expert = lm.expert_gates.members[0]
    state = torch.tensor([[7, MASK, 9, 9, MASK]])
    clean = torch.tensor([[7, 10, 9, 9, 8]])
    plain, without = expert(state).exp(), expert(state, clean).exp()
    share = expert.own_share[expert.patterns(state)]
    for position, base in ((1, 3), (4, 1)):
        own = torch.eye(4, dtype=torch.float64)[base]
        rest = (plain[0, position] - share[0, position] * own) / (1 - share[0, position])
        assert torch.allclose(without[0, position], rest, rtol=0, atol=TOLERANCE)
        assert without[0, position, base] < plain[0, position, base]
    batch = batch_of(SEQUENCES)
    trained, scored = lm.loss_terms(batch).nats.sum(), lm.log_likelihood(batch).nats.sum()
    draw = lm.objective.hide(lm.process, batch)[0]
    hidden = draw.xt == MASK
    log_probs = expert(draw.xt, batch.tokens).gather(2, batch.tokens[..., None] - 7)[..., 0]
    ratio = lm.loss_terms(batch).nats[hidden] / -log_probs[hidden]
    # the weight of a row is the same at all of its positions.
    rows = hidden.nonzero()[:, 0]
    assert torch.allclose(ratio, torch.stack([ratio[rows == row].mean() for row in rows]))
    assert trained > 0
    assert scored > 0


def test_a_word_that_was_not_counted_leaves_a_law():
    expert = wildcard(2, torch.float32)
    tokens = torch.tensor([[A, N, A, N, A, A, A]])
    without = expert(torch.full_like(tokens, MASK), tokens).exp()
    assert torch.allclose(without.sum(-1), torch.ones(1, 7))
    assert (without > 0).all()


def test_both_strands_are_averaged_with_their_experts():
    lm = model(Experts((2, 1)))
    states = all_states()
    ahead = lm.logits(states)
    back = lm.logits(COMPLEMENT[states.flip(1)]).flip(1)[..., COMPLEMENT]
    averaged = with_strands(lm, "both")
    found = averaged.logits(states)
    assert torch.allclose(found, (ahead + back) / 2, rtol=0, atol=TOLERANCE)
    other = with_strands(lm, "other").logits(states)
    assert torch.allclose(other, back, rtol=0, atol=TOLERANCE)
    assert lm.network_over_strands is None
    batch = batch_of(SEQUENCES)
    assert averaged.hidden(batch).shape[-1] == 2 * lm.hidden(batch).shape[-1]


def test_a_state_dictionary_gives_the_same_model():
    lm = model(Experts((2, 1), chain=1), dtype=torch.float32)
    state = lm.state_dict()
    stored = {name: tuple(value.shape) for name, value in state.items() if "expert" in name}
    assert stored == {
        "expert_gates.weight": (3, 8), "expert_gates.bias": (3,), "expert_gates.gain": (),
        "expert_gates.members.0.counts": (4**5,), "expert_gates.members.1.counts": (4**3,),
        "expert_gates.members.2.counts": (4**2,),
    }  # fmt: skip
    twin = MaskedDiffusionLM(
        DiT(12, 8, 1, 2), NUCLEOTIDE_VOCABULARY, experts=Experts((2, 1), chain=1)
    )
    twin.load_state_dict(state, strict=True)
    assert torch.equal(twin.eval().denoise(all_states()), lm.denoise(all_states()))


def test_a_model_without_experts_has_the_weights_that_it_always_had():
    lm = MaskedDiffusionLM(DiT(12, 8, 1, 2), NUCLEOTIDE_VOCABULARY)
    assert all(name.startswith("backbone.") for name in lm.state_dict())
    assert lm.network() is lm.backbone


@pytest.mark.parametrize(
    "sampler", [AncestralSampler(), FirstHittingSampler(), EntropyBoundedSampler()], ids=repr
)
def test_samplers_draw_from_the_experts(sampler):
    lm = model(Experts((1,)), random=False, dtype=torch.float32)
    counts = torch.zeros(64, dtype=torch.int32)
    counts[0] = 2**30
    lm.expert_gates.members[0].load_state_dict({"counts": counts})
    made = lm.generate(row_keys(1, torch.arange(2)), 12, rule=sampler.rule(Choice()))
    assert (made.tokens == A).all()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"wildcards": (6,)}, "must be different widths from 1 to 5"),
        ({"wildcards": (2, 2)}, "must be different widths from 1 to 5"),
        ({"chain": 7}, r"must lie in 0\.\.6"),
        ({"wildcards": ()}, "names no expert"),
    ],
    ids=str,
)
def test_settings_that_are_out_of_range_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        Experts(**settings)


def test_experts_of_text_are_refused():
    vocabulary = Vocabulary(tuple("abc._"), mask_id=3, pad_id=4, real_ids=(0, 1, 2))
    with pytest.raises(ConfigError, match="the data have another vocabulary"):
        MaskedDiffusionLM(DiT(len(vocabulary), 8, 1, 2), vocabulary, experts=Experts())

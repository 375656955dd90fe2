"""Block diffusion: masked diffusion at one end, an autoregressive model at the other."""

import pytest
import torch

from dnamdlm.backbones.block_pass import BlockDiT
from dnamdlm.backbones.dit import DiT
from dnamdlm.data.batch import Batch, batch_of_ids
from dnamdlm.diffusion.parameterization import restricted
from dnamdlm.diffusion.randomness import row_keys
from dnamdlm.errors import ConfigError
from dnamdlm.lm.block import BlockDiffusionLM
from dnamdlm.lm.block_rows import BlockRows, check_windows
from dnamdlm.lm.expert_gates import Experts
from dnamdlm.lm.masked import MaskedDiffusionLM
from dnamdlm.lm.objectives import (
    ContinuousTime,
    DiscreteTime,
    ExactCount,
    ScoreEntropy,
    SimpleCrossEntropy,
)
from dnamdlm.tokens.nucleotide import NUCLEOTIDE_VOCABULARY
from tests.helpers.oracle import OracleBackbone, TabulatedLaw

LAW = TabulatedLaw(length=4, num_symbols=3)
OBJECTIVES = [
    ContinuousTime(),
    ExactCount(power=2.0),
    DiscreteTime(num_steps=8),
    SimpleCrossEntropy(),
    ScoreEntropy(),
]


class BlockOracle(OracleBackbone):
    """The exact conditionals of each block given the clean blocks before it."""

    def forward(self, tokens, time, present):
        size = tokens.shape[1]
        missing = self.law.length - size
        whole = torch.nn.functional.pad(tokens, (0, missing), value=self.law.mask_id)
        return super().forward(whole, time, present)[:, :size]

    def block_states(self, clean, noisy, label=None, *, times, clean_time, present, block_length):
        law = self.law
        parts = []
        for start in range(0, clean.shape[1], block_length):
            here = slice(start, start + block_length)
            seen = torch.cat([clean[:, :start], noisy[:, here]], dim=1)[:, : law.length]
            missing = law.length - seen.shape[1]
            seen = torch.nn.functional.pad(seen, (0, missing), value=law.mask_id)
            seen = seen.masked_fill(seen == law.mask_id + 1, law.mask_id)
            states = self(seen, None, None)
            extra = clean.shape[1] - law.length
            parts.append(torch.nn.functional.pad(states, (0, 0, 0, extra))[:, here])
        return torch.cat(parts, dim=1)


def batch_of(tokens, valid=None, **more):
    rows = torch.arange(len(tokens))
    everywhere = torch.ones_like(tokens, dtype=torch.bool)
    return Batch(
        tokens=tokens, present=everywhere, valid=everywhere if valid is None else valid,
        weight=None, key=row_keys(3, rows), row=rows, global_size=len(tokens), **more,
    )  # fmt: skip


def network(**settings):
    torch.manual_seed(2)
    net = DiT(12, 16, 2, 2, **settings).double()
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return net


def sequences(length=12, rows=3):
    return torch.randint(7, 11, (rows, length), generator=torch.Generator().manual_seed(5))


def of_law(block_length, objective=None):
    oracle = BlockOracle(LAW)
    return BlockDiffusionLM(oracle, LAW.vocabulary, objective=objective, block_length=block_length)


@pytest.mark.parametrize("objective", OBJECTIVES, ids=lambda o: type(o).__name__)
@pytest.mark.parametrize("block_length", [12, 20])
def test_one_block_is_masked_diffusion_bit_for_bit(objective, block_length):
    sees_time = isinstance(objective, DiscreteTime)
    net, batch = network(time_conditioning=sees_time, conv_width=3), batch_of(sequences())
    parts = (net, NUCLEOTIDE_VOCABULARY, None, None, objective)
    masked, blocks = MaskedDiffusionLM(*parts), BlockDiffusionLM(*parts, block_length=block_length)
    for expected, found in [
        (masked.loss_terms(batch), blocks.loss_terms(batch)),
        (masked.log_likelihood(batch, draws=3), blocks.log_likelihood(batch, draws=3)),
    ]:
        assert torch.equal(expected.nats, found.nats)
    keys = row_keys(1, torch.arange(2))
    expected, found = (lm.generate(keys, 12, num_steps=6) for lm in (masked, blocks))
    assert torch.equal(expected.tokens, found.tokens)
    assert expected.row_calls == found.row_calls


def test_blocks_of_one_token_have_the_exact_likelihood_of_an_autoregressive_model():
    net, tokens = network(conv_width=3, local_radius=2, local_size=8), sequences()
    lm = BlockDiffusionLM(net, NUCLEOTIDE_VOCABULARY, objective=ExactCount(), block_length=1)
    expected = torch.zeros(tokens.shape, dtype=torch.float64)
    for place in range(tokens.shape[1]):
        seen = tokens[:, : place + 1].clone()
        seen[:, place] = NUCLEOTIDE_VOCABULARY.mask_id
        states = BlockDiT(net).block_states(
            seen, seen, block_length=1, times=None, clean_time=None, present=None
        )
        log_probs = restricted(net.head(states[:, -1:]), lm.real_tokens)[:, 0]
        expected[:, place] = -log_probs.gather(-1, tokens[:, place : place + 1])[:, 0]
    batch = batch_of(tokens)
    found = lm.log_likelihood(batch, draws=7)
    assert found.kind == "exact"
    # a hundred roundings of numbers of order 1.
    torch.testing.assert_close(found.nats, expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(lm.loss_terms(batch).nats, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("block_length", [1, 2, 4, 3])
@pytest.mark.parametrize("estimator", ["left_to_right", "orders:2", "margin"])
def test_every_order_within_blocks_gives_the_exact_likelihood_of_the_oracle(
    block_length, estimator
):
    lm = of_law(block_length)
    nats = lm.log_likelihood(batch_of(LAW.sequences), estimator=estimator).nats.sum(dim=1)
    torch.testing.assert_close(nats, -LAW.probs.log(), rtol=0, atol=1e-12)


@pytest.mark.parametrize("block_length", [1, 2, 4, 3])
@pytest.mark.parametrize("objective", [ContinuousTime(), ExactCount()], ids=["time", "count"])
def test_the_mean_loss_of_the_oracle_is_the_negative_log_likelihood(block_length, objective):
    repeats = 200
    # rows of one sequence are spread over the batch, as the strata are.
    batch = batch_of(LAW.sequences.repeat(repeats, 1))
    nats = of_law(block_length, objective).loss_terms(batch).nats.sum(dim=1)
    nats = nats.reshape(repeats, -1)
    error = nats.std(dim=0) / repeats**0.5 + 1e-12
    # 81 standard scores below 4.5 each; those of blocks of one token are exact.
    assert (((nats.mean(dim=0) + LAW.probs.log()) / error).abs() < 4.5).all()


@pytest.mark.parametrize("estimator", ["time", "count"])
def test_the_mean_estimate_of_the_oracle_is_the_negative_log_likelihood(estimator):
    found = of_law(2).log_likelihood(batch_of(LAW.sequences), draws=100, estimator=estimator)
    # a draw has a standard deviation of at most 4 nats; 100 of them in strata, 81 sequences.
    assert (found.nats.sum(dim=1) + LAW.probs.log()).abs().max() < 4.5 * 4 / 100**0.5
    assert found.kind == "upper bound"
    assert found.hidden_nats.shape == (81, 10)


def test_times_are_stratified_over_the_sequences_of_each_block_and_spread_over_its_blocks():
    rows = BlockRows(batch_of(sequences(12, rows=8)), 3, pad_id=4).rows
    place = rows.row.reshape(8, 4)
    assert all(sorted(column.tolist()) == list(range(8)) for column in place.T)
    assert all(sorted(x % 8 for x in (row - row[0]).tolist()) == [0, 2, 4, 6] for row in place)
    assert rows.global_size == 8
    assert len(set(rows.key.tolist())) == len(rows)


def test_the_loss_of_a_row_does_not_depend_on_the_other_rows():
    lm = BlockDiffusionLM(network(), NUCLEOTIDE_VOCABULARY, block_length=4)
    batch = batch_of(sequences())
    alone = lm.loss_terms(batch.rows(slice(1, 2))).nats
    torch.testing.assert_close(lm.loss_terms(batch).nats[1:2], alone, rtol=0, atol=1e-11)


def test_unknown_bases_and_padding_are_not_scored_and_change_nothing_before_them():
    tokens = sequences(14)
    tokens[:, 9:] = NUCLEOTIDE_VOCABULARY.pad_id
    tokens[:, 2] = NUCLEOTIDE_VOCABULARY.symbols.index("N")
    present = tokens != NUCLEOTIDE_VOCABULARY.pad_id
    valid = present & (tokens >= 7) & (tokens < 11)
    lm = BlockDiffusionLM(network(), NUCLEOTIDE_VOCABULARY, block_length=4)
    whole = batch_of(tokens, valid)
    whole = Batch(**{**vars(whole), "present": present, "full": None})
    cut = batch_of(tokens[:, :9], valid[:, :9])
    found, expected = (lm.log_likelihood(b, estimator="left_to_right") for b in (whole, cut))
    assert not found.nats[~valid].any()
    torch.testing.assert_close(found.nats[:, :9], expected.nats, rtol=0, atol=1e-12)


def test_experts_see_the_left_context_and_not_beyond_the_block():
    lm = BlockDiffusionLM(
        network(), NUCLEOTIDE_VOCABULARY, block_length=4, experts=Experts((2,), chain=3)
    )
    torch.manual_seed(0)
    for member in lm.expert_gates.members:
        member.counts.copy_(torch.randint(1, 50, member.counts.shape))
        member._tabulate()
    torch.nn.init.normal_(lm.expert_gates.weight, std=0.1)
    tokens = sequences()
    changed = tokens.clone()
    changed[:, 8:] = 7
    found, other = (
        lm.log_likelihood(batch_of(ids), estimator="left_to_right").nats
        for ids in (tokens, changed)
    )
    torch.testing.assert_close(found[:, :8], other[:, :8], rtol=0, atol=1e-6)
    # the expert of two neighbours reaches from block 1 into block 0.
    changed = tokens.clone()
    changed[:, 3] = 17 - changed[:, 3]
    other = lm.log_likelihood(batch_of(changed), estimator="left_to_right").nats
    assert (found[:, 4] != other[:, 4]).all()
    assert lm.loss_terms(batch_of(tokens)).nats.isfinite().all()


def test_classes_change_the_likelihood_and_a_missing_label_is_no_class():
    net = network(num_classes=2)
    lm = BlockDiffusionLM(net, NUCLEOTIDE_VOCABULARY, block_length=4, objective=ExactCount())
    plain = lm.log_likelihood(batch_of(sequences())).nats
    labels = torch.tensor([-1, 0, 1])
    given = lm.log_likelihood(batch_of(sequences(), label=labels)).nats
    torch.testing.assert_close(given[0], plain[0], rtol=0, atol=1e-12)
    assert (given[1:].sum(dim=1) != plain[1:].sum(dim=1)).all()
    assert lm.loss_terms(batch_of(sequences(), label=labels)).nats.isfinite().all()


def test_hidden_states_of_a_block_do_not_depend_on_later_blocks():
    lm = BlockDiffusionLM(network(time_conditioning=True), NUCLEOTIDE_VOCABULARY, block_length=4)
    tokens = sequences(10)
    states = lm.hidden(batch_of(tokens))
    assert states.shape == (3, 10, 16)
    torch.testing.assert_close(
        lm.hidden(batch_of(tokens[:, :8]))[:, :8], states[:, :8], rtol=0, atol=1e-12
    )


def test_impossible_settings_are_refused():
    with pytest.raises(ConfigError, match=r"lm\.block_length=0 must be at least 1"):
        BlockDiffusionLM(network(), NUCLEOTIDE_VOCABULARY, block_length=0)
    with pytest.raises(ConfigError, match="does not see later blocks"):
        BlockDiffusionLM(network(), NUCLEOTIDE_VOCABULARY).log_probs(batch_of(sequences()))
    with pytest.raises(ConfigError, match=r"windows of data\.length=256; use 16 or 32"):
        check_windows(24, 256)


def test_clean_blocks_are_read_at_time_zero():
    torch.manual_seed(0)
    backbone = DiT(12, 16, 1, 2, time_conditioning=True, cond_size=8).double()
    with torch.no_grad():
        for parameter in backbone.parameters():
            parameter.copy_(0.3 * torch.randn(parameter.shape, dtype=torch.float64))
    lm = BlockDiffusionLM(backbone, NUCLEOTIDE_VOCABULARY, block_length=4).eval()
    batch = batch_of_ids([torch.tensor([7, 8, 9, 10, 10, 8, 7, 9]).numpy()], NUCLEOTIDE_VOCABULARY)
    # with one layer the last block sees all that a network of whole sequences sees.
    whole = backbone.hidden(batch.tokens, torch.zeros(1, dtype=torch.float64))
    torch.testing.assert_close(lm.hidden(batch)[:, 4:], whole[:, 4:], rtol=0, atol=1e-12)
    later = backbone.hidden(batch.tokens, torch.full((1,), 2.0, dtype=torch.float64))
    assert (later - whole).abs().max() > 0.01

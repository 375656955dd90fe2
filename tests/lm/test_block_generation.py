"""Sequences from block diffusion: cache, memory, templates and laws of samplers."""

import itertools
from collections import Counter

import numpy as np
import pytest
import torch

from dnamdlm.diffusion.constraints import Constraints
from dnamdlm.diffusion.randomness import RowNoise, child_keys, row_keys
from dnamdlm.diffusion.reverse import reverse_process
from dnamdlm.diffusion.steps import Ancestral, FirstHitting
from dnamdlm.errors import ConfigError
from dnamdlm.lm.block import BlockDiffusionLM
from dnamdlm.lm.expert_gates import Experts
from dnamdlm.lm.sampling.block_context import BlockContext, kept_length
from dnamdlm.lm.sampling.class_guidance import ClassGuidance
from dnamdlm.lm.sampling.generation import Template, check_served, generate_pieces
from dnamdlm.lm.sampling.sampler_names import SAMPLERS
from dnamdlm.lm.sampling.samplers import RuleSampler
from dnamdlm.tokens.iupac import set_table
from dnamdlm.tokens.nucleotide import NUCLEOTIDE_VOCABULARY, NucleotideTokenizer
from tests.helpers.oracle import TabulatedLaw
from tests.lm.test_block import BlockOracle, network

MASK = NUCLEOTIDE_VOCABULARY.mask_id
KEYS = row_keys(4, torch.arange(3))
KINDS = {
    "plain": {},
    "neighbours": {"conv_width": 5, "stem_width": 3, "local_radius": 6, "local_size": 8},
    "window and time": {"attention_window": 7, "time_conditioning": True, "cond_size": 8},
}
encode = NucleotideTokenizer().encode


def made(block_length=4, experts=None, **settings):
    return BlockDiffusionLM(
        network(**settings), NUCLEOTIDE_VOCABULARY, block_length=block_length, experts=experts
    )


def generate(lm, keys=KEYS, length=22, num_steps=3, **settings):
    return lm.generate(keys, length, num_steps=num_steps, **settings)


def of_text(text):
    return torch.from_numpy(encode(text)).long()[None]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("window", [13])
def test_sequences_with_a_cache_are_those_without(kind, window):
    lm = made(**KINDS[kind])
    cached = generate(lm, window=window)
    assert torch.equal(cached.tokens, generate(lm, window=window, use_cache=False).tokens)
    assert cached.tokens.shape == (3, 22)
    assert ((cached.tokens >= 7) & (cached.tokens < 11)).all()


@pytest.mark.parametrize("kind", KINDS)
def test_log_probabilities_with_a_cache_are_those_without(kind):
    lm = made(experts=Experts((2,)), **KINDS[kind])
    torch.nn.init.normal_(lm.expert_gates.weight, std=0.1)
    tokens = torch.randint(7, 11, (2, 12), generator=torch.Generator().manual_seed(1))
    contexts = [
        BlockContext(lm._parts(is_scored=False), 2, 20, use_cache=use) for use in (True, False)
    ]
    noisy, time = torch.tensor([[3, 8, 3], [9, 3, 3]]), torch.tensor([0.3, 0.8])
    for context in contexts:
        for block in tokens.split(4, dim=1):
            context.append(block)
    cached, again = (context.denoise(noisy, time) for context in contexts)
    # a thousand roundings of numbers of order 1, in float64.
    torch.testing.assert_close(cached, again, rtol=0, atol=1e-12)
    assert [context.num_encodings for context in contexts] == [3, 0]


def test_a_sequence_does_not_depend_on_the_batch_or_on_its_later_blocks():
    lm = made(conv_width=3)
    whole = generate(lm, window=16).tokens
    assert torch.equal(whole[1:2], generate(lm, KEYS[1:2], window=16).tokens)
    assert torch.equal(whole, generate(lm, window=16, batch_size=1).tokens)
    assert torch.equal(whole[:, :20], generate(lm, length=20, window=16).tokens)


def test_a_block_is_conditioned_on_all_that_fits_the_window_else_on_its_last_half():
    context = BlockContext(made()._parts(is_scored=False), 1, 21)
    lengths = []
    for _ in range(12):
        context.make_space(4)
        lengths.append(context.tokens.shape[1])
        context.append(torch.full((1, 4), 7))
    # 17 or fewer before a block of 4; of 20, the 8 within half of 21 stay.
    assert lengths == [0, 4, 8, 12, 16, 8, 12, 16, 8, 12, 16, 8]
    assert kept_length(21, 4) == 8


def test_a_long_sequence_is_the_network_on_each_block_and_its_context_alone():
    lm, window = made(conv_width=3), 12
    tokens = generate(lm, KEYS[:1], 24, window=window).tokens
    starts = [0, 0, 0, 2, 2, 4]  # first block that is seen; two fit beside a block, or one stays
    for block, first in enumerate(starts):
        context = BlockContext(lm._parts(is_scored=False), 1, 100)
        for number in range(first, block):
            context.append(tokens[:, 4 * number : 4 * number + 4])
        expected = reverse_process(
            lambda xt, time, rows, context=context: context.denoise(xt, time),
            torch.full((1, 4), MASK),
            rule=Ancestral(),
            schedule=lm.schedule,
            times=torch.linspace(1, 0, 4, dtype=torch.float64),
            mask_id=MASK,
            noise=RowNoise(KEYS[:1] if block == 0 else child_keys(KEYS[:1], block)),
        ).tokens
        assert torch.equal(tokens[:, 4 * block : 4 * block + 4], expected)


def test_what_is_kept_does_not_grow_with_the_sequence():
    lm = made(attention_window=5, conv_width=3, stem_width=3)
    sizes = set()
    for piece, _ in zip(lm.pieces(KEYS[:1], torch.full((1, 100), MASK), window=16, num_steps=1),
                        itertools.count(), strict=False):  # fmt: skip
        sizes.add(piece.tokens.shape[1])
    assert sizes == {4}
    context = BlockContext(lm._parts(is_scored=False), 1, 16)
    kept = set()
    for _ in range(20):
        context.make_space(4)
        context.denoise(torch.full((1, 4), MASK), torch.ones(1))
        context.append(torch.full((1, 4), 8))
        kept |= {len(context._caches), context.tokens.shape[1] <= 16}
        for cache in context._caches.values():
            assert cache.keys.shape[3] == 20
            assert cache.length <= 16
    assert kept == {0, 1}


@pytest.mark.parametrize(
    "name", [name for name, kind in SAMPLERS.items() if isinstance(kind(), RuleSampler)]
)
def test_every_rule_fills_blocks_and_keeps_what_is_given(name):
    lm = made()
    sets = set_table()[np.frombuffer(b"ACGTACRTNNNNNNNNNN", dtype=np.uint8)]
    template = Template.of_sets(sets, NUCLEOTIDE_VOCABULARY)
    pieces = list(
        generate_pieces(lm, KEYS[:1], template, sampler=SAMPLERS[name](), trained_length=12)
    )
    tokens = torch.cat([piece.tokens for piece in pieces], dim=1)
    assert tokens[0, :6].tolist() == of_text("ACGTAC")[0].tolist()
    assert tokens[0, 6] in (7, 9)
    assert tokens[0, 7] == 10
    assert not (tokens == MASK).any()


def test_given_blocks_take_no_steps():
    lm = made()
    initial = torch.cat([of_text("ACGTACGT"), torch.full((1, 4), MASK)], dim=1)
    found = lm.generate(KEYS[:1], 12, initial=initial, num_steps=1)
    assert found.network_calls == 3
    assert found.tokens[0, :8].tolist() == initial[0, :8].tolist()


@pytest.mark.parametrize(
    ("text", "place"), [("AC..ACGT", 4), ("........AC.G....T...", 8), ("....C", 4)]
)
def test_a_token_that_is_given_to_the_right_of_a_gap_is_refused(text, place):
    with pytest.raises(ConfigError, match=f"position {place} is given.*use a model trained with"):
        made().generate(KEYS[:1], len(text), initial=of_text(text))


def test_constraints_of_all_positions_and_of_each_hold():
    allowed = torch.zeros(3, 10, 12, dtype=torch.bool)
    allowed[:, :, 7] = True
    allowed[1, 5:, 8] = True
    allowed[1, 5:, 7] = False
    tokens = generate(made(), length=10, constraints=Constraints(allowed)).tokens
    assert tokens.tolist() == [[7] * 10, [7] * 5 + [8] * 5, [7] * 10]


def test_a_class_guides_blocks_with_and_without_a_cache():
    lm = made(num_classes=2)
    guided = [
        generate(lm, window=12, guidance=ClassGuidance(1, 2.0), use_cache=use).tokens
        for use in (True, False)
    ]
    assert torch.equal(*guided)
    assert not torch.equal(guided[0], generate(lm, window=12).tokens)
    with pytest.raises(ConfigError, match="label=2 is not a class"):
        generate(lm, guidance=ClassGuidance(2))


@pytest.mark.parametrize("name", ["block", "semi_ar", "left_to_right"])
def test_samplers_that_go_from_left_to_right_themselves_are_refused(name):
    with pytest.raises(ConfigError, match="use sampler=ancestral"):
        check_served(made(), SAMPLERS[name]())


@pytest.mark.slow
def test_one_token_at_a_time_draws_from_the_law_of_the_oracle():
    law = TabulatedLaw(length=3, num_symbols=2, seed=3)
    oracle = BlockOracle(law)
    lm = BlockDiffusionLM(oracle, law.vocabulary, block_length=2)
    number = 300
    made = lm.generate(row_keys(0, torch.arange(number)), 3, rule=FirstHitting()).tokens
    counts = Counter(law.index_of(made).tolist())
    observed = torch.tensor([counts[i] for i in range(8)], dtype=torch.float64)
    expected = number * law.probs
    # chi-squared with 7 degrees of freedom exceeds 24.3 once in a thousand.
    assert ((observed - expected).square() / expected).sum() < 24.3

"""Templates filled with every sampler: what is given stays, windows chain, blocks are exact."""

import itertools

import numpy as np
import pytest
import torch

from dnamdlm.backbones.autoregressive import CausalTransformer
from dnamdlm.backbones.dit import DiT
from dnamdlm.diffusion.categorical import UNCHANGED
from dnamdlm.diffusion.randomness import row_keys
from dnamdlm.diffusion.schedules import LogLinear
from dnamdlm.diffusion.times import Uniform
from dnamdlm.errors import ConfigError
from dnamdlm.lm.causal import CausalLM
from dnamdlm.lm.markov import MarkovLM
from dnamdlm.lm.masked import MaskedDiffusionLM
from dnamdlm.lm.sampling import as_sampler
from dnamdlm.lm.sampling import network_calls as calls
from dnamdlm.lm.sampling.generation import Template, generate_pieces
from dnamdlm.lm.sampling.samplers import BlockSampler, LeftToRightSampler, SemiAutoregressiveSampler
from dnamdlm.tokens.iupac import ANY_BASE, allowed_tokens, set_table
from dnamdlm.tokens.nucleotide import NUCLEOTIDE_VOCABULARY
from tests.helpers.oracle import OracleBackbone, TabulatedLaw
from tests.lm.test_samplers import SAMPLERS, RightToLeft


def _network():
    torch.manual_seed(0)
    backbone = DiT(12, 16, 1, 2)
    for parameter in backbone.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return MaskedDiffusionLM(backbone, NUCLEOTIDE_VOCABULARY, LogLinear(), Uniform())


def _left_to_right():
    torch.manual_seed(0)
    return CausalLM(CausalTransformer(12, 16, 1, 2), NUCLEOTIDE_VOCABULARY)


def _template(text):
    sets = set_table()[np.frombuffer(text.encode(), dtype=np.uint8)]
    return Template.of_sets(sets, NUCLEOTIDE_VOCABULARY)


def _tokens(lm, rows, template, sampler, trained_length=12, seed=3):
    keys = row_keys(seed, torch.as_tensor(rows))
    pieces = list(
        generate_pieces(
            lm, keys, template, sampler=sampler, choice=UNCHANGED, trained_length=trained_length
        )
    )
    return torch.cat([piece.tokens for piece in pieces], dim=1), pieces


@pytest.mark.parametrize("sampler", SAMPLERS, ids=repr)
def test_every_sampler_keeps_letters_obeys_codes_and_does_not_depend_on_the_batch(sampler):
    lm = _network()
    template = _template("NNTATA..RYSWNNACNNNBD")
    tokens, _ = _tokens(lm, range(3), template, sampler)
    assert tokens.shape == (3, len(template))
    given = torch.from_numpy(template.ids.astype(np.int64)) != NUCLEOTIDE_VOCABULARY.mask_id
    assert bool((tokens == torch.from_numpy(template.ids.astype(np.int64)))[:, given].all())
    allowed = torch.from_numpy(allowed_tokens(template.sets, 12)).expand(3, -1, -1)
    assert bool(allowed.gather(-1, tokens.unsqueeze(-1)).all())
    alone, _ = _tokens(lm, [2, 1], template, sampler)
    assert torch.equal(alone, tokens[[2, 1]])
    assert not torch.equal(tokens[0], tokens[1])


def test_an_unknown_base_of_the_context_stays_unknown():
    template = _template("ACGTNNNN")
    ids = template.ids.copy()
    ids[1] = 11
    tokens, _ = _tokens(_network(), range(2), Template(ids, template.sets), SAMPLERS[0])
    assert tokens[:, :4].tolist() == [[7, 11, 9, 10]] * 2


def _of_two(law, sequence):
    """Law of windows of two with one token in common, by the chain rule."""
    joint = law.probs.reshape(law.num_symbols, law.num_symbols)
    following = joint / joint.sum(dim=1, keepdim=True)
    prob = joint[sequence[0], sequence[1]]
    for a, b in itertools.pairwise(sequence[1:]):
        prob = prob * following[a, b]
    return prob.item()


def test_windows_draw_from_the_chain_of_their_conditionals(monkeypatch):
    monkeypatch.setattr(calls, "ROWS_PER_CALL_CPU", 4_000)
    law = TabulatedLaw(length=2, num_symbols=2, seed=1)
    lm = MaskedDiffusionLM(OracleBackbone(law), law.vocabulary, LogLinear(), Uniform())
    length, rows = 4, 4_000
    template = Template(np.full(length, law.mask_id, np.uint8), np.full(length, ANY_BASE, np.uint8))
    sampler = SemiAutoregressiveSampler(inner="first_hitting", window=2, overlap=1)
    tokens, pieces = _tokens(lm, range(rows), template, sampler)
    assert [piece.tokens.shape[1] for piece in pieces] == [2, 1, 1]
    sequences = list(itertools.product(range(2), repeat=length))
    counts = torch.bincount((tokens * torch.tensor([8, 4, 2, 1])).sum(dim=1), minlength=16)
    expected = torch.tensor([_of_two(law, s) for s in sequences]).double() * rows
    # 15 degrees of freedom: 44.3 is the 0.9999 quantile.
    assert ((counts - expected) ** 2 / expected).sum() < 44.3


@pytest.mark.parametrize(
    ("length", "rows"), [(1, 32), (1024, 32), (1025, 31), (32_768, 1), (131_072, 1)]
)
def test_a_call_on_a_gpu_has_fewer_rows_the_longer_they_are(length, rows):
    assert calls.rows_per_call(length, is_cpu=False) == rows
    assert calls.rows_per_call(length, is_cpu=True) == 1


def test_blocks_draw_from_the_law_itself(monkeypatch):
    monkeypatch.setattr(calls, "ROWS_PER_CALL_CPU", 4_000)
    law = TabulatedLaw()
    lm = MaskedDiffusionLM(OracleBackbone(law), law.vocabulary, LogLinear(), Uniform())
    template = Template(np.full(3, law.mask_id, np.uint8), np.full(3, ANY_BASE, np.uint8))
    sampler = BlockSampler(inner="first_hitting", block=2)
    tokens, pieces = _tokens(lm, range(4_000), template, sampler)
    assert pieces[0].row_calls == 3 * 4_000
    counts = torch.bincount(law.index_of(tokens), minlength=8).double()
    expected = law.probs * 4_000
    # 7 degrees of freedom: 29.9 is the 0.9999 quantile.
    assert ((counts - expected) ** 2 / expected).sum() < 29.9


@pytest.mark.parametrize("inner", ["ancestral", "first_hitting"])
def test_a_block_begins_when_all_blocks_before_it_are_complete(inner):
    lm, seen = _network(), []
    lm.backbone.register_forward_pre_hook(lambda _module, args: seen.append(args[0].clone()))
    sampler = BlockSampler(inner=inner, num_steps=4, block=3)
    _tokens(lm, range(2), Template.of_masks(8, NUCLEOTIDE_VOCABULARY), sampler)
    is_visible = torch.cat(seen) != NUCLEOTIDE_VOCABULARY.mask_id
    # no sequence that the network reads has a base beyond its first incomplete block.
    counts = torch.stack([block.sum(dim=1) for block in is_visible.split(3, dim=1)], dim=1)
    num_complete = (counts == torch.tensor([3, 3, 2])).int().cumprod(dim=1).sum(dim=1)
    num_begun = (counts > 0).sum(dim=1)
    assert bool((num_begun <= num_complete + 1).all())
    assert set(num_complete.tolist()) == {0, 1, 2}


def test_every_window_but_the_last_adds_a_stride_and_starts_with_the_last_bases():
    lm, seen = _network(), []
    plain = lm.generate

    def spy(keys, length, **settings):
        seen.append(settings["initial"].clone())
        return plain(keys, length, **settings)

    lm.generate = spy
    sampler = SemiAutoregressiveSampler(num_steps=4, window=10, overlap=3)
    tokens, pieces = _tokens(lm, range(2), Template.of_masks(27, NUCLEOTIDE_VOCABULARY), sampler)
    assert [piece.tokens.shape[1] for piece in pieces] == [10, 7, 7, 3]
    assert [initial.shape[1] for initial in seen] == [10] * 4
    for initial, end, known in zip(seen, [10, 17, 24, 27], [0, 3, 3, 7], strict=True):
        assert torch.equal(initial[:, :known], tokens[:, end - 10 : end - 10 + known])
        assert bool((initial[:, known:] == 3).all())


def test_a_window_longer_than_the_sequence_is_the_inner_sampler():
    lm, template = _network(), Template.of_masks(9, NUCLEOTIDE_VOCABULARY)
    whole, _ = _tokens(lm, range(3), template, SAMPLERS[3])
    sampler = SemiAutoregressiveSampler(inner="first_hitting", window=12)
    assert torch.equal(_tokens(lm, range(3), template, sampler)[0], whole)


def test_a_sampler_that_the_model_cannot_serve_is_refused():
    template = Template.of_masks(4, NUCLEOTIDE_VOCABULARY)
    with pytest.raises(ConfigError, match="sampler=ancestral needs a trained network"):
        _tokens(MarkovLM.__new__(MarkovLM), [0], template, SAMPLERS[0])
    with pytest.raises(ConfigError, match="use sampler=left_to_right"):
        _tokens(_left_to_right(), [0], template, SAMPLERS[0])
    with pytest.raises(ConfigError, match="needs an autoregressive model"):
        _tokens(_network(), [0], template, LeftToRightSampler())


def test_an_autoregressive_model_continues_a_prefix_and_obeys_codes():
    lm = _left_to_right()
    tokens, pieces = _tokens(lm, range(2), _template("TATANNNN"), LeftToRightSampler())
    assert tokens[:, :4].tolist() == [[10, 7, 10, 7]] * 2
    assert bool(((tokens >= 7) & (tokens <= 10)).all())
    assert pieces[0].row_calls == 16
    tokens, _ = _tokens(lm, range(50), _template("TATARRRN"), LeftToRightSampler())
    assert set(tokens[:, 4:7].flatten().tolist()) == {7, 9}
    assert set(tokens[:, 7].tolist()) == {7, 8, 9, 10}


@pytest.mark.parametrize("sampler", SAMPLERS, ids=repr)
def test_rows_with_templates_of_their_own_are_what_they_are_alone(sampler):
    templates = [_template(text) for text in ("ACGTNNNNNNNN", "NNNRYNNNNNNN", "NNNNNNNNGGGG")]
    together, _ = _tokens(_network(), range(3), Template.of_rows(templates), sampler)
    for row, template in enumerate(templates):
        alone, _ = _tokens(_network(), [row], template, sampler)
        assert torch.equal(together[row], alone[0])


@pytest.mark.parametrize("sampler", SAMPLERS, ids=repr)
def test_the_tokens_that_are_filled_are_counted_as_it_goes(sampler):
    seen = []
    pieces = generate_pieces(
        _network(), row_keys(0, torch.arange(2)), _template("ACGTNNNNNNNRNNNN"), sampler=sampler,
        choice=UNCHANGED, trained_length=8, watch=seen.append,
    )  # fmt: skip
    assert len(list(pieces)) >= 1
    assert sum(seen) == 2 * 12


def test_a_rule_from_outside_fills_from_right_to_left_within_the_template():
    seen = []

    class Spy(RightToLeft):
        def __call__(self, step, log_probs):
            after = super().__call__(step, log_probs)
            seen.append(int((after[0] != step.tokens[0]).nonzero()))
            return after

    tokens, pieces = _tokens(_network(), range(2), _template("ACNNRRNNGT"), Spy())
    assert seen == [7, 6, 5, 4, 3, 2]
    assert pieces[0].row_calls == 2 * 6
    assert set(tokens[:, 4:6].flatten().tolist()) <= {7, 9}


@pytest.mark.parametrize("name", ["ancestral", "semi_ar", "remask"])
def test_a_name_is_the_sampler_with_its_defaults(name):
    template = _template("ACNNNNNNNNNNNNNNGT")
    named, _ = _tokens(_network(), range(2), template, name)
    given, _ = _tokens(_network(), range(2), template, as_sampler(name))
    assert torch.equal(named, given)


def test_without_a_sampler_each_model_has_its_own():
    template = _template("ACNNNNNN")
    for lm, sampler in ((_network(), "ancestral"), (_left_to_right(), "left_to_right")):
        default, _ = _tokens(lm, range(2), template, None)
        assert torch.equal(default, _tokens(lm, range(2), template, sampler)[0])


def test_a_sampler_without_a_rule_is_refused():
    class Named:
        name, steps = "named", None

    with pytest.raises(ConfigError, match=r"sampler=named has no methods rule\(choice\)"):
        _tokens(_network(), [0], Template.of_masks(4, NUCLEOTIDE_VOCABULARY), Named())

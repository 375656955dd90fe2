"""Caduceus treats both strands of DNA alike."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dnamdlm.backbones.bidirectional import Mamba
from dnamdlm.backbones.caduceus import CaduceusPS
from dnamdlm.backbones.equivariance import StrandAverage, complement_table
from dnamdlm.errors import ConfigError
from tests.backbones.cases import CASES, COMPLEMENT

EQUIVARIANT = [c for c in CASES if c.name.startswith("caduceus-ps") or "average" in c.name]
every_equivariant = pytest.mark.parametrize("case", EQUIVARIANT, ids=lambda case: case.name)
# what a training batch may hold: mask, padding, A C G T and N.
LETTERS = (3, 4, 7, 8, 9, 10, 11)
EXCHANGED = dict(zip((7, 8, 9, 10), (10, 9, 8, 7), strict=True))


def _opposite(tokens):
    """The reverse complement, letter by letter."""
    rows = [[EXCHANGED.get(token, token) for token in reversed(row)] for row in tokens.tolist()]
    return torch.tensor(rows)


def _turned(logits):
    """Logits as the opposite strand has them: positions reversed, A with T and C with G."""
    turned = logits.flip(1).clone()
    for one, other in EXCHANGED.items():
        turned[..., one] = logits.flip(1)[..., other]
    return turned


@every_equivariant
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_logits_of_the_reverse_complement_are_the_reverse_complement(case, data):
    length = data.draw(st.integers(1, 40))
    row = st.lists(st.sampled_from(LETTERS), min_size=length, max_size=length)
    tokens = torch.tensor(data.draw(st.lists(row, min_size=1, max_size=2)))
    network = case.network(torch.float64)
    time = torch.linspace(0.1, 1.0, len(tokens), dtype=torch.float64)
    expected = _turned(network(tokens, time))
    torch.testing.assert_close(network(_opposite(tokens), time), expected)


@every_equivariant
def test_padding_keeps_both_strands_equal(case):
    tokens = torch.randint(7, 12, (3, 20), generator=torch.Generator().manual_seed(0))
    present = torch.ones(3, 20, dtype=torch.bool)
    present[0, 15:] = present[1, :4] = present[2, 8:11] = False
    network = case.network(torch.float64)
    time = torch.linspace(0.1, 1.0, 3, dtype=torch.float64)
    ahead = network(tokens, time, present)
    back = network(_opposite(tokens), time, present.flip(1))
    torch.testing.assert_close(back[present.flip(1)], _turned(ahead)[present.flip(1)])


@pytest.mark.parametrize(
    "case", [c for c in EQUIVARIANT if "average" not in c.name], ids=lambda case: case.name
)
@settings(max_examples=10, deadline=None)
@given(data=st.data())
def test_embeddings_of_both_strands_are_the_same_turned(case, data):
    length = data.draw(st.integers(1, 40))
    tokens = torch.tensor(
        [data.draw(st.lists(st.sampled_from(LETTERS), min_size=length, max_size=length))]
    )
    network, time = case.network(torch.float64), torch.tensor([0.4], dtype=torch.float64)
    ahead, back = network.hidden(tokens, time), network.hidden(_opposite(tokens), time)
    torch.testing.assert_close(back, ahead.flip(1, 2))


def test_the_halves_of_the_states_are_those_of_the_two_strands():
    network = _plain()
    tokens = torch.randint(7, 12, (2, 20), generator=torch.Generator().manual_seed(0))
    ahead, back = network.hidden(tokens).chunk(2, dim=-1)
    torch.testing.assert_close(ahead, network.strand.hidden(tokens))
    opposite = network.strand.hidden(_opposite(tokens))
    torch.testing.assert_close(back, opposite.flip(1, 2))


def _plain(**options):
    case = next(c for c in CASES if c.name == "caduceus-ps")
    network = CaduceusPS(12, COMPLEMENT, 16, 2, state_size=4, **options)
    network.load_state_dict(case.network().state_dict())
    return network.double().eval()


def test_exchanging_strands_makes_another_network_of_the_same_weights():
    tokens = torch.randint(7, 12, (2, 20), generator=torch.Generator().manual_seed(0))
    difference = _plain()(tokens) - _plain(exchange_strands=True)(tokens)
    assert difference.abs().max() > 0.1


def test_a_stack_without_equivariance_tells_the_strands_apart():
    network = next(c for c in CASES if c.name == "caduceus-ph").network()
    tokens = torch.randint(7, 12, (2, 20), generator=torch.Generator().manual_seed(0))
    assert (network(_opposite(tokens)) - _turned(network(tokens))).abs().max() > 0.1


def test_the_average_over_strands_is_the_mean_of_two_passes():
    network = next(c for c in CASES if c.name == "caduceus-ph").network(torch.float64)
    tokens = torch.randint(7, 12, (2, 20), generator=torch.Generator().manual_seed(0))
    expected = (network(tokens) + _turned(network(_opposite(tokens)))) / 2
    torch.testing.assert_close(StrandAverage(network, COMPLEMENT)(tokens), expected)


def test_ids_beyond_the_vocabulary_are_their_own_complements():
    assert complement_table(COMPLEMENT, 16).tolist() == [*COMPLEMENT, 12, 13, 14, 15]
    network = CaduceusPS(12, COMPLEMENT, 16, 1, vocab_multiple=8)
    assert network.vocab_size == len(network.complement) == 16


@pytest.mark.parametrize("complement", [(1, 2, 0), (0, 1, 5), (0, 1, 2, 3, 4)], ids=str)
def test_a_complement_that_is_no_exchange_of_pairs_is_refused(complement):
    with pytest.raises(ConfigError, match=r"backbone\.complement must exchange ids below 3"):
        complement_table(complement, 3)


@pytest.mark.parametrize(
    ("width", "blocks", "low", "high"),
    [(118, 4, 460_000, 480_000), (256, 4, 1_850_000, 1_980_000), (256, 16, 7_400_000, 7_900_000)],
    ids=["118x4", "256x4", "256x16"],
)
def test_the_sizes_of_the_paper_have_their_number_of_parameters(width, blocks, low, high):
    with torch.device("meta"):
        network = Mamba(12, width, blocks, tie_embeddings=True)
    assert low < sum(p.numel() for p in network.parameters()) < high

"""Distributions at some positions of a batch: as those of all positions, in less memory."""

import pytest
import torch

from dnamdlm.diffusion import positions
from dnamdlm.diffusion.categorical import Choice
from dnamdlm.diffusion.confidence import entropies
from dnamdlm.diffusion.constraints import Constraints
from dnamdlm.diffusion.positions import ChosenPositions, LogProbs, in_parts

SHAPE, NUM_IDS = (3, 5), 4
GENERATOR = torch.Generator().manual_seed(1)
VALUES = torch.randn(*SHAPE, NUM_IDS, generator=GENERATOR).double().log_softmax(dim=-1)
UNIFORMS = torch.rand(SHAPE, generator=GENERATOR, dtype=torch.float64)
READ = torch.rand(SHAPE, generator=GENERATOR) < 0.6
EVERYWHERE = LogProbs(VALUES)
ROWS, COLUMNS = READ.nonzero(as_tuple=True)
CHOSEN = LogProbs(VALUES[READ].unsqueeze(1), ChosenPositions(SHAPE, ROWS, COLUMNS))


@pytest.fixture(params=[1, 3 * NUM_IDS, 1 << 22], ids=["smallest", "three", "all"])
def parts(request, monkeypatch):
    """Positions at a time."""
    monkeypatch.setattr(positions, "NUMBERS_AT_ONCE", request.param)


@pytest.mark.usefixtures("parts")
def test_numbers_of_chosen_positions_are_those_of_all_positions_and_zero_elsewhere():
    def best_and_uniform(values, uniforms):
        return values.amax(dim=-1) + uniforms

    expected = torch.where(READ, VALUES.amax(dim=-1) + UNIFORMS, 0.0)
    assert torch.equal(CHOSEN.each(best_and_uniform, UNIFORMS), expected)
    assert torch.equal(EVERYWHERE.each(best_and_uniform, UNIFORMS)[READ], expected[READ])


@pytest.mark.usefixtures("parts")
@pytest.mark.parametrize("found", [EVERYWHERE, CHOSEN], ids=["all", "chosen"])
def test_tokens_of_some_of_the_positions_are_drawn_in_row_major_order(found):
    some = READ & (torch.arange(SHAPE[1]) % 2 == 0)
    choice = Choice(temperature=0.7, top_p=0.9)
    expected = choice.draw(VALUES[some], UNIFORMS[some])
    assert torch.equal(found.of_chosen(some, choice.draw, UNIFORMS), expected)
    assert torch.equal(found.at(some), VALUES[some])


@pytest.mark.usefixtures("parts")
@pytest.mark.parametrize("each_position", [False, True])
def test_constraints_hold_at_the_positions_that_are_there(each_position):
    allowed = torch.tensor([True, False, True, True])
    if each_position:
        allowed = torch.stack([allowed.roll(i) for i in range(15)]).view(*SHAPE, NUM_IDS)
    constraints, masked = Constraints(allowed), torch.arange(SHAPE[1]).expand(SHAPE) < 4
    expected = constraints.apply(VALUES, masked)
    assert torch.equal(constraints.conditioned(EVERYWHERE, masked).dense(), expected)
    dense = constraints.conditioned(CHOSEN, masked).dense()
    assert torch.equal(dense[READ], expected[READ])
    assert bool(dense[~READ].isneginf().all())


def test_nothing_read_is_nothing_found():
    none = torch.zeros(SHAPE, dtype=torch.bool)
    rows, columns = none.nonzero(as_tuple=True)
    found = LogProbs(VALUES[none].unsqueeze(1), ChosenPositions(SHAPE, rows, columns))
    assert torch.equal(entropies(found), torch.zeros(SHAPE, dtype=torch.float64))
    assert found.of_chosen(none, Choice().draw, UNIFORMS).shape == (0,)


@pytest.mark.usefixtures("_two_threads")
def test_a_distribution_has_the_same_entropy_alone_as_among_others():
    # one sum of more than 2**15 numbers would be divided among the threads.
    values = torch.randn(3, 1, 50_257, generator=torch.Generator().manual_seed(0)).log_softmax(-1)
    together = entropies(LogProbs(values))
    for row in range(3):
        assert torch.equal(entropies(LogProbs(values[row : row + 1])), together[row : row + 1])


@pytest.fixture
def _two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_a_function_is_never_given_more_positions_than_fit(monkeypatch):
    monkeypatch.setattr(positions, "NUMBERS_AT_ONCE", 3 * NUM_IDS)
    sizes = []

    def seen(values):
        sizes.append(values.shape[0] * values.shape[1])
        return values.sum(dim=-1)

    in_parts(seen, VALUES, num_ids=NUM_IDS)
    assert sizes == [3, 3, 3, 3, 3]

"""Tables of positions are made once within a block, and never outlive it."""

from collections.abc import Callable

import torch

from dnamdlm.backbones.dit import DiT
from dnamdlm.diffusion.randomness import row_keys
from dnamdlm.lm.masked import MaskedDiffusionLM
from dnamdlm.ops.attention import attention_pattern
from dnamdlm.ops.held_tables import held, holding_tables
from dnamdlm.ops.rotary import rotary_angles
from dnamdlm.tokens.nucleotide import NUCLEOTIDE_VOCABULARY


class Counting:
    """A table of positions, and how often it was made."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, length: int, *, scale: float = 1.0) -> torch.Tensor:
        """Make the table."""
        self.count += 1
        return scale * torch.arange(length)


def _counting() -> tuple[Counting, Callable[..., torch.Tensor]]:
    made = Counting()

    def table(length: int, *, scale: float = 1.0) -> torch.Tensor:
        return made(length, scale=scale)

    return made, held(table)


def test_outside_a_block_every_call_makes_its_table() -> None:
    made, table = _counting()
    assert table(3) is not table(3)
    assert made.count == 2


def test_within_a_block_equal_arguments_share_a_table_and_others_do_not() -> None:
    made, table = _counting()
    with holding_tables():
        first = table(3)
        assert table(3) is first
        assert table(3, scale=2.0).tolist() == [0.0, 2.0, 4.0]
        assert table(4).tolist() == [0.0, 1.0, 2.0, 3.0]
        # the last one alone is kept.
        assert table(3) is not first
        assert table(3).tolist() == first.tolist()
    assert made.count == 4


def test_a_block_within_another_keeps_the_tables_of_the_outer_one() -> None:
    made, table = _counting()
    with holding_tables():
        table(3)
        with holding_tables():
            table(3)
        table(3)
    assert made.count == 1
    table(3)
    assert made.count == 2


def test_inference_mode_makes_its_own_since_no_gradient_passes_its_tensors() -> None:
    made, table = _counting()
    with holding_tables():
        with torch.inference_mode():
            assert table(3).is_inference()
        assert not table(3).is_inference()
    assert made.count == 2


def test_angles_and_patterns_are_held_and_a_pattern_with_padding_is_not() -> None:
    cpu = torch.device("cpu")
    present = torch.ones((1, 9), dtype=torch.bool)
    with holding_tables():
        assert rotary_angles(9, 4)[0] is rotary_angles(9, 4)[0]
        assert rotary_angles(9, 4)[0].shape != rotary_angles(8, 4)[0].shape
        assert attention_pattern(9, device=cpu, window=2) is attention_pattern(
            9, device=cpu, window=2
        )
        padded = attention_pattern(9, device=cpu, window=2, present=present)
        assert padded is not attention_pattern(9, device=cpu, window=2, present=present)


def test_a_pattern_holds_the_numbers_of_one_batch_size() -> None:
    pattern = attention_pattern(9, device=torch.device("cpu"), window=2)
    for batch in (1, 2, 3):
        added = pattern.added_to_scores(batch, torch.float32)
        assert added is not None
        assert added is pattern.added_to_scores(batch, torch.float32)
    assert len(pattern._added) == 1


def test_a_network_gives_the_same_bits_with_held_tables_and_sampling_leaves_none() -> None:
    network = DiT(12, 16, num_blocks=2, num_heads=2, attention_window=4, zero_init=False).eval()
    tokens = torch.randint(7, 11, (1, 40), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        plain = network(tokens)
        with holding_tables():
            network(tokens)
            assert network(tokens).equal(plain)
    lm = MaskedDiffusionLM(network, NUCLEOTIDE_VOCABULARY)
    lm.generate(row_keys(seed=3, index=torch.arange(2)), 40, num_steps=2)
    assert rotary_angles(40, 8)[0] is not rotary_angles(40, 8)[0]

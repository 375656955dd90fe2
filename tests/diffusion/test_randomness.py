"""Counter-based noise: published known answers, addressing and statistics."""

import pytest
import torch

from dnamdlm.diffusion import randomness
from dnamdlm.diffusion.randomness import RowNoise, philox, row_keys

# From the known-answer file of Random123 (philox4x32, 10 rounds): counter, key, output.
KNOWN_ANSWERS = [
    ("00000000 00000000 00000000 00000000", "00000000 00000000",
     "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff",
     "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0",
     "d16cfe09 94fdcceb 5001e420 24126ea1"),
]  # fmt: skip


def _words(text):
    return tuple(torch.tensor(int(word, 16)) for word in text.split())


@pytest.mark.parametrize(("counter", "key", "expected"), KNOWN_ANSWERS)
def test_philox_gives_the_published_answers(counter, key, expected):
    result = philox(_words(counter), _words(key))
    assert [int(word) for word in result] == [int(word) for word in _words(expected)]


@pytest.mark.parametrize(("counter", "key", "expected"), KNOWN_ANSWERS)
def test_philox_of_arrays_gives_the_published_answers(counter, key, expected):
    words, keys = (tuple(word[None].numpy() for word in _words(text)) for text in (counter, key))
    result = philox(words, keys)
    assert [int(word[0]) for word in result] == [int(word) for word in _words(expected)]


@pytest.mark.parametrize("shape", [(), (0,), (1,), (7,), (16,), (3, 5)])
@pytest.mark.parametrize(
    ("stream", "draw"), [(0, 0), (3, 11), (2**32 - 1, 2**64 - 1), (5, 2**32), (4, 2**31)]
)
def test_the_numbers_on_a_cpu_are_those_of_the_operators_of_torch(monkeypatch, shape, stream, draw):
    edges = torch.tensor([0, -1, 2**63 - 1, -(2**63), 2**32 - 1, 2**31])
    for keys in (edges, row_keys(5, torch.arange(9)), edges[:0]):
        noise = RowNoise(keys)
        found = noise.uniform(stream, draw, *shape)
        with monkeypatch.context() as patched:
            patched.setattr(randomness, "_is_plain", lambda keys: False)
            expected = noise.uniform(stream, draw, *shape)
        assert found.dtype == expected.dtype == torch.float64
        assert found.is_contiguous()
        assert torch.equal(found, expected)


def test_row_keys_follow_splitmix64():
    def mix(z):
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) % 2**64
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) % 2**64
        return z ^ (z >> 31)

    seeds, indices = (0, 7, 2**63 + 5, -3), (0, 1, 2**40)
    for seed in seeds:
        keys = row_keys(seed, torch.tensor(indices))
        expected = [mix((mix(seed % 2**64) + (i + 1) * 0x9E3779B97F4A7C15) % 2**64)
                    for i in indices]  # fmt: skip
        assert [int(key) % 2**64 for key in keys] == expected


def test_different_rows_and_seeds_have_different_keys():
    keys = torch.cat([row_keys(seed, torch.arange(10_000)) for seed in range(5)])
    assert keys.unique().numel() == keys.numel()


def test_a_number_depends_on_its_address_only():
    keys = row_keys(3, torch.arange(8))
    whole = RowNoise(keys).uniform(1, 2, 5, 3)
    order = torch.tensor([6, 0, 3])
    assert torch.equal(RowNoise(keys[order]).uniform(1, 2, 5, 3), whole[order])
    assert torch.equal(RowNoise(keys).select(order).uniform(1, 2, 5, 3), whole[order])
    assert torch.equal(RowNoise(keys).select(keys == keys[4]).uniform(1, 2, 5, 3), whole[4:5])
    assert torch.equal(RowNoise(keys).uniform(1, 2, 7), whole.flatten(1)[:, :7])
    assert torch.equal(RowNoise(keys).uniform(1, 2), whole[:, 0, 0])


def test_streams_draws_and_rows_are_unrelated():
    noise = RowNoise(row_keys(0, torch.arange(2)))
    values = torch.cat(
        [noise.uniform(stream, draw, 2000) for stream in (0, 1, 2) for draw in (0, 1, 2**32, 2**40)]
    )
    correlation = torch.corrcoef(values) - torch.eye(len(values), dtype=torch.float64)
    # 276 pairs, standard error 1 / sqrt(2000) = 0.022; 4.5 standard errors.
    assert correlation.abs().max() < 0.1


def test_numbers_are_uniform_in_the_open_interval():
    values = RowNoise(row_keys(11, torch.arange(200))).uniform(5, 0, 5000).flatten()
    assert values.dtype == torch.float64
    assert values.min() > 0
    assert values.max() < 1
    counts = torch.histc(values, bins=100, min=0, max=1)
    expected = len(values) / 100
    chi_square = ((counts - expected) ** 2 / expected).sum()
    # 99 degrees of freedom: 149 is the 0.999 quantile.
    assert chi_square < 149
    pairs = values.reshape(-1, 2)
    # mean of products of independent uniforms: 1/4 +- 4 standard errors (0.22 / sqrt(5e5)).
    assert abs((pairs[:, 0] * pairs[:, 1]).mean() - 0.25) < 4 * 0.2205 / len(pairs) ** 0.5


def test_every_bit_of_a_number_is_used():
    values = RowNoise(row_keys(1, torch.arange(64))).uniform(0, 0, 512)
    odd_multiples = (values * 2.0**53).to(torch.int64)
    assert bool((odd_multiples % 2 == 1).all())
    ones = torch.stack([(odd_multiples >> bit) & 1 for bit in range(1, 53)]).double().mean((1, 2))
    # 32768 draws per bit: standard error 0.0028; 4.5 standard errors.
    assert (ones - 0.5).abs().max() < 0.0125


@pytest.mark.parametrize(("stream", "draw"), [(-1, 0), (2**32, 0), (0, -1), (0, 2**64)])
def test_addresses_out_of_range_are_refused(stream, draw):
    with pytest.raises(ValueError, match="must lie in"):
        RowNoise(row_keys(0, torch.arange(1))).uniform(stream, draw, 1)

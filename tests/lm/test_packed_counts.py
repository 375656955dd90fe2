"""Counts of words of both strands, packed and unpacked without loss."""

import itertools

import pytest
import torch

from dnamdlm.lm.packed_counts import pack_counts, unpack_counts

LETTERS = "ACGT"


def counted(word_length, largest):
    """Counts of all words of one length, the same for a word and its reverse complement."""
    generator = torch.Generator().manual_seed(word_length)
    words = ["".join(letters) for letters in itertools.product(LETTERS, repeat=word_length)]
    number = {word: index for index, word in enumerate(words)}
    drawn = torch.randint(largest + 1, (len(words),), generator=generator, dtype=torch.int32)
    drawn[0] = largest
    other = [number[word[::-1].translate(str.maketrans("ACGT", "TGCA"))] for word in words]
    return torch.tensor([int(drawn[min(index, other[index])]) for index in range(len(words))])


@pytest.mark.parametrize("word_length", [1, 2, 3, 4, 5])
@pytest.mark.parametrize(
    ("largest", "kind"), [(255, torch.uint8), (65535, torch.uint16), (65536, torch.int32)]
)
def test_packed_counts_are_half_as_many_and_come_back(word_length, largest, kind):
    counts = counted(word_length, largest)
    packed = pack_counts(counts)
    # words that are their own reverse complement exist in even lengths.
    own = 0 if word_length % 2 else 2**word_length
    assert len(packed) == (4**word_length + own) // 2
    assert packed.dtype == kind
    assert torch.equal(unpack_counts(packed), counts.int())


def test_counts_of_one_strand_are_kept_as_they_are():
    counts = torch.arange(16)
    assert torch.equal(unpack_counts(pack_counts(counts)), counts.int())


def test_a_number_of_counts_that_no_word_length_has_is_refused():
    with pytest.raises(ValueError, match="100 counts are not those of all words of one length"):
        unpack_counts(torch.zeros(100, dtype=torch.int32))

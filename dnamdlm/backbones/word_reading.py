"""Bases read as words of a fixed length: which word each base is in, and back from words to bases.

Between two bases that are not A, C, G, T or masked, words are cut from the left; what is left over
at the end are words of one base. A word with a masked base is a masked word, but what is visible of
it is not forgotten: the distribution of a masked base is that of the words which agree with the
visible ones,

    p(base b at offset j) ~ sum of p(w) over words w with w_j = b and w_i as seen where i is seen.

Shapes: B sequences, L bases, T words, K bases per word.
Source of the cuts: tokenizer of the Nucleotide Transformer, Dalla-Torre et al. 2024
(10.1038/s41592-024-02523-z).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional

NUM_BASES = 4


@dataclass(frozen=True)
class WordIds:
    """Ids of the words of a network that reads words of `size` bases.

    The 4^K words come first, in the order of their bases, then A, C, G, T alone, N, the mask, and
    the mark before a row.
    """

    size: int

    @property
    def single(self) -> int:
        """Id of A alone; the other three bases follow."""
        return NUM_BASES**self.size

    @property
    def unknown(self) -> int:
        """Id of N."""
        return self.single + NUM_BASES

    @property
    def mask(self) -> int:
        """Id of a word of which something is masked."""
        return self.unknown + 1

    @property
    def begin(self) -> int:
        """Id of the mark before a row."""
        return self.mask + 1

    def __len__(self) -> int:
        return self.begin + 1


@dataclass(frozen=True)
class Reading:
    """Rows of bases as rows of words, each after the mark before a row.

    Attributes:
        words: ids of the words, (B, T).
        present: False behind the last word of a row, (B, T).
        owner: number of the word that each base is in, (B, L).
        offset: its place in this word, (B, L).
        whole: whether it is a word of full length, (B, L).
        allowed: bases that each place of a word may have: the one that is seen, or all four where
            it is masked; (B, T, K, 4).
    """

    words: Int[Tensor, "B T"]
    present: Bool[Tensor, "B T"]
    owner: Int[Tensor, "B L"]
    offset: Int[Tensor, "B L"]
    whole: Bool[Tensor, "B L"]
    allowed: Bool[Tensor, "B T K 4"]


def read_words(
    tokens: Int[Tensor, "B L"],
    present: Bool[Tensor, "B L"] | None,
    *,
    ids: WordIds,
    bases: Sequence[int],
    mask_id: int,
) -> Reading:
    """Cut rows of bases into words.

    Args:
        tokens: ids of bases; any that is neither A, C, G, T nor the mask is read as N.
        present: False marks padding, which is in no word; None means no padding.
        ids: of the words.
        bases: ids of A, C, G and T.
        mask_id: id of a masked base.

    Example: words of two bases; the fifth base is left over, and N stands for itself.
        >>> tokens = torch.tensor([[7, 8, 9, 3, 10, 11, 7]])
        >>> found = read_words(tokens, None, ids=WordIds(2), bases=(7, 8, 9, 10), mask_id=3)
        >>> found.words
        tensor([[22,  1, 21, 19, 20, 16]])
        >>> found.owner
        tensor([[1, 1, 2, 2, 3, 4, 5]])
    """
    length, size = tokens.shape[1], ids.size
    here = torch.ones_like(tokens, dtype=torch.bool) if present is None else present
    is_base_of = tokens[..., None] == tokens.new_tensor(list(bases))
    masked = here & (tokens == mask_id)
    letter = here & (is_base_of.any(-1) | masked)
    start, end = _runs(letter)
    place = torch.arange(length, device=tokens.device) - start
    in_word = letter & ((place // size + 1) * size <= end - start)
    offset = torch.where(in_word, place % size, 0)
    begins = here & (~in_word | (offset == 0))
    owner = begins.cumsum(1)

    digit = is_base_of.int().argmax(-1)
    number, hidden = _words_from(digit, masked, size)
    alone = torch.where(letter, ids.single + digit, ids.unknown)
    word = torch.where(in_word, number, alone)
    word = torch.where(torch.where(in_word, hidden, masked), ids.mask, word)

    count = owner[:, -1:]
    num_words = int(count.max()) + 1
    words = word.new_full((len(tokens), num_words), ids.unknown)
    words[:, 0] = ids.begin
    rows, columns = begins.nonzero(as_tuple=True)
    words[rows, owner[rows, columns]] = word[rows, columns]

    allowed = is_base_of.new_ones(len(tokens), num_words, size, NUM_BASES)
    rows, columns = (letter & ~masked).nonzero(as_tuple=True)
    allowed[rows, owner[rows, columns], offset[rows, columns]] = is_base_of[rows, columns]
    inside = torch.arange(num_words, device=tokens.device) <= count
    return Reading(words, inside, owner, offset, in_word, allowed)


def base_log_weights(
    words: Float[Tensor, "B T W"], reading: Reading, ids: WordIds
) -> Float[Tensor, "B L 4"]:
    """Logits of A, C, G, T at each base, from those of the words and the bases alone.

    Args:
        words: logits of the 4^K words, then of A, C, G, T alone.
        reading: how the rows were cut; what is seen of a word restricts it.
        ids: of the words.

    Returns:
        Up to a constant for each base, log p of the base given what is seen of its word and the
        hidden state there. A base of a word of its own has the logits of such words.
    """
    whole, alone = words[..., : ids.single], words[..., ids.single :]
    log_allowed = torch.zeros_like(reading.allowed, dtype=whole.dtype)
    log_allowed = log_allowed.masked_fill(~reading.allowed, float("-inf"))
    found: list[Tensor] = []
    rest = whole
    for offset in range(ids.size):
        # the places before this one are summed over already; now those behind it.
        behind = rest
        for other in range(ids.size - 1, offset, -1):
            behind = behind.unflatten(-1, (-1, NUM_BASES))
            behind = (behind + log_allowed[:, :, other, None]).logsumexp(-1)
        found.append(behind)
        rest = rest.unflatten(-1, (NUM_BASES, -1))
        rest = (rest + log_allowed[:, :, offset, :, None]).logsumexp(-2)
    by_place = torch.stack(found, dim=2)
    rows = torch.arange(len(words), device=words.device)[:, None]
    return torch.where(
        reading.whole[..., None], by_place[rows, reading.owner, reading.offset],
        alone[rows, reading.owner],
    )  # fmt: skip


def _runs(letter: Bool[Tensor, "B L"]) -> tuple[Int[Tensor, "B L"], Int[Tensor, "B L"]]:
    """First position of the run of letters around each position, and the one behind its last."""
    length = letter.shape[1]
    index = torch.arange(length, device=letter.device).expand_as(letter)
    start = torch.where(letter, 0, index + 1).cummax(1).values
    end = torch.where(letter, length, index).flip(1).cummin(1).values.flip(1)
    return start, end


def _words_from(
    digit: Int[Tensor, "B L"], masked: Bool[Tensor, "B L"], size: int
) -> tuple[Int[Tensor, "B L"], Bool[Tensor, "B L"]]:
    """Number of the word that begins at each position, and whether some of it is masked."""
    length = digit.shape[1]
    number, hidden = torch.zeros_like(digit), torch.zeros_like(masked)
    for step in range(size):
        number = NUM_BASES * number + functional.pad(digit, (0, step))[:, step : step + length]
        hidden |= functional.pad(masked, (0, step))[:, step : step + length]
    return number, hidden

"""The noise process of IUPAC diffusion: the two bits of a base are hidden independently.

Shapes: B sequences, L positions, V outputs of the network; (P, Q) are the positions of a `Places`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor, nn

from dnamdlm.data.batch import Batch
from dnamdlm.diffusion.codings import (
    ALL_BASES,
    CODING_NAMES,
    HALVES,
    HIDDEN_BIT,
    PAIRS,
    bit_surprise,
    bits_of_sets,
    sets_of_bits,
    within_sets,
)
from dnamdlm.diffusion.masking import mask_exactly
from dnamdlm.diffusion.parameterization import restricted
from dnamdlm.diffusion.randomness import RowNoise, Stream
from dnamdlm.errors import ConfigError
from dnamdlm.lm.noising import Draw, NoiseProcess
from dnamdlm.lm.places import Places
from dnamdlm.tokens.vocabulary import Vocabulary

CODINGS = ("mixed", *CODING_NAMES)
"""Values of `lm.coding`."""


def of_both_bits(values: Shaped[Tensor, "B L"]) -> Shaped[Tensor, "B M"]:
    """What holds of positions, for both bits of each; the size is known without waiting for it."""
    return values.unsqueeze(-1).expand(-1, -1, 2).flatten(1)


class CodeTables(nn.Module):
    """Ids and the sets of bases that they stand for, on the device of the model.

    Attributes:
        set_of_id: set of each id: all bases for the mask, 0 for what is not a base, (V,).
        id_of_set: id of each set that an id stands for, (16,).
        may_be: ids that a token may be in the clean sequence, one row per id, (V, V).
        real_ids: ids of A, C, G, T.
    """

    set_of_id: Tensor
    id_of_set: Tensor
    may_be: Tensor
    real_ids: Tensor

    def __init__(self, vocabulary: Vocabulary, vocab_size: int) -> None:
        """Make the tables.

        Args:
            vocabulary: of the network, see `with_codes`; the codes are its last ids.
            vocab_size: outputs of the network.
        """
        super().__init__()
        real, first_code = torch.tensor(vocabulary.real_ids), len(vocabulary) - 6
        codes = [half for halves in HALVES for half in halves]
        sets = torch.zeros(vocab_size, dtype=torch.int64)
        sets[vocabulary.mask_id] = ALL_BASES
        sets[real] = 1 << torch.arange(4)
        sets[first_code : first_code + 6] = torch.tensor(codes)
        ids = torch.full((ALL_BASES + 1,), vocabulary.mask_id)
        ids[sets[sets > 0]] = (sets > 0).nonzero().flatten()
        may_be = torch.zeros(vocab_size, vocab_size, dtype=torch.bool)
        may_be[:, real] = within_sets(sets)
        may_be |= torch.diag(sets == 0)
        self.register_buffer("set_of_id", sets, persistent=False)
        self.register_buffer("id_of_set", ids, persistent=False)
        self.register_buffer("may_be", may_be, persistent=False)
        self.register_buffer("real_ids", real, persistent=False)


def check_coding(coding: str) -> None:
    """Refuse an unknown coding.

    Raises:
        ConfigError: listing the known ones.
    """
    if coding not in CODINGS:
        raise ConfigError(f"lm.coding={coding} is unknown; choose {', '.join(CODINGS)}")


def drawn_codings(
    coding: str, keys: Int[Tensor, " B"], length: int, *, draw: int = 0
) -> Int[Tensor, "B L"]:
    """Number of the coding of each position: of the one that is named, or drawn uniformly.

    Args:
        coding: 'mixed' or the name of a coding.
        keys: noise keys of the rows.
        length: positions.
        draw: number of the draw, which selects the noise.
    """
    if coding != "mixed":
        return torch.full((len(keys), length), CODING_NAMES.index(coding), device=keys.device)
    uniforms = RowNoise(keys).uniform(Stream.CODINGS, draw, length)
    return (uniforms * len(PAIRS)).floor().long()


@dataclass(frozen=True)
class CodedNoise(NoiseProcess):
    """Each of the 2 L bits is hidden independently, and what is left of a base is an IUPAC code.

    Attributes:
        coding: 'mixed', where the coding of each position is drawn uniformly in every draw, or the
            name of the coding of all positions.
        tables: what ids stand for.
    """

    coding: str
    tables: CodeTables

    def is_hidden(self, xt: Int[Tensor, "B L"]) -> Bool[Tensor, "B L"]:
        """Positions of which a bit is hidden."""
        return self._hidden_bits(xt) > 0

    def hide_with(
        self, batch: Batch, mask_probability: Float[Tensor, " B"], draw: int
    ) -> Int[Tensor, "B L"]:
        """Ids in which each bit of a valid token is hidden with the probability of its row."""
        uniforms = RowNoise(batch.key).uniform(Stream.MASKS, draw, batch.length, 2)
        return self._shown(batch, uniforms < mask_probability[:, None, None], draw)

    def time_of_masks(
        self, xt: Int[Tensor, "B L"], maskable: Bool[Tensor, "B L"]
    ) -> Float[Tensor, " B"] | None:
        """The time at which the expected share of hidden bits is that of `xt`."""
        if not self.sees_time:
            return None
        hidden = self._hidden_bits(xt)
        bits = 2 * ((hidden > 0) | maskable).sum(dim=1).clamp(min=1)
        return self.schedule.time_of(1 - hidden.sum(dim=1).double() / bits).clamp(0, 1)

    def cross_entropy(
        self,
        batch: Batch,
        xt: Int[Tensor, "B L"],
        time: Float[Tensor, " B"] | None,
        weight: Float[Tensor, " B"],
    ) -> Draw:
        """The weighted cross-entropy of the hidden bits, see `bit_surprise`."""
        shares = self._shares().to(xt.device, non_blocking=True)

        def loss(logits: Tensor, places: Places) -> Tensor:
            log_probs = restricted(logits, self.real_tokens)[..., self.tables.real_ids]
            clean = self.tables.set_of_id[places.of_positions(batch.tokens)]
            # the number of the one base of a set; all else is not scored.
            base = (within_sets(clean) * torch.arange(4, device=clean.device)).sum(dim=-1)
            sets = self.tables.set_of_id[places.of_positions(xt)]
            sets = torch.where(places.of_positions(batch.valid), sets, 0)
            nats = bit_surprise(log_probs, base.clamp(max=3), sets, shares)
            return nats * places.of_rows(weight).to(nats.dtype)[:, None]

        return Draw(xt, time, self.is_hidden(xt), loss)

    def bound_at_count(self, batch: Batch, place: Float[Tensor, " B"], draw: int) -> Draw:
        """The bound with exactly k of the n bits of valid tokens hidden, k = 1 + floor(n place).

        The weight is n / k.

        Args:
            batch: clean sequences.
            place: one number in (0, 1) per row.
            draw: number of the draw, which selects the noise.

        Source: Ou et al. 2024 (arXiv:2406.03736), for bits in place of tokens.
        """
        maskable = of_both_bits(batch.valid)
        num_bits = maskable.sum(dim=1)
        count = torch.minimum((num_bits * place).floor().long() + 1, num_bits)
        uniforms = RowNoise(batch.key).uniform(Stream.MASKS, draw, maskable.shape[1])
        zeros = torch.zeros_like(maskable, dtype=torch.int64)
        hidden = mask_exactly(zeros, count, maskable, uniforms, mask_id=1) == 1
        xt = self._shown(batch, hidden.unflatten(1, (-1, 2)), draw)
        return self.cross_entropy(batch, xt, None, num_bits / count.clamp(min=1))

    def _shown(self, batch: Batch, hidden: Bool[Tensor, "B L 2"], draw: int) -> Int[Tensor, "B L"]:
        """What is left of valid tokens when some of their bits are hidden."""
        coding = drawn_codings(self.coding, batch.key, batch.length, draw=draw)
        sets = torch.where(batch.valid, self.tables.set_of_id[batch.tokens], ALL_BASES)
        bits = bits_of_sets(sets, coding).masked_fill(hidden, HIDDEN_BIT)
        left = self.tables.id_of_set[sets_of_bits(bits, coding)]
        return torch.where(batch.valid, left, batch.tokens)

    def _hidden_bits(self, xt: Int[Tensor, "B L"]) -> Int[Tensor, "B L"]:
        """How many bits of each position are hidden."""
        # all four bases are two bits, two or three of them one.
        return within_sets(self.tables.set_of_id[xt]).sum(dim=-1) // 2

    def _shares(self) -> Float[Tensor, " 3"]:
        """How many of two hidden bits belong to each partition, on average over codings."""
        pairs = PAIRS if self.coding == "mixed" else (PAIRS[CODING_NAMES.index(self.coding)],)
        counts = torch.zeros(3, dtype=torch.float64)
        for pair in pairs:
            counts[list(pair)] += 1
        return counts / len(pairs)

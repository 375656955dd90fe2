"""Sequences from a template, of any length, with any sampler.

A template says for each position either the token that is given or the bases that may be filled in.
Long sequences come in pieces, so that only one window is held at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from numpy.typing import NDArray
from torch import Tensor

from dnamdlm.diffusion.categorical import UNCHANGED, Choice
from dnamdlm.diffusion.constraints import Constraints
from dnamdlm.diffusion.randomness import child_keys
from dnamdlm.diffusion.reverse import Generated
from dnamdlm.diffusion.steering import Steering
from dnamdlm.diffusion.steps import StepRule
from dnamdlm.diffusion.tilt import Tilt
from dnamdlm.diffusion.uniform_steps import Replacing
from dnamdlm.errors import ConfigError
from dnamdlm.lm.block import BlockDiffusionLM
from dnamdlm.lm.causal import CausalLM
from dnamdlm.lm.language_model import LanguageModel
from dnamdlm.lm.masked import MaskedDiffusionLM
from dnamdlm.lm.sampling.class_guidance import ClassifierGuidance, Guidance
from dnamdlm.lm.sampling.noise_levels import masked_to_level
from dnamdlm.lm.sampling.sampler_names import as_sampler
from dnamdlm.lm.sampling.samplers import (
    AncestralSampler,
    BlockSampler,
    LeftToRightSampler,
    RenoiseSampler,
    RuleSampler,
    Sampler,
    SemiAutoregressiveSampler,
)
from dnamdlm.lm.sampling.served import (
    check_edited,
    check_guided,
    check_pointed,
    check_served,
    without_share,
)
from dnamdlm.lm.sampling.steered import check_steered, is_corrected
from dnamdlm.lm.uniform import UniformDiffusionLM
from dnamdlm.tokens.iupac import ANY_BASE, allowed_tokens, ids_of_sets
from dnamdlm.tokens.vocabulary import Vocabulary

Fill = Callable[..., Generated]
"""Runs one reverse process, see `_filled`; model, sampler and guidance are fixed."""


@dataclass(frozen=True)
class Template:
    """What a sequence must contain; or each of several, with a row for each.

    Attributes:
        ids: token ids, the mask where a token is to be filled in, shape (L,) or (B, L).
        sets: bases that each filled position may become, see `dnamdlm.tokens.iupac`, same shape;
            None for text, where any token may stand.

    Example:
        >>> from dnamdlm.tokens.nucleotide import NUCLEOTIDE_VOCABULARY
        >>> template = Template.of_masks(6, NUCLEOTIDE_VOCABULARY)
        >>> template.ids.tolist(), len(template.part(0, 4))
        ([3, 3, 3, 3, 3, 3], 4)
    """

    ids: NDArray[Any]
    sets: NDArray[np.uint8] | None

    @classmethod
    def of_sets(cls, sets: NDArray[np.uint8], vocabulary: Vocabulary) -> Template:
        """Positions whose set has one base are given, those with more are filled."""
        return cls(ids_of_sets(sets, vocabulary).astype(np.uint8), sets)

    @classmethod
    def of_masks(cls, length: int, vocabulary: Vocabulary) -> Template:
        """All positions are filled."""
        return cls.of_sets(np.full(length, ANY_BASE, dtype=np.uint8), vocabulary)

    @classmethod
    def of_rows(cls, templates: Sequence[Template]) -> Template:
        """Several templates of one length as the rows of one."""
        sets = [template.sets for template in templates if template.sets is not None]
        ids = np.stack([template.ids for template in templates])
        return cls(ids, np.stack(sets) if sets else None)

    def __len__(self) -> int:
        """Number of positions."""
        return self.ids.shape[-1]

    def part(self, start: int, end: int) -> Template:
        """Positions start <= i < end."""
        sets = None if self.sets is None else self.sets[..., start:end]
        return Template(self.ids[..., start:end], sets)

    def repeated(self, num_rows: int, times: int) -> Template:
        """Each row several times in a row, of which (L,) is `num_rows` equal ones."""

        def rows(values: NDArray[Any]) -> NDArray[Any]:
            shape = (num_rows, len(self))
            return np.repeat(np.broadcast_to(values, shape), times, axis=0)

        return Template(rows(self.ids), None if self.sets is None else rows(self.sets))

    def allowed(self, num_rows: int, num_ids: int) -> Constraints | None:
        """The tokens that each position of each row may become; None if all bases may."""
        if self.sets is None or not bool((self.sets != ANY_BASE).any()):
            return None
        allowed = torch.from_numpy(allowed_tokens(self.sets, num_ids))
        return Constraints(allowed.expand(num_rows, -1, -1))


def generate_pieces(
    lm: LanguageModel,
    keys: Int[Tensor, " B"],
    template: Template,
    *,
    sampler: str | StepRule | Sampler | None = None,
    choice: Choice = UNCHANGED,
    trained_length: int,
    guidance: Guidance | None = None,
    watch: Callable[[int], None] | None = None,
    tilt: Tilt | None = None,
    noise_level: float | None = None,
    aligned: Int[Tensor, "B L"] | None = None,
) -> Iterator[Generated]:
    """Fill a template once per key, or each of its rows, piece by piece from left to right.

    The pieces of a row together have the length of the template. They are a function of its key and
    the settings, whatever the other keys are.

    Args:
        lm: a masked diffusion model, one of blocks, or an autoregressive one.
        keys: noise keys of the rows; their device is that of the pieces.
        template: what is given and what may be filled in, for all keys or a row for each.
        sampler: a name, a step rule or a sampler, see `as_sampler`; None is the one that the model
            is made for. Semi-autoregressive samplers and models of blocks give many pieces, all
            others one.
        choice: temperature, top_p and top_k of every draw.
        trained_length: bases per window in training.
        guidance: a class to steer towards, for every sampler of a masked diffusion model.
        watch: called with the number of tokens just filled, as often as that is known.
        tilt: draw each sequence from a population of its own, by the weights that this target
            gives; the one piece has the outcome of the populations.
        noise_level: noise the tokens that the template gives with this probability, and denoise
            them; None keeps them.
        aligned: what the training genome has at a place for each row, see `Batch.aligned`, for a
            model with pointers; None is the network without.

    Raises:
        ConfigError: if the model does not fill masks, window and overlap do not fit, or the model
            cannot be guided or copy in this way.

    Example:
        >>> from dnamdlm.backbones.dit import DiT
        >>> from dnamdlm.diffusion.randomness import row_keys
        >>> from dnamdlm.tokens.nucleotide import NUCLEOTIDE_VOCABULARY
        >>> lm = MaskedDiffusionLM(DiT(12, 16, 1, 2), NUCLEOTIDE_VOCABULARY)
        >>> keys = row_keys(seed=1, index=torch.arange(2))
        >>> template = Template.of_masks(20, NUCLEOTIDE_VOCABULARY)
        >>> (piece,) = generate_pieces(lm, keys, template, sampler="block", trained_length=20)
        >>> piece.tokens.shape
        torch.Size([2, 20])
    """
    lm = without_share(lm)
    sampler = default_sampler(lm) if sampler is None else as_sampler(sampler)
    check_served(lm, sampler)
    check_edited(lm, noise_level)
    check_guided(lm, guidance)
    check_steered(lm, tilt, sampler=sampler, guidance=guidance, choice=choice)
    if aligned is not None:
        check_pointed(lm, sampler, is_steered=tilt is not None)
    if isinstance(lm, UniformDiffusionLM):
        yield _denoised(
            lm, keys, template, sampler=sampler, choice=choice, guidance=guidance,
            watch=watch, noise_level=noise_level,
        )  # fmt: skip
        return
    if isinstance(lm, CausalLM):
        yield lm.generate(
            keys,
            len(template),
            initial=_rows_of(template.ids, len(keys)),
            choice=choice,
            constraints=_allowed(template, keys, lm),
            watch=watch,
        )
        return
    if isinstance(lm, BlockDiffusionLM):
        assert isinstance(sampler, RuleSampler)
        yield from lm.pieces(
            keys,
            _rows_of(template.ids, len(keys)).to(keys.device),
            window=trained_length,
            rule=sampler.rule(choice),
            times=sampler.times(),
            constraints=_allowed(template, keys, lm),
            guidance=guidance,
            watch=watch,
        )
        return
    assert isinstance(lm, MaskedDiffusionLM)
    if noise_level is not None:
        template = _masked(lm, keys, template, noise_level)
    if tilt is not None:
        yield _steered(
            lm, keys, template, tilt, sampler=sampler, choice=choice, guidance=guidance, watch=watch
        )
        return
    fill = partial(_filled, lm, choice=choice, guidance=guidance, watch=watch, aligned=aligned)
    if isinstance(sampler, SemiAutoregressiveSampler):
        window, overlap = sampler.window_and_overlap(trained_length)
        yield from _windows(
            partial(fill, sampler=sampler.of_window), keys, template, window, overlap
        )
    elif isinstance(sampler, BlockSampler):
        yield _blocks(partial(fill, sampler=sampler.of_block), keys, template, sampler.block)
    else:
        assert isinstance(sampler, RuleSampler)
        yield fill(keys, template, template.ids, sampler=sampler)


def _steered(
    lm: MaskedDiffusionLM,
    keys: Tensor,
    template: Template,
    tilt: Tilt,
    *,
    sampler: Sampler,
    guidance: Guidance | None,
    **settings: Any,
) -> Generated:
    """One sequence of each population, whose slots are filled side by side."""
    steering = Steering(
        tilt,
        keys,
        mask_id=lm.mask_id,
        counts_totals=is_corrected(guidance),
        remembers=not lm.sees_time and not isinstance(guidance, ClassifierGuidance),
    )
    slots = template.repeated(len(keys), tilt.size)
    fill = partial(_filled, lm, guidance=guidance, steering=steering, **settings)
    if isinstance(sampler, BlockSampler):
        inner = partial(fill, sampler=sampler.of_block)
        made = _blocks(inner, steering.keys, slots, sampler.block)
    else:
        assert isinstance(sampler, RuleSampler)
        made = fill(steering.keys, slots, slots.ids, sampler=sampler)
    outcome = steering.finished(made.tokens.to(keys.device))
    tokens = made.tokens[outcome.rows.to(made.tokens.device)]
    return Generated(tokens, made.network_calls, made.row_calls, outcome)


def _denoised(
    lm: UniformDiffusionLM,
    keys: Tensor,
    template: Template,
    *,
    sampler: Sampler,
    choice: Choice,
    noise_level: float | None,
    **settings: Any,
) -> Generated:
    """The reverse process of noise that replaces tokens, which nothing constrains."""
    initial = _rows_of(template.ids, len(keys)).to(keys.device)
    if noise_level is None:
        lm.refuse_given(initial)
    if template.allowed(len(keys), len(lm.real_tokens)) is not None:
        raise ConfigError(
            "a model of lm=uniform or lm=hybrid cannot be held to some of the bases exactly; leave "
            "forbid, motif and IUPAC codes out, or use a model of lm=mdlm"
        )
    assert isinstance(sampler, AncestralSampler | RenoiseSampler)
    is_plain = isinstance(sampler, AncestralSampler)
    return lm.generate(
        keys,
        len(template),
        initial=initial,
        noise_level=noise_level,
        rule=Replacing(choice) if is_plain else sampler.replacing(choice),
        times=sampler.times(),
        batch_size=max(1, len(keys)),
        **settings,
    )


def _masked(
    lm: MaskedDiffusionLM, keys: Tensor, template: Template, noise_level: float
) -> Template:
    """The template with some of its given tokens masked, a row for each key."""
    ids = masked_to_level(
        _rows_of(template.ids, len(keys)).to(keys.device),
        keys,
        noise_level,
        real_ids=lm.vocabulary.real_ids,
        mask_id=lm.mask_id,
    )
    return Template(ids.cpu().numpy(), None)


def default_sampler(lm: LanguageModel) -> Sampler:
    """The sampler that a model is made for."""
    return LeftToRightSampler() if isinstance(lm, CausalLM) else AncestralSampler()


def _allowed(
    template: Template, keys: Tensor, lm: MaskedDiffusionLM | CausalLM | BlockDiffusionLM
) -> Constraints | None:
    """What the template allows, on the device of the keys."""
    constraints = template.allowed(len(keys), len(lm.real_tokens))
    return None if constraints is None else constraints.to(keys.device)


def _filled(
    lm: MaskedDiffusionLM,
    keys: Tensor,
    template: Template,
    ids: NDArray[Any] | Tensor,
    fill: Tensor | None = None,
    *,
    sampler: RuleSampler,
    choice: Choice,
    **settings: Any,
) -> Generated:
    """One reverse process from `ids`, (L,) or (B, L), within the sets of the template."""
    device = keys.device
    return lm.generate(
        keys,
        len(template),
        initial=_rows_of(ids, len(keys)).to(device),
        rule=sampler.rule(choice),
        times=sampler.times(),
        batch_size=max(1, len(keys)),
        constraints=_allowed(template, keys, lm),
        fill=None if fill is None else fill.to(device).expand(len(keys), -1),
        **settings,
    )


def _windows(
    fill: Fill, keys: Tensor, template: Template, window: int, overlap: int
) -> Iterator[Generated]:
    """The first window, then what each next one adds."""
    last = torch.empty((len(keys), 0), dtype=torch.int64)
    made, number = 0, 0
    while made < len(template):
        end = min(max(window, made + window - overlap), len(template))
        # the last window is as long as the others and has more context on its left.
        start = max(0, end - window)
        part, known = template.part(start, end), made - start
        given = last[:, last.shape[1] - known :]
        ids = torch.cat([given, _rows_of(part.ids, len(keys))[:, known:]], dim=1)
        part_keys = keys if number == 0 else child_keys(keys, number)
        piece = fill(part_keys, part, ids)
        last = piece.tokens.cpu()
        yield Generated(piece.tokens[:, known:], piece.network_calls, piece.row_calls)
        made, number = end, number + 1


def _blocks(fill: Fill, keys: Tensor, template: Template, block: int) -> Generated:
    """One sequence, whose masks are filled block by block."""
    ids = _rows_of(template.ids, len(keys))
    network_calls, row_calls = 0, 0
    block_of = torch.arange(len(template)) // block
    for number in range(-(-len(template) // block)):
        piece = fill(child_keys(keys, number), template, ids, block_of == number)
        ids = piece.tokens
        network_calls += piece.network_calls
        row_calls += piece.row_calls
    return Generated(ids, network_calls, row_calls)


def _rows_of(ids: NDArray[Any] | Tensor, num_rows: int) -> Tensor:
    """Token ids (B, L) from (L,) or (B, L)."""
    return torch.as_tensor(ids, dtype=torch.int64).expand(num_rows, -1)

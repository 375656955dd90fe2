"""Recovery of hidden spans of held-out windows by length, compared with simple ways to fill them.

Recovery is the share of hidden bases that are filled with the true base. Drawing from the true
distribution of a base recovers sum p^2, picking its most likely base recovers max p; the two tasks
have different names. A Markov model sees the left side of a gap only.

Shapes: N windows, L positions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dnamdlm.diffusion.categorical import UNCHANGED, Choice
from dnamdlm.diffusion.randomness import row_keys
from dnamdlm.evaluation.resampling import Estimate, estimate, ratio
from dnamdlm.lm.language_model import LanguageModel
from dnamdlm.lm.markov import MarkovLM, MarkovModel
from dnamdlm.lm.sampling.generation import Template, generate_pieces
from dnamdlm.lm.sampling.samplers import FirstHittingSampler
from dnamdlm.tokens.iupac import ANY_BASE
from dnamdlm.tokens.nucleotide import IDS_OF_CODES, NUCLEOTIDE_VOCABULARY

MASK_ID = NUCLEOTIDE_VOCABULARY.mask_id
FIRST_BASE_ID = int(IDS_OF_CODES[0])
GAPS = (1, 4, 16, 64, 256)
WAYS: dict[str, Choice] = {"drawn": UNCHANGED, "most likely": Choice(top_k=1)}
_ROWS_AT_ONCE = 16
_BASES_PER_WINDOW = 32


def hide_span(tokens: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """The tokens (N, L) with a span of `size` hidden at a random place of each row."""
    starts = rng.integers(0, tokens.shape[1] - size + 1, size=len(tokens))
    places = np.arange(tokens.shape[1])
    inside = (places >= starts[:, None]) & (places < starts[:, None] + size)
    return np.where(inside, MASK_ID, tokens)


def sharpest(model: MarkovModel) -> MarkovModel:
    """The same Markov model with all probability on the most likely base of each context."""
    tables = tuple(
        np.where(np.arange(4) == table.argmax(axis=1)[:, None], 0.0, -np.inf)
        for table in model.log_probs
    )
    return MarkovModel(model.smoothing, tables, model.pseudo_counts)


def commonest_filled(hidden: np.ndarray) -> np.ndarray:
    """Every hidden base filled with the most frequent of the visible bases."""
    visible = hidden[hidden != MASK_ID]
    counts = np.bincount(visible, minlength=FIRST_BASE_ID + 4)[FIRST_BASE_ID : FIRST_BASE_ID + 4]
    return np.where(hidden == MASK_ID, FIRST_BASE_ID + int(counts.argmax()), hidden)


def refill(
    lm: LanguageModel,
    hidden: NDArray[np.integer],
    choice: Choice,
    *,
    seed: int,
    device: torch.device | str = "cpu",
) -> np.ndarray:
    """The windows (N, L) with their masks filled by first hitting, one base at a time."""
    keys = row_keys(seed, torch.arange(len(hidden))).to(device)
    made = []
    for low in range(0, len(hidden), _ROWS_AT_ONCE):
        rows = hidden[low : low + _ROWS_AT_ONCE]
        template = Template(rows.astype(np.uint8), np.full(rows.shape, ANY_BASE, np.uint8))
        pieces = generate_pieces(
            lm,
            keys[low : low + len(rows)],
            template,
            sampler=FirstHittingSampler(),
            choice=choice,
            trained_length=hidden.shape[1],
        )
        made.append(np.concatenate([piece.tokens.cpu().numpy() for piece in pieces], axis=1))
    return np.concatenate(made)


def windows_of_gap(gap: int, num_windows: int) -> int:
    """Number of windows that are refilled: `num_windows`, and more for gaps below 32 bases.

    A short gap hides few bases and takes few network calls, so that about as many bases are hidden
    at each length.
    """
    return max(num_windows, _BASES_PER_WINDOW * num_windows // gap)


def infill_recovery(
    lm: LanguageModel,
    tokens: NDArray[np.integer],
    markov: MarkovModel,
    *,
    seed: int,
    num_windows: int,
    gaps: Sequence[int] = GAPS,
    device: torch.device | str = "cpu",
) -> list[dict[str, Any]]:
    """Recovery by gap length of the model and of its baselines, as JSON values.

    Args:
        lm: a masked diffusion model, on `device`.
        tokens: ids (N, L) of windows without N, from which the first are taken.
        markov: a Markov model of the same genome.
        seed: of places and draws.
        num_windows: windows for the long gaps, see `windows_of_gap`.
        gaps: lengths; those above half a window are left out.
        device: where the model is.
    """
    rng = np.random.default_rng(seed)
    rows = []
    for gap in (gap for gap in gaps if 2 * gap <= tokens.shape[1]):
        used = tokens[: windows_of_gap(gap, num_windows)]
        hidden = hide_span(used, gap, rng)
        filled: Mapping[str, np.ndarray] = {
            **{
                f"model, {way}": refill(lm, hidden, choice, seed=seed, device=device)
                for way, choice in WAYS.items()
            },
            f"{markov.label}, drawn": _markov_filled(markov, hidden, seed),
            f"{markov.label}, most likely": _markov_filled(sharpest(markov), hidden, seed),
            "commonest base": commonest_filled(hidden),
        }
        rows += [
            {"gap": gap, "label": label, "windows": len(used)}
            | recovery(used, hidden, made, rng).to_json()
            for label, made in filled.items()
        ]
    return rows


def recovery(
    tokens: np.ndarray, hidden: np.ndarray, made: np.ndarray, rng: np.random.Generator
) -> Estimate:
    """Share of hidden bases that were filled correctly; windows are resampled."""
    is_hidden = hidden == MASK_ID
    is_right = (made == tokens) & is_hidden
    columns = np.stack([is_right.sum(axis=1), is_hidden.sum(axis=1)], axis=1)
    return estimate(columns, lambda sums: ratio(sums[..., 0], sums[..., 1]), rng)


def _markov_filled(model: MarkovModel, hidden: np.ndarray, seed: int) -> np.ndarray:
    keys = row_keys(seed, torch.arange(len(hidden)))
    initial = torch.from_numpy(hidden.astype(np.int64))
    return MarkovLM(model).generate(keys, hidden.shape[1], initial=initial).tokens.numpy()

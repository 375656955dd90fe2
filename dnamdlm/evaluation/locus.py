"""Bits per base along a stretch of a genome, under a model and under a Markov model.

A masked diffusion model has no order of its own, so a base is asked for when its neighbours are
known: every 16th base is hidden at once, sixteen times over, and each base counts once. These
conditional bits say where the model finds sequence predictable. They are no likelihood: their sum
is no bound of anything. An autoregressive model gives the bits of its own order.

Shapes: T tiles, L positions.
"""

from __future__ import annotations

import math

import numpy as np
import torch

from dnamdlm.data.batch import Batch
from dnamdlm.evaluation.resampling import ratio
from dnamdlm.lm.interface import LanguageModel
from dnamdlm.lm.masked import MaskedDiffusionLM
from dnamdlm.lm.pooling import WindowSettings, make_windows, tiles_of
from dnamdlm.tokens.nucleotide import IDS_OF_CODES, NUCLEOTIDE_VOCABULARY

STRIDE = 16
_OVERLAP = 0.5


def locus_bits(
    lm: LanguageModel,
    codes: np.ndarray,
    window: int,
    *,
    stride: int = STRIDE,
    batch_size: int = 16,
    device: torch.device | str = "cpu",
) -> np.ndarray:
    """Bits of each base of a stretch, float64 (n,), nan at N.

    Args:
        lm: on `device`, in evaluation mode.
        codes: store codes without the soft mask, (n,).
        window: bases that the model reads at once; tiles overlap by half.
        stride: one base in so many is hidden at a time.
        batch_size: tiles at once.
        device: where the model is.
    """
    bits = np.full(len(codes), np.nan)
    tiles = tiles_of(len(codes), window, _OVERLAP)
    settings = WindowSettings(max(tile.end - tile.start for tile in tiles))
    for low in range(0, len(tiles), batch_size):
        part = tiles[low : low + batch_size]
        rows = [IDS_OF_CODES[codes[tile.start : tile.end]] for tile in part]
        batch = make_windows(rows, NUCLEOTIDE_VOCABULARY, settings).batch.to(device)
        with torch.inference_mode():
            nats = (
                _surrounded_nats(lm, batch, stride)
                if isinstance(lm, MaskedDiffusionLM)
                else lm.log_likelihood(batch, draws=1).nats.double()
            )
        found = np.where(batch.valid.cpu(), nats.cpu().numpy() / math.log(2.0), np.nan)
        for tile, row in zip(part, found, strict=True):
            first, last = tile.first - tile.start, tile.last - tile.start
            bits[tile.first : tile.last] = row[first:last]
    return bits


def _surrounded_nats(lm: MaskedDiffusionLM, batch: Batch, stride: int) -> torch.Tensor:
    """-log p of each base with every stride-th base hidden, (T, L)."""
    tokens = batch.tokens
    nats = torch.zeros(tokens.shape, dtype=torch.float64, device=tokens.device)
    places = torch.arange(tokens.shape[1], device=tokens.device)
    time = torch.full((len(tokens),), 1 / stride, device=tokens.device)
    for phase in range(stride):
        hidden = batch.valid & (places % stride == phase)
        log_probs = lm.denoise(tokens.masked_fill(hidden, lm.mask_id), time, batch.attended)
        scores = -log_probs.gather(2, tokens.unsqueeze(2)).squeeze(2).double()
        nats = torch.where(hidden, scores, nats)
    return nats


def smoothed_bits(bits: np.ndarray, width: int) -> np.ndarray:
    """Running mean over `width` bases around each base, nan left out; same length."""
    known = np.isfinite(bits)
    sums = np.concatenate([[0.0], np.cumsum(np.where(known, bits, 0.0))])
    counts = np.concatenate([[0], np.cumsum(known)])
    places = np.arange(len(bits))
    low = np.maximum(places - width // 2, 0)
    high = np.minimum(places + (width + 1) // 2, len(bits))
    return ratio(sums[high] - sums[low], counts[high] - counts[low])

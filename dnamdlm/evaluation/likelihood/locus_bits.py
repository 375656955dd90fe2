"""Bits per base along a stretch of a genome, under a model and under a Markov model.

A masked diffusion model has no order of its own, so that each base is predicted from nearly all of
its neighbours: every 16th base is hidden, in sixteen phases, and each base counts once. These
conditional bits show where the model finds sequence predictable. They are not a likelihood, and
their sum does not bound one. An autoregressive model gives the bits of its own order.

Shapes: T tiles, L positions.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dnamdlm.data.batch import Batch
from dnamdlm.data.files import make_folder, write_text
from dnamdlm.data.genome.annotation import Feature
from dnamdlm.data.genome.intervals import Interval
from dnamdlm.data.json_files import read_json_file
from dnamdlm.errors import DataError
from dnamdlm.evaluation.resampling import ratio
from dnamdlm.lm.language_model import LanguageModel
from dnamdlm.lm.masked import MaskedDiffusionLM
from dnamdlm.lm.states.state_pooling import Tiling, WindowSettings, make_windows
from dnamdlm.tokens.nucleotide import IDS_OF_CODES, NUCLEOTIDE_VOCABULARY

STRIDE = 16
FORMAT, FORMAT_VERSION = "dnamdlm.locus", 1
_OVERLAP = 0.5
_POINTS_ACROSS, _MAX_POINTS = 160, 2000


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
        stride: every stride-th base is hidden at a time.
        batch_size: tiles at once.
        device: where the model is.
    """
    bits = np.full(len(codes), np.nan)
    tiles = iter(Tiling(len(codes), window, _OVERLAP))
    settings = WindowSettings(min(window, len(codes)))
    while part := list(islice(tiles, batch_size)):
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


def surrounded_log_probs(lm: MaskedDiffusionLM, batch: Batch, stride: int) -> torch.Tensor:
    """Log-probability of every token at each base, with every stride-th base hidden, (T, L, V).

    Args:
        lm: in evaluation mode.
        batch: T tiles; what is not valid has zeros.
        stride: as long as a tile, it hides one base at a time.
    """
    tokens = batch.tokens
    found: torch.Tensor | None = None
    places = torch.arange(tokens.shape[1], device=tokens.device)
    share = torch.full((len(tokens),), 1 / stride, dtype=torch.float64, device=tokens.device)
    time = lm.schedule.time_of(1 - share) if lm.sees_time else None
    for phase in range(min(stride, tokens.shape[1])):
        hidden = batch.valid & (places % stride == phase)
        log_probs = lm.denoise(tokens.masked_fill(hidden, lm.mask_id), time, batch.attended)
        found = torch.zeros_like(log_probs) if found is None else found
        found = torch.where(hidden.unsqueeze(2), log_probs, found)
    assert found is not None, "a tile has a base"
    return found


def _surrounded_nats(lm: MaskedDiffusionLM, batch: Batch, stride: int) -> torch.Tensor:
    """-log p of each base with every stride-th base hidden, (T, L)."""
    log_probs = surrounded_log_probs(lm, batch, stride)
    return -log_probs.gather(2, batch.tokens.unsqueeze(2)).squeeze(2).double()


def smoothed_bits(bits: np.ndarray, width: int) -> np.ndarray:
    """Running mean over `width` bases around each base, nan left out; same length."""
    known = np.isfinite(bits)
    sums = np.concatenate([[0.0], np.cumsum(np.where(known, bits, 0.0))])
    counts = np.concatenate([[0], np.cumsum(known)])
    places = np.arange(len(bits))
    low = np.maximum(places - width // 2, 0)
    high = np.minimum(places + (width + 1) // 2, len(bits))
    return ratio(sums[high] - sums[low], counts[high] - counts[low])


def locus_record(
    where: Interval,
    tracks: Mapping[str, np.ndarray],
    features: Sequence[Feature],
    *,
    markov_label: str,
    place: str,
    made_by: Mapping[str, Any],
) -> dict[str, Any]:
    """What the figure of a locus shows, as JSON values: at most 2,000 points of running means.

    Args:
        where: the locus.
        tracks: "model" and optionally "markov" -> (n,) bits per base.
        features: genes and coding exons that overlap it.
        markov_label: name of the Markov model.
        place: the split that the locus lies in.
        made_by: step and digest of the model.
    """
    width = max(1, round(len(where) / _POINTS_ACROSS))
    shown = np.arange(0, len(where), -(-len(where) // _MAX_POINTS))
    return {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "chrom": where.chrom,
        "start": where.start,
        "end": where.end,
        "place": place,
        "made_by": dict(made_by),
        "width": width,
        "positions": (where.start + shown).tolist(),
        "tracks": {
            name: {
                "label": markov_label if name == "markov" else "This model",
                "mean": _number(float(np.mean(bits[known]) if known.any() else np.nan)),
                "bits": [_number(value) for value in smoothed_bits(bits, width)[shown].tolist()],
            }
            for name, bits in tracks.items()
            for known in (np.isfinite(bits),)
        },
        "features": [
            {
                "kind": item.kind,
                "start": item.interval.start,
                "end": item.interval.end,
                "strand": item.interval.strand,
            }
            for item in features
        ],
    }


def record_name(where: Interval) -> str:
    """Name of the record of a locus in the evaluation folder of a run."""
    return f"locus_{re.sub(r'[^A-Za-z0-9.-]', '_', where.chrom)}_{where.start}_{where.end}.json"


def write_record(path: Path, record: Mapping[str, Any]) -> None:
    """Write a record as JSON."""
    make_folder(path.parent)
    write_text(path, json.dumps(record, indent=1, allow_nan=False) + "\n")


def read_record(path: Path) -> dict[str, Any]:
    """Read a record.

    Raises:
        DataError: if the file is damaged or of another format.
    """
    try:
        record = read_json_file(path)
        found = (record["format"], record["format_version"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: not a readable locus; evaluate it again") from error
    if found != (FORMAT, FORMAT_VERSION):
        raise DataError(f"{path}: not a locus of version {FORMAT_VERSION}; evaluate it again")
    return record


def _number(value: float) -> float | None:
    return round(value, 4) if math.isfinite(value) else None

"""The dependency map of a stretch of a genome, in one window around it."""

from __future__ import annotations

from dnamdlm.assembly.interpret.interpret_settings import HowToInterpret
from dnamdlm.assembly.interpret.mutagenesis import Windows
from dnamdlm.data.batch import batch_of_ids
from dnamdlm.data.genome.intervals import Interval
from dnamdlm.errors import ConfigError
from dnamdlm.lm.dependency import DependencyMap, dependency_map
from dnamdlm.lm.masked import MaskedDiffusionLM
from dnamdlm.tokens.nucleotide import IDS_OF_CODES
from dnamdlm.words.codes import CODE_MASK


def dependencies(
    lm: MaskedDiffusionLM, windows: Windows, where: Interval, how: HowToInterpret
) -> DependencyMap:
    """Map a stretch within one window around it, cut at the ends of a linear record.

    Args:
        lm: in evaluation mode.
        windows: how windows are read.
        where: the stretch.
        how: stride of the hidden positions.

    Raises:
        ConfigError: if the stretch is longer than a window.
    """
    first, last = window_around(windows, where)
    codes = windows.store.stretch(where.chrom, first, last) & CODE_MASK
    batch = batch_of_ids([IDS_OF_CODES[codes]], lm.vocabulary).to(windows.device)
    start = where.start - first
    return dependency_map(
        lm, batch, start=start, end=start + len(where), stride=how.stride,
        batch_size=windows.batch_size,
    )  # fmt: skip


def window_around(windows: Windows, where: Interval) -> tuple[int, int]:
    """Ends of the window with the stretch in its middle, as far as the record goes.

    In a circular record they may lie before its first base or after its last.

    Raises:
        ConfigError: if the stretch is longer than a window.
    """
    if len(where) > windows.length:
        raise ConfigError(
            f"{where} has {len(where):,} bases and a window {windows.length:,}; a dependency map "
            "needs both positions of a pair in one window: give a shorter locus, a larger length=, "
            "or parts=[mutagenesis]"
        )
    size = windows.store.lengths[where.chrom]
    length = min(windows.length, size)
    start = where.start - (length - len(where)) // 2
    if where.chrom not in windows.store.circular:
        start = max(0, min(start, size - length))
    return start, start + length

"""What the prediction of a fine-tuned head changes by with every exchange of one base."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from dnamdlm.assembly.interpret.interpretation import Interpretation
from dnamdlm.assembly.interpret.mutagenesis import predicted_changes
from dnamdlm.data.genome.intervals import Interval
from dnamdlm.data.genome.store import GenomeStore
from dnamdlm.errors import ConfigError

# labels that a message names.
_SHOWN = 6


class PredictingHead(Protocol):
    """What is asked of a head: what it predicts, and its predictions as a table."""

    run_dir: Path
    kind: str
    label_names: tuple[str, ...]

    @property
    def reads_text(self) -> bool:
        """Whether it predicts for texts and not for DNA."""
        ...

    def predict(self, sequences: Sequence[str]) -> Any: ...


def interpret_head(head: PredictingHead, store: GenomeStore, where: Interval) -> Interpretation:
    """What a fine-tuned head's prediction for a stretch changes by with every exchange.

    Raises:
        ConfigError: if the head gives several numbers, or reads text.
    """
    names = list(head.label_names)
    if head.reads_text:
        raise ConfigError(
            f"{head.run_dir} is a head for text, which has no bases to exchange; give a head that "
            "was fine-tuned on sequences"
        )
    if head.kind == "labels" or len(names) > 2 or (head.kind == "regression" and len(names) > 1):
        shown = ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
        noun = "numbers" if head.kind == "regression" else head.kind
        raise ConfigError(
            f"{head.run_dir} predicts {noun} ({shown}), and only a head of one number or "
            "of two classes can be interpreted; fine-tune one for the number or class of interest"
        )
    name = f"value_{names[0]}" if head.kind == "regression" else f"probability_{names[-1]}"

    def predict(sequences: Sequence[str]) -> NDArray[np.float64]:
        return np.asarray(head.predict(sequences)[name], np.float64)

    mutants = predicted_changes(predict, store, where, name)
    return Interpretation(where, mutants.sequence, mutants, None, (), {"head": head.run_dir.name})

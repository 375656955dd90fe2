"""The evaluation file of a run: where it is, what made its figures, and whose they are."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Protocol

from dnamdlm.assembly.models import LoadedModel
from dnamdlm.assembly.pretrained import is_in_package
from dnamdlm.data.data_source import OpenData
from dnamdlm.data.targets import check_target, inputs_of
from dnamdlm.data.text.corpus import OpenText
from dnamdlm.errors import ConfigError
from dnamdlm.evaluation.evaluation_files import check_evaluation, read_evaluation
from dnamdlm.lm.block import BlockDiffusionLM
from dnamdlm.training.run_folder import versions

EVALUATION = "evaluation"
"""Name of the folder of evaluation files in a run folder."""


class EvaluationSettings(Protocol):
    """What the settings of an entry that writes figures of a split have in common."""

    @property
    def out(self) -> str | None:
        """The file; None: STEM.json in the folder `evaluation` of the run."""
        ...

    @property
    def split(self) -> str:
        """The split."""
        ...


def evaluation_target(settings: EvaluationSettings, loaded: LoadedModel, stem: str) -> Path:
    """The file that figures go to, checked before anything is computed.

    Args:
        settings: of the entry; what they name is never written over.
        loaded: the model, whose data are read too.
        stem: name of the file without its ending; a block length other than that of the training
            is added.

    Raises:
        ConfigError: for a file that the command reads, or that belongs to a run.
        DataError: for a file that cannot be written, or to which the split cannot be added.
    """
    if settings.out is None and is_in_package(loaded.folder):
        raise ConfigError(
            f"model={loaded.folder.name} lies in the package, where no figures are written; give "
            "out=FILE.json"
        )
    folder = loaded.run_dir or loaded.folder.parent
    if loaded.block_length is not None:
        stem += f".block_length_{loaded.block_length}"
    out = Path(settings.out or folder / EVALUATION / f"{stem}.json")
    check_target(
        out,
        inputs=inputs_of([settings, loaded.config.data]),
        within=(EVALUATION,),
        makes_folders=not settings.out,
    )
    check_evaluation(out, settings.split)
    return out


def is_of_model(path: Path, loaded: LoadedModel) -> bool:
    """Whether there is an evaluation file, and its sections are of these weights."""
    if not path.is_file():
        return False
    return read_evaluation(path).get("provenance", {}).get("model_sha256") == loaded.digest


def provenance(loaded: LoadedModel, data: OpenData, **settings: Any) -> dict[str, Any]:
    """What made the figures: model, data, command, versions, and further settings by name."""
    if isinstance(loaded.lm, BlockDiffusionLM):
        settings["block_length"] = loaded.lm.block_length
    return {
        "command": sys.argv,
        "checkpoint": loaded.folder.name,
        "model_sha256": loaded.digest,
        "step": loaded.step,
        "num_parameters": loaded.num_parameters,
        "weights": loaded.weights,
        **settings,
        "data": data.describe(),
        "versions": versions(),
    }


def is_own_split(loaded: LoadedModel, opened: OpenData, split: str) -> bool:
    """Whether a split is one that the run of the model held out, with the data as they were.

    Figures of another block length than that of the training are not those of the run.
    """
    if loaded.block_length is not None:
        return False
    trained_on = loaded.data_record.get("fingerprint")
    return split != "train" and trained_on is not None and trained_on == opened.fingerprint()


def other_corpus(loaded: LoadedModel, opened: OpenText) -> str | None:
    """The name of a corpus that is not that of the run; the same one may lie elsewhere by now."""
    corpus = Path(opened.settings.corpus).resolve()
    if corpus == Path(getattr(loaded.config.data, "corpus", "")).resolve():
        return None
    return None if loaded.data_record.get("fingerprint") == opened.fingerprint() else corpus.name

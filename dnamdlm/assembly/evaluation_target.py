"""The evaluation file of a run: where it is, what made its figures, and whose they are."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from dnamdlm.assembly.models import LoadedModel
from dnamdlm.data.data_source import OpenData
from dnamdlm.data.genome.fasta_writer import check_writable
from dnamdlm.data.text.corpus import OpenText
from dnamdlm.evaluation.evaluation_files import read_evaluation
from dnamdlm.training.run_folder import read_run, versions


def evaluation_target(out: str | None, loaded: LoadedModel, stem: str) -> Path:
    """The file that figures go to, checked before anything is computed.

    Args:
        out: as the user gave it; None: STEM.json in the folder `evaluation` of the run.
        loaded: the model.
        stem: name of the file without its ending.
    """
    if out:
        check_writable(Path(out))
        return Path(out)
    folder = loaded.run_dir or loaded.folder.parent
    check_writable(folder / f"{stem}.json")
    return folder / "evaluation" / f"{stem}.json"


def forget_other_model(path: Path, loaded: LoadedModel) -> None:
    """Remove an evaluation file of other weights, whose sections would be taken for these."""
    if path.is_file():
        before = read_evaluation(path).get("provenance", {}).get("model_sha256")
        if before != loaded.digest:
            path.unlink()


def provenance(loaded: LoadedModel, data: OpenData, **settings: Any) -> dict[str, Any]:
    """What made the figures: model, data, command, versions, and further settings by name."""
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


def other_corpus(loaded: LoadedModel, opened: OpenText) -> str | None:
    """The name of a corpus that is not that of the run; the same one may lie elsewhere by now."""
    corpus = Path(opened.settings.corpus).resolve()
    if corpus == Path(getattr(loaded.config.data, "corpus", "")).resolve():
        return None
    data = {} if loaded.run_dir is None else read_run(loaded.run_dir).get("data", {})
    return None if data.get("fingerprint") == opened.fingerprint() else corpus.name

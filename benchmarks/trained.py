"""What benchmarks of a trained model share: the genome or the text it was trained on."""

import hashlib
import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.results_table import portable
from dnamdlm.assembly.model_data import DataChanges, genome_data
from dnamdlm.assembly.models import LoadedModel
from dnamdlm.data.genome.opened_genome import OpenGenome
from dnamdlm.data.tasks.sequence_inputs import encode_dna
from dnamdlm.data.text.corpus import TextData
from dnamdlm.errors import ConfigError
from dnamdlm.tokens.nucleotide import IDS_OF_CODES
from dnamdlm.words.codes import N_CODE

_ID_OF_CODE = encode_dna(["bases"], ["ACGTN"], "bases")[0]


def text_of(loaded: LoadedModel) -> TextData:
    """The corpus that a model was trained on.

    Raises:
        ConfigError: if it was trained on something else.
    """
    source = loaded.config.data
    if not isinstance(source, TextData):
        raise ConfigError(f"{loaded.folder} was not trained on text; give a model that was")
    return source


def genome_of(loaded: LoadedModel) -> OpenGenome:
    """The genome that a model was trained on.

    Raises:
        ConfigError: if it was trained on something else than one genome.
    """
    opened = genome_data(loaded, DataChanges()).open()
    if not isinstance(opened, OpenGenome):
        raise ConfigError(f"{loaded.folder} was not trained on one genome; give a model that was")
    return opened


def model_note(loaded: LoadedModel) -> str:
    """What the model of a table was and how it was trained, for its notes."""
    note = (
        f"model: {loaded.num_parameters:,} parameters, step {loaded.step:,}, weights "
        f"{loaded.digest[:12]}"
    )
    path = None if loaded.run_dir is None else loaded.run_dir / "run.json"
    if path is None or not path.is_file():
        return note
    run = json.loads(path.read_text(encoding="utf-8"))
    command = " ".join(("python", "-m", *map(portable, run["command"])))
    source = run["data"].get("source")
    data = ""
    # a table of sequences has a name alone, a corpus of text neither.
    if isinstance(source, dict) and "name" in source:
        data = f" on {source['name']}"
        data += f", SHA-256 {source['sha256'][:16]}" if "sha256" in source else ""
    return f"{note}; trained{data}, seed {run['seed']}, by {command}"


def sha256_note(path: Path) -> str:
    """Name and hash of a file that a table was made from, for its notes."""
    return f"{path.name}: SHA-256 {hashlib.sha256(path.read_bytes()).hexdigest()[:16]}"


def ids_of(codes: NDArray[np.integer]) -> NDArray[np.integer]:
    """Token ids of store codes 0 to 3 of bases, and 4 of N."""
    return _ID_OF_CODE[codes]


def codes_of(tokens: Tensor) -> list[NDArray[np.uint8]]:
    """Codes 0 to 3 of rows of ids, and that of N for what is no base."""
    found = np.full(tokens.shape, N_CODE, dtype=np.uint8)
    for code, number in enumerate(IDS_OF_CODES[:4]):
        found[tokens.numpy() == number] = code
    return list(found)

"""Tables as people have them, and weights that are no numbers, read here and elsewhere."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from dnamdlm.data.tasks.sequence_inputs import encode_dna
from dnamdlm.data.tasks.task_tables import read_label_rows
from dnamdlm.errors import CheckpointError, DataError
from dnamdlm.lm.checkpoint import read_tensors
from dnamdlm.lm.module_weights import load_weights

Row = tuple[str, ...]
_SHOWN = 100

# what it is, ending, content, and the sequences with labels of any fair reading, if there is one.
TABLES: Sequence[tuple[str, str, str, list[tuple[str, str]] | None]] = (
    ("a field of a .tsv file begins with a quotation mark", ".tsv",
     'sequence\tlabel\nACGT\t"a\nGGCC\tb"\nTTAA\tc\n',
     [("ACGT", '"a'), ("GGCC", 'b"'), ("TTAA", "c")]),
    ("classes 1 and 01", ".csv", "sequence,label\nACGT,1\nGGCC,01\n",
     [("ACGT", "1"), ("GGCC", "01")]),
    ("a class that is called NA", ".csv", "sequence,label\nACGT,NA\nGGCC,b\n",
     [("ACGT", "NA"), ("GGCC", "b")]),
    ("a sequence that is missing, written as NA", ".csv", "sequence,label\nNA,a\nGGCC,b\n", None),
    ("a .csv file with semicolons", ".csv", "sequence;label\nACGT;a\nGGCC;b\n", None),
    ("a .csv file with tabs", ".csv", "sequence\tlabel\nACGT\ta\nGGCC\tb\n", None),
    ("one field too few in a row", ".csv", "sequence,label\nACGT\nGGCC,b\n", None),
    ("one field too many in each row", ".csv", "sequence,label\nx,ACGT,a\ny,GGCC,b\n", None),
    ("two columns of one name", ".csv", "sequence,label,label\nACGT,a,b\nGGCC,b,a\n", None),
    ("a note for a spreadsheet", ".csv", "sep=,\nsequence,label\nACGT,a\nGGCC,b\n", None),
)  # fmt: skip


def _ours(path: Path) -> list[tuple[str, str]]:
    rows = read_label_rows(path)
    _ = encode_dna(rows.names, rows.sequences, path.name)
    return list(zip(rows.sequences, rows.labels["label"], strict=True))


def _theirs(path: Path) -> list[tuple[str, str]]:
    table = pd.read_csv(path, sep="\t" if path.suffix == ".tsv" else ",")
    return [(str(a), str(b)) for a, b in zip(table["sequence"], table["label"], strict=True)]


def tables_read(folder: Path) -> list[Row]:
    """What becomes of each table with `finetune` and with the defaults of pandas."""
    rows: list[Row] = []
    for what, ending, content, right in TABLES:
        path = folder / f"table{ending}"
        path.write_text(content, encoding="utf-8")
        cells = [what]
        for read in (_ours, _theirs):
            try:
                found = read(path)
            except (DataError, ValueError, LookupError) as error:
                said = str(error).replace(f"{folder}/", "").replace("|", "/")
                cut = said if len(said) <= _SHOWN else f"{said[: _SHOWN - 3]}..."
                is_ours = isinstance(error, DataError)
                cells.append(f"refused: {cut}" if is_ours else f"refused ({type(error).__name__})")
                continue
            shown = f"{found}".replace("|", "/")
            cells.append("right" if found == right else f"**read as** {shown:.{_SHOWN}}")
        rows.append(tuple(cells))
    return rows


def weights_of_nan(folder: Path) -> list[Row]:
    """Whether weights are loaded of which one number is NaN."""
    module = nn.Linear(4, 4)
    state = {name: value.clone() for name, value in module.state_dict().items()}
    state["weight"][0, 0] = float("nan")
    tensors, archive = folder / "nan.safetensors", folder / "nan.pt"
    save_file(state, tensors)
    torch.save(state, archive)
    readers: dict[str, Callable[[], object]] = {
        "dnamdlm": lambda: load_weights(module, read_tensors(tensors), tensors),
        "safetensors": lambda: module.load_state_dict(load_file(tensors)),
        "torch.load, weights_only": lambda: module.load_state_dict(
            torch.load(archive, weights_only=True)
        ),
    }
    rows: list[Row] = []
    for name, read in readers.items():
        try:
            read()
            outcome = "loaded"
        except CheckpointError:
            outcome = "refused"
        rows.append((name, outcome))
    return rows

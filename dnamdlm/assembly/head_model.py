"""A fine-tuned head for use from Python."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from dnamdlm.assembly.building.field_types import as_tuple
from dnamdlm.assembly.building.model_config import ModelConfig
from dnamdlm.assembly.finetune.finetune_settings import PredictedInput
from dnamdlm.assembly.finetune.head_record import head_of, scale_of
from dnamdlm.assembly.finetune.predicted_inputs import rows_of_file
from dnamdlm.assembly.finetune.predicted_parts import BatchesOfInput, spooled_batches
from dnamdlm.assembly.finetune.predicted_rows import (
    PredictedRows,
    distinct_columns,
    predicted_columns,
)
from dnamdlm.assembly.finetune.prediction import (
    HeadReader,
    PredictionTask,
    checked,
    head_folders,
)
from dnamdlm.assembly.finetune.text_tasks import encoder_of
from dnamdlm.assembly.interpret.head_changes import interpret_head
from dnamdlm.assembly.interpret.interpretation import Interpretation
from dnamdlm.assembly.interpret.interpreted_places import places_of
from dnamdlm.assembly.modality import Text
from dnamdlm.data.genome.genome_files import open_genome
from dnamdlm.data.genome.store import GenomeStore
from dnamdlm.data.tasks.sentences import chosen
from dnamdlm.data.tasks.sequence_inputs import encode_dna
from dnamdlm.data.tasks.task_tables import SEQUENCE_COLUMNS
from dnamdlm.errors import DataError
from dnamdlm.lm.states.head_gradients import output_gradients
from dnamdlm.ops.precision import get_precision
from dnamdlm.ops.selection import get_mode
from dnamdlm.training.head_fitting import TargetScale

if TYPE_CHECKING:
    from pandas import DataFrame
    from pyfaidx import Fasta

_GIVEN = "the input"
# heads of an ensemble that stay in memory between calls.
_KEPT = 5


class Head:
    """The heads of a fine-tuning run; predictions are their mean, as those of `dnamdlm predict`.

    Attributes:
        run_dir: run folder of `dnamdlm finetune`.
        task: name of the task.
        kind: `classes`, `labels` or `regression`.
        label_names: of the classes, labels or numbers.
    """

    def __init__(
        self,
        run_dir: str | Path,
        *,
        seed: int | None = None,
        device: str = "auto",
        trust: Sequence[str] = (),
        setting: str = "model",
    ) -> None:
        self.run_dir = Path(run_dir)
        self.folders = head_folders(self.run_dir, seed, setting)
        self.device, self.trust = device, tuple(trust)
        self._reader = HeadReader(self.folders, device, self.trust, kept=_KEPT)
        head = head_of(self.folders[0])
        self.task: str = head["task"]
        self.kind: str = head["kind"]
        self.label_names: tuple[str, ...] = tuple(head["label_names"])
        self._modality = ModelConfig.stored(head["model_config"], self.trust).modality

    @property
    def reads_text(self) -> bool:
        """Whether it predicts for texts and not for DNA."""
        return isinstance(self._modality, Text)

    def __repr__(self) -> str:
        noun = "head" if len(self.folders) == 1 else "heads"
        return (
            f"{len(self.folders)} {noun} for {self.task} ({self.kind}: "
            f"{', '.join(self.label_names[:10])}) from {self.run_dir}"
        )

    def predict(
        self,
        sequences: Sequence[str] | DataFrame | Path,
        *,
        fasta: str | Path | None = None,
        sequence_column: str | None = None,
    ) -> DataFrame:
        """Predict for sequences or texts, as `dnamdlm predict` does.

        Args:
            sequences: strings, a table with a column of them, or the `Path` of a file.
            fasta: genome of a BED file.
            sequence_column: of a table; None is `sequence`, `seq`, `text`, `sentence` or `dna`.

        Returns:
            The columns and the index of the input, and after them length, prediction, and a
            probability or value per class, label or number.

        Raises:
            DataError: for an input that cannot be read.

        Example:
            >>> head = dnamdlm.load("runs/heads")  # doctest: +SKIP
            >>> head.predict(["ACGTTGCA", "GGCCGGCC"]).prediction.tolist()  # doctest: +SKIP
            ['enhancer', 'promoter']
        """
        from pandas import DataFrame

        rows, kept = self._read(sequences, fasta, sequence_column)
        heads = [checked(folder, int(rows.sequences.lengths.max())) for folder in self.folders]
        task = PredictionTask(
            tuple(self.folders), self.device, get_mode(), get_precision(), self.trust
        )
        with spooled_batches(rows) as found:
            batches = BatchesOfInput(found, heads)
            everything = range(len(batches))
            items = batches.items([everything])
            results = (task.work(self._reader, item, lambda _: None) for item in items)
            shares = np.concatenate(list(batches.shares(everything, results)))
        predicted = predicted_columns(rows.sequences, heads[-1], shares)
        added = DataFrame(distinct_columns(kept.columns, predicted), index=kept.index)
        return kept.join(added)

    def gradient(
        self, sequences: Sequence[str], output: str
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """One column of `predict`, and its derivatives by the bases.

        Args:
            sequences: N strings of A, C, G and T, all of one length L.
            output: name of a class, label or number.

        Returns:
            Probabilities or numbers, float64 (N,), and their derivatives by the one-hot bases,
            (N, L, 4) in the order A, C, G, T.

        Raises:
            ConfigError: for a network that reads nothing but ids.
            DataError: for a sequence that the head cannot read.

        Example:
            >>> head = dnamdlm.load("runs/heads")  # doctest: +SKIP
            >>> head.gradient(["ACGT"], "activity")[1].shape  # doctest: +SKIP
            (1, 4, 4)
        """
        names = [f"row {number + 1}" for number in range(len(sequences))]
        encoded = encode_dna(names, list(sequences), _GIVEN)
        rows = [encoded[number] for number in range(len(encoded))]
        place = self.label_names.index(output)
        values, slopes = np.zeros(len(rows)), np.zeros((len(rows), len(rows[0]), len("ACGT")))
        for number, folder in enumerate(self.folders):
            checked(folder, int(encoded.lengths.max()))
            scale = scale_of(head_of(folder))
            value, slope = output_gradients(
                self._reader.classifier(number),
                rows,
                lambda outputs, scale=scale: _column_of(outputs, self.kind, place, scale),
            )
            values += value / len(self.folders)
            slopes += slope / len(self.folders)
        return values, slopes

    def interpret(
        self,
        locus: str | Sequence[str] = (),
        fasta: str | Path | Fasta | GenomeStore | None = None,
        *,
        circular: Sequence[str] | None = None,
        rna: bool = False,
        cache_dir: str | None = None,
    ) -> list[Interpretation]:
        """What the prediction changes by with every exchange, as `dnamdlm interpret` says it.

        Args:
            locus: one or several, such as 'chrXVI:1000-1200' (0-based, half-open), each of which
                the head reads whole; none: every record of `fasta`.
            fasta: the genome, which a head does not know.
            circular: names of circular records.
            rna: read U as T.
            cache_dir: folder of prepared genomes.

        Returns:
            One per stretch, with `table()`, `mutagenesis` and `figures()`.

        Raises:
            ConfigError: if the head gives several numbers or reads text, or the stretches are
                too long together.
            DataError: if there is no genome, or a stretch lies outside it or cannot be read.

        Example:
            >>> (found,) = head.interpret("chrI:100-250", "yeast.fa")  # doctest: +SKIP
            >>> found.table().columns.tolist()  # doctest: +SKIP
            ['chrom', 'pos', 'ref', 'alt', 'value_activity']
        """
        if fasta is None:
            raise DataError(
                "a fine-tuned head does not say which genome a locus is from; give a FASTA file"
            )
        store = open_genome(fasta, cache_dir=cache_dir, rna=rna, circular=circular)
        return [interpret_head(self, store, where) for where in places_of(store, as_tuple(locus))]

    def _read(
        self,
        sequences: Sequence[str] | DataFrame | Path,
        fasta: str | Path | None,
        column: str | None,
    ) -> tuple[PredictedRows, DataFrame]:
        """The rows as ids of the model, and as a table of what was given."""
        from pandas import DataFrame

        if isinstance(sequences, Path):
            data = PredictedInput(None if fasta is None else str(fasta), column)
            rows = rows_of_file(self.folders[0], str(sequences), data, self.trust)
            return rows, DataFrame(dict(rows.columns))
        if isinstance(sequences, str):
            raise DataError(
                "one string was given where a list of sequences is wanted; put it into a list, or "
                "give a file as pathlib.Path"
            )
        head = head_of(self.folders[0])
        wanted: tuple[str, ...] = tuple(head["text_columns"]) or (_column(sequences, column),)
        if not isinstance(sequences, DataFrame):
            if len(wanted) != 1:
                raise DataError(f"a table with the columns {', '.join(wanted)} is wanted")
            (name,) = wanted
            sequences = DataFrame({name: list(sequences)})
        if not len(sequences):
            raise DataError("there is nothing to predict for; give at least one sequence")
        table = {str(name): list(map(str, sequences[name])) for name in sequences.columns}
        return self._encoded(head["windows"]["length"], table, wanted), sequences

    def _encoded(
        self, window: int, table: dict[str, list[str]], wanted: tuple[str, ...]
    ) -> PredictedRows:
        texts = list(zip(*chosen(table, wanted, Path(_GIVEN)), strict=True))
        names = [f"row {number + 1}" for number in range(len(texts))]
        if isinstance(self._modality, Text):
            encoder = encoder_of(self._modality, window)
            return PredictedRows(encoder.encode(names, texts, _GIVEN), table)
        return PredictedRows(encode_dna(names, [text for (text,) in texts], _GIVEN), table)


def _column_of(
    outputs: Float[Tensor, "B C"], kind: str, place: int, scale: TargetScale
) -> Float[Tensor, " B"]:
    """One probability or number of the outputs of a head, differentiable."""
    if kind == "classes":
        return outputs.softmax(dim=1)[:, place]
    if kind == "labels":
        return outputs[:, place].sigmoid()
    # one scale for all numbers, or one for each.
    deviation, mean = (np.broadcast_to(x, outputs.shape[1]) for x in (scale.deviation, scale.mean))
    return outputs[:, place] * float(deviation[place]) + float(mean[place])


def _column(sequences: Any, column: str | None) -> str:
    """The column of the sequences of a table; of a list it is called `sequence`."""
    if column is not None:
        return column
    names = [str(name) for name in getattr(sequences, "columns", ())]
    return next((name for name in SEQUENCE_COLUMNS if name in names), SEQUENCE_COLUMNS[0])

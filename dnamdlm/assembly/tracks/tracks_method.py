"""The method `tracks` of a model: what `dnamdlm tracks out=FOLDER` writes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dnamdlm.assembly.building.field_types import Strands
from dnamdlm.assembly.model_data import DataChanges
from dnamdlm.assembly.models import LoadedModel
from dnamdlm.assembly.tracks.genome_tracks import tracks_of_model
from dnamdlm.assembly.tracks.tracks_settings import TracksSettings
from dnamdlm.errors import ConfigError
from dnamdlm.evaluation.likelihood.locus_bits import STRIDE


class WritingTracks:
    """The method `tracks` of a model.

    Attributes:
        loaded: the model.
    """

    loaded: LoadedModel

    def tracks(
        self,
        out: str | Path,
        *,
        locus: str | None = None,
        bed: str | Path | None = None,
        fasta: str | Path | None = None,
        annotation: str | Path | None = None,
        circular: Sequence[str] | None = None,
        stride: int = STRIDE,
        assembly: str | None = None,
        strands: Strands = "both",
        batch_size: int | None = None,
        cache_dir: str | None = None,
    ) -> Path:
        """Write a folder of bigWig files for a genome browser, as `dnamdlm tracks` does.

        Args:
            out: a new folder.
            locus: one stretch, such as 'chrXVI:1000-9000' (0-based, half-open).
            bed: intervals; without `locus` and `bed` the whole genome is read.
            fasta: the genome; None is that of the training.
            annotation: GFF3 or GTF with genes; None is that of the training.
            circular: names of circular records.
            stride: every stride-th base of a window is hidden at a time.
            assembly: name of the genome in the browser; None is that of its file.
            strands: 'one' reads the given strand, 'other' its reverse complement, 'both' averages
                the two.
            batch_size: windows at once; None is what suits the device.
            cache_dir: folder of prepared genomes.

        Returns:
            The folder.

        Raises:
            ConfigError: for an impossible setting, or a model of another kind.
            DataError: for files that are refused.

        Example:
            >>> model.tracks("tracks", locus="chrIV:100-9000")  # doctest: +SKIP
        """
        settings = TracksSettings(
            model=str(self.loaded.folder),
            out=str(out),
            locus=locus,
            bed=None if bed is None else str(bed),
            data=DataChanges(
                fasta=None if fasta is None else str(fasta),
                annotation=None if annotation is None else str(annotation),
                circular=None if circular is None else tuple(circular),
                cache_dir=cache_dir,
            ),
            stride=stride,
            assembly=assembly,
            strands=strands,
            batch_size=batch_size,
        )
        if not settings.is_folder:
            raise ConfigError(f"out={out} is not a folder; give a name without an ending")
        return tracks_of_model(self.loaded, settings)[0]

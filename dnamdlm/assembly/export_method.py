"""The method `export` of a model: what `dnamdlm export` writes."""

from __future__ import annotations

from pathlib import Path

from dnamdlm.assembly.building.field_types import Strands
from dnamdlm.assembly.exporting import ExportSettings, export_loaded
from dnamdlm.assembly.models import LoadedModel, load_model


class Exportable:
    """The method `export` of a model.

    Attributes:
        loaded: the model.
        strands: `one`, `other`, or `both` where outputs are averaged over the strands.
    """

    loaded: LoadedModel
    strands: Strands

    def export(
        self,
        out: str | Path,
        *,
        license: str | None = None,
        data_license: str | None = None,
        push: str | None = None,
    ) -> Path:
        """Write the model as a folder that Hugging Face libraries read, as `dnamdlm export` does.

        Args:
            out: folder that is made; it must not exist.
            license: of the weights, for the model card, such as 'apache-2.0'.
            data_license: of the training data, in words.
            push: OWNER/NAME on the hub, to which the folder is uploaded.

        Returns:
            The folder, which `dnamdlm.load` and every command take as a model.

        Raises:
            ConfigError: if the target exists or belongs to a run.
            DataError: if the folder cannot be written, nothing stays of it; or not uploaded.

        Example:
            >>> import dnamdlm
            >>> dnamdlm.load("yeast-demo").export("my-yeast")  # doctest: +SKIP
            PosixPath('my-yeast')
        """
        settings = ExportSettings("", str(out), license=license, data_license=data_license,
                                  push=push)  # fmt: skip
        loaded = self.loaded
        if self.strands != "one":
            # which strands it reads is a way to call the network, not a part of it.
            trust = loaded.config.trust
            loaded = load_model(str(loaded.folder), weights=loaded.weights, trust=trust)
        return export_loaded(loaded, settings).folder

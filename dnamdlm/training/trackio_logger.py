"""Metrics of a training in trackio, a dashboard on this machine (or on a Space of one's own)."""

from __future__ import annotations

import os
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only


class TrackioLogger(Logger):
    """A run of trackio; it is opened with the first metrics, and continued by the same name.

    Args:
        project: name of the project.
        name: of the run.
        folder: of the database of trackio, which also its dashboard has to be given; None is the
            folder of the user. The first logger of a process decides.

    Raises:
        ImportError: if trackio is not installed.
    """

    def __init__(self, project: str, name: str, folder: str | None = None) -> None:
        super().__init__()
        if folder is not None:
            # trackio reads it once, when it is imported.
            os.environ.setdefault("TRACKIO_DIR", str(Path(folder).resolve()))
        import trackio  # pyright: ignore[reportMissingImports]

        self._init: Any = trackio.init
        self._project, self._name = project, name
        self._config: dict[str, Any] = {}
        self._run: Any = None

    @property
    def name(self) -> str:
        """The project."""
        return self._project

    @property
    def version(self) -> str:
        """The run."""
        return self._name

    @rank_zero_only
    def log_hyperparams(self, params: Mapping[str, Any] | Namespace) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Keep settings for the run, which begins with the first metrics."""
        self._config |= vars(params) if isinstance(params, Namespace) else dict(params)

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Log numbers at a step."""
        if self._run is None:
            self._run = self._init(
                project=self._project, name=self._name, config=self._config, resume="allow",
                embed=False, auto_log_gpu=False, auto_log_cpu=False,
            )  # fmt: skip
        self._run.log(dict(metrics), step=step)

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Write what is left."""
        del status
        if self._run is not None:
            self._run.finish()
            self._run = None

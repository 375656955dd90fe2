"""Small trained models that come with the package, by name: `model=yeast-demo`.

Each is an exported folder, with its card. A file or folder of the user's with the same name in the
present folder comes first.
"""

from __future__ import annotations

import os
from pathlib import Path

from dnamdlm.lm.published.exported_folder import is_exported

_FOLDER = Path(__file__).resolve().parents[1] / "pretrained"


def pretrained_names() -> tuple[str, ...]:
    """Names of the models in the package.

    >>> pretrained_names()
    ('yeast-demo',)
    """
    if not _FOLDER.is_dir():
        return ()
    return tuple(sorted(path.name for path in _FOLDER.iterdir() if is_exported(path)))


def place_of(model: str) -> Path:
    """Where a model lies that a setting names: a path, or the folder of a model of the package."""
    if os.path.lexists(model) or model not in pretrained_names():
        return Path(model)
    return _FOLDER / model


def is_in_package(folder: Path) -> bool:
    """Whether a folder is that of a model of the package, where no command may write."""
    return folder.resolve().parent == _FOLDER

"""Which tokenizer a name means, and where its files are searched for.

`bytes` and `text8` need no file. A folder is read in place, also that of a checkpoint, which
contains the tokenizer of its model. Any other name, such as gpt2 or bert-base-uncased, is searched
for in `tokenizers/NAME` of the cache folder and then, where the package huggingface_hub is
installed, in its cache and on the hub.
"""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

from dnamdlm.data.json_files import read_json_file
from dnamdlm.data.text.shards import MANIFEST, TOKENIZER, read_manifest
from dnamdlm.data.text.tokenizer_hub import hub_failures
from dnamdlm.errors import DataError
from dnamdlm.tokens.subwords import FILES, SubwordTokenizer, has_tokenizer
from dnamdlm.tokens.text_tokenizer import BUILT_IN, TextTokenizer

# a run folder as `dnamdlm.lm.checkpoint` has it.
_CHECKPOINTS, _DESCRIPTION = "checkpoints", "model.json"


def tokenizer_folder(cache_dir: str | Path | None = None) -> Path:
    """`tokenizers` in `cache_dir`, else $DNAMDLM_CACHE_DIR, else the user's cache."""
    if chosen := cache_dir or os.environ.get("DNAMDLM_CACHE_DIR"):
        return Path(chosen) / "tokenizers"
    shared = os.environ.get("XDG_CACHE_HOME")
    return (Path(shared) if shared else Path.home() / ".cache") / "dnamdlm" / "tokenizers"


def open_tokenizer(name: str, *, cache_dir: str | Path | None = None) -> TextTokenizer:
    """The tokenizer of a name or folder.

    Raises:
        ConfigError: if it needs a package that is missing.
        DataError: if it is not on this machine and cannot be downloaded.
    """
    if name in BUILT_IN:
        return BUILT_IN[name]()
    if folder := _folder_of(name):
        return SubwordTokenizer(folder, _name_in(folder))
    cached = tokenizer_folder(cache_dir) / name.replace("/", "--")
    if has_tokenizer(cached):
        return SubwordTokenizer(cached, name)
    reason = "huggingface_hub is not installed"
    if importlib.util.find_spec("huggingface_hub") is not None:
        folder, reason = _from_hub(name)
        if folder is not None:
            return SubwordTokenizer(folder, name)
    raise DataError(
        f"tokenizer={name} is neither {' nor '.join(BUILT_IN)}, nor a folder, nor in {cached}, and "
        f"it cannot be downloaded from the Hugging Face hub ({reason}); on a machine with a "
        f"network run hf download {name} {' '.join(FILES)} --local-dir {cached}, or name a folder "
        "with tokenizer.json, vocab.json and merges.txt, or vocab.txt"
    )


def tokenizer_of_corpus(
    corpus: Path,
    name: str | None = None,
    download_command: str | None = None,
    *,
    cache_dir: str | None = None,
) -> TextTokenizer:
    """The tokenizer in the folder of a prepared corpus, or the one of a name.

    Where the name is that of a checkpoint that is gone, the one of the corpus is taken.

    Raises:
        DataError: if neither is there.
    """
    if name is not None and (_is_checkpoint(Path(name)) and not _folder_of(name)):
        if not (corpus / MANIFEST).is_file():
            raise DataError(
                f"{name}, which held the tokenizer of this model, is gone, and data.corpus={corpus}"
                " is not a prepared corpus; restore one of the two"
            )
    elif name is not None:
        return open_tokenizer(name, cache_dir=cache_dir)
    manifest = read_manifest(corpus, download_command)
    return stored_tokenizer(corpus, str(manifest["tokenizer"]["name"]))


def stored_tokenizer(corpus: Path, name: str) -> TextTokenizer:
    """The tokenizer in the folder of a corpus; a built-in one leaves no files there.

    Raises:
        DataError: if its files are missing.
    """
    if name in BUILT_IN and not has_tokenizer(corpus / TOKENIZER):
        return BUILT_IN[name]()
    return SubwordTokenizer(corpus / TOKENIZER, name)


def built_in_with(vocabulary: str) -> str | None:
    """The tokenizer without files whose vocabulary has this fingerprint, if there is one."""
    return next(
        (name for name, made in BUILT_IN.items() if made().vocabulary.fingerprint() == vocabulary),
        None,
    )


def _is_checkpoint(path: Path) -> bool:
    """Whether a path is that of a checkpoint in a run folder, which may have been deleted."""
    return path.parent.name == _CHECKPOINTS


def _folder_of(name: str) -> Path | None:
    """The folder of a name; for a checkpoint that was deleted, that of a later one."""
    path = Path(name)
    if path.is_dir():
        return path
    if not _is_checkpoint(path) or not path.parent.is_dir():
        return None
    others = sorted(path.parent.glob("step_*"), key=lambda other: (len(other.name), other.name))
    return next((other for other in reversed(others) if has_tokenizer(other)), None)


def _name_in(folder: Path) -> str | None:
    """What the tokenizer of a checkpoint is called; None for any other folder."""
    try:
        name = read_json_file(folder / _DESCRIPTION)["tokenizer"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return name if isinstance(name, str) else None


def _from_hub(name: str) -> tuple[Path | None, str]:
    """The local folder of a hub id, or the reason why there is none."""
    from huggingface_hub import snapshot_download  # pyright: ignore[reportMissingImports]

    try:
        folder = Path(snapshot_download(name, allow_patterns=list(FILES)))
    except hub_failures() as error:
        return None, (str(error).strip() or type(error).__name__).splitlines()[0]
    return (folder, "") if has_tokenizer(folder) else (None, "it has no tokenizer files")

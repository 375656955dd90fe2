"""Upload of an exported folder to the Hugging Face hub, where the user is logged in."""

from __future__ import annotations

import importlib.util
import logging
import re
from pathlib import Path

from dnamdlm.data.text.tokenizer_hub import hub_failures
from dnamdlm.errors import ConfigError, DataError

_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


def check_can_push(repository: str) -> None:
    """Refuse an upload that cannot work, before anything is written.

    Raises:
        ConfigError: for a name that the hub does not have, without huggingface_hub, offline, or
            where nobody is logged in.
    """
    if not _REPOSITORY.fullmatch(repository):
        raise ConfigError(f"push={repository} is not a name of the hub; give OWNER/NAME")
    if importlib.util.find_spec("huggingface_hub") is None:
        raise ConfigError(
            "push needs the package huggingface_hub; install it with pip install 'dnamdlm[hub]', "
            "or leave push out"
        )
    from huggingface_hub import constants, get_token  # pyright: ignore[reportMissingImports]

    if constants.is_offline_mode():
        raise ConfigError(
            "push needs the network, and HF_HUB_OFFLINE is set; unset it, or leave push out"
        )
    if get_token() is None:
        raise ConfigError(
            "push needs a login on the Hugging Face hub, and there is none; run hf auth login, or "
            "leave push out"
        )


def push(folder: Path, repository: str) -> str:
    """Upload the files of a folder in one commit; a new repository is private.

    Args:
        folder: what is uploaded.
        repository: OWNER/NAME; it is made if it does not exist.

    Returns:
        The address of the commit.

    Raises:
        DataError: if the hub refuses; the folder stays.
    """
    from huggingface_hub import HfApi  # pyright: ignore[reportMissingImports]

    # a line for each request, none of which is a message of the command.
    logging.getLogger("httpx").setLevel(logging.WARNING)
    try:
        api = HfApi(library_name="dnamdlm")
        api.create_repo(repository, private=True, exist_ok=True)
        done = api.upload_folder(
            repo_id=repository, folder_path=folder, commit_message="Upload of dnamdlm export"
        )
    except hub_failures() as error:
        said = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise DataError(
            f"{folder} was written and not uploaded, the Hugging Face hub does not take it "
            f"({said}); upload it with hf upload {repository} {folder}"
        ) from error
    return str(done)

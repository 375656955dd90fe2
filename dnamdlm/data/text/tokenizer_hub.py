"""Exceptions of downloads from the Hugging Face hub."""

from __future__ import annotations


def hub_failures() -> tuple[type[BaseException], ...]:
    """Exceptions of a download that failed: of the server, the local cache and the connection.

    The base classes of `HfHubHTTPError` belong to the HTTP package that huggingface_hub uses, which
    differs between its versions and whose connection errors need not be `OSError`.
    """
    from huggingface_hub import errors  # pyright: ignore[reportMissingImports]

    return (
        *errors.HfHubHTTPError.__bases__,
        errors.LocalEntryNotFoundError,
        errors.HFValidationError,
        OSError,
    )

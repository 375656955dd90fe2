"""What goes wrong between here and the Hugging Face hub."""

from __future__ import annotations


def hub_failures() -> tuple[type[BaseException], ...]:
    """Exceptions of a hub that gives nothing: of its answers, its cache and the way there.

    The base classes of `HfHubHTTPError` are those of the HTTP package under huggingface_hub, which
    has changed between its versions and whose broken connections need be no `OSError`.
    """
    from huggingface_hub import errors  # pyright: ignore[reportMissingImports]

    return (
        *errors.HfHubHTTPError.__bases__,
        errors.LocalEntryNotFoundError,
        errors.HFValidationError,
        OSError,
    )

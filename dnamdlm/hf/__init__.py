"""Models of dnamdlm behind the auto classes of transformers, without code from a hub.

`register` has to be called once per process; importing dnamdlm never loads transformers. It is in
the extra `text`, and nothing else of the package needs it.
"""

from __future__ import annotations

from dnamdlm.errors import ConfigError


def register() -> None:
    """Let `AutoModelForMaskedLM` and `AutoModelForSequenceClassification` read exported folders.

    Read are folders that `dnamdlm export` made, and published Caduceus and MDLM. Nothing is
    downloaded for a folder, and no code that a folder may hold is run. Calling it again does
    nothing. Classes that the original projects registered before stay.

    Raises:
        ConfigError: if transformers is not installed.

    Example: the fill-mask pipeline.
        >>> import dnamdlm
        >>> from transformers import pipeline  # doctest: +SKIP
        >>> dnamdlm.hf.register()  # doctest: +SKIP
        >>> fill = pipeline("fill-mask", model="my-yeast")  # doctest: +SKIP
        >>> fill("ACGTACGT[MASK]GATTACA")[0]["token_str"]  # doctest: +SKIP
        'A'
    """
    try:
        import transformers  # noqa: F401  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise ConfigError(
            "dnamdlm.hf.register() needs the package transformers, which is not installed; "
            "install it with pip install 'dnamdlm[text]'"
        ) from error
    from dnamdlm.hf.auto_classes import register_auto_classes

    register_auto_classes()

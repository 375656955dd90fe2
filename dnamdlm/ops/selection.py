"""Which implementation of a primitive runs: reference, portable or fused.

`reference` is written for clarity (any float type), `portable` for speed in plain torch; `fused` is
a compiled extension that may be absent. `auto` uses fused if it can run and portable otherwise.
The choice is made at call time from the device, the element type and the installed packages.
"""

import logging
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch

from dnamdlm.errors import ConfigError, KernelUnavailable

Mode = Literal["auto", "reference", "portable", "fused"]
Implementation = Literal["reference", "portable", "fused"]

logger = logging.getLogger(__name__)

# what an extension raises that was built for another card, CUDA or torch.
FAILURES = (
    *(ImportError, OSError, RuntimeError, AttributeError, TypeError, ValueError),
    *(AssertionError, LookupError),
)


@dataclass(frozen=True)
class FusedKernel:
    """A compiled implementation of one primitive and the conditions under which it may run.

    Attributes:
        primitive: name of the primitive in messages.
        package: name of the extension in messages.
        load: imports the extension and returns its entry; whatever it raises means that the
            extension cannot be used.
        refusal: why the kernel cannot serve this device and element type, or None if it can.
        build: compiles the kernel unless it is compiled already; raises ImportError if that fails.
            Called only if `fused` is required. None if nothing needs to be compiled.
    """

    primitive: str
    package: str
    load: Callable[[], Callable[..., Any]]
    refusal: Callable[[torch.device, torch.dtype], str | None]
    build: Callable[[], None] | None = None


@dataclass(frozen=True)
class Selected:
    """The implementation that runs and, if not a fused one, the reason."""

    implementation: Implementation
    reason: str | None = None
    cause: Exception | None = None


@dataclass
class _Setting:
    """The process-wide mode, changed by `set_mode` and `forced` alone."""

    mode: Mode = "auto"
    only: FusedKernel | None = None


_setting = _Setting()
_logged: set[tuple[str, str]] = set()
_distrusted: dict[str, str] = {}
_broken: dict[FusedKernel, Exception] = {}


def get_mode() -> Mode:
    """The process-wide mode, `auto` unless changed."""
    return _setting.mode


def set_mode(mode: str) -> None:
    """Set the process-wide mode.

    Raises:
        ConfigError: if the mode is unknown.
    """
    known: dict[str, Mode] = {name: name for name in get_args(Mode)}
    if mode not in known:
        raise ConfigError(f"ops={mode!r} is unknown; use one of {', '.join(known)}")
    _setting.mode = known[mode]


@contextmanager
def forced(mode: Mode) -> Generator[None]:
    """Run a block in another process-wide mode and restore the previous one."""
    before = get_mode()
    set_mode(mode)
    try:
        yield
    finally:
        set_mode(before)


@contextmanager
def only(kernel: FusedKernel) -> Generator[None]:
    """Run a block with this kernel as the only fused one of its primitive, on any device."""
    before = _setting.only
    _setting.only = kernel
    try:
        yield
    finally:
        _setting.only = before


def first_usable(
    primitive: str, kernels: Sequence[FusedKernel], device: torch.device, dtype: torch.dtype
) -> FusedKernel | None:
    """The first kernel that can run here, else the first, which then says why it cannot.

    Args:
        primitive: name of the primitive.
        kernels: its kernels for this device, the preferred one first; with none the result is None.
        device: device of the inputs.
        dtype: element type of the inputs.
    """
    if _setting.only is not None and _setting.only.primitive == primitive:
        return _setting.only
    if len(kernels) < 2:
        return kernels[0] if kernels else None
    usable = (x for x in kernels if _resolve(device, dtype, x, None).implementation == "fused")
    return next(usable, kernels[0])


def choose(
    primitive: str,
    device: torch.device,
    dtype: torch.dtype,
    *,
    fused: FusedKernel | None = None,
    obstacle: str | None = None,
    mode: Mode | None = None,
) -> Implementation:
    """The implementation for one call.

    Args:
        primitive: name of the primitive.
        device: device of the inputs.
        dtype: element type of the inputs.
        fused: the compiled implementation, if the primitive has one.
        obstacle: why the fused kernel cannot serve this call, or None.
        mode: overrides the process-wide mode.

    Raises:
        KernelUnavailable: if the mode is `fused` and it cannot run; the import error is the cause.
    """
    wanted = _setting.mode if mode is None else mode
    if wanted not in ("auto", "fused"):
        return wanted
    if fused is None and mode is None:
        # none was ever written, and its absence does not end the command.
        return "portable"
    choice = _resolve(device, dtype, fused, obstacle, may_build=wanted == "fused")
    if choice.implementation != "fused" and wanted == "fused":
        raise KernelUnavailable(
            f"ops=fused, but {primitive} has no fused kernel here: {choice.reason}; use ops=auto"
        ) from choice.cause
    # a call with a mode of its own is a comparison and is not logged.
    if mode is None and not torch.compiler.is_compiling():
        _log_once(primitive, choice, device)
    return choice.implementation


def keep_choices_while_compiling() -> None:
    """Let torch.compile take the choice of an implementation for a constant of its graph.

    It cannot follow the search for a package. Call it before the first compilation; what is chosen
    without compilation does not change.
    """
    torch.compiler.assume_constant_result(_resolve)  # pyright: ignore[reportUnknownMemberType]


def describe(
    kernels: Sequence[FusedKernel], device: torch.device, dtype: torch.dtype
) -> list[dict[str, str]]:
    """One row per kernel: what would run on this device and element type in the current mode."""
    rows: list[dict[str, str]] = []
    served: set[str] = set()
    for kernel in kernels:
        choice = _resolve(device, dtype, kernel, None)
        runs = choice.implementation if _setting.mode in ("auto", "fused") else _setting.mode
        if kernel.primitive in served:
            runs = "in reserve" if choice.implementation == "fused" else "-"
        elif choice.implementation == "fused":
            served.add(kernel.primitive)
        rows.append(
            {
                "primitive": kernel.primitive,
                "mode": _setting.mode,
                "runs": runs,
                "fused package": kernel.package,
                "fused": "available" if choice.reason is None else choice.reason,
            }
        )
    return rows


def give_up(kernel: FusedKernel, error: RuntimeError, *, mode: Mode | None) -> None:
    """Do not use a kernel again that failed while it ran, and say so once.

    Raises:
        KernelUnavailable: if the mode is `fused`.
        RuntimeError: the error itself, if memory ran out, which another form would need too.
    """
    if isinstance(error, torch.OutOfMemoryError):
        raise error
    lines = str(error).strip().splitlines() or [type(error).__name__]
    reason = f"it fails when it runs ({lines[0]})"
    if (_setting.mode if mode is None else mode) == "fused":
        raise KernelUnavailable(
            f"ops=fused, but {kernel.package} cannot be used: {reason}; use ops=auto"
        ) from error
    distrust(kernel, reason)
    logger.warning("%s is not used: %s", kernel.package, reason)


def distrust(kernel: FusedKernel, reason: str) -> None:
    """Do not use a kernel in this process again, because it gave wrong results or none."""
    _distrusted[kernel.package] = reason


def _resolve(
    device: torch.device,
    dtype: torch.dtype,
    fused: FusedKernel | None,
    obstacle: str | None,
    *,
    may_build: bool = False,
) -> Selected:
    """Fused if possible, else portable with the reason."""
    if fused is None:
        return Selected("portable", "there is none for this operation")
    reason = obstacle or fused.refusal(device, dtype) or _distrusted.get(fused.package)
    if reason is not None:
        return Selected("portable", reason)
    error = _import_error(fused, may_build=may_build)
    if error is None:
        return Selected("fused")
    return Selected("portable", f"{fused.package} does not import ({first_line(error)})", error)


def _import_error(fused: FusedKernel, *, may_build: bool) -> Exception | None:
    """Why the extension does not import, or None; an installed package is tried once."""
    if fused in _broken:
        return _broken[fused]
    try:
        if may_build and fused.build is not None:
            fused.build()
        fused.load()
    except FAILURES as error:
        if fused.build is None:
            # the search for an absent package takes longer than a small kernel.
            _broken[fused] = error.with_traceback(None)
        return error
    return None


def first_line(error: Exception) -> str:
    """The first line of what an exception says, or its kind if it says nothing."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def _log_once(primitive: str, choice: Selected, device: torch.device) -> None:
    """Log a choice the first time it is made for its reason."""
    key = (primitive, choice.reason or "")
    if key in _logged:
        return
    _logged.add(key)
    because = "" if choice.reason is None else f"; no fused kernel: {choice.reason}"
    if primitive == "selective scan" and device.type == "cuda" and choice.reason is not None:
        logger.warning(
            "%s runs in plain torch on this GPU, with many kernels for each position, which takes "
            "ten times as long or more%s", primitive, because,
        )  # fmt: skip
        return
    logger.debug("%s runs %s%s", primitive, choice.implementation, because)

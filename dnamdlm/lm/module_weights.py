"""Weights of a file for a module: every one of them is used, fits, and is finite."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from dnamdlm.errors import CheckpointError


def check_weights(module: torch.nn.Module, source: Path) -> None:
    """Compare names and shapes of the tensors of a module with those of a safetensors file.

    Raises:
        CheckpointError: listing the first names that do not fit.
    """
    try:
        with safe_open(source, "pt") as file:
            stored = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise CheckpointError(
            f"{source} cannot be read as safetensors; use another checkpoint"
        ) from error
    _compare_shapes(module, stored, source)


def _compare_shapes(
    module: torch.nn.Module, stored: Mapping[str, tuple[int, ...]], source: Path
) -> None:
    own = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    missing = sorted(own.keys() - stored.keys())
    foreign = sorted(stored.keys() - own.keys())
    reshaped = sorted(name for name in own.keys() & stored.keys() if own[name] != stored[name])
    for names, fault in ((missing, "lacks"), (foreign, "holds unknown"), (reshaped, "reshapes")):
        if names:
            shown = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
            raise CheckpointError(
                f"{source} {fault} {len(names)} tensors ({shown}); it belongs to another model"
            )


def load_weights(module: torch.nn.Module, weights: Mapping[str, Tensor], source: Path) -> None:
    """Fill `module` with `weights`; every tensor must be used and every parameter filled.

    Raises:
        CheckpointError: listing the first names that do not fit, that differ and are tied here, or
            whose numbers are not finite.
    """
    check_fit(module, weights, source)
    own = module.state_dict()
    by_place: dict[tuple[int, torch.Size], list[str]] = {}
    for name, tensor in own.items():
        if tensor.numel() and not tensor.is_meta:
            by_place.setdefault((tensor.data_ptr(), tensor.shape), []).append(name)
    for first, *others in by_place.values():
        for other in others:
            if not torch.equal(weights[first], weights[other]):
                raise CheckpointError(
                    f"{source} holds different tensors {first} and {other}, which are one and the "
                    "same here; set backbone.tie_embeddings=false"
                )
    module.load_state_dict(dict(weights), strict=True)


def check_fit(module: torch.nn.Module, weights: Mapping[str, Tensor], source: Path) -> None:
    """Refuse weights that are not finite, or not those of `module`; nothing is loaded.

    Raises:
        CheckpointError: as `load_weights`, except for tensors that are tied.
    """
    # in a buffer a mask may hold infinities.
    buffers = {name for name, _ in module.named_buffers()}
    check_finite(weights, source, infinite=buffers)
    _compare_shapes(module, {k: tuple(v.shape) for k, v in weights.items()}, source)


def check_finite(
    tensors: Mapping[str, Tensor], source: Path, *, infinite: Collection[str] = ()
) -> None:
    """Refuse NaN and infinities.

    Args:
        tensors: by name; those of integers are not looked at.
        source: the file, for the message.
        infinite: names of tensors that may hold infinities.

    Raises:
        CheckpointError: naming the first tensor that is not finite.
    """
    for name, tensor in tensors.items():
        if not tensor.is_floating_point() or tensor.is_meta:
            continue
        bad = tensor.isnan() if name in infinite else ~tensor.isfinite()
        if bad.any():
            raise CheckpointError(
                f"{source}: {int(bad.sum())} of {tensor.numel()} numbers of {name} are NaN or "
                "infinite; use another checkpoint, since the training has diverged or the file is "
                "damaged"
            )

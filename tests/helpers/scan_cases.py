"""Inputs of the selective scan, its gradients, and how close two implementations must be."""

import torch

from dnamdlm.ops.kernels import compiled_scan
from dnamdlm.ops.scan import selective_scan
from tests.helpers.rounding import rounding

NAMES = ("u", "delta", "A", "B", "C", "D", "z", "delta_bias")


def scan_case(batch, length, channels=5, state=16, dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    inputs = {
        "u": normal(batch, length, channels),
        "delta": normal(batch, length, channels) - 1.0,
        "A": -torch.arange(1.0, state + 1, dtype=torch.float64).expand(channels, state).clone(),
        "B": normal(batch, length, state),
        "C": normal(batch, length, state),
        "D": normal(channels),
        "z": normal(batch, length, channels),
        "delta_bias": normal(channels),
    }
    return {name: x.to(dtype) for name, x in inputs.items()}


def with_gradients(inputs, **options):
    inputs = {name: x.clone().requires_grad_() for name, x in inputs.items()}
    out = selective_scan(**inputs, **options)
    weights = torch.linspace(-1.0, 1.0, out.numel(), dtype=out.dtype).reshape(out.shape)
    gradients = torch.autograd.grad((out * weights).sum(), list(inputs.values()))
    return dict(zip(("out", *inputs), (out.detach(), *gradients), strict=True))


def assert_scans_close(found, expected, inputs, dtype=torch.float32):
    """Equal up to the roundings of the scan, of which gradients sum over all positions."""
    batch, length, _ = inputs["u"].shape
    # ten for the step, its exponential, the products and the gate; one for each term of a sum.
    terms = 10 + inputs["A"].shape[1] + batch * length
    for name, value in expected.items():
        allowed = rounding(terms, value.abs().max().item(), dtype)
        torch.testing.assert_close(
            found[name].double(), value.double(), rtol=0, atol=allowed,
            msg=lambda text, name=name: f"{name}: {text}",
        )  # fmt: skip


def assert_outputs_close(found, expected, inputs):
    assert_scans_close({"out": found}, {"out": expected}, inputs)


def scan_is_built():
    """Whether the compiled scan is there, or could be built now."""
    try:
        compiled_scan.build()
    except ImportError:
        return False
    return True

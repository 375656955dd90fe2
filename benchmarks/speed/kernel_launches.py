"""Kernel launches and bytes of a training micro-batch of hg38: our Triton kernels or mamba-ssm's.

    python -m benchmarks.speed.kernel_launches [--smoke]

The network of `config=hg38` runs forward and backward under bfloat16 autocast with tensors that
have shapes and no numbers, so that no GPU is needed. An operator of torch that computes counts as
one launch, views count as none; a scan or convolution of either kind counts as the launches it
makes, and so does a norm of ours. Bytes are those of all inputs and outputs of each operator, as if
nothing stayed in a cache, and grow with the windows, of which two and four are counted. Noise, loss
and optimizer are the same with both and are not in the count, but for one call of
`RowNoise.uniform`.

Not counted: what is read twice within one kernel, and the compilation of kernels.
"""

import argparse
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from benchmarks.results_table import Cell, ResultTable, finish
from dnamdlm.backbones.bidirectional import Mamba
from dnamdlm.diffusion.randomness import RowNoise, Stream
from dnamdlm.ops import conv, norm, scan, uniforms
from dnamdlm.ops.kernels import mamba_kernels, triton_slots
from dnamdlm.ops.selection import FusedKernel

LENGTH, WINDOWS = 1024, 128
# operators that start no kernel.
FREE = {
    "empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided", "detach", "alias",
    "lift_fresh", "_unsafe_view", "view", "_reshape_alias",
}  # fmt: skip
# kernels of one call: partial sums are added by two further ones, or by one.
LAUNCHES = {
    "scan_forward": 1, "scan_backward": 3, "conv_forward": 1, "conv_backward": 2,
    "norm_forward": 1, "norm_backward": 2, "philox_uniforms": 1,
}  # fmt: skip

# scans and convolutions, ours and those of the packages.
SCANS = {
    f"{kind}{way}" for kind in ("scan", "conv") for way in ("", "_back", "_forward", "_backward")
}


class Count(TorchDispatchMode):
    """Launches and bytes of everything that runs inside, by operator."""

    def __init__(self) -> None:
        super().__init__()
        self.launches: Counter[str] = Counter()
        self.bytes = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        made = [x for x in tree_leaves(out) if isinstance(x, Tensor)]
        returns = [r.alias_info for r in func._schema.returns]
        is_view = any(alias is not None and not alias.is_write for alias in returns)
        if name in FREE or is_view or not made:
            return out
        self.launches[name] += LAUNCHES.get(name, 1)
        read = [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
        self.bytes += sum(x.numel() * x.element_size() for x in [*read, *made])
        return out


def _runs_anywhere(kernel: FusedKernel) -> FusedKernel:
    """The kernel, as if its package were installed on this device."""
    return replace(kernel, load=lambda: print, refusal=lambda *_: None)


@contextmanager
def ours() -> Iterator[None]:
    """Scans, convolutions and norms by our operators."""
    scans = _runs_anywhere(triton_slots.TRITON_SCAN)
    convs = _runs_anywhere(triton_slots.TRITON_CAUSAL_CONV)
    norms = _runs_anywhere(triton_slots.TRITON_NORM)
    with (
        mock.patch.object(norm, "norm_kernels", return_value=[norms]),
        mock.patch.object(scan, "TRITON_SCAN", scans),
        mock.patch.object(scan, "scan_kernels", return_value=[scans]),
        mock.patch.object(conv, "TRITON_CAUSAL_CONV", convs),
        mock.patch.object(conv, "causal_kernels", return_value=[convs]),
    ):
        yield


@contextmanager
def packages() -> Iterator[None]:
    """Scans and convolutions by stand-ins of mamba-ssm and causal-conv1d."""
    scans = _runs_anywhere(mamba_kernels.MAMBA_SCAN)
    convs = _runs_anywhere(mamba_kernels.CAUSAL_CONV)
    with (
        mock.patch.object(scan, "MAMBA_SCAN", scans),
        mock.patch.object(scan, "scan_kernels", return_value=[scans]),
        mock.patch.object(mamba_kernels, "load_scan", return_value=_scan_stand_in),
        mock.patch.object(conv, "CAUSAL_CONV", convs),
        mock.patch.object(conv, "causal_kernels", return_value=[convs]),
        mock.patch.object(mamba_kernels, "load_conv", return_value=_conv_stand_in),
    ):
        yield


def _scan_stand_in(*tensors: Tensor, z: None, delta_bias: Tensor, delta_softplus: bool) -> Tensor:
    """`selective_scan_fn` without a gate."""
    assert z is None
    assert delta_softplus
    return torch.ops.stand_in.scan([*tensors, delta_bias])[0]


def _conv_stand_in(x: Tensor, weight: Tensor, bias: Tensor, *, activation: str) -> Tensor:
    """`causal_conv1d_fn`."""
    assert activation == "silu"
    return torch.ops.stand_in.conv([x, weight, bias])[0]


def _one_kernel_each(name: str) -> None:
    """Operators `stand_in::NAME` and its backward pass: one launch each, of the right shapes.

    The kernel of mamba-ssm keeps a state per 2,048 positions, which is not counted.
    """

    @torch.library.custom_op(f"stand_in::{name}", mutates_args=())
    def forward(tensors: list[Tensor]) -> list[Tensor]:
        return [torch.empty_like(tensors[0])]

    @torch.library.custom_op(f"stand_in::{name}_back", mutates_args=())
    def backward(gradient: Tensor, tensors: list[Tensor]) -> list[Tensor]:
        return [torch.empty_like(x) for x in tensors]

    forward.register_fake(lambda tensors: [torch.empty_like(tensors[0])])
    backward.register_fake(lambda gradient, tensors: [torch.empty_like(x) for x in tensors])

    def gradients(ctx: Any, grads: list[Tensor]) -> list[Tensor]:
        return backward(grads[0].contiguous(), list(ctx.saved_tensors))

    forward.register_autograd(
        gradients, setup_context=lambda ctx, inputs, output: ctx.save_for_backward(*inputs[0])
    )


def micro_batch(windows: int) -> Count:
    """Forward and backward pass of the network of hg38."""
    with FakeTensorMode():
        net = Mamba(vocab_size=12, hidden_size=118, num_blocks=4, tie_embeddings=True)
        tokens = torch.zeros(windows, LENGTH, dtype=torch.long)
        with Count() as count:
            with torch.autocast("cpu", torch.bfloat16):
                logits = net(tokens)
            functional.cross_entropy(logits.flatten(0, 1), tokens.flatten()).backward()
    return count


def noise() -> tuple[int, int]:
    """Launches of one call of `RowNoise.uniform` by operators of torch, and by our kernel."""
    kernel = _runs_anywhere(triton_slots.TRITON_UNIFORMS)
    with Count() as plain:
        RowNoise(torch.arange(WINDOWS)).uniform(Stream.MASKS, 0, LENGTH)
    with (
        FakeTensorMode(),
        mock.patch.object(uniforms, "uniform_kernels", return_value=[kernel]),
        Count() as ours,
    ):
        uniforms.fused_uniforms(torch.arange(WINDOWS), int(Stream.MASKS), 0, LENGTH)
    return sum(plain.launches.values()), ours.launches["philox_uniforms"]


def _row(name: str, kernels: Callable[[], Any]) -> tuple[Cell, ...]:
    """Launches, and bytes for all windows of a micro-batch, from those of two and four."""
    with kernels():
        two, four = micro_batch(2), micro_batch(4)
    assert two.launches == four.launches
    per_window = (four.bytes - two.bytes) / 2
    total = two.bytes + (WINDOWS - 2) * per_window
    scans = sum(n for kind, n in two.launches.items() if kind in SCANS)
    turns = sum(two.launches[kind] for kind in ("clone", "flip"))
    count = sum(two.launches.values())
    return name, count, scans, turns, round(per_window / LENGTH / 1e3, 1), round(total / 1e9, 2)


def main() -> None:
    """Count both and store the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--smoke", action="store_true", help="store nothing")
    given = parser.parse_args()
    for name in ("scan", "conv"):
        _one_kernel_each(name)
    rows = [_row("our Triton kernels", ours), _row("mamba-ssm and causal-conv1d", packages)]
    finish(
        ResultTable(
            theme="speed-kernel-launches",
            title="Launches and bytes of the network in a micro-batch of hg38 (128 x 1,024)",
            columns=("scan and convolution", "launches", "of them scans and convolutions",
                     "of them transpositions and flips", "kB per base", "GB per micro-batch"),
            rows=rows,
            notes=("Counted, not timed: nothing was run on a GPU.",
                   "Norms of the second row are counted as torch computes them on a CPU, by "
                   "several operators; on CUDA it has one kernel for a norm alone.",
                   "Forward and backward pass of the network; noise, loss weights and the "
                   "optimizer are the same with both.",
                   "One call of `RowNoise.uniform`, of which a micro-batch of hg38 makes two: "
                   "{} launches by operators of torch, {} by our kernel.".format(*noise())),
        ),
        smoke=given.smoke,
        device="counted",
    )  # fmt: skip


if __name__ == "__main__":
    main()

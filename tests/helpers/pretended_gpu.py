"""A pretended GPU for a CPU build of torch: real numbers under a wrong address.

Tensors say that they are on `cuda:0` and hold ordinary memory, so that a program runs with the
control flow of a GPU: autocast, autograd and `device.type == "cuda"` behave as there, and loops
that depend on data run through. Counted on the way, with the line of the package that caused it:
operators that meet tensors of two devices, waits of the host for the device, and kernel launches.

Not modelled: time, memory, the kernels of CUDA and their rounding. An operator is one launch, which
is right for elementwise ones and too few for sorts and reductions.

Import this before anything imports torch. Needs g++ and the headers of the torch wheel.
"""

import ctypes
import hashlib
import importlib.util
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from contextlib import contextmanager
from pathlib import Path

SOURCE = Path(__file__).with_name("pretended_cuda.cpp")


def _load_shim():
    """Build the shim for this torch, once, and load it."""
    if "torch" in sys.modules:
        raise RuntimeError("import tests.helpers.pretended_gpu before torch")
    if shutil.which("g++") is None:
        raise ImportError("g++ is not installed")
    root = Path(importlib.util.find_spec("torch").origin).parent
    version = (root / "version.py").read_text(encoding="utf-8")
    name = hashlib.sha256((SOURCE.read_text() + version + str(root)).encode()).hexdigest()[:16]
    library = Path(tempfile.gettempdir()) / f"dnamdlm_pretended_cuda_{name}.so"
    if not library.exists():
        with tempfile.TemporaryDirectory(dir=library.parent) as partial:
            made = Path(partial) / library.name
            subprocess.run(
                ["g++", "-O0", "-std=c++20", "-shared", "-fPIC", f"-I{root}/include", str(SOURCE),
                 "-o", str(made), f"-L{root}/lib", "-lc10", "-ltorch_cpu",
                 f"-Wl,-rpath,{root}/lib"],
                check=True,
            )  # fmt: skip
            made.replace(library)
    ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)


_load_shim()

import torch  # noqa: E402
from torch import Tensor, nn  # noqa: E402
from torch.nn import functional  # noqa: E402
from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402
from torch.utils._pytree import tree_flatten, tree_map, tree_unflatten  # noqa: E402

GPU = torch.device("cuda", 0)

# the host waits for a count, since the shape of the result depends on data
COUNTING = {
    "nonzero", "masked_select", "unique_dim", "_unique2", "unique_consecutive",
    "repeat_interleave",
}  # fmt: skip
READING = {"_local_scalar_dense", "equal", "is_nonzero", "allclose"}
INDEXING = {"index", "index_put", "index_put_", "_index_put_impl_", "_unsafe_index"}
COPYING = {"_to_copy", "copy_", "_copy_from"}
PRODUCTS = {"mm", "bmm", "addmm", "baddbmm", "attention"}
PLAIN_ATTENTION = functional.scaled_dot_product_attention
WITHOUT_KERNEL = {
    "empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided", "detach", "alias",
    "lift_fresh", "_unsafe_view", "_fused_sdp_choice",
}  # fmt: skip


class OnGpu(Tensor):
    """A tensor in ordinary memory that says it is on the GPU."""

    @staticmethod
    def __new__(cls, real):
        return torch.Tensor._make_wrapper_subclass(
            cls, real.size(), strides=real.stride(), storage_offset=real.storage_offset(),
            dtype=real.dtype, device=GPU,
        )  # fmt: skip

    def __init__(self, real):
        self.held = real

    def __repr__(self):
        return f"OnGpu({tuple(self.shape)}, {self.dtype})"

    def tolist(self):
        """As torch does it: by way of the host."""
        return self.cpu().tolist()

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        raise RuntimeError(f"{func} on a pretended GPU outside `with PretendedGpu()`")


def _held(value):
    return value.held if isinstance(value, OnGpu) else value


def _on_gpu(value, known):
    """A result on the GPU: the input that it is, where an operator works in place."""
    if not isinstance(value, Tensor):
        return value
    return known[id(value)] if id(value) in known else OnGpu(value)


class PretendedGpu(TorchDispatchMode):
    """While it is entered, tensors can be made and used on `cuda`.

    The first operator that meets a CPU tensor of one dimension or more together with a GPU tensor
    raises what CUDA raises.

    Attributes:
        waits: of the host, by (what for, line).
        launches: of kernels, by line.
        bytes: read and written by them.
        product_bytes: those of matrix products and attention.
    """

    entered = None

    def __init__(self, package="dnamdlm"):
        super().__init__()
        self.package = f"/{package}/"
        self.reset()

    def reset(self):
        """Forget what was counted."""
        self.waits, self.launches, self.bytes, self.product_bytes = Counter(), Counter(), 0, 0

    def counts(self):
        """Numbers of waits and launches."""
        return {"waits": self.waits.total(), "launches": self.launches.total()}

    def __enter__(self):
        # torch.tensor(x, device="cuda") then copies where a mode can see it.
        self._before = torch._C._only_lift_cpu_tensors()
        torch._C._set_only_lift_cpu_tensors(True)
        PretendedGpu.entered = self
        return super().__enter__()

    def __exit__(self, *failure):
        torch._C._set_only_lift_cpu_tensors(self._before)
        PretendedGpu.entered = None
        super().__exit__(*failure)

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        name = func.overloadpacket.__name__
        leaves, _ = tree_flatten((args, kwargs))
        inputs = [value for value in leaves if isinstance(value, Tensor)]
        ours = [value for value in inputs if isinstance(value, OnGpu)]
        wanted = kwargs.get("device")
        wanted = None if wanted is None else torch.device(wanted)
        self._check(name, inputs, ours, wanted, kwargs)
        if name == "copy_":
            is_ours = isinstance(args[0], OnGpu)
        else:
            is_ours = bool(ours) if wanted is None else wanted.type == "cuda"
        if wanted is not None:
            kwargs["device"] = torch.device("cpu")
            kwargs.pop("pin_memory", None)
        known = {id(value.held): value for value in ours}
        real_args, real_kwargs = tree_map(_held, (args, kwargs))
        out = func(*real_args, **real_kwargs)
        if name == "_to_copy" and wanted is not None and any(out is value for value in inputs):
            out = out.clone()
        results, spec = tree_flatten(out)
        made = [value for value in results if isinstance(value, Tensor)]
        if is_ours or ours:
            self._count(func, name, inputs, made)
        if is_ours:
            results = [_on_gpu(value, known) for value in results]
        return tree_unflatten(results, spec)

    def _check(self, name, inputs, ours, wanted, kwargs):
        """Count waits; raise where devices are mixed."""
        if name == "_to_copy" and wanted is not None and inputs:
            if ours and wanted.type == "cpu":
                self._wait("copies to the host")
            elif not ours and wanted.type == "cuda" and not kwargs.get("non_blocking"):
                self._wait("sends a number" if inputs[0].ndim == 0 else "sends a tensor")
        if not ours:
            return
        if name in READING:
            self._wait(f"reads a value ({name})")
        if name in COUNTING:
            self._wait(f"counts ({name})")
        if name in INDEXING:
            self._check_indices(name, inputs)
        elif name == "copy_" and len(ours) < len(inputs) and not kwargs.get("non_blocking"):
            self._wait("copies between devices")
        elif name not in COPYING:
            strange = [value for value in inputs if not isinstance(value, OnGpu) and value.ndim]
            if strange:
                raise RuntimeError(
                    "Expected all tensors to be on the same device, but found at least two "
                    f"devices, cuda:0 and cpu! (aten::{name} at {self._line()})"
                )

    def _check_indices(self, name, inputs):
        indices = inputs[1:] if name in {"index", "_unsafe_index"} else inputs[1:-1]
        for index in indices:
            if isinstance(index, OnGpu) and index.dtype == torch.bool:
                self._wait(f"counts a mask ({name})")
            elif not isinstance(index, OnGpu) and index.ndim:
                self._wait(f"sends indices ({name})")

    def _count(self, func, name, inputs, made):
        aliases = [result.alias_info for result in func._schema.returns]
        is_view = any(alias is not None and not alias.is_write for alias in aliases)
        if name in WITHOUT_KERNEL or not made or is_view:
            return
        self.launches[self._line()] += 1
        self.add_bytes(name, [*inputs, *made])

    def add_bytes(self, name, tensors):
        """Count what a kernel reads and writes."""
        moved = sum(x.numel() * x.element_size() for x in tensors if x is not None)
        self.bytes += moved
        if name in PRODUCTS:
            self.product_bytes += moved

    def _wait(self, reason):
        self.waits[reason, self._line()] += 1

    def _line(self):
        """The innermost line of the package that is running."""
        frame = sys._getframe(1)
        while frame is not None:
            before, found, within = frame.f_code.co_filename.rpartition(self.package)
            if found and "site-packages" not in before:
                return f"{within}:{frame.f_lineno}"
            frame = frame.f_back
        return "autograd or optimizer"

    @contextmanager
    def as_one_kernel(self, line):
        """What runs inside counts as one launch: a stand-in for a fused kernel."""
        waits, launches = self.waits.copy(), self.launches.copy()
        moved = self.bytes, self.product_bytes
        yield
        self.waits, self.launches = waits, launches
        self.bytes, self.product_bytes = moved
        self.launches[line] += 1


class OneKernel(torch.autograd.Function):
    """`run(*tensors)` as one kernel forward and one backward, whatever operators it is made of."""

    @staticmethod
    def forward(ctx, gpu, name, run, *tensors):
        ctx.gpu, ctx.name, ctx.run = gpu, name, run
        ctx.save_for_backward(*tensors)
        with gpu.as_one_kernel(name):
            out = run(*tensors)
        gpu.add_bytes(name, [*tensors, out])
        return out

    @staticmethod
    def backward(ctx, grad):
        inputs = [None if x is None else x.detach() for x in ctx.saved_tensors]
        needed = [
            x.requires_grad_()
            for x, is_needed in zip(inputs, ctx.needs_input_grad[3:], strict=True)
            if is_needed
        ]
        with ctx.gpu.as_one_kernel(f"{ctx.name}, backward"), torch.enable_grad():
            found = iter(torch.autograd.grad(ctx.run(*inputs), needed, grad))
            grads = [next(found) if x else None for x in ctx.needs_input_grad[3:]]
        ctx.gpu.add_bytes(ctx.name, [*inputs, *grads, grad])
        return None, None, None, *grads


def _attention(q, k, v, attn_mask=None, dropout_p=0.0, is_causal=False, **settings):
    """The operator of torch, which is one kernel on a GPU and may be many on a CPU."""

    def run(q, k, v, mask):
        return PLAIN_ATTENTION(q, k, v, mask, dropout_p, is_causal, **settings)

    if not isinstance(q, OnGpu) or PretendedGpu.entered is None:
        return run(q, k, v, attn_mask)
    return OneKernel.apply(PretendedGpu.entered, "attention", run, q, k, v, attn_mask)


def to_gpu(module):
    """Move parameters and buffers, tied ones once; `Module.to` refuses another class of tensor."""
    moved = {}
    for part in module.modules():
        for name, parameter in part._parameters.items():
            if parameter is None or isinstance(parameter, OnGpu):
                continue
            if id(parameter) not in moved:
                real = parameter.detach().clone()
                moved[id(parameter)] = nn.Parameter(OnGpu(real), parameter.requires_grad)
            part._parameters[name] = moved[id(parameter)]
        for name, buffer in part._buffers.items():
            if buffer is not None and not isinstance(buffer, OnGpu):
                part._buffers[name] = moved.setdefault(id(buffer), OnGpu(buffer.clone()))
    return module


def pretend():
    """Let `torch.cuda` and `Module.to` answer as with one card; for the whole process."""
    plain = nn.Module.to

    def to(self, *arguments, **settings):
        wanted = next((x for x in arguments if isinstance(x, (str, torch.device))), None)
        if wanted is not None and torch.device(wanted).type == "cuda":
            return to_gpu(self)
        return plain(self, *arguments, **settings)

    nn.Module.to = to
    functional.scaled_dot_product_attention = _attention
    # in which composed operators would not be seen in their parts, and views are refused.
    torch.inference_mode = lambda mode=True: torch.no_grad() if mode else torch.enable_grad()
    cuda = torch.cuda
    cuda.amp.common.amp_definitely_not_available = lambda: False
    cuda._lazy_init = lambda: None
    cuda.is_available = lambda: True
    cuda.device_count = lambda: 1
    cuda.current_device = lambda: 0
    cuda.synchronize = lambda *_: None
    cuda.get_device_name = lambda *_: "pretended GPU"
    cuda.is_bf16_supported = lambda *_, **__: True


pretend()

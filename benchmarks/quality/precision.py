"""What another precision does to the bound: the same windows and draws in each.

    python -m benchmarks.quality.precision [--model yeast-demo] [--windows 512] [--smoke]

TF32 is arithmetic of GPUs; here the factors of matrix products are rounded to its 10 bits, and sums
are float32 as there.
"""

import argparse
import math
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from benchmarks.results_table import Cell, ResultTable, finish
from benchmarks.trained import genome_of, model_note
from dnamdlm.assembly.models import LoadedModel, load_model
from dnamdlm.data.batch import Batch
from dnamdlm.ops import set_precision

NATS_PER_BIT = math.log(2.0)
CPU = torch.device("cpu")
FACTORS = {"mm": (0, 1), "bmm": (0, 1), "addmm": (1, 2), "baddbmm": (1, 2)}
ATTENTION = "_scaled_dot_product_flash_attention_for_cpu"


class RoundedFactors(TorchDispatchMode):
    """Rounds the float32 factors of matrix products to 10 bits, to the nearest."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        del types
        name = func.overloadpacket.__name__
        places = (0, 1, 2) if name == ATTENTION else FACTORS.get(name, ())
        changed = [rounded(x) if i in places else x for i, x in enumerate(args)]
        return func(*changed, **(kwargs or {}))


def rounded(x: Tensor) -> Tensor:
    """The nearest number of 10 bits after the first; half a step is rounded up in size.

    >>> rounded(torch.tensor([1.0, 1 + 2.0**-11, 1 + 2.0**-12]))
    tensor([1.0000, 1.0010, 1.0000])
    """
    if x.dtype != torch.float32:
        return x
    bits = x.contiguous().view(torch.int32)
    return ((bits + (1 << 12)) & ~((1 << 13) - 1)).view(torch.float32)


def bits_of(loaded: LoadedModel, batches: list[Batch], draws: int) -> Tensor:
    """Bits per base of each window; the noise is a function of the window."""
    found: list[Tensor] = []
    for batch in batches:
        nats = loaded.language_model.log_likelihood(batch, draws=draws)
        found.append(nats.nats.sum(1) / nats.valid.sum(1) / NATS_PER_BIT)
    return torch.cat(found)


def main() -> None:
    """Measure, print and store."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", default="yeast-demo")
    parser.add_argument("--windows", type=int, default=512)
    parser.add_argument("--draws", type=int, default=4)
    parser.add_argument("--smoke", action="store_true", help="a few windows; nothing is stored")
    chosen = parser.parse_args()
    if chosen.smoke:
        chosen.windows, chosen.draws = 4, 1
    loaded = load_model(chosen.model, device="cpu")
    windows = genome_of(loaded).evaluation_windows("test", limit=chosen.windows)
    batches = list(windows.batches(64))
    bits: dict[str, Tensor] = {}
    for name in ("32-true", "tf32, simulated", "bf16-mixed"):
        set_precision("bf16-mixed" if name == "bf16-mixed" else "32-true", CPU)
        with RoundedFactors() if name.startswith("tf32") else nullcontext():
            bits[name] = bits_of(loaded, batches, chosen.draws)
    set_precision("32-true", CPU)
    rows: list[tuple[Cell, ...]] = []
    for name, values in bits.items():
        shift = values - bits["32-true"]
        error = shift.std().item() / math.sqrt(len(shift))
        mean = shift.mean().item()
        rows.append((name, values.mean().item(), mean, error, shift.abs().max().item()))
    table = ResultTable(
        "quality-precision",
        "Precision and the bound of a trained model",
        ("precision", "bits per base", "shift", "standard error", "largest shift of a window"),
        rows,
        (
            f"{chosen.windows} windows of the test split, {chosen.draws} draws, the same noise",
            "tf32: factors of matrix products and attention rounded to 10 bits, on the CPU",
            model_note(loaded),
        ),
    )
    finish(table, smoke=chosen.smoke, threads=torch.get_num_threads())


if __name__ == "__main__":
    main()

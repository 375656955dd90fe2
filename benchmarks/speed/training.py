"""Training speed of the transformer, compared with the matrix-product ceiling of the same run.

    python -m benchmarks.speed.training [--threads N] [--device cpu] [--repeats 7] [--only NAME]

One step is forward, masked cross-entropy, backward, gradient clipping, AdamW and a moving average
of the weights. The variants take turns, so that a disturbance of the machine meets all of them.
The row `adaptive norm` has the cost of the original MDLM network, which keeps its conditioning
layers without time conditioning, and its dropout; it is built from our own options.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.results_table import ResultTable, environment_of_run, store
from dnamdlm.backbones.dit import DiT

VOCAB_SIZE = 12
MASK_ID = 3
CEILING_SIZE = 2048


@dataclass(frozen=True)
class Variant:
    """One row of the table."""

    name: str
    build: Callable[[], DiT]
    batch: int
    length: int


def _paper(**options: object) -> Callable[[], DiT]:
    """256 channels, 6 blocks, 4 heads."""
    return lambda: DiT(VOCAB_SIZE, 256, 6, 4, **options)  # pyright: ignore[reportArgumentType]


def _demo(**options: object) -> Callable[[], DiT]:
    """64 channels, 4 blocks, 2 heads."""
    return lambda: DiT(VOCAB_SIZE, 64, 4, 2, **options)  # pyright: ignore[reportArgumentType]


VARIANTS = (
    Variant(
        "256 x 6, adaptive norm, dropout 0.1", _paper(time_conditioning=True, dropout=0.1), 8, 512
    ),
    Variant("256 x 6, dropout 0.1", _paper(dropout=0.1), 8, 512),
    Variant("256 x 6", _paper(), 8, 512),
    Variant("256 x 6, exact GELU", _paper(activation="gelu"), 8, 512),
    Variant("64 x 4", _demo(), 32, 128),
    Variant("64 x 4, convolutions 9 and 11", _demo(conv_width=9, stem_width=11), 32, 128),
    Variant(
        "64 x 4, convolutions 9 and 11, exact GELU",
        _demo(conv_width=9, stem_width=11, activation="gelu"),
        32,
        128,
    ),
)


class TrainingStep:
    """Network, optimizer, moving average and one fixed batch."""

    def __init__(self, variant: Variant, device: torch.device) -> None:
        generator = torch.Generator().manual_seed(0)
        shape = (variant.batch, variant.length)
        torch.manual_seed(0)
        self.network = variant.build().to(device)
        self.parameters = list(self.network.parameters())
        self.average = [parameter.detach().clone() for parameter in self.parameters]
        self.optimizer = torch.optim.AdamW(self.parameters, lr=1e-4)
        self.clean = torch.randint(7, 11, shape, generator=generator).to(device)
        self.time = torch.linspace(0.05, 1.0, variant.batch, device=device)
        hidden = torch.rand(shape, generator=generator).to(device) < self.time[:, None]
        self.masked = self.clean.masked_fill(hidden, MASK_ID)

    def __call__(self) -> None:
        """One training step."""
        logits = self.network(self.masked, torch.zeros_like(self.time))
        nats = functional.cross_entropy(logits.transpose(1, 2), self.clean, reduction="none")
        is_masked = self.masked == MASK_ID
        loss = torch.where(is_masked, nats / self.time[:, None], 0.0).mean()
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimizer.step()
        with torch.no_grad():
            for average, parameter in zip(self.average, self.parameters, strict=True):
                average.lerp_(parameter, 1e-3)


def matmul_parameters(network: DiT) -> int:
    """Weights that are multiplied with every token: linear layers of the blocks, and the head."""
    linear = (module for name, module in network.blocks.named_modules() if "modulation" not in name)
    in_blocks = sum(m.weight.numel() for m in linear if isinstance(m, nn.Linear))
    return in_blocks + network.head.weight.numel()


def flops_per_token(network: DiT, length: int) -> int:
    """6 per weight, and 12 L D per block for attention; forward and backward together.

    Source: Chowdhery et al. 2022 (arXiv:2204.02311), appendix B.
    """
    attention = 12 * length * network.hidden_size * len(network.blocks)
    return 6 * matmul_parameters(network) + attention


def measure(
    steps: dict[str, Callable[[], object]],
    *,
    warm_up: int,
    repeats: int,
    wait: Callable[[], object] | None,
) -> dict[str, float]:
    """Median seconds of each step, the steps taking turns."""
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for turn in range(warm_up + repeats):
        for name, step in steps.items():
            start = time.perf_counter()
            step()
            if wait is not None:
                wait()
            if turn >= warm_up:
                seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


def main() -> None:
    """Measure, print and store."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--warm-up", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument(
        "--only", default="", help="measure and print only rows whose name contains this"
    )
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    device = torch.device(arguments.device)
    variants = [variant for variant in VARIANTS if arguments.only in variant.name]

    square = torch.randn(CEILING_SIZE, CEILING_SIZE, device=device)
    product: Tensor = torch.empty_like(square)
    training = {variant.name: TrainingStep(variant, device) for variant in variants}
    steps: dict[str, Callable[[], object]] = {
        "ceiling": lambda: torch.mm(square, square, out=product),
        **training,
    }
    wait = torch.cuda.synchronize if device.type == "cuda" else None
    seconds = measure(steps, warm_up=arguments.warm_up, repeats=arguments.repeats, wait=wait)

    ceiling = 2 * CEILING_SIZE**3 / seconds["ceiling"]
    rows = []
    for variant in variants:
        network = training[variant.name].network
        tokens = variant.batch * variant.length
        rate = tokens / seconds[variant.name]
        share = rate * flops_per_token(network, variant.length) / ceiling
        size = sum(parameter.numel() for parameter in network.parameters())
        shape = f"{variant.batch} x {variant.length}"
        milliseconds = 1e3 * seconds[variant.name]
        rows.append((variant.name, shape, size, milliseconds, rate, 100 * share))
    table = ResultTable(
        "speed-training",
        "Training speed of the transformer",
        ("network", "batch x length", "parameters", "ms per step", "tokens/s", "% of ceiling"),
        rows,
        (
            f"ceiling: float32 product of {CEILING_SIZE} x {CEILING_SIZE} matrices in the same "
            f"run, {ceiling / 1e9:.0f} GFLOP/s",
            f"medians of {arguments.repeats} steps after {arguments.warm_up} that are not counted; "
            "the rows take turns",
            "model FLOPs: 6 per weight and token, and 12 L D per block for attention; convolutions "
            "and elementwise work count as nothing",
            "the row with adaptive norm has the cost of the original MDLM network",
        ),
    )
    on_cpu = device.type == "cpu"
    name = None if on_cpu else torch.cuda.get_device_name(device)
    threads = arguments.threads if on_cpu else None
    if arguments.only:
        print(table.markdown(environment_of_run(device=name, threads=threads)))
        return
    store(table, device=name, threads=threads)


if __name__ == "__main__":
    main()

"""Forward pass, training step, scoring and sampling as shares of what one core can multiply.

    python -m benchmarks.speed.ceiling --model RUN [--repeats 9] [--smoke]

One thread. The floor is the arithmetic of the matrix products alone, counted by hooks on the linear
layers and from the shapes of attention, at the rate of a product of 1024 x 1024 matrices that is
measured in turns with the rest. Seconds are those of the processor, so that other work on the
machine counts only where it takes cache and bandwidth. A row of scoring or sampling also has its
ratio to the forward passes that it consists of.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.results_table import Cell, ResultTable, finish
from dnamdlm.assembly.models import load_model
from dnamdlm.data.batch import Batch, batch_of_ids
from dnamdlm.data.variants.variant_windows import PairOfWindows
from dnamdlm.diffusion.randomness import row_keys
from dnamdlm.lm.masked import MaskedDiffusionLM
from dnamdlm.lm.sampling import network_calls
from dnamdlm.lm.states.variant_scores import bound_difference, make_pairs, site_log_ratio
from dnamdlm.ops import attention

CEILING_SIZE = 1024
ROWS = 16
STEPS = 32
SAMPLE = f"sample, {STEPS} steps"
ROW_BY_ROW = f"{SAMPLE}, a row in each call"


@contextmanager
def counted_work(lm: MaskedDiffusionLM) -> Iterator[list[int]]:
    """Floating-point operations of the matrix products of forward passes, linear and attention."""
    work = [0]

    def of_linear(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        assert isinstance(module, nn.Linear)
        work[0] += 2 * output.numel() * module.in_features

    def of_attention(q: Tensor, k: Tensor, *rest: Any, **options: Any) -> Tensor:
        work[0] += 4 * q.numel() * k.shape[2]
        return original(q, k, *rest, **options)

    original = attention.functional.scaled_dot_product_attention
    handles = [
        module.register_forward_hook(of_linear)
        for module in lm.backbone.modules()  # pyright: ignore[reportAttributeAccessIssue]
        if isinstance(module, nn.Linear)
    ]
    attention.functional.scaled_dot_product_attention = of_attention
    try:
        yield work
    finally:
        attention.functional.scaled_dot_product_attention = original
        for handle in handles:
            handle.remove()


def inputs_of(lm: MaskedDiffusionLM, length: int) -> tuple[Batch, Tensor, list[PairOfWindows]]:
    """Random windows, the same with half of the bases hidden, and substitutions in them."""
    generator = torch.Generator().manual_seed(0)
    real = torch.tensor(lm.vocabulary.real_ids)
    ids = real[torch.randint(0, 4, (ROWS, length), generator=generator)]
    batch = batch_of_ids(
        list(ids.numpy()), lm.vocabulary, keys=row_keys(0, torch.arange(ROWS)), length=length
    )
    is_hidden = torch.rand(ids.shape, generator=generator) < 0.5
    windows, site = [], length // 2
    for row in range(ROWS):
        other = ids[row].clone()
        other[site] = real[(int(ids[row, site]) - int(real[0]) + 1) % 4]
        slots = torch.arange(length).numpy()
        windows.append(PairOfWindows(ids[row].numpy(), other.numpy(), slots, site, row))
    return batch, torch.where(is_hidden, lm.mask_id, ids), windows


def tasks_of(lm: MaskedDiffusionLM, length: int) -> dict[str, Callable[[], object]]:
    """What is measured."""
    batch, masked, windows = inputs_of(lm, length)
    pairs = make_pairs(windows, lm.vocabulary, 0)
    time_of_rows = torch.full((ROWS,), 0.5)

    def training_step() -> None:
        lm.zero_grad(set_to_none=True)
        terms = lm.loss_terms(batch)
        loss = terms.nats if terms.minimised is None else terms.minimised
        loss.mean().backward()

    def row_by_row() -> None:
        kept, network_calls.POSITIONS_OF_ROWS_CPU = network_calls.POSITIONS_OF_ROWS_CPU, 1
        lm.generate(batch.key, length, num_steps=STEPS)
        network_calls.POSITIONS_OF_ROWS_CPU = kept

    def without_gradients(task: Callable[[], object]) -> Callable[[], object]:
        def run() -> object:
            with torch.inference_mode():
                return task()

        return run

    return {
        "forward pass": without_gradients(lambda: lm.logits(masked, time_of_rows)),
        "training step, without the optimizer": training_step,
        "llr": without_gradients(lambda: site_log_ratio(lm, pairs)),
        "elbo, 2 draws": without_gradients(lambda: bound_difference(lm, pairs, draws=2)),
        "likelihood of evaluate, 2 draws": without_gradients(
            lambda: lm.log_likelihood(batch, draws=2)
        ),
        SAMPLE: lambda: lm.generate(batch.key, length, num_steps=STEPS),
        ROW_BY_ROW: row_by_row,
    }


def measured(tasks: Mapping[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Median processor seconds of each task, in turns."""
    seconds: dict[str, list[float]] = {name: [] for name in tasks}
    for turn in range(repeats + 1):
        for name, task in tasks.items():
            start = time.process_time()
            task()
            if turn:
                seconds[name].append(time.process_time() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


def main() -> None:
    """Measure, print and store."""
    parser = argparse.ArgumentParser(description="Shares of the matrix-product ceiling.")
    parser.add_argument("--model", required=True, help="run folder or checkpoint folder")
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--smoke", action="store_true", help="once, store nothing")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    loaded = load_model(arguments.model)
    lm = loaded.lm
    assert isinstance(lm, MaskedDiffusionLM)
    tasks = tasks_of(lm, loaded.length)
    work: dict[str, int] = {}
    for name, task in tasks.items():
        with counted_work(lm) as counted:
            task()
        # a backward pass has two products for each of the forward pass.
        work[name] = counted[0] * (3 if name.startswith("training") else 1)
    # the trial whether rows may share a call is none of the passes.
    work[SAMPLE] = work[ROW_BY_ROW]
    square = torch.randn(CEILING_SIZE, CEILING_SIZE)
    product = torch.empty_like(square)
    seconds = measured(
        {"ceiling": lambda: torch.mm(square, square, out=product), **tasks},
        1 if arguments.smoke else arguments.repeats,
    )
    rate = 2 * CEILING_SIZE**3 / seconds.pop("ceiling")
    per_operation = seconds["forward pass"] / work["forward pass"]
    rows: list[tuple[Cell, ...]] = [
        (
            name,
            1000 * taken,
            1000 * work[name] / rate,
            100 * work[name] / rate / taken,
            taken / (work[name] * per_operation),
        )
        for name, taken in seconds.items()
    ]
    table = ResultTable(
        theme="speed-ceiling",
        title="Share of the matrix-product ceiling of one core",
        columns=("task", "CPU ms", "floor, ms", "% of the ceiling", "over its forward passes"),
        rows=rows,
        notes=(
            f"{ROWS} windows of {loaded.length}, {loaded.num_parameters:,} parameters, medians of "
            f"{arguments.repeats} in turns; the ceiling is {rate / 1e9:.0f} GFLOPS",
        ),
    )  # fmt: skip
    finish(table, smoke=arguments.smoke, threads=1)


if __name__ == "__main__":
    main()

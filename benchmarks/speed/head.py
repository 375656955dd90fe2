"""What the output layer at chosen positions saves, by the size of the vocabulary.

    python -m benchmarks.speed.head [--threads N] [--device cpu] [--repeats 5] [--only V]

A training step is loss, backward pass and AdamW of masked diffusion; sampling is the ancestral
rule. `everywhere` computes the logits at every position, `chosen` where a token is hidden
(training) or revealed (sampling). Both draw the same masks and tokens. They take turns.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch

from benchmarks.results_table import ResultTable, environment_of_run, store
from dnamdlm.backbones.dit import DiT
from dnamdlm.data.batch import Batch
from dnamdlm.diffusion.randomness import row_keys
from dnamdlm.diffusion.schedules import LogLinear
from dnamdlm.diffusion.times import Stratified
from dnamdlm.lm import places
from dnamdlm.lm.masked import MaskedDiffusionLM
from dnamdlm.tokens.vocabulary import Vocabulary

VOCAB_SIZES = (12, 256, 1024, 30522)
LENGTH = 128
BATCH_SIZE = 8
NUM_STEPS = 64
ALWAYS, NEVER = 0, 1 << 62


class Workload:
    """A model, an optimizer and one fixed batch."""

    def __init__(self, vocab_size: int, device: torch.device) -> None:
        generator = torch.Generator().manual_seed(0)
        torch.manual_seed(0)
        mask_id, pad_id = vocab_size - 2, vocab_size - 1
        vocabulary = Vocabulary(
            symbols=tuple(map(str, range(vocab_size))),
            mask_id=mask_id,
            pad_id=pad_id,
            real_ids=tuple(range(mask_id)),
        )
        backbone = DiT(vocab_size, 256, 6, 4)
        self.lm = MaskedDiffusionLM(backbone, vocabulary, LogLinear(), Stratified()).to(device)
        self.optimizer = torch.optim.AdamW(self.lm.parameters(), lr=1e-4)
        rows = torch.arange(BATCH_SIZE)
        tokens = torch.randint(mask_id, (BATCH_SIZE, LENGTH), generator=generator)
        everything = torch.ones_like(tokens, dtype=torch.bool)
        self.batch = Batch(
            tokens=tokens,
            present=everything,
            valid=everything,
            weight=None,
            key=row_keys(0, rows),
            row=rows,
            global_size=BATCH_SIZE,
            full=True,
        ).to(device)
        self.keys = row_keys(1, rows[:1]).to(device)

    def train(self) -> None:
        """One training step."""
        self.optimizer.zero_grad(set_to_none=True)
        self.lm.loss_terms(self.batch).nats.mean().backward()
        self.optimizer.step()

    def sample(self) -> None:
        """One sequence."""
        self.lm.generate(self.keys, LENGTH, num_steps=NUM_STEPS)


def timed(step: Callable[[], None], smallest: int, wait: Callable[[], None] | None) -> float:
    """Seconds of one step where vocabularies from `smallest` on choose positions."""
    places.SMALL_VOCABULARY = smallest
    start = time.perf_counter()
    step()
    if wait is not None:
        wait()
    return time.perf_counter() - start


def main() -> None:
    """Measure, print and store."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--only", type=int, help="measure and print this vocabulary size only")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    device = torch.device(arguments.device)
    wait = torch.cuda.synchronize if device.type == "cuda" else None
    rows = []
    for vocab_size in [arguments.only] if arguments.only else VOCAB_SIZES:
        workload = Workload(vocab_size, device)
        for name, step in (("training step", workload.train), ("sampling", workload.sample)):
            pairs = [
                (timed(step, NEVER, wait), timed(step, ALWAYS, wait))
                for _ in range(arguments.repeats + 1)
            ]
            everywhere, chosen = map(statistics.median, zip(*pairs[1:], strict=True))
            rows.append((vocab_size, name, 1e3 * everywhere, 1e3 * chosen, everywhere / chosen))
    table = ResultTable(
        "speed-head",
        "The output layer at chosen positions",
        ("vocabulary", "work", "everywhere, ms", "chosen, ms", "times faster"),
        rows,
        (
            f"DiT with 256 channels and 6 blocks, length {LENGTH}; training on {BATCH_SIZE} rows, "
            f"sampling one row in {NUM_STEPS} ancestral steps",
            f"medians of {arguments.repeats} after one that is not counted; the two take turns",
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

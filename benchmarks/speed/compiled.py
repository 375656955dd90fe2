"""Training steps with the loss compiled by torch.compile and without, taking turns.

    python -m benchmarks.speed.compiled [--threads N] [--device cpu] [--repeats 7] [--only NAME]

A step is one micro-batch: noise, network, loss, backward pass, clipping and AdamW. The ratio is
what `trainer.compile=auto` goes by on CPUs (`GAINS_ON_CPU` of `training/compilation.py`). The
folder of compiled code is new in each run.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from benchmarks.results_table import ResultTable, store
from benchmarks.speed.training import measure
from dnamdlm.backbones.bidirectional import Mamba
from dnamdlm.backbones.caduceus import CaduceusPS
from dnamdlm.backbones.dit import DiT
from dnamdlm.data.batch import Batch
from dnamdlm.diffusion import row_keys
from dnamdlm.lm.language_model import Trainable
from dnamdlm.lm.masked import MaskedDiffusionLM
from dnamdlm.tokens.nucleotide import NUCLEOTIDE_VOCABULARY
from dnamdlm.training.compilation import BACKEND, CompiledLoss
from dnamdlm.training.module import TrainingModule
from dnamdlm.training.optimizers import AdamWSettings, WarmupConstant

VOCAB_SIZE = 12
COMPLEMENT = NUCLEOTIDE_VOCABULARY.complement or ()


@dataclass(frozen=True)
class Case:
    """One row of the table."""

    name: str
    build: Callable[[], nn.Module]
    batch: int
    length: int


CASES = (
    Case(
        "DiT 64 x 4, convolutions 9 and 11",
        lambda: DiT(VOCAB_SIZE, 64, 4, 2, conv_width=9, stem_width=11), 32, 128,
    ),
    Case(
        "DiT 256 x 6, adaptive norm, dropout 0.1",
        lambda: DiT(VOCAB_SIZE, 256, 6, 4, time_conditioning=True, dropout=0.1), 4, 512,
    ),
    Case("Mamba 64 x 4", lambda: Mamba(VOCAB_SIZE, 64, 4, tie_embeddings=True), 8, 256),
    Case(
        "CaduceusPS 64 x 4",
        lambda: CaduceusPS(VOCAB_SIZE, COMPLEMENT, 64, 4), 4, 256,
    ),
)  # fmt: skip


class Step:
    """A model, its optimizer and one batch of random bases."""

    def __init__(self, case: Case, device: torch.device, *, is_compiled: bool) -> None:
        torch.manual_seed(0)
        lm = MaskedDiffusionLM(case.build(), NUCLEOTIDE_VOCABULARY).to(device).train()
        assert isinstance(lm, Trainable)
        self.module = TrainingModule(
            lm, AdamWSettings(), WarmupConstant(1), max_steps=10, averaging_decay=0.9,
            loss_terms=CompiledLoss(lm, BACKEND) if is_compiled else None,
        )  # fmt: skip
        self.optimizer = self.module.settings.build(self.module)
        tokens = torch.randint(7, 11, (case.batch, case.length))
        everywhere, index = torch.ones_like(tokens, dtype=torch.bool), torch.arange(case.batch)
        self.batch = Batch(
            tokens, everywhere, everywhere, None,
            key=row_keys(0, index), row=index, global_size=case.batch,
        ).to(device)  # fmt: skip

    def __call__(self) -> None:
        """One training step."""
        self.module.begin_step()
        self.optimizer.zero_grad(set_to_none=True)
        self.module.training_step(self.batch, 0).backward()
        nn.utils.clip_grad_norm_(self.module.parameters(), 1.0)
        self.optimizer.step()


def main() -> None:
    """Measure, print and store."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--warm-up", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--only", default="", help="rows whose name contains this; nothing stored")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    device = torch.device(arguments.device)
    wait = torch.cuda.synchronize if device.type == "cuda" else None
    rows = []
    for case in CASES:
        if arguments.only not in case.name:
            continue
        with tempfile.TemporaryDirectory() as folder:
            os.environ["TORCHINDUCTOR_CACHE_DIR"] = folder
            steps = {
                name: Step(case, device, is_compiled=name == BACKEND) for name in ("plain", BACKEND)
            }
            began = time.perf_counter()
            steps[BACKEND]()
            first = time.perf_counter() - began
            seconds = measure(
                dict(steps), warm_up=arguments.warm_up, repeats=arguments.repeats, wait=wait
            )
        rows.append((
            case.name, f"{case.batch} x {case.length}", 1e3 * seconds["plain"],
            1e3 * seconds[BACKEND], round(seconds["plain"] / seconds[BACKEND], 2), first,
        ))  # fmt: skip
        print(rows[-1], flush=True)
    on_cpu = device.type == "cpu"
    table = ResultTable(
        "speed-compiled",
        "Training steps with the loss compiled by torch.compile",
        ("network", "batch x length", "ms per step", "ms compiled", "gain", "s of the first step"),
        rows,
        (
            f"medians of {arguments.repeats} steps after {arguments.warm_up} that are not counted; "
            "both ways take turns",
            "the first step compiles into an empty folder",
            "scans run as an operator, which is not compiled anew",
        ),
    )  # fmt: skip
    if not arguments.only:
        store(
            table,
            device=None if on_cpu else torch.cuda.get_device_name(device),
            threads=arguments.threads if on_cpu else None,
        )


if __name__ == "__main__":
    main()

"""Rates of `benchmarks.gpu`: training, sampling and scoring, and what they take of the card."""

import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import nn

from benchmarks.model_flops import dit_flops, mamba_flops
from dnamdlm.backbones.bidirectional import Mamba
from dnamdlm.backbones.dit import DiT
from dnamdlm.data.batch import Batch
from dnamdlm.diffusion.randomness import row_keys
from dnamdlm.errors import KernelUnavailable
from dnamdlm.lm.masked import MaskedDiffusionLM
from dnamdlm.ops import set_mode, set_precision
from dnamdlm.ops.precision import rounding_products
from dnamdlm.tokens.nucleotide import NUCLEOTIDE_VOCABULARY
from dnamdlm.training.module import TrainingModule
from dnamdlm.training.optimizers import AdamWSettings, WarmupConstant

Row = tuple[str, float | str | None, str, str]

VOCAB_SIZE = len(NUCLEOTIDE_VOCABULARY)
WARM_UP, STEPS = 2, 3
AFFORDABLE_S = 20.0


@dataclass(frozen=True)
class Case:
    """A network, the shape of a micro-batch, and its FLOPs per token."""

    name: str
    build: Callable[[], nn.Module]
    rows: int
    length: int
    flops: float
    modes: tuple[str, ...] = ("auto",)


def cases(device: torch.device) -> list[Case]:
    """Those of the recipes; tiny ones on a CPU."""
    if device.type == "cpu":
        return [
            Case("transformer", lambda: DiT(VOCAB_SIZE, 16, 1, 2), 2, 16, dit_flops(16, 1, 16)),
            Case("Caduceus", lambda: Mamba(VOCAB_SIZE, 16, 1), 2, 16, mamba_flops(16, 1)),
        ]
    both = ("auto", "portable")
    return [
        Case("Caduceus 118 x 4 (hg38), 1 k", lambda: Mamba(VOCAB_SIZE, 118, 4, tie_embeddings=True),
             128, 1024, mamba_flops(118, 4), both),
        Case("dit_small 768 x 12, 1 k", lambda: DiT(VOCAB_SIZE, 768, 12, 12), 32, 1024,
             dit_flops(768, 12, 1024), both),
        Case("Caduceus 256 x 16, 1 k", lambda: Mamba(VOCAB_SIZE, 256, 16), 32, 1024,
             mamba_flops(256, 16)),
        Case("Caduceus 256 x 16, 131 k", lambda: Mamba(
            VOCAB_SIZE, 256, 16, gradient_checkpointing=True), 1, 131_072, mamba_flops(256, 16)),
        Case("Caduceus 118 x 4, 8 of 131 k", lambda: Mamba(VOCAB_SIZE, 118, 4), 8, 131_072,
             mamba_flops(118, 4)),
    ]  # fmt: skip


def training(device: torch.device) -> Iterator[Row]:
    """Tokens per second, share of the ceiling, memory and waits of micro-batches with updates."""
    ceiling = bfloat16_ceiling(device)
    yield "ceiling", ceiling / 1e12, "TFLOP/s", "bfloat16 product"
    for case in cases(device):
        for mode in case.modes:
            set_mode(mode)
            name = f"{case.name}, ops={mode}"
            try:
                with rounding_products(device, is_wanted=True):
                    yield from _training_of(case, name, device, ceiling)
            except (RuntimeError, ValueError, KernelUnavailable) as error:
                reason = (str(error).strip().splitlines() or [""])[0]
                yield name, None, "", f"{type(error).__name__}: {reason}"
            if device.type == "cuda":
                torch.cuda.empty_cache()
    set_mode("auto")


def _training_of(case: Case, name: str, device: torch.device, ceiling: float) -> list[Row]:
    step = training_step(case, device)
    seconds = seconds_of(step, device)
    rate = case.rows * case.length / seconds
    rows: list[Row] = [
        (f"{name}", rate, "tokens/s", f"{case.rows} x {case.length}, bfloat16"),
        (f"{name}, of the ceiling", 100 * rate * case.flops / ceiling, "%", ""),
    ]
    if device.type == "cuda":
        memory = torch.cuda.max_memory_allocated(device) / 2**30
        rows.append((f"{name}, memory", memory, "GiB", "peak"))
        rows.append((f"{name}, waits", waits_of(step), "per step", "as torch.cuda reports them"))
    return rows


def training_step(case: Case, device: torch.device) -> Callable[[], None]:
    """One micro-batch and one update, as in a run."""
    torch.manual_seed(0)
    lm = MaskedDiffusionLM(case.build(), NUCLEOTIDE_VOCABULARY)
    module = TrainingModule(
        lm, AdamWSettings(), WarmupConstant(1), max_steps=2, averaging_decay=0.999
    )
    module.to(device).train()
    module.average.to(device)
    optimizer = module.settings.build(module)
    batch = random_batch(case.rows, case.length, device)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)

    def step() -> None:
        module.begin_step()
        with torch.autocast(device.type, torch.bfloat16):
            loss = module.training_step(batch, 0)
        loss.backward()
        nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        module.update_average()

    return step


def sampling(device: torch.device) -> list[Row]:
    """Bases per second of the ancestral sampler."""
    is_cpu = device.type == "cpu"
    size, blocks, rows, length, steps = (16, 1, 2, 16, 4) if is_cpu else (768, 12, 64, 1024, 128)
    found: list[Row] = []
    for precision in precisions(device):
        set_precision(precision, device)
        lm = model_of(DiT(VOCAB_SIZE, size, blocks, size // 64 or 2), device)
        keys = row_keys(1, torch.arange(rows, device=device))

        def draw(lm: MaskedDiffusionLM = lm, keys: torch.Tensor = keys) -> None:
            lm.generate(keys, length, num_steps=steps)

        seconds = seconds_of(draw, device, warm_up=1, steps=1)
        remark = f"{rows} x {length}, {steps} steps, {size} x {blocks}"
        found.append((f"ancestral, {precision}", rows * length / seconds, "bases/s", remark))
        if not is_cpu:
            found.append((f"ancestral, {precision}, waits", waits_of(draw) / steps, "per step", ""))
    set_precision("auto", device)
    return found


def scoring(device: torch.device) -> list[Row]:
    """Bases per second of the likelihood, and what another precision does to it."""
    is_cpu = device.type == "cpu"
    size, blocks, rows, length = (16, 1, 2, 16) if is_cpu else (768, 12, 128, 1024)
    lm = model_of(DiT(VOCAB_SIZE, size, blocks, size // 64 or 2), device)
    batch = random_batch(rows, length, device)
    found: list[Row] = []
    exact = 0.0
    for precision in precisions(device):
        set_precision(precision, device)
        nats = lm.log_likelihood(batch, draws=1).nats.sum().item()
        exact = nats if precision == "32-true" else exact
        seconds = seconds_of(lambda: lm.log_likelihood(batch, draws=1), device)
        found.append((f"bound, {precision}", rows * length / seconds, "bases/s", ""))
        found.append((f"bound, {precision}, shift", abs(nats / exact - 1), "relative", ""))
    set_precision("auto", device)
    return found


def precisions(device: torch.device) -> tuple[str, ...]:
    """Those that the device has."""
    return ("32-true", *(("tf32",) if device.type == "cuda" else ()), "bf16-mixed")


def model_of(backbone: nn.Module, device: torch.device) -> MaskedDiffusionLM:
    """A model with random weights, none of which is zero."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in backbone.parameters():
            weight.add_(0.02 * torch.randn(weight.shape, generator=generator))
    return MaskedDiffusionLM(backbone, NUCLEOTIDE_VOCABULARY).to(device).eval()


def random_batch(rows: int, length: int, device: torch.device) -> Batch:
    """Random bases."""
    real = torch.tensor(list(NUCLEOTIDE_VOCABULARY.real_ids))
    tokens = real[torch.randint(4, (rows, length), generator=torch.Generator().manual_seed(0))]
    everywhere = torch.ones(rows, length, dtype=torch.bool)
    index = torch.arange(rows)
    return Batch(
        tokens, everywhere, everywhere, None, key=row_keys(0, index), row=index, global_size=rows
    ).to(device)


def seconds_of(
    step: Callable[[], object], device: torch.device, *, warm_up: int = WARM_UP, steps: int = STEPS
) -> float:
    """Mean seconds of a step; of one where it is long."""
    wait = torch.cuda.synchronize if device.type == "cuda" else (lambda: None)
    for number in range(warm_up):
        started = time.perf_counter()
        step()
        wait()
        if time.perf_counter() - started > AFFORDABLE_S and number + 1 < warm_up:
            break
    started = time.perf_counter()
    done = 0
    while done < steps and (not done or time.perf_counter() - started < AFFORDABLE_S):
        step()
        wait()
        done += 1
    return (time.perf_counter() - started) / done


def waits_of(step: Callable[[], object]) -> int:
    """How often the host waits for the card within a step."""
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            step()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return sum("synchroniz" in str(warning.message) for warning in caught)


def bfloat16_ceiling(device: torch.device) -> float:
    """FLOP/s of a bfloat16 product of square matrices."""
    size = 256 if device.type == "cpu" else 8192
    square = torch.randn(size, size, device=device, dtype=torch.bfloat16)
    seconds = seconds_of(lambda: torch.mm(square, square), device, warm_up=5, steps=10)
    return 2 * size**3 / seconds

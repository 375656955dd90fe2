"""The parts of `benchmarks.gpu`: `python -m benchmarks.gpu_parts NAME [--smoke]` prints JSON rows.

A row is (what, figure, unit, remark), printed as soon as it is known, so that a part that fails or
hangs keeps those before. A part raises where what it checks does not hold.
"""

import argparse
import csv
import hashlib
import importlib.util
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from benchmarks import gpu_rates
from dnamdlm.lm.checkpoint import list_checkpoints
from dnamdlm.ops.selection import describe
from dnamdlm.ops.selfcheck import TOLERANCES, largest_difference, probes
from dnamdlm.training.run_folder import METRICS

Row = tuple[str, float | str | None, str, str]

PACKAGES = ("torch", "triton", "mamba-ssm", "causal-conv1d", "flash-attn", "lightning")
ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Part:
    """A part and the seconds that it may take."""

    run: Callable[[torch.device], Iterable[Row]]
    seconds: int


def environment(device: torch.device) -> list[Row]:
    """Versions, and the cards."""
    rows: list[Row] = []
    for package in PACKAGES:
        try:
            found = version(package)
        except PackageNotFoundError:
            found = "not installed"
        rows.append((package, found, "", ""))
    if device.type == "cpu":
        return [*rows, ("cards", 0, "", "")]
    rows.append(("CUDA of torch", str(torch.version.cuda), "", ""))
    for number in range(torch.cuda.device_count()):
        card = torch.cuda.get_device_properties(number)
        remark = f"sm_{card.major}{card.minor}, {card.multi_processor_count} multiprocessors"
        rows.append((f"card {number}", card.name, "", remark))
        rows.append((f"card {number}, memory", card.total_memory / 2**30, "GiB", ""))
    has_bfloat16 = torch.cuda.is_bf16_supported(including_emulation=False)
    return [*rows, ("bfloat16", "computed" if has_bfloat16 else "emulated", "", "")]


def parity(device: torch.device) -> Iterator[Row]:
    """Every kernel, and the portable form, against the reference in float64."""
    wrong: list[str] = []
    for probe in probes(device):
        for dtype in (torch.float32, torch.bfloat16):
            (about,) = describe([probe.kernel], device, dtype)
            is_usable = about["fused"] == "available"
            name = f"{probe.kernel.primitive}, {str(dtype).removeprefix('torch.')}"
            for mode in ("portable", "fused"):
                form = mode if mode == "portable" else probe.kernel.package
                if mode == "fused" and not is_usable:
                    yield f"{name}, {form}", None, "", about["fused"]
                    continue
                found = largest_difference(probe, device, dtype, mode=mode, wide=torch.float64)
                again = largest_difference(probe, device, dtype, mode=mode, wide=torch.float64)
                remark = "the same in two runs" if again == found else "another in a second run"
                yield f"{name}, {form}", found, "relative", remark
                if not found <= TOLERANCES[dtype]:
                    wrong.append(f"{name}, {form}: {found:.1e}")
    if wrong:
        raise AssertionError("differs from the reference: " + "; ".join(wrong))


def gpu_tests(device: torch.device) -> list[Row]:
    """The tests that are marked gpu."""
    if importlib.util.find_spec("pytest") is None:
        return [("tests", None, "", "pytest is not installed")]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "gpu"]
    folders = ["tests/ops"] if device.type == "cpu" else ["tests"]
    done = subprocess.run(
        [*command, *folders], capture_output=True, text=True, check=False, cwd=ROOT
    )
    lines = [line for line in done.stdout.splitlines() if line.strip()]
    if done.returncode:
        raise AssertionError("\n".join(lines[-5:]))
    return [("tests", lines[-1], "", "")]


def resume(device: torch.device) -> Iterator[Row]:
    """A run that is cut and resumed has the weights of one that is not."""
    different: list[str] = []
    networks: dict[str, tuple[str, ...]] = {"transformer": ()}
    if device.type == "cuda":
        small = ("backbone.hidden_size=32", "backbone.num_blocks=2")
        networks["Caduceus"] = ("backbone=caduceus_ph", *small)
    for name, extra in networks.items():
        with tempfile.TemporaryDirectory() as folder:
            whole = trained(Path(folder) / "whole", device, *extra)
            cut = Path(folder) / "cut"
            trained(cut, device, *extra, steps=4)
            resumed = trained(cut, device, *extra, "resume.allow=[trainer.max_steps]")
        is_same = whole == resumed
        yield name, "same bits" if is_same else "other bits", "", "8 steps, cut after 4"
        if not is_same:
            different.append(name)
    if different:
        raise AssertionError(f"other weights after resuming: {', '.join(different)}")


def several_cards(device: torch.device) -> Iterator[Row]:
    """DDP and FSDP2 over all cards against one card: the loss after the same steps."""
    count = torch.cuda.device_count() if device.type == "cuda" else 1
    if count < 2:
        yield "ranks", None, "", "one card: nothing to compare"
        return
    with tempfile.TemporaryDirectory() as folder:
        for strategy, ranks in (("auto", 1), ("ddp", 2), ("fsdp2", 2)):
            run = Path(folder) / strategy
            trained(run, device, f"trainer.strategy={strategy}", devices=ranks)
            with (run / METRICS).open(newline="", encoding="utf-8") as file:
                losses = [row["train_bits_per_base"] for row in csv.DictReader(file)]
            bits = float(next(loss for loss in reversed(losses) if loss))
            yield f"{strategy}, {ranks} cards", bits, "bits per base", "training loss"


def trained(
    run_dir: Path, device: torch.device, *overrides: str, steps: int = 8, devices: int = 1
) -> str:
    """Hash of the last weights of a tiny run on the embedded genome."""
    accelerator = "cpu" if device.type == "cpu" else "gpu"
    command = [
        sys.executable, "-m", "dnamdlm.train", "config=tiny", f"run_dir={run_dir}",
        f"trainer.max_steps={steps}", "trainer.valid_every=100", "trainer.valid_windows=2",
        "trainer.checkpoint_every=4", "trainer.log_every=4", f"trainer.accelerator={accelerator}",
        f"trainer.devices={devices}", *overrides,
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    if done.returncode:
        raise RuntimeError(" / ".join(done.stderr.strip().splitlines()[-2:]))
    newest = max(list_checkpoints(run_dir / "checkpoints"), key=lambda path: path.name)
    digest = hashlib.sha256()
    for weights in sorted(newest.glob("*.safetensors")):
        digest.update(weights.read_bytes())
    return digest.hexdigest()


PARTS = {
    "environment": Part(environment, 30),
    "parity": Part(parity, 60),
    "tests": Part(gpu_tests, 90),
    "resume": Part(resume, 110),
    "several cards": Part(several_cards, 80),
    "training": Part(gpu_rates.training, 150),
    "sampling": Part(gpu_rates.sampling, 40),
    "scoring": Part(gpu_rates.scoring, 40),
}


def main() -> None:
    """Run one part."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("part", choices=sorted(PARTS))
    parser.add_argument("--smoke", action="store_true")
    chosen = parser.parse_args()
    device = torch.device("cpu" if chosen.smoke else "cuda")
    for row in PARTS[chosen.part].run(device):
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()

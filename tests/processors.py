"""Run the numerical tests as other processors would compute them.

    python -m tests.processors [--workers 2] [further options of pytest]

A processor decides how sums are cut into vectors, and so how they round. The libraries read from
the environment which instructions they may use: ATen `ATEN_CPU_CAPABILITY`, oneDNN
`ONEDNN_MAX_CPU_ISA`, OpenBLAS (under numpy) `OPENBLAS_CORETYPE`, and MKL `MKL_CBWR` everywhere and
`MKL_ENABLE_INSTRUCTIONS` on Intel processors alone. A variable without a reader has no effect, so
that the settings are the same on every machine; a setting that the processor cannot run, or that
asks for what it does by itself, is left out, and the output says so. One thread as found is what
`make test` runs; two threads are run once, with AVX2 or, where that is not another kind, as found.
"""

import argparse
import os
import platform
import subprocess
import sys
import time
from dataclasses import dataclass, field

FOLDERS = ("ops", "diffusion", "backbones", "lm", "evaluation", "training", "assembly")
# what takes long there and compares no floating-point numbers.
LEFT_OUT = (
    "assembly/test_checks_before_work.py",
    "assembly/test_configs.py",
    "assembly/test_doctor.py",
    "assembly/test_labels.py",
    "assembly/test_objectives.py",
    "assembly/test_part_runner.py",
    "assembly/test_process_starts.py",
    "assembly/test_quality.py",
    "assembly/test_recipes.py",
    "assembly/test_text_recipes.py",
    "assembly/test_text_samples.py",
    "assembly/test_text_sampling.py",
    "assembly/test_trusted_packages.py",
    "assembly/test_workers.py",
    "evaluation/test_quality.py",
    "lm/test_markov.py",
    "training/test_checkpointing.py",
    "training/test_run_folder.py",
    "training/test_signals.py",
)
WITHOUT = "not (refused or mistake or forbidden or signal)"


@dataclass(frozen=True)
class Setting:
    """A kind of processor: its name, number of threads and environment.

    Attributes:
        needs: the ATen capability on which it is another kind; empty for all.
        superseded_on: the ATen capability on which another setting does as well.
    """

    name: str
    threads: int
    environment: dict[str, str] = field(default_factory=dict)
    needs: str = ""
    superseded_on: str = ""


SETTINGS = (
    Setting(
        "without vector extensions", 1,
        {"ATEN_CPU_CAPABILITY": "default", "MKL_ENABLE_INSTRUCTIONS": "SSE4_2",
         "MKL_CBWR": "COMPATIBLE", "ONEDNN_MAX_CPU_ISA": "SSE41",
         "OPENBLAS_CORETYPE": "Prescott" if platform.machine() in ("x86_64", "AMD64") else ""},
    ),
    Setting(
        "with AVX2", 2,
        {"ATEN_CPU_CAPABILITY": "avx2", "MKL_ENABLE_INSTRUCTIONS": "AVX2",
         "ONEDNN_MAX_CPU_ISA": "AVX2"},
        needs="AVX512",
    ),
    Setting("as found", 2, superseded_on="AVX512"),
)  # fmt: skip


_CHOSEN = {name for setting in SETTINGS for name in setting.environment}


def environment_of(setting: Setting) -> dict[str, str]:
    """The environment of the tests; threads that wait do not take the core of another."""
    inherited = {name: value for name, value in os.environ.items() if name not in _CHOSEN}
    threads = {"OMP_NUM_THREADS": str(setting.threads), "MKL_NUM_THREADS": str(setting.threads)}
    given = {name: value for name, value in setting.environment.items() if value}
    return inherited | {"OMP_WAIT_POLICY": "PASSIVE"} | threads | given


def capability(environment: dict[str, str]) -> str:
    """What ATen uses in this environment, e.g. AVX2."""
    code = "import torch; print(torch.backends.cpu.get_cpu_capability())"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def run_tests(setting: Setting, workers: int, options: list[str]) -> tuple[int, str]:
    """Run the tests in one setting; gives the exit code and one line of what was run."""
    environment, start = environment_of(setting), time.monotonic()
    found = capability(environment)
    shown = " ".join(
        f"{name}={environment[name]}" for name in setting.environment if name in environment
    )
    threads = "1 thread" if setting.threads == 1 else f"{setting.threads} threads"
    title = f"{setting.name} (ATen {found}, {threads})"
    print(f"\n--- {title}\n    {shown}", flush=True)
    command = [sys.executable, "-m", "pytest", "-q", "-n", str(workers), "-k", WITHOUT]
    command += ["-m", "not slow and not faults", *options]
    command += [f"--ignore=tests/{path}" for path in LEFT_OUT]
    command += [f"tests/{folder}" for folder in FOLDERS]
    done = subprocess.run(command, env=environment, check=False)
    result = "passed" if done.returncode == 0 else "FAILED"
    return done.returncode, f"{result} in {time.monotonic() - start:4.0f} s  {title}"


def main(arguments: list[str]) -> int:
    """Run every setting that this processor can run; 1 if a test fails in any of them."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--workers", type=int, default=2, help="processes that run tests")
    given, options = parser.parse_known_args(arguments)
    found = capability(environment_of(SETTINGS[-1]))
    lines, failed = [], False
    for setting in SETTINGS:
        if (setting.needs and found != setting.needs) or setting.superseded_on == found:
            lines.append(f"left out          {setting.name}: this processor has {found}")
            continue
        code, line = run_tests(setting, given.workers, options)
        lines.append(line)
        failed = failed or code != 0
    print(f"\nnumerical tests on {platform.machine()}, {os.cpu_count()} cores:")
    print("\n".join(lines))
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Who may import what, and what an import may cost."""

import subprocess
import sys

import pytest

from tests.repository.sources import ROOT, SHIPPED, imported_packages, name_of, python_files

# package -> the only places of dnamdlm/ that may import it
RESERVED = {
    "lightning": ("dnamdlm/training/",),
    "pytorch_lightning": (),
    "hydra": ("dnamdlm/command_line.py", "dnamdlm/composing.py", "dnamdlm/quoting.py"),
    "omegaconf": ("dnamdlm/command_line.py", "dnamdlm/composing.py", "dnamdlm/assembly/"),
    "mamba_ssm": ("dnamdlm/ops/kernels/",),
    "causal_conv1d": ("dnamdlm/ops/kernels/",),
    "flash_attn": ("dnamdlm/ops/kernels/",),
    "triton": ("dnamdlm/ops/kernels/",),
    "transformers": ("dnamdlm/hf/", "dnamdlm/evaluation/text/scorers.py"),
    "data_prep": (),
    "benchmarks": (),
    "tests": (),
}  # fmt: skip

OPTIONAL = ("mamba_ssm", "causal_conv1d", "flash_attn", "transformers", "tokenizers", "datasets",
            "tensorboard", "wandb")  # fmt: skip

IMPORT_EVERYTHING = f"""
import importlib, importlib.abc, pkgutil, sys

class Absent(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {OPTIONAL!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Absent())
import dnamdlm
names = [module.name for module in pkgutil.walk_packages(dnamdlm.__path__, "dnamdlm.")]
for name in names:
    # its classes extend those of transformers.
    if name != "dnamdlm.hf.auto_classes":
        importlib.import_module(name)
print(len(names))
"""


def run_python(code: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_the_import_contracts_hold():
    check = (
        "from importlinter.cli import lint_imports as lint; raise SystemExit(lint(no_cache=True))"
    )
    done = run_python(check)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("package", RESERVED)
def test_a_reserved_package_is_imported_only_in_its_place(package):
    importers = [
        name_of(path) for path in python_files("dnamdlm") if package in imported_packages(path)
    ]
    assert [name for name in importers if not name.startswith(RESERVED[package])] == []


def test_the_tests_and_benchmarks_stay_out_of_the_shipped_packages():
    importers = [
        name_of(path) for path in python_files(*SHIPPED) if "tests" in imported_packages(path)
    ]
    assert importers == []


def test_importing_the_package_loads_no_heavy_library():
    heavy = ("torch", "lightning", "hydra", "pandas", "matplotlib", "numpy", "sklearn")
    done = run_python(f"import sys, dnamdlm; print(*({set(heavy)!r} & set(sys.modules)))")
    assert (done.stdout.split(), done.stderr) == ([], "")


def test_using_a_model_loads_no_framework_of_training():
    code = "import sys, dnamdlm; dnamdlm.load('yeast-demo', device='cpu').fill('ACGN')"
    done = run_python(
        f"{code}; print(*({{'lightning', 'hydra', 'transformers'}} & set(sys.modules)))"
    )
    assert (done.stdout.split(), done.stderr) == ([], "")


def test_every_module_imports_without_the_optional_extras():
    done = run_python(IMPORT_EVERYTHING)
    assert done.returncode == 0, done.stderr
    # packages count too, files named __init__.py but the topmost
    assert int(done.stdout) == len(python_files("dnamdlm")) - 1

"""The files that describe the project agree with each other."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

import dnamdlm
from tests.repository.sources import ROOT, name_of

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
PINNED_EXTRAS = ("text", "dna", "triton", "loggers", "cluster", "dev")


def pins() -> dict[str, Version]:
    """Package -> version, from constraints.txt."""
    found: dict[str, Version] = {}
    for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            name, version = re.fullmatch(r"([\w.-]+)==([\w.]+)", line).groups()
            assert canonicalize_name(name) not in found, f"{name} is pinned twice"
            found[canonicalize_name(name)] = Version(version)
    return found


def test_the_version_is_the_same_everywhere():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == PROJECT["version"] == dnamdlm.__version__
    assert citation["license"] == PROJECT["license"]


@pytest.mark.parametrize("extra", ["", *PINNED_EXTRAS])
def test_each_requirement_is_pinned_within_its_bounds(extra):
    requirements = [
        Requirement(line) for line in (EXTRAS[extra] if extra else PROJECT["dependencies"])
    ]
    pinned = pins()
    outside = [
        str(requirement)
        for requirement in requirements
        if canonicalize_name(requirement.name) not in pinned
        or not requirement.specifier.contains(pinned[canonicalize_name(requirement.name)])
    ]
    assert outside == []


def test_no_requirement_of_the_core_is_a_fused_kernel_or_a_text_library():
    core = {canonicalize_name(Requirement(line).name) for line in PROJECT["dependencies"]}
    optional = {
        canonicalize_name(Requirement(line).name)
        for extra in ("kernels", "triton", "text", "dna", "loggers")
        for line in EXTRAS[extra]
    }
    assert core & optional == set()


def test_the_conda_environment_installs_this_package_under_the_constraints():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    (pip,) = [entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict)]
    assert pip == ["-c constraints.txt", "-e ."]
    (python,) = [entry for entry in environment["dependencies"] if str(entry).startswith("python=")]
    assert python.removeprefix("python=") in PROJECT["requires-python"]


def yaml_files() -> list[Path]:
    return [ROOT / ".pre-commit-config.yaml", *sorted((ROOT / "configs").rglob("*.yaml"))]


@pytest.mark.parametrize("path", yaml_files(), ids=name_of)
def test_yaml_file_parses_to_a_mapping_or_to_nothing(path):
    assert isinstance(yaml.safe_load(path.read_text(encoding="utf-8")), dict | None)


def test_the_make_targets_of_the_readme_exist():
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M)
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    # commands, not prose: at the start of a line or of a code span
    named = set(re.findall(r"(?:^|`)make ([a-z-]+)", readme, re.M))
    assert {"demo", "test"} <= named <= set(targets)

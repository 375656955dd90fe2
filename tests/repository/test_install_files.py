"""Recipes for images, conda, pixi and a forge agree with the package and with each other."""

import re
import tomllib

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests.repository.sources import ROOT
from tests.repository.test_metadata import EXTRAS, PROJECT, pins

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yaml"))
# the names that two packages have on conda.
ON_CONDA = {"torch": "pytorch", "matplotlib": "matplotlib-base"}


def locked():
    """Package -> (version, number of hashes), from packaging/requirements.lock."""
    text = (ROOT / "packaging" / "requirements.lock").read_text(encoding="utf-8")
    text = re.sub(r"\\\n\s*", "", text)
    found = {}
    for line in text.splitlines():
        if not line.startswith("#"):
            name, version, hashes = re.fullmatch(
                r"([\w.-]+)==([\w.]+) ((?:--hash=sha256:[0-9a-f]{64} ?)+)", line
            ).groups()
            found[canonicalize_name(name)] = Version(version), hashes.count("sha256")
    return found


def test_the_lock_has_a_hash_for_every_package_of_the_core_in_its_tested_version():
    found, pinned = locked(), pins()
    core = {canonicalize_name(Requirement(line).name) for line in PROJECT["dependencies"]}
    assert core <= found.keys()
    assert min(hashes for _, hashes in found.values()) >= 1
    tested = {name: pinned[name] for name in found if name in pinned}
    assert {name: found[name][0] for name in tested} == tested
    # what torch brings for CUDA is named by torch itself.
    assert all(re.match("nvidia-|cuda-|triton$", name) for name in found.keys() - pinned.keys())


def recipe():
    """The conda recipe without its templates."""
    text = (ROOT / "packaging" / "conda" / "meta.yaml").read_text(encoding="utf-8")
    variables = dict(re.findall(r'{% set (\w+) = "(.*?)" %}', text))
    text = re.sub(r"{%.*?%}", "", text)
    return yaml.safe_load(re.sub(r"{{ (\w+).*?}}", lambda m: variables.get(m[1], "x"), text))


def test_the_conda_recipe_has_the_requirements_of_the_package():
    found = recipe()
    assert found["package"] == {"name": PROJECT["name"], "version": PROJECT["version"]}
    (python, *others) = found["requirements"]["run"]
    assert python == f"python {PROJECT['requires-python']}"
    wanted = {ON_CONDA.get((r := Requirement(line)).name, r.name): r.specifier
              for line in PROJECT["dependencies"]}  # fmt: skip
    split = dict(line.split(" ") for line in others)
    assert {name: SpecifierSet(bounds) for name, bounds in split.items()} == wanted
    assert found["build"]["entry_points"] == [f"dnamdlm = {PROJECT['scripts']['dnamdlm']}"]
    for file in found["about"]["license_file"]:
        assert (ROOT / file).is_file()


def test_the_images_have_the_tested_python_and_torch():
    constraints = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    tested = re.search(r"for Python (\d+\.\d+)", constraints)[1]
    for name in ("Dockerfile", "apptainer.def"):
        text = (ROOT / name).read_text(encoding="utf-8")
        assert set(re.findall(r"python:(\d+\.\d+)-", text)) == {tested}
        assert "-c " in text
        for extras in re.findall(r"\[([a-z,]+)\]", text):
            assert set(extras.split(",")) <= set(EXTRAS)
    docker = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    (torch,) = re.findall(r"torch==([\d.]+)", docker)
    assert Version(torch) == pins()["torch"]


def test_what_the_image_is_built_from_is_not_left_out():
    left_out = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    needed = ["dnamdlm", "configs", "data_prep", "pyproject.toml", "constraints.txt",
              *PROJECT["license-files"], PROJECT["readme"]]  # fmt: skip
    assert not set(needed) & set(left_out)


def test_pixi_runs_commands_of_the_checkout():
    found = tomllib.loads((ROOT / "pixi.toml").read_text(encoding="utf-8"))
    python = found["dependencies"]["python"].removesuffix(".*")
    assert Version(python) in SpecifierSet(PROJECT["requires-python"])
    assert set(found["pypi-dependencies"]["dnamdlm"]["extras"]) <= set(EXTRAS)
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M)
    for command in found["tasks"].values():
        assert set(re.findall(r"make ([a-z-]+)", command)) <= set(targets)


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_parses_and_may_write_nothing_but_what_it_says(path):
    found = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert found["permissions"] == {"contents": "read"}
    for job in found["jobs"].values():
        for step in job["steps"]:
            assert {"uses", "run"} & set(step)
            if "uses" in step:
                assert re.fullmatch(r"[\w-]+/[\w-]+@(v\d+|release/v\d+)", step["uses"])
    text = path.read_text(encoding="utf-8")
    assert "password" not in text
    assert "secrets." not in text


def test_the_matrix_spans_the_pythons_and_two_versions_of_torch():
    jobs = yaml.safe_load((ROOT / ".github/workflows/test.yaml").read_text(encoding="utf-8"))[
        "jobs"
    ]
    matrix = jobs["ranges"]["strategy"]["matrix"]
    allowed = SpecifierSet(PROJECT["requires-python"])
    assert all(Version(version) in allowed for version in matrix["python"])
    (floor,) = [Requirement(line) for line in PROJECT["dependencies"] if line.startswith("torch")]
    oldest = min(Version(part.version) for part in floor.specifier)
    assert f"torch=={oldest}.*" in matrix["torch"]

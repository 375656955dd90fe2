"""The control flow of a GPU, on a pretended one: devices, waits, launches and fused packages.

Marked slow, since `make test` has no time for it; `make pretended` runs it, and so does CI. The
counts of `counts.json` may only fall: where one does, write the new one with
`python -m tests.gpu.count`.
"""

import functools
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.repository.sources import ROOT

pytestmark = pytest.mark.slow

COUNTS = Path(__file__).with_name("counts.json")
STORED = json.loads(COUNTS.read_text(encoding="utf-8"))
# matrix products of bfloat16 in another order of operators, of a loss of about 1.4 nats.
LOSS_TOLERANCE = 0.02
BASES = "ACGTTGCATAGCCATACGATCGGATTACAGCTAGCAACGATCATCGACTACGACTACGGACTAATCGACCAGCATTACGA"


def rows_of(group, folder):
    """The rows of a group of scenarios, which run in a process of their own."""
    if shutil.which("g++") is None:
        pytest.skip("needs g++")
    done = subprocess.run(
        [sys.executable, "-m", "tests.helpers.gpu_scenarios", group, str(folder)],
        capture_output=True, text=True, check=False, cwd=ROOT, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def _refuse_errors(rows):
    failed = [f"{name}: {row['error']}" for name, row in rows.items() if "error" in row]
    assert not failed, "\n".join(failed)


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    """The rows of a group, run once."""
    return functools.cache(lambda group: rows_of(group, tmp_path_factory.mktemp(group)))


@pytest.mark.parametrize("group", ["training", "sampling"])
def test_devices_are_not_mixed_and_counts_only_fall(group, rows):
    rows = rows(group)
    _refuse_errors(rows)
    found = {name: {key: row[key] for key in ("waits", "launches")} for name, row in rows.items()}
    stored = STORED[group]
    assert found.keys() == stored.keys()
    risen = {
        f"{name}, {key}": (found[name][key], most, rows[name]["where"])
        for name, row in stored.items()
        for key, most in row.items()
        if found[name][key] > most
    }
    assert not risen
    assert found == stored, "a count fell: write it down with python -m tests.gpu.count"


def test_the_same_tokens_are_drawn_as_on_a_cpu(rows):
    assert [name for name, row in rows("sampling").items() if not row["same"]] == []


def test_nothing_waits_in_a_training_step():
    assert {name: row["waits"] for name, row in STORED["training"].items() if row["waits"]} == {}


def test_a_step_of_a_sampler_waits_twice_at_most():
    assert {
        name: row["waits"] for name, row in STORED["sampling"].items() if row["waits"] > 2
    } == {}


def test_parts_of_what_was_checked_are_not_checked_again(tmp_path):
    rows = rows_of("parts", tmp_path)
    _refuse_errors(rows)
    assert {name: row["waits"] for name, row in rows.items() if row["waits"]} == {}
    assert rows["rows of a padded batch"]["is_padded"]
    assert rows["uniforms"]["launches"] == 1
    assert rows["uniforms"]["same"]


def test_the_fused_packages_get_what_they_demand_and_give_the_portable_loss(tmp_path):
    rows = rows_of("fused", tmp_path)
    _refuse_errors(rows)
    for name, row in rows.items():
        wanted = {"flash-attn"} if name.startswith("dit") else {"mamba-ssm", "causal-conv1d"}
        assert {package for package, count in row["calls"].items() if count} == wanted
        assert row["loss"] == pytest.approx(row["plain"]["loss"], abs=LOSS_TOLERANCE)
        assert row["norm"] == pytest.approx(row["plain"]["norm"], rel=0.05)
        if not name.startswith("dit"):
            assert row["launches"] < row["plain"]["launches"]
        assert row["waits"] <= 1  # the packing of a padded batch


def test_broken_packages_are_named_with_the_reason_and_not_used(tmp_path):
    rows = rows_of("broken", tmp_path)
    _refuse_errors(rows)
    reasons = {
        "RuntimeError": "it raises RuntimeError in torch.",
        "wrong": "it differs from the reference by ",
        "ImportError": "does not import (cannot import name ",
    }
    assert rows["sound"]["refused"] == []
    assert {row["runs"] for row in rows["sound"]["rows"]} == {"fused"}
    for kind, reason in reasons.items():
        assert {row["runs"] for row in rows[kind]["rows"]} == {"portable"}
        assert all(reason in row["fused"] for row in rows[kind]["rows"])
        assert rows[kind]["loss"] == pytest.approx(rows["sound"]["loss"], abs=LOSS_TOLERANCE)
        # a package that does not import is nothing to warn of.
        assert len(rows[kind]["refused"]) == (0 if kind == "ImportError" else 3)


def test_every_command_runs_on_the_card(tmp_path):
    _write_inputs(tmp_path)
    _refuse_errors(rows_of("commands", tmp_path))


def test_commands_run_with_broken_packages_and_say_why_they_are_not_used(tmp_path):
    kinds = ("ImportError", "RuntimeError", "wrong")
    for kind in kinds:
        (tmp_path / kind).mkdir()
        _write_inputs(tmp_path / kind)
    rows = rows_of("broken commands", tmp_path)
    _refuse_errors(rows)
    assert rows.keys() == set(kinds)
    for command, texts in rows["RuntimeError"].items():
        assert sum("it raises RuntimeError" in text for text in texts) == 3, command
    for command, texts in rows["wrong"].items():
        assert sum("it differs from the reference by" in text for text in texts) == 3, command
    # a package that does not import is nothing to warn of; `doctor` names it.
    assert {command: texts for command, texts in rows["ImportError"].items() if texts} == {}


def _write_inputs(tmp_path):
    """A genome, a variant and a table of labels."""
    (tmp_path / "g.fa").write_text(f">a\n{BASES}\n>b\n{BASES[::-1]}\n")
    head = "##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
    (tmp_path / "v.vcf").write_text(f"{head}a\t5\t.\t{BASES[4]}\tC\t.\t.\t.\n")
    rows = [f"{'ACGT' * 8}{'AC' * i},{'yes' if i % 2 else 'no'}\n" for i in range(20)]
    (tmp_path / "t.csv").write_text("sequence,label\n" + "".join(rows))

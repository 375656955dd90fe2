"""The modules for Nextflow: their form, and their commands over four shards as Nextflow runs them.

Nextflow itself is a program for Java, which its package of PyPI downloads when it is first used;
where it is installed, it must give over four shards the bytes of one command. Everywhere the
scripts of the modules are read here, the few forms of Groovy that they use are evaluated, and bash
runs what comes out in a folder of its own for each task, with links to the inputs. Where Groovy is
installed, it must parse the files and make the same commands.
"""

import json
import os
import random
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

import dnamdlm
from tests.entries.commands import run
from tests.helpers.entries import composed
from tests.helpers.every_nextflow_module import ALL, ALL_SETTINGS

ROOT = Path(__file__).resolve().parents[2]
MODULES = ROOT / "workflows" / "nextflow" / "modules" / "dnamdlm"
NAMES = ("score", "embed", "tracks", "train", "gather")
LABELS = ("input", "output", "when", "script", "stub")


def sections(name):
    """Label -> text of a process."""
    text = (MODULES / name / "main.nf").read_text(encoding="utf-8")
    found = re.fullmatch(r"process (\w+) \{\n(.*)^\}\n", text, re.DOTALL | re.MULTILINE)
    assert found, "one process"
    assert found[1] == f"DNAMDLM_{name.upper()}"
    parts = re.split(r"^    (\w+):\n", found[2], flags=re.MULTILINE)
    assert tuple(parts[1::2]) == LABELS
    return dict(zip(parts[1::2], parts[2::2], strict=True)) | {"head": parts[0]}


def value(expression, names):
    """An expression: literals, names with dots, `a ?: b` and `a ? b : c`."""
    text = expression.strip()
    if found := re.fullmatch(r"(\S+) \?: (.+)", text):
        return value(found[1], names) or value(found[2], names)
    if found := re.fullmatch(r"(\w+) \? (.+) : (.+)", text):
        return value(found[2] if names[found[1]] else found[3], names)
    if text[0] == text[-1] == "'":
        return text[1:-1]
    if text[0] == text[-1] == '"':
        return filled(text[1:-1], names)
    first, *rest = text.split(".")
    assert re.fullmatch(r"\w+", first), text
    found = names[first]
    for part in rest:
        found = found.get(part) if isinstance(found, dict) else getattr(found, part)
    return found


def filled(text, names):
    """A text in double quotes of Groovy."""
    return re.sub(
        r"\\(.)|\$\{([\w.]+)\}",
        lambda match: match[1] or str(value(match[2], names)),
        text,
        flags=re.DOTALL,
    )


def command_of(name, label, **inputs):
    """What bash gets to run."""
    ext = {key: inputs.pop(key) for key in ("args", "prefix", "suffix") if key in inputs}
    names = {"task": SimpleNamespace(ext=ext, cpus=1), **inputs}
    before, text, after = sections(name)[label].split('"""')
    assert not after.strip()
    for line in filter(None, map(str.strip, before.splitlines())):
        target, expression = re.fullmatch(r"(?:def )?(\w+)\s+= (.+)", line).groups()
        names[target] = value(expression, names)
    return filled(text, names), names


def outputs_of(name):
    """Name -> pattern of what a process gives."""
    found = re.findall(r'path\("([^"]+)"\)\s*, emit: (\w+)', sections(name)["output"])
    return {emit: pattern for pattern, emit in found}


@pytest.fixture
def task(tmp_path, monkeypatch):
    """Runs a task in a folder of its own; gives that folder."""
    shim = tmp_path / "bin" / "dnamdlm"
    shim.parent.mkdir()
    shim.write_text(f'#!/bin/bash\nexec {sys.executable} -m dnamdlm "$@"\n')
    shim.chmod(0o755)
    monkeypatch.setenv("PATH", str(shim.parent), prepend=":")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    number = 0

    def task(script, staged):
        nonlocal number
        number += 1
        folder = tmp_path / f"task{number}"
        folder.mkdir()
        for name, source in staged.items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).symlink_to(source)
        # as Nextflow does.
        ended = subprocess.run(
            ["bash", "-ueo", "pipefail", "-c", script], cwd=folder, capture_output=True, text=True,
            check=False, timeout=300,
        )  # fmt: skip
        assert ended.returncode == 0, ended.stderr
        return folder

    return task


@pytest.mark.parametrize("name", NAMES)
def test_a_module_has_the_form_of_nf_core(name):
    found = sections(name)
    assert 'tag "$meta.id"' in found["head"]
    assert "label 'process_" in found["head"]
    assert 'conda "${moduleDir}/environment.yml"' in found["head"]
    assert found["when"].strip() == "task.ext.when == null || task.ext.when"
    assert "topic: versions, emit: versions_dnamdlm" in found["output"]
    # what is given is used.
    inputs = re.findall(r"(?:val|path)\(?\s*(\w+)", found["input"])
    if name != "gather":
        for given in set(inputs) - {"meta", "meta2", "index"}:
            assert re.search(rf"\b{given}\b", found["script"]), given
    about = yaml.safe_load((MODULES / name / "meta.yml").read_text(encoding="utf-8"))
    assert about["name"] == f"dnamdlm_{name}"
    channels = [item if isinstance(item, list) else [item] for item in about["input"]]
    assert [key for channel in channels for field in channel for key in field] == inputs
    assert [*outputs_of(name), "versions_dnamdlm"] == list(about["output"])
    environment = yaml.safe_load((MODULES / name / "environment.yml").read_text(encoding="utf-8"))
    assert environment["dependencies"][-1] == {"pip": ["dnamdlm==0.1.0"]}


@pytest.mark.parametrize("name", NAMES[:-1])
def test_the_settings_of_a_command_are_those_of_its_entry(name):
    given = {
        "meta": SimpleNamespace(id="x"), "shard": "1/4", "model": "m", "fasta": "g.fa",
        "variants": "v.vcf", "bed": "i.bed", "annotation": "g.gff3",
    }  # fmt: skip
    script, _ = command_of(name, "script", **given)
    words = script.replace("\\\n", " ").split()
    assert words[:2] == ["dnamdlm", name]
    # an unknown one is refused here.
    composed(name, *words[2:])
    bare, _ = command_of(name, "script", **{**given, "shard": "", "model": "", "bed": []})
    assert "shard" not in bare
    assert "bed=" not in bare


@pytest.mark.parametrize("shard", ["", "2/4"])
@pytest.mark.parametrize("name", NAMES)
def test_a_stub_makes_what_the_process_gives(task, tmp_path, name, shard):
    parts = tmp_path / "x.tsv.parts"
    parts.mkdir()
    staged = {"shard1/x.tsv.parts": parts} if name == "gather" else {}
    script, names = command_of(name, "stub", meta=SimpleNamespace(id="x"), shard=shard)
    folder = task(script, staged)
    patterns = {emit: filled(pattern, names) for emit, pattern in outputs_of(name).items()}
    made = {emit for emit, pattern in patterns.items() if list(folder.glob(pattern))}
    whole = {"score": "scores", "embed": "embeddings", "train": "run", "gather": "joined"}
    is_shard = shard and name not in ("train", "gather")
    assert made == {"parts" if is_shard else whole.get(name, name)}


CASES = {
    "score": (
        "o.tsv", "scores", "scores=[llr] batch_size=4 part_rows=1",
        ["variants=v.csv", "data.fasta=g.fa"], {"variants": "v.csv", "index": []},
    ),
    "embed": (
        "o.parquet", "embeddings", "batch_size=4 part_rows=1", ["data.fasta=g.fa"], {"bed": []},
    ),
    "tracks": (
        "o", "tracks", "batch_size=2 stride=2 part_rows=1",
        ["data.fasta=g.fa", "data.annotation=null"], {"bed": [], "annotation": []},
    ),
}  # fmt: skip


@pytest.fixture
def data(tmp_path, monkeypatch):
    folder = tmp_path / "data"
    folder.mkdir()
    draw = random.Random(3)
    bases = "".join(draw.choices("ACGT", k=2400))
    (folder / "g.fa").write_text(f">a\n{bases}\n>b\n{bases[:700]}\n")
    rows = [f"a,{i},{bases[i - 1]},{'CA'[bases[i - 1] != 'A']}" for i in range(9, 2300, 9)]
    (folder / "v.csv").write_text("\n".join(["chrom,pos,ref,alt", *rows]) + "\n")
    monkeypatch.chdir(folder)
    return folder


def content_of(path):
    if path.is_file():
        return path.read_bytes()
    return {item.name: item.read_bytes() for item in path.iterdir()}


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_four_shards_give_the_bytes_of_one_command(task, data, name):
    target, emit, given, settings, inputs = CASES[name]
    run(name, "model=yeast-demo", *settings, *given.split(), "threads=1", f"out={target}")
    names = {
        "meta": SimpleNamespace(id="o"), "fasta": "g.fa", "model": [],
        "args": f"model=yeast-demo {given}", **inputs,
    }  # fmt: skip
    staged = {file: data / file for file in ("g.fa", "v.csv")}
    gathered = {}
    for number in (3, 1, 4, 2):
        script, found = command_of(name, "script", **names, shard=f"{number}/4")
        folder = task(script, staged)
        assert not list(folder.glob(filled(outputs_of(name)[emit], found)))
        (parts,) = folder.glob(filled(outputs_of(name)["parts"], found))
        gathered[f"shard{len(gathered) + 1}/{parts.name}"] = parts
    script, _ = command_of("gather", "script", meta=names["meta"])
    joined = task(script, gathered)
    assert [path.name for path in (joined / "joined").iterdir()] == [target]
    assert content_of(joined / "joined" / target) == content_of(data / target)


TRAINING = (
    "config=tiny data.length=64 data.valid=[b] data.test=null data.train=[a] "
    "trainer.max_steps=2 trainer.valid_windows=2 trainer.global_batch_size=4 "
    "trainer.accelerator=cpu"
)


@pytest.mark.slow
def test_a_model_is_trained_and_scores(task, data):
    meta = SimpleNamespace(id="run")
    script, _ = command_of("train", "script", meta=meta, fasta="g.fa", annotation=[], args=TRAINING)
    folder = task(script, {"g.fa": data / "g.fa"})
    names = {"meta": SimpleNamespace(id="o"), "variants": "v.csv", "fasta": "g.fa", "model": "run"}
    script, _ = command_of("score", "script", **names, index=[], shard="", args="scores=[llr]")
    staged = {name: data / name for name in ("g.fa", "v.csv")} | {"run": folder / "run"}
    scored = task(script, staged)
    assert len((scored / "o.tsv").read_text().splitlines()) == 1 + 1 + 255


@pytest.fixture
def nextflow():
    """The program itself, which the package of PyPI downloads when it is first used."""
    found = os.environ.get("NEXTFLOW") or shutil.which("nextflow")
    if found is None:
        pytest.skip("no nextflow on the path, nor named by NEXTFLOW")
    ended = subprocess.run([found, "-version"], capture_output=True, check=False, timeout=120)
    if ended.returncode != 0:
        pytest.skip(f"{found} does not run, perhaps because its program cannot be downloaded")
    return found


@pytest.fixture
def nextflow_run(nextflow, task, data, tmp_path):
    """Runs a workflow with settings of its own; `dnamdlm` is on the path of its tasks."""

    def nextflow_run(workflow, settings, *options):
        (tmp_path / "own.config").write_text(settings)
        return subprocess.run(
            [nextflow, "-c", tmp_path / "own.config", "run", workflow,
             "--model", ROOT / "dnamdlm" / "pretrained" / "yeast-demo", "--fasta", data / "g.fa",
             "--variants", data / "v.csv", "--outdir", tmp_path / "found", "-ansi-log", "false",
             *options],
            cwd=tmp_path, capture_output=True, text=True, check=False, timeout=600,
        )  # fmt: skip

    return nextflow_run


@pytest.mark.slow
@pytest.mark.parametrize("options", [[], ["-stub-run"]], ids=["real", "stub"])
def test_nextflow_joins_four_shards_to_the_bytes_of_one_command(
    nextflow_run, data, tmp_path, options
):
    given = "scores=[llr] batch_size=4 part_rows=1"
    settings = ["model=yeast-demo", "variants=v.csv", "data.fasta=g.fa", "threads=1"]
    run("score", *settings, *given.split(), "out=one.tsv")
    own = f"process {{ withName: 'DNAMDLM_SCORE' {{ ext.args = '{given}' }} }}\n"
    ended = nextflow_run(ROOT / "workflows" / "nextflow", own, "--shards", "4", *options)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    (joined,) = (tmp_path / "found").iterdir()
    if not options:
        assert joined.read_bytes() == (data / "one.tsv").read_bytes()


@pytest.mark.slow
def test_nextflow_is_not_asked_for_a_single_shard(nextflow_run, tmp_path):
    # the one task would write a result and no parts, and nothing would be published.
    ended = nextflow_run(ROOT / "workflows" / "nextflow", "", "--shards", "1", "-stub-run")
    assert ended.returncode != 0
    assert "shards=1: one command needs no workflow; give at least 2" in ended.stdout + ended.stderr
    assert not (tmp_path / "found").exists()


@pytest.mark.slow
@pytest.mark.parametrize("options", [[], ["-stub-run"]], ids=["real", "stub"])
def test_nextflow_runs_every_module(nextflow_run, tmp_path, options):
    (tmp_path / "main.nf").write_text(ALL.replace("MODULES", str(MODULES)))
    own = ALL_SETTINGS.replace("TRAINING", TRAINING)
    ended = nextflow_run(tmp_path / "main.nf", own, *options)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert ended.stdout.count(f"dnamdlm {dnamdlm.__version__}") == 1
    found = tmp_path / "found"
    assert (found / "DNAMDLM_SCORE" / "o.tsv").exists()
    for whole, joined, name in (
        ("EMBED_WHOLE", "GATHER_EMBED", "o.parquet"), ("TRACKS_WHOLE", "GATHER_TRACKS", "o"),
    ):  # fmt: skip
        first, second = found / whole / name, found / joined / "joined" / name
        assert first.exists()
        assert second.exists()
        if not options:
            assert content_of(first) == content_of(second)


@pytest.mark.slow
def test_nextflow_finds_no_fault_in_the_files(nextflow, tmp_path):
    ended = subprocess.run(
        [nextflow, "lint", ROOT / "workflows" / "nextflow"],
        cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert f"{len(NAMES) + 2} files had no errors" in ended.stdout + ended.stderr


GROOVY = """
def request = new groovy.json.JsonSlurper().parse(new File(args[0]))
request.files.each { new GroovyShell().parse(new File(it)) }
def evaluated = { new GroovyShell(new Binding(it.names)).evaluate(it.text) as String }
def found = request.scripts.collect(evaluated)
new File(args[1]).text = groovy.json.JsonOutput.toJson(found)
"""


@pytest.mark.slow
def test_groovy_reads_the_files_and_makes_the_same_commands(tmp_path):
    groovy, java = shutil.which("groovy"), shutil.which("java")
    if groovy is None or java is None:
        pytest.skip("no groovy on the path; apt-get install groovy")
    place = {"JAVA_HOME": str(Path(java).resolve().parents[1])} | dict(os.environ)
    scripts, wanted = [], []
    for name in NAMES:
        for label in ("script", "stub"):
            for shard in ("", "3/4"):
                given = {
                    "meta": {"id": "x"}, "shard": shard, "model": "m" if shard else [],
                    "fasta": "g.fa", "variants": "v.vcf", "bed": "i.bed" if shard else [],
                    "annotation": [],
                }  # fmt: skip
                wanted.append(command_of(name, label, **given, args="a=1 b=$c")[0])
                task = {"ext": {"args": "a=1 b=$c"}, "cpus": 1}
                scripts.append({"text": sections(name)[label], "names": {**given, "task": task}})
    files = [str(path) for path in sorted((ROOT / "workflows" / "nextflow").rglob("*.nf"))]
    assert len(files) == len(NAMES) + 1
    (tmp_path / "in.json").write_text(json.dumps({"files": files, "scripts": scripts}))
    (tmp_path / "run.groovy").write_text(GROOVY)
    ended = subprocess.run(
        [groovy, "run.groovy", "in.json", "out.json"], cwd=tmp_path, capture_output=True,
        text=True, check=False, timeout=300, env=place,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert json.loads((tmp_path / "out.json").read_text()) == wanted

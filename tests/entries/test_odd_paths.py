"""Real commands on paths with any letters, and on folders of another kind than was meant."""

import shutil

import pytest

from tests.entries.broken_files import GOOD
from tests.entries.commands import SHORT, run
from tests.entries.forks import run_all

SMALL = ("baselines=[]", "seeds=1", "bootstrap=0", "method=probe")
FEW = ("num_sequences=1", "length=20")
NAMES = [
    "L\xe4ufe",
    "\u57fa\u56e0\u7ec4",
    "a=b,c",
    "g[1]",
    "p{x}",
    "it's",
    "(copy) #1~",
    'say "hi"',
    "$x ${y",
]


@pytest.fixture(scope="module")
def place(trained, tmp_path_factory):
    """A folder with a run, and a folder of every odd name with copies of inputs in it."""
    folder = tmp_path_factory.mktemp("odd")
    shutil.copytree(trained, folder / "run")
    for name in NAMES:
        (folder / name).mkdir()
        (folder / name / "run").symlink_to("../run")
        for ending in (".fa", ".bed", ".vcf", ".csv"):
            (folder / name / f"x {name}{ending}").write_bytes(GOOD[ending])
    return folder


@pytest.mark.slow
def test_paths_with_any_letters_are_read_and_written(place):
    commands, made = [], []
    for name in NAMES:
        file, out = f"{name}/x {name}", f"{name}/out {name}"
        commands += [
            ["sample", f"model={name}/run", *FEW, f"out={out}.fa"],
            ["score", f"model={name}/run", f"variants={file}.vcf", f"data.fasta={file}.fa",
             "scores=[llr]", f"out={out}.tsv"],
            ["embed", f"model={name}/run", f"data.fasta={file}.fa", f"data.bed={file}.bed",
             f"out={out}.npz"],
        ]  # fmt: skip
        made += [f"{out}.fa", f"{out}.tsv", f"{out}.npz"]
    answers = run_all(commands, place)
    assert [(asked, answer) for asked, answer in zip(commands, answers, strict=True)
            if answer[0] != 0] == []  # fmt: skip
    assert [name for name in made if not (place / name).is_file()] == []


@pytest.mark.slow
def test_a_run_folder_may_have_any_name(place, monkeypatch):
    monkeypatch.chdir(place)
    for name in NAMES[:4]:
        genome = f"data.fasta={name}/x {name}.fa"
        held_out = ("data.annotation=null", "data.valid=[b]", "data.test=[c]")
        run("train", *SHORT, genome, *held_out, "trainer.max_steps=2", f"run_dir={name}/new")
        assert (place / name / "new" / "config.yaml").is_file()
        # the same command resumes, so the name was stored as it was typed.
        run("train", *SHORT, genome, *held_out, "trainer.max_steps=2", f"run_dir={name}/new")
        run("evaluate", f"model={name}/new", "limit=2", "max_order=0", "split=valid")
        run("report", f"run_dir={name}/new")


@pytest.mark.slow
def test_the_folders_of_a_sweep_are_used_as_they_are_printed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = run("train", "-m", *SHORT, "trainer.max_steps=1,2", "run_dir=sw/s")
    folders = sorted((tmp_path / "sw" / "s").iterdir())
    assert len(folders) == 2
    for folder in folders:
        relative = folder.relative_to(tmp_path)
        assert str(relative) in done.stdout + done.stderr
        run("sample", f"model={relative}", *FEW, "out=x.fa")
    both = ",".join(str(folder.relative_to(tmp_path)) for folder in folders)
    run("sample", "-m", f"model={both}", *FEW, "out=${model}/x.fa")
    assert all((folder / "x.fa").is_file() for folder in folders)


def test_one_motif_needs_no_brackets(place):
    commands = [
        ["sample", "model=run", *FEW, motif, f"out=m{number}.fa"]
        for number, motif in enumerate(["motif=TATAAA@3", "motif=[TATAAA@3]"])
    ]
    answers = run_all(commands, place)
    assert [answer[0] for answer in answers] == [0, 0], answers
    first, second = ((place / f"m{n}.fa").read_text().splitlines()[1] for n in range(2))
    assert first == second
    assert first[3:9] == "TATAAA"


@pytest.mark.slow
def test_a_folder_of_another_kind_is_named_as_what_it_is(place, monkeypatch):
    monkeypatch.chdir(place)
    (place / "t.csv").write_bytes(GOOD[".csv"])
    run("finetune", "config=table", "model=run", *SMALL, "data.train=t.csv", "run_dir=ft/ok")
    few = (*FEW, "out=o.fa")
    (step,) = sorted((place / "run" / "checkpoints").iterdir())[-1:]
    weights = step.relative_to(place) / "weights.safetensors"
    asked = {
        ("sample", "model=ft/ok", *few): "model=ft/ok is a fine-tuned run; use it with python -m "
        "dnamdlm.predict model=ft/ok, or give model=run, from which it was trained",
        ("sample", "model=ft", *few): "is a folder that holds a run; give one run, such as "
        "model=ft/ok",
        ("sample", "model=run/checkpoints", *few): "model=run/checkpoints is the folder of all "
        "checkpoints of the run run; give model=run",
        ("sample", f"model={weights}", *few): "is a part of the run run; give model=run",
        ("sample", "model=t.csv", *few): "model=t.csv is a file; give a run folder",
        ("sample", "model=none", *few): "model=none does not exist",
        ("sample", "model=run", "guide=ft/ok", "guide_label=0", *few): "guide=ft/ok is a "
        "fine-tuned run; give the run folder of a classifier",
        ("evaluate", "model=ft/ok"): "is a fine-tuned run; use it with",
        ("predict", "model=run", "input=t.csv", "out=p.tsv"): "model=run is a training run, which "
        "has no fine-tuned head; fine-tune it first with",
        ("predict", "model=ft/ok/splits", "input=t.csv", "out=p.tsv"): "is a part of the run "
        "ft/ok; give model=ft/ok",
        ("predict", "model=none", "input=t.csv", "out=p.tsv"): "model=none does not exist",
        ("finetune", "config=table", "model=run", "data.train=t.csv", "run_dir=run"): "run_dir=run "
        "is the folder of a training run; choose another run_dir",
        ("train", *SHORT, "run_dir=ft/ok"): "run_dir=ft/ok is the folder of a fine-tuned run",
        ("train", *SHORT, "run_dir=run/checkpoints"): "is a part of the run run; choose another",
        ("train", *SHORT, "run_dir=t.csv"): "run_dir=t.csv is a file; choose another run_dir",
        ("train", *SHORT, "init_from=ft/ok", "run_dir=new"): "init_from=ft/ok is a fine-tuned run",
        ("train", "config=text", "data.corpus=run", "run_dir=new"): "data.corpus=run is a run; "
        "give a folder that data_prep.text prepared",
        ("report", "run_dir=run/checkpoints"): "give run_dir=run",
        ("report", "run_dir=t.csv"): "run_dir=t.csv is a file; give a run folder",
    }
    answers = run_all(list(asked), place)
    faults = [
        (words, answer)
        for (words, sentence), answer in zip(asked.items(), answers, strict=True)
        if answer[0] != 2 or sentence not in answer[2] or answer[2].count("dnamdlm: ") != 1
    ]
    assert faults == []
    assert not (place / "new").exists()

"""Commands in parts after kill -9 at random moments: the bytes of the unbroken command."""

import json
import random
from pathlib import Path

import numpy as np
import pytest

from dnamdlm.assembly.finetune import predicted_parts
from dnamdlm.errors import ConfigError
from dnamdlm.threads import available_processors
from tests.entries.kills import Case, run_case
from tests.helpers import entries
from tests.helpers.model_with_heads import make_models

ROOT = Path(__file__).resolve().parents[2]
LETTERS = "ACGT"
TABLES = {
    "score": ("o.tsv.gz", ["variants=v.vcf", "data.fasta=g.fa", "batch_size=4", "draws=1",
                           "scores=[llr,elbo]"]),
    "embed": ("o.npz", ["data.fasta=g.fa", "batch_size=4", "pooling=bin", "bin_size=50"]),
    "predict": ("o.tsv", ["input=t.csv"]),
    "sample": ("o.fa.gz", ["template=t.fa", "num_sequences=50", "batch_size=3",
                           "sampler.num_steps=6"]),
    "tracks": ("o", ["data.fasta=g.fa", "batch_size=4", "stride=2"]),
    "evaluate": ("o.json", ["batch_size=1", "draws=1", "max_order=1"]),
}  # fmt: skip
COMMON = ("device=cpu", "threads=1")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A small model, heads of it, a genome, variants and a table."""
    folder = tmp_path_factory.mktemp("killed")
    draw = random.Random(4)
    records = ["".join(draw.choices("ACGTN", (9, 9, 9, 9, 1), k=k)) for k in (3000, 50, 900, 4000)]
    (folder / "g.fa").write_text("".join(f">r{i}\n{x}\n" for i, x in enumerate(records)))
    rows = []
    for place in sorted(draw.sample(range(2990), 260)):
        ref = records[0][place : place + draw.choice((1, 1, 1, 2))]
        rows.append(f"r0\t{place + 1}\t.\t{ref}\t{draw.choice(LETTERS)}\t.\t.\t.\n")
    head = "##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
    (folder / "v.vcf").write_text(head + "".join(rows))
    # of three lengths, which are made together and written in order.
    templates = [f">t{i}\nAC{'N' * k}GT\n" for i, k in enumerate((30, 9, 30, 50))]
    (folder / "t.fa").write_text("".join(templates))
    texts = ["".join(draw.choices(LETTERS, k=draw.choice((30, 60, 90)))) for _ in range(1100)]
    labels = ["ab"[text.count("A") * 4 > len(text)] for text in texts]
    lines = [f"{text},{label}\n" for text, label in zip(texts, labels, strict=True)]
    (folder / "t.csv").write_text("sequence,label\n" + "".join(lines))
    (folder / "few.csv").write_text("sequence,label\n" + "".join(lines[:80]))
    make_models(folder, "run", "heads", table="few.csv")
    return folder


@pytest.fixture(scope="module")
def others(folder):
    """A model and heads of another seed, of the same genome and table."""
    make_models(folder, "other_run", "other_heads", table="few.csv", seed=2)


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    """The content of what an entry writes when nothing goes wrong."""
    found = {}

    def content(entry):
        if entry not in found:
            found[entry] = content_of(make(entry, tmp_path_factory.mktemp(entry)))
        return found[entry]

    return content


@pytest.fixture(autouse=True)
def _place(folder, monkeypatch):
    monkeypatch.setenv("DNAMDLM_CACHE_DIR", str(folder / "cache"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.chdir(folder)


def settings_of(entry, place):
    name, given = TABLES[entry]
    model = "model=heads" if entry == "predict" else "model=run"
    return [model, *given, *COMMON, f"out={place / name}"]


def make(entry, place, *overrides):
    """Run an entry in this process."""
    place.mkdir(exist_ok=True)
    getattr(entries, entry)(entries.composed(entry, *settings_of(entry, place), *overrides))
    return place / TABLES[entry][0]


def content_of(path):
    """The bytes of a file, or of all files of a folder by name; the figures of an evaluation."""
    if path.suffix == ".json":
        content = json.loads(path.read_text())
        # what says who made them, and how long it took.
        del content["provenance"]["command"], content["likelihood"]["seconds"]
        return content
    if path.is_file():
        return path.read_bytes()
    return {item.name: item.read_bytes() for item in sorted(path.iterdir())}


@pytest.mark.parametrize("entry", TABLES)
@pytest.mark.slow
def test_the_bytes_do_not_depend_on_the_number_of_parts_and_shards(entry, tmp_path, capsys):
    whole = make(entry, tmp_path / "whole", "part_rows=1000000")
    parts = make(entry, tmp_path / "parts", "part_rows=1")
    for number in (2, 3, 1):
        shard = make(entry, tmp_path / "shards", "part_rows=100", f"shard={number}/3")
        assert not shard.exists()
    entries.gather(entries.composed("gather", f"out={shard}"))
    assert content_of(whole) == content_of(parts) == content_of(shard)
    assert [path.name for path in shard.parent.iterdir()] == [shard.name]
    assert [path.name for path in parts.parent.iterdir()] == [parts.name]


@pytest.mark.parametrize("entry", TABLES)
def test_parts_of_another_model_are_refused_by_every_entry(entry, others, tmp_path):
    model = "other_heads" if entry == "predict" else "other_run"
    make(entry, tmp_path, "part_rows=1", "shard=8/8")
    left = sorted(path.name for path in tmp_path.rglob("*"))
    with pytest.raises(ConfigError, match=r"parts of another command \(model.* another content"):
        make(entry, tmp_path, "part_rows=1", "shard=7/8", f"model={model}")
    assert sorted(path.name for path in tmp_path.rglob("*")) == left


def test_a_batch_of_predictions_is_that_of_the_whole_input(folder, tmp_path, monkeypatch):
    few = make("predict", tmp_path / "one", "input=few.csv")
    monkeypatch.setattr(predicted_parts, "ROWS_OF_BATCH", 80)
    same = make("predict", tmp_path / "two", "input=few.csv")
    assert few.read_bytes() == same.read_bytes()


def test_rows_that_cannot_be_read_are_empty_wherever_they_stand(folder, tmp_path, monkeypatch):
    lines = (folder / "few.csv").read_text().splitlines()[1:31]
    for row in (0, 9, 10, 11, 29):
        lines[row] = "AC!T,a"
    (tmp_path / "odd.csv").write_text("\n".join(["sequence,label", *lines]) + "\n")
    found = []
    for rows in (512, 10, 1):
        monkeypatch.setattr(predicted_parts, "ROWS_OF_BATCH", rows)
        table = make("predict", tmp_path / f"in_{rows}", f"input={tmp_path}/odd.csv")
        found.append([line.split("\t") for line in table.read_text().splitlines()])
    for cells in found:
        assert cells[0][-1] == "reason"
        assert [row for row, line in enumerate(cells[1:]) if line[-1]] == [0, 9, 10, 11, 29]
    numbers = [
        np.array([line[-3:-1] for line in cells[1:] if not line[-1]], dtype=float)
        for cells in found
    ]
    # float32 sums in other batches; six digits are written.
    np.testing.assert_allclose(numbers[1], numbers[0], rtol=2e-5)
    np.testing.assert_allclose(numbers[2], numbers[0], rtol=2e-5)


@pytest.mark.slow
@pytest.mark.parametrize("damage", [False, True], ids=["whole", "damaged"])
@pytest.mark.parametrize("workers", [1, 2], ids="{}_workers".format)
@pytest.mark.parametrize("count", [1, 3, 8], ids="{}_shards".format)
@pytest.mark.parametrize("entry", TABLES)
def test_after_ten_kills_at_random_moments_the_bytes_are_those_of_the_unbroken_command(
    entry, count, workers, damage, folder, unbroken, tmp_path
):
    place = tmp_path / "killed"
    place.mkdir()
    out = place / TABLES[entry][0]
    given = [*settings_of(entry, place), "part_rows=1", f"workers={workers}"]
    seed = f"{entry} {count} {workers} {damage}"
    found = run_case(Case(entry, given, str(out), count, 10, damage, seed), folder)
    # those that found work to do, without those of the joining.
    assert found["killed"] >= 8, found
    assert not damage or found["damaged"]
    assert content_of(out) == unbroken(entry)
    assert sorted(path.name for path in place.iterdir()) == [out.name, f"{out.name}.log"]


@pytest.mark.slow
@pytest.mark.parametrize("entry", TABLES)
def test_processes_on_every_group_of_processors_give_the_bytes_of_one(entry, unbroken, tmp_path):
    if available_processors() == 1:
        pytest.skip("one processor is one group")
    out = make(entry, tmp_path / "spread", "devices=auto", "part_rows=1")
    assert content_of(out) == unbroken(entry)

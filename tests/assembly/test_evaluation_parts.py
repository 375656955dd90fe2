"""`evaluate` in parts: shards, what is refused, and that no figure depends on who computed it."""

import io
import json
import random

import numpy as np
import pytest

from dnamdlm.assembly.evaluate.evaluated_parts import ScoredSweep, content_of, scores_in
from dnamdlm.assembly.gathering import GatherSettings, gather
from dnamdlm.data.stream import Sweep
from dnamdlm.errors import ConfigError, DataError
from dnamdlm.evaluation.window_scores import WindowScores
from tests.assembly.test_configs import compose
from tests.helpers.entries import evaluate, train

CHEAP = ["max_order=2", "draws=1", "device=cpu", "workers=1", "threads=1", "batch_size=2"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of two steps, on a genome with an annotation."""
    folder = tmp_path_factory.mktemp("parts")
    draw = random.Random(1)
    sizes = {"r1": 4000, "r2": 300, "r3": 1000}
    texts = {name: "".join(draw.choices("ACGT", k=size)) for name, size in sizes.items()}
    (folder / "g.fa").write_text("".join(f">{name}\n{text}\n" for name, text in texts.items()))
    (folder / "g.gff").write_text("##gff-version 3\nr3\tx\tCDS\t101\t400\t.\t+\t0\tID=c\n")
    train(
        compose(
            "config=tiny", "backbone.hidden_size=8", "backbone.num_blocks=1",
            "backbone.num_heads=2", "trainer.max_steps=1", "trainer.accelerator=cpu",
            "trainer.valid_windows=2", f"data.fasta={folder}/g.fa", "data.length=64",
            f"data.annotation={folder}/g.gff", "data.valid=[r2]", "data.test=[r3]",
            f"run_dir={folder}/run",
        )
    )  # fmt: skip
    return folder / "run"


def evaluated(run, out, *overrides):
    return evaluate(compose(f"model={run}", *CHEAP, f"out={out}", *overrides, name="evaluate"))


def figures(path):
    content = json.loads(path.read_text())
    del content["provenance"]["command"], content["likelihood"]["seconds"]
    return content


def test_shards_are_gathered_to_the_figures_and_the_headline_of_one_command(run, tmp_path):
    whole, headline = evaluated(run, tmp_path / "whole.json")
    out = tmp_path / "out.json"
    for shard in ("3/3", "1/3", "2/3"):
        folder, said = evaluated(run, out, "part_rows=2", f"shard={shard}")
        assert folder == tmp_path / "out.json.parts"
        assert said.startswith(f"shard {shard}: ")
        assert not out.exists()
    path, said = gather(GatherSettings(str(out)))
    assert said == f"joined 8 parts of 3 shards: 16 windows\n{headline}"
    assert figures(path) == figures(whole)
    assert "coding" in figures(whole)["likelihood"]["classes"]
    assert sorted(item.name for item in tmp_path.iterdir()) == ["out.json", "whole.json"]


def test_the_file_of_the_run_has_its_parts_next_to_it(run):
    words = [f"model={run}", *CHEAP, "limit=4"]
    folder, _ = evaluate(compose(*words, "shard=1/1", "part_rows=2", name="evaluate"))
    assert folder == run / "evaluation/test.json"
    folder, _ = evaluate(compose(*words, "shard=1/2", "part_rows=2", name="evaluate"))
    assert folder == run / "evaluation/test.json.parts"
    evaluate(compose(*words, "shard=2/2", "part_rows=2", name="evaluate"))
    assert gather(GatherSettings(f"{run}/evaluation/test.json"))[0].is_file()
    assert not folder.exists()


def test_parts_of_other_settings_are_refused_with_what_differs(run, tmp_path):
    evaluated(run, tmp_path / "o.json", "part_rows=2", "shard=1/2")
    for changed, message in (
        ("draws=2", "draws was 1 and is now 2"),
        ("seed=1", "seed was 0 and is now 1"),
        ("max_order=1", "max_order was 2 and is now 1"),
        ("split=valid", "split was test and is now valid"),
        ("limit=4", "limit was None and is now 4"),
    ):
        with pytest.raises(ConfigError, match=message):
            evaluated(run, tmp_path / "o.json", "part_rows=2", "shard=2/2", changed)
    with pytest.raises(DataError, match="shard 2/2 has not run"):
        gather(GatherSettings(str(tmp_path / "o.json")))


def test_gathering_finds_that_the_data_have_changed(run, tmp_path):
    for number in (1, 2):
        evaluated(run, tmp_path / "o.json", "part_rows=2", f"shard={number}/2", "limit=4")
    other = run.parent / "g.gff"
    content = other.read_text()
    other.write_text(content.replace("400", "390"))
    with pytest.raises(ConfigError, match=r"the data has another content than when the parts of"):
        gather(GatherSettings(str(tmp_path / "o.json")))
    other.write_text(content)
    assert gather(GatherSettings(str(tmp_path / "o.json")))[0].is_file()


def test_scores_are_read_as_they_were_written():
    rng = np.random.default_rng(3)
    sweeps = [ScoredSweep(Sweep((), 0), 1)] * 2
    given = [
        WindowScores(
            ("all",), rng.integers(0, 99, n), rng.normal(size=(n, 1)),
            rng.integers(0, 9, (n, 1)), "upper bound", *hidden,
        )
        for n in (3, 1, 2)
        for hidden in [(rng.normal(size=(n, 10)), rng.integers(0, 9, (n, 10)))]
    ]  # fmt: skip
    exact = WindowScores(("all",), *(np.ones((2, 1)[:k]) for k in (1, 2)), np.ones((2, 1)), "exact")
    contents = [
        io.BytesIO(content_of(0, given[0], 1.5) + content_of(0, given[1], 2.0)),
        io.BytesIO(b""),
        io.BytesIO(content_of(1, exact, 0.25) + content_of(0, given[2], 3.0)),
    ]
    (first, seconds), (second, later) = scores_in(contents, sweeps)
    assert (seconds, later) == (6.5, 0.25)
    for name in ("starts", "nats", "bases", "hidden_nats", "hidden_bases"):
        expected = np.concatenate([getattr(scores, name) for scores in given])
        np.testing.assert_array_equal(getattr(first, name), expected)
    assert (first.kind, second.kind) == ("upper bound", "exact")
    assert second.hidden_nats is None

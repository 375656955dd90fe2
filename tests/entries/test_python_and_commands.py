"""Python and the command line are one function: same defaults, same results, for every entry."""

import inspect
import json

import numpy as np
import pandas as pd
import pytest

import dnamdlm
from dnamdlm.data.genome.fasta import read_fasta
from tests.helpers import entries
from tests.helpers.rounding import additions, rounding

LETTERS = "ACGT"
SETTINGS = {
    "length": 32, "valid": ["b"], "test": ["c"], "global_batch_size": 4, "valid_windows": 2,
    "valid_every": 2, "checkpoint_every": 2, "log_every": 1, "learning_rate": 0.003,
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A genome, variants, and a small run that the command has trained on it."""
    folder = tmp_path_factory.mktemp("both")
    rng = np.random.default_rng(2)
    texts = {name: "".join(rng.choice(list(LETTERS), 400)) for name in "abc"}
    (folder / "g.fa").write_text("".join(f">{name}\n{text}\n" for name, text in texts.items()))
    rows = [(50, texts["a"][49]), (90, texts["a"][89])]
    lines = [
        f"a\t{position}\t.\t{ref}\t{LETTERS[(LETTERS.index(ref) + 1) % 4]}\t.\t.\t.\n"
        for position, ref in rows
    ]
    head = "##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
    (folder / "v.vcf").write_text(head + "".join(lines))
    overrides = [
        f"data.fasta={folder}/g.fa", "data.length=32", "data.valid=[b]", "data.test=[c]",
        "trainer.max_steps=2", "trainer.global_batch_size=4", "trainer.valid_windows=2",
        "trainer.checkpoint_every=2", "trainer.accelerator=cpu", "backbone.hidden_size=16",
        "backbone.num_blocks=1", "data.annotation=null", f"run_dir={folder}/run",
    ]  # fmt: skip
    entries.train(entries.composed("train", "config=tiny", *overrides))
    return folder


@pytest.fixture(autouse=True)
def cache(folder, monkeypatch):
    monkeypatch.setenv("DNAMDLM_CACHE_DIR", str(folder / "cache"))


@pytest.fixture(scope="module")
def model(folder):
    return dnamdlm.load(folder / "run", device="cpu")


def command(folder, name, *overrides):
    given = [] if name in ("judge", "report") else [f"model={folder}/run"]
    return getattr(entries, name)(entries.composed(name, *given, *overrides))


def sequences_of(path):
    return ["".join("ACGTN"[code & 7] for code in codes) for codes in read_fasta(path).values()]


@pytest.mark.parametrize(
    ("overrides", "arguments"),
    [
        ([], {}),
        (["num_sequences=3", "length=40", "seed=5"], {"num_sequences": 3, "length": 40, "seed": 5}),
        (
            ["num_sequences=2", "motif=[TATA@3]", "forbid=[C]", "top_k=2", "temperature=0.7"],
            {"num_sequences": 2, "motif": ["TATA@3"], "forbid": ["C"], "top_k": 2,
             "temperature": 0.7},
        ),
        (["num_sequences=2", "sampler=first_hitting"],
         {"num_sequences": 2, "sampler": "first_hitting"}),
    ],
    ids=["defaults", "sizes", "constraints", "sampler"],
)  # fmt: skip
def test_sample(folder, model, tmp_path, overrides, arguments):
    command(folder, "sample", f"out={tmp_path}/x.fa", *overrides)
    assert sequences_of(tmp_path / "x.fa") == model.sample(**arguments)


def test_sample_steers_by_a_reward(folder, model, tmp_path):
    (tmp_path / "steers_of_test.py").write_text(
        "def f(sequences):\n    return [float(text.count('G')) for text in sequences]\n"
    )
    chosen = {
        "reward_temperature": 0.5, "population": 3, "proposal": "first_order", "value": "likely",
        "sampler": "first_hitting",
    }  # fmt: skip
    typed = [f"{name}={value}" for name, value in chosen.items()]
    for reward, term in (
        (f"{tmp_path}/steers_of_test.py:f", f"{tmp_path}/steers_of_test.py:f"),
        ("[{motif:TA,weight:2},{gc:[0.5,0.6]}]",
         [{"motif": "TA", "weight": 2}, {"gc": [0.5, 0.6]}]),
    ):  # fmt: skip
        command(
            folder, "sample", f"out={tmp_path}/x.fa", f"reward={reward}", "num_sequences=3",
            "length=12", "trust=[steers_of_test]", *typed,
        )  # fmt: skip
        found = model.sample(3, 12, reward=term, trust="steers_of_test", **chosen)
        assert sequences_of(tmp_path / "x.fa") == found
        headers = [line for line in (tmp_path / "x.fa").read_text().splitlines() if line[0] == ">"]
        for header, log_z in zip(headers, found.log_z, strict=True):
            assert "population=3 reward_temperature=0.5" in header
            assert f"log_z={log_z:.6g}" in header


def test_sample_fills_templates_and_intervals(folder, model, tmp_path):
    (tmp_path / "t.fa").write_text(">t\nACGTNNNNACGTRYNN\n")
    command(
        folder, "sample", f"out={tmp_path}/x.fa", f"template={tmp_path}/t.fa", "num_sequences=2"
    )
    made = sequences_of(tmp_path / "x.fa")
    assert made == model.sample(2, template=tmp_path / "t.fa")
    assert made == model.sample(2, template="ACGTNNNNACGTRYNN")
    assert model.fill("ACGTNNNNACGTRYNN") == made[0]
    (tmp_path / "i.bed").write_text("a\t10\t20\n")
    command(
        folder, "sample", f"out={tmp_path}/y.fa", f"infill={tmp_path}/i.bed",
        f"data.fasta={folder}/g.fa", "num_sequences=2", "flank=3",
    )  # fmt: skip
    found = model.sample(2, infill=tmp_path / "i.bed", fasta=folder / "g.fa", flank=3)
    assert sequences_of(tmp_path / "y.fa") == found


def test_design(folder, model, tmp_path):
    (tmp_path / "known.fa").write_text(f">k\n{'ACGT' * 10}\n")
    command(
        folder, "design", f"out={tmp_path}/d.fa", "reward=[{motif:TAN},{gc:[0.5,0.6],weight:2}]",
        "num_sequences=3", "length=16", "avoid=[EcoRI,GGG]", "motif=TATA@4", "gc=[0.2,0.8]",
        "temperature=0.5", "pool=6", "likelihood_draws=1",
        f"unlike={tmp_path}/known.fa", "sampler=first_hitting",
    )  # fmt: skip
    found = model.design(
        [{"motif": "TAN"}, {"gc": [0.5, 0.6], "weight": 2}], 3, 16, avoid=["EcoRI", "GGG"],
        motif="TATA@4", gc=(0.2, 0.8), temperature=0.5, pool=6, likelihood_draws=1,
        unlike=tmp_path / "known.fa", sampler="first_hitting",
    )  # fmt: skip
    written = pd.read_csv(tmp_path / "d.tsv", sep="\t")
    assert sequences_of(tmp_path / "d.fa") == written.sequence.tolist() == found.sequences
    # the table has six digits.
    for name in ("reward", "draw", "gc", "bits_per_base"):
        np.testing.assert_allclose(found.table[name], written[name], rtol=1e-5)
    report = json.loads((tmp_path / "d.json").read_text())
    cost, other = report["cost"], found.report["cost"]
    assert {**cost, "seconds": 0} == {**other, "seconds": 0}
    assert report["compared"] == found.report["compared"]


@pytest.mark.parametrize("strands", [None, "both"])
def test_embed(folder, model, tmp_path, strands):
    chosen = [] if strands is None else [f"strands={strands}"]
    command(folder, "embed", f"out={tmp_path}/x.npz", f"data.fasta={folder}/g.fa", *chosen)
    written = np.load(tmp_path / "x.npz")["embedding"]
    options = {} if strands is None else {"strands": strands}
    found = model.embed(sequences_of(folder / "g.fa"), **options)
    np.testing.assert_array_equal(found, written)


def test_score(folder, model, tmp_path):
    command(
        folder, "score", f"variants={folder}/v.vcf", f"data.fasta={folder}/g.fa",
        f"out={tmp_path}/x.parquet",
    )  # fmt: skip
    columns = ["alt", "llr", "delta_elbo", "delta_elbo_se", "reason"]
    written = pd.read_parquet(tmp_path / "x.parquet").explode(columns)
    table = model.score_variants(folder / "v.vcf", folder / "g.fa").explode(columns)
    for name in columns[1:4]:
        assert table[name].tolist() == written[name].tolist()
    row = written.iloc[0]
    one = model.score(f"a:50 {row['ref']}>{row['alt']}", folder / "g.fa")
    # float32 on a batch of another shape, of log-probabilities near -log 4.
    allowed = rounding(additions(model.loaded.lm), scale=2.0)
    assert one["llr"] == pytest.approx(row["llr"], abs=allowed)
    rna = (folder / "g.fa").read_text().replace("T", "U")
    (tmp_path / "u.fa").write_text(rna)
    change = f"a:50 {row['ref']}>{row['alt']}".replace("T", "U")
    assert model.score(change, tmp_path / "u.fa", rna=True) == one


def test_fit(folder, tmp_path):
    """The same network, data and settings give the same weights, byte for byte."""
    from dnamdlm.assembly.building.model_config import config_of_run

    lm = config_of_run(folder / "run").build(seed=1)
    recorded = config_of_run(folder / "run").tree
    trainer = {key: value for key, value in recorded["trainer"].items() if key != "_target_"}
    optimizer = {key: value for key, value in recorded["optimizer"].items() if key != "_target_"}
    rate = {key: value for key, value in recorded["learning_rate"].items() if key != "_target_"}
    data = config_of_run(folder / "run").data
    del trainer["max_steps"]
    made = dnamdlm.fit(
        lm, data, run_dir=tmp_path / "run", max_steps=2, **trainer, **optimizer, **rate
    )
    ours = (made.loaded.folder / "average.safetensors").read_bytes()
    theirs = folder / "run" / "checkpoints" / made.loaded.folder.name / "average.safetensors"
    assert ours == theirs.read_bytes()


def test_log_likelihood_is_what_evaluate_sums(folder, model, tmp_path):
    path, _ = command(folder, "evaluate", f"out={tmp_path}/x.json", "draws=64", "max_order=0")
    content = json.loads(path.read_text())["likelihood"]["rows"][-1]["classes"]["all"]
    text = sequences_of(folder / "g.fa")[2]
    windows = [text[start : start + 32] for start in range(0, 384, 32)]
    bits = -model.log_likelihood(windows, draws=64) / 32 / np.log(2)
    # the noise differs: 12 windows, each with its own standard error.
    error = content["standard_error"] + bits.std() / len(bits) ** 0.5
    assert abs(bits.mean() - content["bits_per_base"]) < 4 * error


@pytest.mark.parametrize(
    ("name", "method", "other_names"),
    [
        ("sample", "sample", {"guide_label"}),
        ("score", "score_variants", {"label_column", "group_column", "max_order"}),
        ("design", "design", {"reward"}),
        ("embed", "embed", {"pooling", "bin_size", "length", "overlap", "dtype"}),
    ],
)
def test_defaults_are_those_of_the_command(name, method, other_names):
    tree = entries.composed(name, "model=x", "out=y", *(
        {"score": ["variants=v", "data.fasta=g"], "embed": ["data.fasta=g"],
         "design": ["reward=r"]}.get(name, [])
    ))  # fmt: skip
    parameters = inspect.signature(getattr(dnamdlm.Model, method)).parameters
    of_loading = {"model", "out", "weights", "device", "ops", "debug", "width", "data"}
    of_loading |= {"variants", "precision", "threads", "workers", "trust", "shard", "part_rows"}
    of_loading |= {"devices"}
    for key, default in tree.items():
        if key in of_loading | other_names | {"sampler"}:
            continue
        found = parameters[key].default
        if key == "strands" and name == "embed":
            assert (found, default) == (None, "one")
            continue
        assert (list(found) if isinstance(found, tuple) else found) == default, key

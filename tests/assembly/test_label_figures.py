"""Labels of variants: what is printed of them, and the columns that scores are compared with."""

import gzip

import numpy as np
import pandas as pd
import pytest

from dnamdlm.assembly.gathering import GatherSettings, gather
from dnamdlm.assembly.score import label_figures, scoring
from dnamdlm.assembly.score.label_figures import label_report
from dnamdlm.assembly.score.variant_baselines import Baselines
from dnamdlm.data.genome.store import prepare_genome
from dnamdlm.data.variants.variant_places import Places
from dnamdlm.data.variants.variant_tables import ScoredVariant
from dnamdlm.data.variants.vcf import Variant
from dnamdlm.errors import ConfigError, DataError
from dnamdlm.words.markov_chain import MarkovChain
from tests.assembly.test_scoring import SEQUENCE, random_model
from tests.helpers.entries import composed, score, settings_of

HEAD = {"label": "label", "group": None, "scores": ["llr", "transversion"]}


@pytest.fixture
def files(tmp_path, monkeypatch):
    """A genome, 60 labelled variants of it, and a model with random weights."""
    loaded = random_model()
    monkeypatch.setattr(scoring, "load_model", lambda *_args, **_options: loaded)
    # of another sequence than that of the training, which takes seconds to count.
    chain = MarkovChain.of_codes(np.tile(np.arange(4, dtype=np.uint8), 50), (0, 1), (1.0, 1.0))
    monkeypatch.setattr(label_figures, "chain_of_training", lambda *_: chain)
    monkeypatch.setenv("DNAMDLM_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "g.fa").write_text(f">a\n{SEQUENCE}\n")
    draw = np.random.default_rng(2)
    lines = ["chrom,pos,ref,alt,label,kind"]
    for pos in draw.choice(np.arange(1, 300), 60, replace=False).tolist():
        ref = SEQUENCE[pos - 1]
        alt = draw.choice([x for x in "ACGT" if x != ref])
        label = draw.choice(["pathogenic", "benign"])
        lines.append(f"a,{pos},{ref},{alt},{label},{draw.choice(['x', 'y'])}")
    lines.append(f"a,10,{SEQUENCE[9]},{SEQUENCE[9]}T,1,x")
    lines.append(f"a,11,{SEQUENCE[10]},{'A' if SEQUENCE[10] != 'A' else 'C'},unknown,x")
    (tmp_path / "v.csv").write_text("\n".join(lines) + "\n")
    return tmp_path


def run(*given, out="o.tsv"):
    return score(
        composed(
            "score", "model=x", "variants=v.csv", "data.fasta=g.fa", f"out={out}", "scores=[llr]",
            "label_column=label", "max_order=1", *given,
        )
    )  # fmt: skip


def table(path):
    return pd.read_csv(path, sep="\t", comment="#", na_values=["."])


def test_the_figures_are_those_of_the_rows_of_the_table(files):
    path, said = run()
    rows = table(path).iloc[:60]
    is_positive = rows["label"] == "pathogenic"
    lines = dict(line.split("  AUROC ") for line in said.splitlines() if "  AUROC " in line)
    assert "labels: 60 rows" in said
    assert "; 2 left out" in said
    for name, values in (("minus llr", -rows["llr"]), ("transversion", rows["transversion"])):
        pairs = values[is_positive].to_numpy()[:, None] - values[~is_positive].to_numpy()[None]
        expected = ((pairs > 0) + 0.5 * (pairs == 0)).mean()
        (line,) = [text for key, text in lines.items() if key.strip() == name]
        assert line.startswith(f"{expected:.3f} (")


@pytest.mark.parametrize("ending", ["tsv", "tsv.gz", "parquet"])
def test_all_tables_give_the_same_figures(files, ending):
    # only the time that it took differs.
    figures = [
        run(*given, out=out)[1].split("labels:")[1]
        for given, out in (((), f"o.{ending}"), (("part_rows=7",), "p.tsv"))
    ]
    assert figures[0] == figures[1]


def test_groups_have_figures_of_their_own(files):
    _, said = run("group_column=kind")
    for kind in "xy":
        assert f"kind={kind}: " in said
    assert said.count("minus llr") == 3


def test_shards_are_compared_when_they_are_gathered(files):
    _, whole = run(out="whole.tsv")
    for number in (1, 2):
        _, said = run("batch_size=1", f"shard={number}/2", "part_rows=1")
        assert "AUROC" not in said
    _, said = gather(GatherSettings("o.tsv"))
    assert said.split("labels:")[1] == whole.split("labels:")[1]


def test_the_table_has_what_scores_are_compared_with(files):
    path, _ = run()
    rows = table(path)
    transitions = {"AG", "GA", "CT", "TC"}
    for _, row in rows.iloc[:60].iterrows():
        assert row["transversion"] == (row["ref"] + row["alt"] not in transitions)
        before, after = SEQUENCE[row["pos"] - 2 : row["pos"] - 1], SEQUENCE[row["pos"]]
        is_cpg = (
            row["ref"] + row["alt"] + after == "CTG" or before + row["ref"] + row["alt"] == "CGA"
        )
        assert row["no_cpg_transition"] == (not is_cpg)
    assert np.isnan(rows["transversion"].iloc[60])


def test_a_markov_chain_scores_an_exchange_by_the_bases_that_it_decides(tmp_path):
    """Order 1: the exchange decides its own base and the next."""
    (tmp_path / "g.fa").write_text(">a\nACGTACGGTA\n")
    codes = np.random.default_rng(0).integers(0, 4, 200).astype(np.uint8)
    chain = MarkovChain.of_codes(codes, (0, 1), (1.0, 1.0))

    def log_p(base, given):
        return -chain.position_nats(np.array([given, base], np.uint8))[1]

    store = prepare_genome(tmp_path / "g.fa", cache_dir=tmp_path / "cache")
    fields = ("a", "5", ".", "A", "C", ".", ".", ".")
    row = ScoredVariant(Variant(1, "a", 4, "A", ("C",), fields), {"llr": [0.0]}, [None])
    found = Baselines(Places(store, False), chain).added(row).scores
    # the genome has T A C there, and the exchange makes it T C C.
    expected = log_p(1, 3) + log_p(1, 1) - log_p(0, 3) - log_p(1, 0)
    assert found["markov_llr"][0] == pytest.approx(expected, rel=1e-9)
    assert (found["transversion"], found["no_cpg_transition"]) == ([1.0], [1.0])


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        (("label_column=nothing",), ConfigError, "label_column=nothing is not a column of v.csv"),
        (("group_column=nothing",), ConfigError, "group_column=nothing is not a column of v.csv"),
        (("label_column=kind",), DataError, "has no labels of both kinds"),
        (("variants='a:10:A:C'",), ConfigError, "it has no further columns"),
    ],
)
def test_mistakes_are_one_sentence(files, given, error, message):
    with pytest.raises(error, match=message):
        run(*given)
    assert not (files / "o.tsv").exists()


def test_what_cannot_hold_labels_is_refused():
    given = ("model=x", "variants=v.csv", "data.fasta=g.fa")
    for out in ("o.vcf", "o.vcf.gz", "-"):
        with pytest.raises(ConfigError, match="takes figures from a table"):
            settings_of("score", *given, f"out={out}", "label_column=label")
    for setting in ("group_column=kind", "max_order=3"):
        with pytest.raises(ConfigError, match="give label_column=NAME"):
            settings_of("score", *given, "out=o.tsv", setting)


def test_rows_of_one_kind_have_no_figures(tmp_path):
    path = tmp_path / "o.tsv.gz"
    with gzip.open(path, "wt") as file:
        file.write("## llr: x\nchrom\tpos\tid\tref\talt\tlabel\tllr\ttransversion\treason\n")
        file.write("a\t3\t.\tA\tC\t1\t0.5\t1\t.\na\t4\t.\tA\tC\t0\t.\t1\t.\n")
    assert label_report(path, HEAD) == (
        "labels: 1 rows, 1 positive; 1 left out; none of both kinds is left to compare"
    )

"""The command that scores a suite of variants, from a folder to a table and a leaderboard."""

import csv
import json

import numpy as np
import pytest

from benchmarks.labelled_variants import read_labelled
from benchmarks.quality.variant_suites import STRANDS, main, model_scores
from benchmarks.variants import options
from tests.assembly.test_configs import compose
from tests.helpers.entries import train

SIZE, SITES = 400, range(100, 300, 10)


def turned(text):
    """The reverse complement."""
    return text[::-1].translate(str.maketrans("ACGT", "TGCA"))


@pytest.fixture(scope="module")
def suite(tmp_path_factory):
    """A genome of two records, a model of it, and 20 variants of either in the form of TraitGym."""
    folder = tmp_path_factory.mktemp("suite")
    rng = np.random.default_rng(0)
    records = {name: "".join(rng.choice(list("ACGT"), SIZE)) for name in ("1", "2")}
    fasta = "".join(f">{name}\n{text}\n" for name, text in records.items())
    (folder / "g.fa").write_text(fasta)
    lines = ["chrom,pos,ref,alt,label,match_group"]
    for name, text in records.items():
        for number, site in enumerate(SITES):
            ref = text[site]
            alt = "ACGT"[("ACGT".index(ref) + 1 + number % 3) % 4]
            lines.append(f"{name},{site + 1},{ref},{alt},{number % 4 == 0},{name}-{number // 4}")
    (folder / "clinvar.csv").write_text("\n".join(lines) + "\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DNAMDLM_CACHE_DIR", str(folder / "cache"))
        train(
            compose(
                "config=tiny", "trainer.max_steps=5", f"data.fasta={folder / 'g.fa'}",
                "data.annotation=null", "data.valid=null", "data.test=null",
                "data.valid_fraction=0.2", "data.test_fraction=0.2", "data.length=32",
                f"run_dir={folder / 'run'}",
            )
        )  # fmt: skip
        yield folder


def test_a_folder_becomes_a_table_and_a_leaderboard(suite, tmp_path):
    settings = [
        "suite=clinvar", f"folder={suite}", f"model={suite / 'run'}", f"fasta={suite / 'g.fa'}",
        "scores=llr,elbo", "draws=1", "repeats=20", f"csv={tmp_path / 'board.csv'}",
        f"leaderboard={tmp_path / 'board'}", f"out={tmp_path}", "name=made",
    ]  # fmt: skip
    main(options(settings))
    (path,) = tmp_path.glob("quality-variants-made_*.json")
    table = json.loads(path.read_text())
    names = [row[0] for row in table["rows"]]
    wanted = [f"{kind}, {strands}" for kind in ("llr", "elbo") for strands in STRANDS]
    assert {f"{sign} {name}" for sign in ("minus", "absolute") for name in wanted} < set(names)
    assert {"constant", "transversion", "no CpG transition"} < set(names)
    # the figures that two chromosomes and match groups allow
    assert [column.partition(" (")[0] for column in table["columns"][1:]] == [
        "AUROC", "AUPRC", "AUPRC by chromosome", "pairwise accuracy"
    ]  # fmt: skip
    constant = table["rows"][names.index("constant")]
    assert [cell.partition(" ")[0] for cell in constant[1:]] == ["0.500", "0.250", "0.250", "0.500"]
    with (tmp_path / "board.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == 4 * len(names)
    board = tmp_path / "board" / "clinvar" / "AUPRC" / "all"
    assert (board / "run_LLR.minus.score.csv").is_file()


def test_the_other_strand_is_the_one_strand_of_the_turned(suite, tmp_path):
    rows = read_labelled(suite / "clinvar.csv")
    settings = {"scores": ["llr"], "draws": 1, "region": None}
    model = str(suite / "run")
    found = model_scores(rows, model, str(suite / "g.fa"), **settings)
    texts = (suite / "g.fa").read_text().split(">")[1:]
    records = [text.split("\n")[:2] for text in texts]
    (tmp_path / "r.fa").write_text("".join(f">{name}\n{turned(text)}\n" for name, text in records))
    lines = ["chrom,pos,ref,alt,label"]
    for row in range(len(rows)):
        ref, alt = turned(str(rows.ref[row])), turned(str(rows.alt[row]))
        lines.append(f"{rows.chrom[row]},{SIZE + 1 - rows.pos[row]},{ref},{alt},1")
    (tmp_path / "r.csv").write_text("\n".join(lines) + "\n")
    other = model_scores(
        read_labelled(tmp_path / "r.csv"), model, str(tmp_path / "r.fa"), **settings
    )
    np.testing.assert_allclose(other["llr, one"], found["llr, other"], atol=1e-4)
    mean = (found["llr, one"] + found["llr, other"]) / 2
    np.testing.assert_allclose(mean, found["llr, both"], atol=1e-4)
    assert np.abs(found["llr, one"] - found["llr, other"]).max() > 1e-2

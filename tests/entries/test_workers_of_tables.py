"""The setting `workers` of commands that write tables: the same bytes from any number."""

import random

import pytest

from tests.helpers.entries import composed, embed, finetune, predict, score

LETTERS = "ACGT"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """A genome of short records and a long one, and variants of the long one."""
    folder = tmp_path_factory.mktemp("inputs")
    draw = random.Random(4)
    lengths = [*draw.choices(range(1, 300), k=60), 3000, 1, 129]
    records = ["".join(draw.choices("ACGTN", (9, 9, 9, 9, 1), k=length)) for length in lengths]
    long = records[60]
    (folder / "g.fa").write_text("".join(f">r{i}\n{x}\n" for i, x in enumerate(records)))
    rows = []
    for place in sorted(draw.sample(range(3000), 150)):
        ref = long[place : place + draw.choice((1, 1, 1, 2))]
        rows.append(f"r60\t{place + 1}\t.\t{ref}\t{draw.choice(LETTERS)}\t.\t.\t.\n")
    head = "##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
    (folder / "v.vcf").write_text(head + "".join(rows))
    return folder


@pytest.fixture(autouse=True)
def _cache(inputs, monkeypatch):
    monkeypatch.setenv("DNAMDLM_CACHE_DIR", str(inputs / "cache"))


def test_variants(trained, inputs, tmp_path):
    def written(workers):
        out = tmp_path / f"{workers}.tsv"
        _, sentence = score(
            composed(
                "score", f"model={trained}", f"variants={inputs}/v.vcf",
                f"data.fasta={inputs}/g.fa", f"out={out}", "batch_size=5", "draws=2",
                f"workers={workers}", "scores=[llr,elbo,embedding]",
            )
        )  # fmt: skip
        return out.read_bytes(), sentence.partition("alleles with a reason")[2]

    table, reasons = written(1)
    assert table.count(b"\n") > 150
    assert "same_as_ref" in reasons
    assert written(2) == (table, reasons)


@pytest.mark.parametrize(
    "pooling",
    [["pooling=mean"], ["pooling=bin", "bin_size=50", "strands=both"], ["pooling=none"]],
    ids=["mean", "bin", "none"],
)
def test_embeddings_of_records_that_reach_over_several_items(trained, inputs, tmp_path, pooling):
    def written(workers):
        out = tmp_path / f"{workers}.npz"
        embed(
            composed(
                "embed", f"model={trained}", f"data.fasta={inputs}/g.fa", f"out={out}",
                "batch_size=3", f"workers={workers}", *pooling,
            )
        )  # fmt: skip
        return out.read_bytes()

    assert written(1) == written(2)


def test_predictions_of_several_heads(trained, tmp_path):
    draw = random.Random(5)
    texts = ["".join(draw.choices(LETTERS, k=draw.choice((30, 100, 500)))) for _ in range(120)]
    rows = [f"{text},{'ab'[text.count('A') * 4 > len(text)]}\n" for text in texts]
    (tmp_path / "t.csv").write_text("sequence,label\n" + "".join(rows))
    heads = tmp_path / "heads"
    finetune(
        composed(
            "finetune", "config=table", f"data.train={tmp_path}/t.csv", f"model={trained}",
            f"run_dir={heads}", "seeds=2", "training.epochs=1", "baselines=[]",
        )
    )  # fmt: skip

    def written(workers):
        out = tmp_path / f"{workers}.tsv"
        predict(
            composed(
                "predict", f"model={heads}", f"input={tmp_path}/t.csv", f"out={out}",
                f"workers={workers}",
            )
        )  # fmt: skip
        return out.read_bytes()

    table = written(1)
    assert table.count(b"\n") == 121
    assert written(2) == table

"""Embeddings as a command: rows in their order, strands, and what is refused."""

import numpy as np
import pandas as pd
import pytest

from dnamdlm.assembly.embed import embedding
from dnamdlm.errors import ConfigError, DataError
from tests.assembly.test_configs import compose
from tests.helpers.entries import embed
from tests.helpers.rounding import rounding
from tests.helpers.scored_models import SEQUENCE, random_model


@pytest.fixture
def files(tmp_path, monkeypatch):
    """A genome, and a model with random weights in place of one from disk."""
    loaded = random_model()
    monkeypatch.setattr(embedding, "load_model", lambda *_args, **_options: loaded)
    monkeypatch.setenv("DNAMDLM_CACHE_DIR", str(tmp_path / "cache"))
    (tmp_path / "g.fa").write_text(f">a\n{SEQUENCE}\n")
    return tmp_path


def embed_tree(folder, *overrides):
    given = [f"data.fasta={folder}/g.fa", f"out={folder}/out.parquet"]
    return compose("model=x", *given, *overrides, name="embed")


def test_records_and_intervals_are_embedded_in_their_order(files):
    path, headline = embed(embed_tree(files))
    whole = pd.read_parquet(path)
    assert whole[["name", "start", "end", "num_valid"]].to_numpy().tolist() == [["a", 0, 300, 300]]
    assert "1 rows of 16 float32 numbers" in headline
    (files / "b.bed").write_text("a\t50\t90\tx\t0\t+\na\t50\t90\ty\t0\t-\na\t0\t300\n")
    embed(embed_tree(files, f"data.bed={files}/b.bed", "strands=both"))
    rows = pd.read_parquet(path)
    assert rows["name"].tolist() == ["x", "y", "a:0-300"]
    # with both strands an interval has one mean, whichever strand it is on.
    # states in float64, rounded once and averaged in float32.
    one, other = rows["embedding"][:2]
    np.testing.assert_allclose(one, other, rtol=0, atol=rounding(3, np.abs(one).max()))
    assert np.abs(rows["embedding"][2] - whole["embedding"][0]).max() > 1e-4


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["pooling=sum"], "pooling=sum is unknown"),
        (["dtype=float64"], "dtype=float64 is unknown"),
        (["strands=forward"], "strands=forward is unknown; choose one, other or both"),
        (["out=x.tsv"], "must end in .parquet or .npz"),
        (["overlap=1"], "overlap=1.0 must be at least 0 and below 1"),
        (["batch_size=0"], "batch_size=0"),
    ],
)
def test_impossible_settings_of_embeddings_are_refused(files, overrides, message):
    with pytest.raises((ConfigError, DataError), match=message):
        embed(embed_tree(files, *overrides))


def test_records_without_bases_are_refused(files):
    (files / "g.fa").write_text(">a\nACGT\n>b\n")
    with pytest.raises(DataError, match="record 'b' has no bases"):
        embed(embed_tree(files))

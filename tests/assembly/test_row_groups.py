"""The row groups of a parquet file of scores: by place, however the command was divided."""

import random

import pyarrow.dataset as ds
import pytest

from tests.helpers import entries

# a group has at least 64 rows before it ends.
ROWS = {"a": 70, "b": 66}


@pytest.fixture
def files(tmp_path, monkeypatch):
    """A genome of two records, and variants of both in order."""
    monkeypatch.setenv("DNAMDLM_CACHE_DIR", str(tmp_path / "cache"))
    draw = random.Random(6)
    bases = {name: "".join(draw.choices("ACGT", k=1000)) for name in ROWS}
    (tmp_path / "g.fa").write_text("".join(f">{x}\n{text}\n" for x, text in bases.items()))
    lines = ["chrom,pos,ref,alt"]
    for name, number in ROWS.items():
        for place in sorted(draw.sample(range(1000), number)):
            ref = bases[name][place]
            lines.append(f"{name},{place + 1},{ref},{'C' if ref != 'C' else 'G'}")
    (tmp_path / "v.csv").write_text("\n".join(lines) + "\n")
    return tmp_path


def scored(files, name, *overrides):
    out = files / name
    entries.score(
        entries.composed(
            "score", "model=yeast-demo", f"variants={files}/v.csv", f"data.fasta={files}/g.fa",
            f"out={out}", "scores=[llr]", "length=20", "batch_size=8", "device=cpu", "threads=1",
            *overrides,
        )
    )  # fmt: skip
    return out


def test_the_row_groups_of_scores_are_by_place_for_any_number_of_parts_and_shards(files):
    path = scored(files, "whole.parquet", "part_rows=1000000")
    (fragment,) = ds.dataset(path).get_fragments()
    groups = fragment.row_groups
    assert [group.num_rows for group in groups] == list(ROWS.values())
    for name, group in zip(ROWS, groups, strict=True):
        assert group.statistics["chrom"] == {"min": name, "max": name}
        (read,) = fragment.subset(ds.field("chrom") == name).row_groups
        assert read.id == group.id
    assert scored(files, "parts.parquet", "part_rows=1").read_bytes() == path.read_bytes()
    for number in (2, 1):
        shards = scored(files, "shards.parquet", "part_rows=16", f"shard={number}/2")
    entries.gather(entries.composed("gather", f"out={shards}"))
    assert shards.read_bytes() == path.read_bytes()

"""What is kept of a locus for its picture."""

import json

import numpy as np
import pytest

from dnamdlm.data.genome.annotation import Feature
from dnamdlm.data.genome.intervals import Interval
from dnamdlm.errors import DataError
from dnamdlm.evaluation.likelihood.locus_bits import (
    locus_record,
    read_record,
    record_name,
    write_record,
)

WHERE = Interval("chr|1", 10, 14)


def record(where=WHERE, bits=(1.0, np.nan, 2.0, 1.5)):
    gene = Feature("CDS", Interval(where.chrom, 8, 12, "-"))
    return locus_record(
        where, {"model": np.array(bits)}, [gene], markov_label="", place="test split", made_by={}
    )


def test_a_short_locus_keeps_every_base(tmp_path):
    path = tmp_path / record_name(WHERE)
    assert path.name == "locus_chr_1_10_14.json"
    write_record(path, record())
    found = read_record(path)
    assert found["positions"] == [10, 11, 12, 13]
    assert found["tracks"]["model"] == {
        "label": "This model",
        "mean": 1.5,
        "bits": [1.0, None, 2.0, 1.5],
    }
    assert found["features"] == [{"kind": "CDS", "start": 8, "end": 12, "strand": "-"}]


def test_a_long_locus_keeps_running_means_at_few_places():
    where = Interval("a", 0, 9000)
    found = record(where, np.arange(9000) % 2)
    assert len(found["positions"]) <= 2000
    # 9,000 / 160 bases are averaged.
    assert found["width"] == 56
    assert found["tracks"]["model"]["bits"][500] == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("text", ["{", "[]", '{"format": "x", "format_version": 1}'])
def test_a_damaged_record_is_one_sentence(tmp_path, text):
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(DataError, match="evaluate it again"):
        read_record(tmp_path / "x.json")


def test_a_locus_of_n_has_no_mean():
    assert record(bits=[np.nan] * 4)["tracks"]["model"]["mean"] is None
    json.dumps(record(bits=[np.nan] * 4), allow_nan=False)

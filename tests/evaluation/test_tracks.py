"""Tracks are written with 0-based half-open coordinates, and without what is not known."""

import numpy as np
import pytest

from dnamdlm.data.genome.intervals import Interval
from dnamdlm.errors import ConfigError
from dnamdlm.evaluation.likelihood.track_files import check_track, write_track

WHERE = Interval("chr1", 10, 13)
TRACKS = {"model": np.array([1.5, np.nan, 2.0]), "markov": np.array([1.0, 1.25, np.nan])}


def test_bedgraph_has_a_line_per_known_base(tmp_path):
    path = tmp_path / "x.bedgraph"
    write_track(path, WHERE, TRACKS, {"chr1": 50}, name="test")
    lines = path.read_text().splitlines()
    assert lines[0].startswith("track type=bedGraph")
    assert lines[1:] == ["chr1\t10\t11\t1.5000", "chr1\t12\t13\t2.0000"]


def test_a_table_has_all_tracks(tmp_path):
    path = tmp_path / "x.tsv"
    write_track(path, WHERE, TRACKS, {"chr1": 50}, name="test")
    assert path.read_text().splitlines() == [
        "chrom\tstart\tend\tmodel\tmarkov",
        "chr1\t10\t11\t1.5000\t1.0000",
        "chr1\t11\t12\t\t1.2500",
        "chr1\t12\t13\t2.0000\t",
    ]


def test_bigwig_holds_the_same_numbers(tmp_path):
    package = pytest.importorskip("pyBigWig", reason="pyBigWig is not installed")
    path = tmp_path / "x.bw"
    write_track(path, WHERE, TRACKS, {"chr1": 50, "chr2": 9}, name="test")
    file = package.open(str(path))
    assert file.chroms() == {"chr1": 50, "chr2": 9}
    assert file.intervals("chr1") == ((10, 11, 1.5), (12, 13, 2.0))
    assert [item.name for item in tmp_path.iterdir()] == ["x.bw"]


def test_another_ending_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"must end in \.bedgraph, \.bw, \.tsv"):
        check_track(tmp_path / "x.wig")


def test_a_missing_package_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pyBigWig", None)
    with pytest.raises(ConfigError, match="needs pyBigWig, which is not installed"):
        check_track(tmp_path / "x.bw")

"""Tracks are written with 0-based half-open coordinates, and without what is not known."""

import numpy as np
import pytest

from dnamdlm.data.genome.intervals import Interval
from dnamdlm.errors import ConfigError
from dnamdlm.evaluation.likelihood.track_files import check_track, write_track
from tests.helpers.big_files import BigFile

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
    path = tmp_path / "x.bw"
    write_track(path, WHERE, TRACKS, {"chr1": 50, "chr2": 9}, name="test")
    file = BigFile(path)
    assert file.records == {"chr1": (0, 50), "chr2": (1, 9)}
    assert list(file.runs()) == [(0, 10, [1.5]), (0, 12, [2.0])]
    assert [item.name for item in tmp_path.iterdir()] == ["x.bw"]


def test_bigwig_of_a_locus_across_an_origin_has_rising_positions(tmp_path):
    path = tmp_path / "x.bw"
    write_track(path, Interval("c", 8, 12), {"a": np.arange(4.0)}, {"c": 10}, name="test")
    assert list(BigFile(path).runs()) == [(0, 0, [2.0, 3.0]), (0, 8, [0.0, 1.0])]


def test_another_ending_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"must end in \.bedgraph, \.bw, \.tsv"):
        check_track(tmp_path / "x.wig")

"""bigWig and bigBed files hold what was written, also for a reader that knows the format alone."""

import numpy as np
import pytest

from dnamdlm.data.genome.annotation import Feature
from dnamdlm.data.genome.intervals import Interval
from dnamdlm.evaluation.likelihood.bigbed import write_bigbed
from dnamdlm.evaluation.likelihood.bigwig import PER_SECTION, BigWigWriter
from tests.helpers.big_files import BigFile

# names whose order differs from that of the genome, and more records than a node of a tree holds.
LENGTHS = {"chrII": 40_000, "chrI": 9_000, "chr10": 7, **{f"s{i}": 20 for i in range(300)}}


@pytest.fixture(scope="module")
def values():
    draw = np.random.default_rng(0)
    found = {name: draw.normal(size=size).astype(np.float32) for name, size in LENGTHS.items()}
    found["chrII"][[0, 17, 5000]] = np.nan
    found["chrII"][20_000:30_000] = np.nan
    found["chrI"][-1] = np.nan
    return found


def write(path, values, size):
    with path.open("w+b") as file, BigWigWriter(file, LENGTHS) as writer:
        for name, row in values.items():
            for first in range(0, len(row), size):
                writer.add(name, first, row[first : first + size])
    return path


@pytest.fixture(scope="module")
def path(values, tmp_path_factory):
    return write(tmp_path_factory.mktemp("big") / "x.bw", values, 777)


def test_every_value_is_found_at_its_place(path, values):
    file, names = BigFile(path), list(LENGTHS)
    assert {name: size for name, (_, size) in file.records.items()} == LENGTHS
    found = {name: np.full(size, np.nan, np.float32) for name, size in LENGTHS.items()}
    for record, start, row in file.runs():
        assert len(row) <= PER_SECTION
        found[names[record]][start : start + len(row)] = row
    for name in LENGTHS:
        np.testing.assert_array_equal(found[name], values[name])


def test_the_file_does_not_depend_on_how_the_runs_are_cut(path, values, tmp_path):
    whole = write(tmp_path / "whole.bw", values, 10**6)
    small = write(tmp_path / "small.bw", values, 13)
    assert path.read_bytes() == whole.read_bytes() == small.read_bytes()


def test_summaries_are_those_of_the_values_in_each_bin(path, values):
    file, names = BigFile(path), list(LENGTHS)
    assert [level[0] for level in file.levels] == [64, 256, 1024, 4096, 16384]
    for number, (reduction, *_) in enumerate(file.levels):
        covered = 0
        for record, start, end, count, low, high, total, squares in file.summaries(number):
            row = values[names[record]]
            first = start // reduction * reduction
            inside = row[first : first + reduction].astype(float)
            known = np.flatnonzero(np.isfinite(inside))
            assert (start, end) == (first + known[0], first + known[-1] + 1)
            inside = inside[known]
            assert (count, low, high) == (len(inside), inside.min(), inside.max())
            # sums are stored as float32, and those of a bin are added up from those within it.
            bound = 1e-6 * np.abs(inside).sum()
            assert abs(total - inside.sum()) < bound
            assert abs(squares - np.square(inside).sum()) < 1e-6 * np.square(inside).sum()
            covered += count
        assert covered == file.totals[0]


def test_totals_are_those_of_all_values(path, values):
    every = np.concatenate(list(values.values())).astype(float)
    every = every[np.isfinite(every)]
    count, *others = BigFile(path).totals
    assert count == len(every)
    # float64 sums of 50,000 numbers in another order.
    expected = [every.min(), every.max(), every.sum(), np.square(every).sum()]
    np.testing.assert_allclose(others, expected, rtol=1e-10)


def test_another_reader_finds_the_same(path, values):
    package = pytest.importorskip("pyBigWig", reason="pyBigWig is not installed")
    file = package.open(str(path))
    assert file.chroms() == LENGTHS
    for name, row in values.items():
        np.testing.assert_array_equal(file.values(name, 0, len(row), numpy=True), row)
    bins = values["chrII"][:16_384].astype(float).reshape(16, -1)
    for kind, summed in (("mean", np.nanmean), ("max", np.nanmax), ("min", np.nanmin)):
        found = file.stats("chrII", 0, 16_384, nBins=16, type=kind)
        np.testing.assert_allclose(found, summed(bins, axis=1), rtol=1e-5, atol=1e-6)


def test_a_run_out_of_order_is_refused(tmp_path):
    with (tmp_path / "x.bw").open("w+b") as file, BigWigWriter(file, LENGTHS) as writer:
        writer.add("chrI", 5, np.zeros(5))
        for name, start in (("chrI", 9), ("chrII", 0), ("chr10", 3)):
            with pytest.raises(ValueError, match="out of order, or outside"):
                writer.add(name, start, np.zeros(5))


def test_no_value_at_all_makes_an_empty_file(tmp_path):
    with (tmp_path / "x.bw").open("w+b") as file, BigWigWriter(file, {"a": 5}) as writer:
        writer.add("a", 0, np.full(5, np.nan))
    found = BigFile(tmp_path / "x.bw")
    assert list(found.runs()) == [] == list(found.summaries(0))
    assert found.totals == (0, 0, 0, 0, 0)


def test_genes_are_found_with_names_and_strands(tmp_path):
    genes = [Feature("gene", Interval("chrI", i, i + 90, "+"), f"g{i}") for i in range(1500, 0, -1)]
    genes.append(Feature("gene", Interval("chrII", 3, 9, "-"), "two words\t"))
    with (tmp_path / "x.bb").open("w+b") as file:
        write_bigbed(file, genes, LENGTHS)
    found = list(BigFile(tmp_path / "x.bb").rows())
    assert found[0] == (0, 3, 9, "two words\t0\t-")
    assert found[1:] == [(1, i, i + 90, f"g{i}\t0\t+") for i in range(1, 1501)]

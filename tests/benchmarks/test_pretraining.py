"""Points, prefixes and the fit of the table of what pre-training is worth."""

import gzip

import numpy as np
import pytest

from benchmarks.measured_rows import MeasuredRows, Parts, floors
from benchmarks.pretraining_runs import MASKED, Work, changes, sweep, unchanged
from benchmarks.quality.pretraining import fit


def test_a_sweep_has_every_backbone_with_every_objective_it_can_have():
    points = sweep([0.125, 1.0], 1.0, 100)
    assert len(points) == 2 * (3 * 2 + 2)
    assert {point.objective for point in points if point.backbone in MASKED} == {"mdlm", "mlm"}
    assert {point.objective for point in points if point.backbone not in MASKED} == {"ar"}
    names = [point.name for point in [*points, *changes(1.0, 1.0, 100)]]
    assert len(set(names)) == len(names)
    # bases and seeds do not decide the time of a step, and channels and windows do.
    assert len({point.kind for point in points}) == len(points) / 2
    kinds = {point.change: point.kind for point in changes(1.0, 1.0, 100)}
    assert kinds["seed 2"] == kinds["four times the time"] == kinds["one strand read"]
    assert kinds["seed 2"] in {point.kind for point in points}
    assert len(set(kinds.values())) == 6


def test_changes_depart_from_a_point_of_the_sweep():
    point = unchanged(1.0, 1.0, 100)
    assert point in sweep([0.125, 1.0], 1.0, 100)
    assert (point.share, point.change) == (1.0, "")
    for change in changes(1.0, 1.0, 100):
        assert (change.backbone, change.objective) == (point.backbone, point.objective)


def test_the_fit_finds_effects_that_are_there():
    points = sweep([0.25, 0.5, 1.0], 1.0, 100)
    kinds = list(MASKED)
    values = [
        0.3 + 0.02 * (p.backbone == kinds[1]) - 0.01 * (p.backbone == kinds[2])
        + 0.005 * (p.objective == "mlm") + 0.004 * np.log2(p.share) + 9.0 * (p.objective == "ar")
        for p in points
    ]  # fmt: skip
    found = fit(points, values)
    assert [value for value, _ in found.values()] == pytest.approx([0.3, 0.02, -0.01, 0.005, 0.004])
    assert max(error for _, error in found.values()) < 1e-9
    # one value off: the errors are no longer nothing.
    found = fit(points, [values[0] + 0.03, *values[1:]])
    assert min(error for _, error in found.values()) > 1e-4


def test_one_prefix_has_no_slope_and_the_other_effects_are_found():
    points = sweep([1.0], 1.0, 100)
    values = [0.3 + 0.02 * (p.backbone == list(MASKED)[2]) for p in points]
    found = fit(points, values)
    assert list(found) == ["constant", *list(MASKED)[1:], "mlm"]
    assert [value for value, _ in found.values()] == pytest.approx([0.3, 0.0, 0.02, 0.0])


def test_errors_of_the_fit_are_those_of_repeated_noise():
    points = sweep([0.25, 0.5, 1.0], 1.0, 100)
    rng = np.random.default_rng(0)
    fits = [fit(points, 0.02 * rng.standard_normal(len(points))) for _ in range(400)]
    for name in fits[0]:
        values, errors = np.array([one[name] for one in fits]).T
        # 400 draws: the spread is known to 4 %, the mean of the errors to 1 %.
        assert values.std() == pytest.approx(np.sqrt((errors**2).mean()), rel=0.2)


def test_prefixes_and_held_out_windows_share_no_base(tmp_path):
    texts = ["".join(np.random.default_rng(n).choice(list("ACGT"), 1000)) for n in range(2)]
    genome = tmp_path / "g.fa.gz"
    with gzip.open(genome, "wt") as file:
        file.write(f">a\n{texts[0]}\n>b\n{texts[1]}\n")
    rows = MeasuredRows(["ACGT"], np.zeros(1))
    work = Work(tmp_path / "runs", genome, Parts(rows, rows, rows, {}))
    assert work.prefix(1.0).read_text() == f">a\n{texts[0]}\n>b\n{texts[1][:900]}\n"
    assert work.prefix(0.25).read_text() == f">a\n{texts[0][:475]}\n"
    windows = work.held_windows(50)
    assert windows[0] == texts[1][900:950]
    assert windows[-1] == texts[1][-50:]
    assert all(window in texts[1][900:] for window in windows)


def test_floors_know_composition_and_words():
    rng = np.random.default_rng(0)

    def rows(count):
        shares = rng.uniform(0.2, 0.8, count)
        texts = ["".join(rng.choice(list("ACGT"), 60, p=[(1 - s) / 2, s / 2, s / 2, (1 - s) / 2]))
                 for s in shares]  # fmt: skip
        gc = np.array([text.count("G") + text.count("C") for text in texts]) / 60
        return texts, gc

    def parts(value):
        made = [rows(300), rows(200), rows(200)]
        return Parts(*(MeasuredRows(texts, value(texts, gc)) for texts, gc in made), {})

    composition, words = floors(parts(lambda _, gc: gc))
    assert composition.name == "composition"
    for figure in ("pearson", "spearman"):
        low, high = map(float, composition.intervals[figure].split(" to "))
        assert low - 5e-4 < composition.figures[figure] < high + 5e-4
    assert composition.figures["pearson"] > 0.99
    composition, words = floors(parts(lambda t, _: np.array([float(x.count("CG")) for x in t])))
    assert words.name != "composition"
    assert words.figures["pearson"] > composition.figures["pearson"] + 0.05

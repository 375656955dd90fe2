"""The pictures of the benchmarks are those of the stored tables, and none is without its floor."""

import json
import re

import pytest

from benchmarks.picture_bars import RESULTS, spread
from benchmarks.picture_curves import curves_of, drawn_curves
from benchmarks.picture_panels import PANELS
from benchmarks.pictures import COLOURS, LEARNING, drawn
from tests.repository.sources import ROOT

PAGE = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")


def numbers_of(cell):
    """All numbers of a cell of a table."""
    return [float(text) for text in re.findall(r"-?\d+\.?\d*(?:e-?\d+)?", str(cell))]


@pytest.mark.parametrize("name", PANELS)
def test_every_bar_is_a_number_of_the_stored_table(name):
    panel = PANELS[name]()
    rows = json.loads((RESULTS / f"{panel.table}.json").read_text(encoding="utf-8"))["rows"]
    stored = {number for row in rows for cell in row for number in numbers_of(cell)}
    assert {bar.value for bar in panel.bars} <= stored
    assert all(bar.kind in COLOURS for bar in panel.bars)
    assert all(bar.low is None or bar.low <= bar.value <= bar.high for bar in panel.bars)
    # a model of ours, and something that is none.
    assert len({bar.kind for bar in panel.bars}) > 1


@pytest.mark.parametrize("name", PANELS)
def test_every_bar_begins_at_its_floor(name):
    panel = PANELS[name]()
    (axes,) = drawn(panel).axes
    ends = [sorted((p.get_x(), p.get_x() + p.get_width())) for p in axes.patches]
    wanted = [sorted((bar.floor, bar.value)) for bar in panel.bars]
    assert ends == [pytest.approx(pair) for pair in wanted]
    assert panel.floor


@pytest.mark.parametrize("name", [name for name in PANELS if name.startswith("designs_")])
def test_a_bar_of_designs_begins_at_the_same_letters_in_random_order(name):
    panel = PANELS[name]()
    content = json.loads((RESULTS / f"{panel.table}.json").read_text(encoding="utf-8"))
    assert content["title"].endswith(", 5 seeds")
    titles = content["columns"]
    rows = {row[0]: row for row in content["rows"]}
    for group, title in (("regression on words", "audit"), ("network of", "network audit")):
        bars = {bar.label: bar for bar in panel.bars if bar.group.startswith(group)}
        mean = titles.index(title)
        shuffled = titles.index("letters in random order", mean)
        for label in ("populations", "populations, guided", "mutation"):
            wanted = [float(rows[label][at].split(" +- ")[0]) for at in (mean, shuffled)]
            assert [bars[label].value, bars[label].floor] == wanted


def test_learning_curves_are_the_rows_of_their_tables():
    found = [curves_of(stem, title) for stem, title in LEARNING.items()]
    for curves in found:
        content = json.loads((RESULTS / f"{curves.table}.json").read_text(encoding="utf-8"))
        by_name = {tuple(row[:3]): row[3] for row in content["rows"]}
        counts = list(dict.fromkeys(row[0] for row in content["rows"]))
        assert [*curves.rows] == sorted(curves.rows)
        wanted = [by_name[count, "mlm, genome", "probe"] for count in counts]
        assert curves.lines["MLM, probe"] == tuple(wanted)
        assert curves.lines["words of six bases"][-1] == by_name["all", "kmer", ""]
        assert curves.floor == by_name["all", "composition", ""]
    figure = drawn_curves(found, COLOURS, "red")
    assert [axes.get_title() for axes in figure.axes] == [*LEARNING.values()]
    for axes, curves in zip(figure.axes, found, strict=True):
        drawn_lines = [tuple(line.get_ydata()) for line in axes.lines]
        assert drawn_lines[:-1] == list(curves.lines.values())
        assert drawn_lines[-1] == (curves.floor, curves.floor)


def test_the_page_shows_every_picture_and_names_its_table():
    shown = re.findall(r"\]\(benchmarks/(\w+)\.png\)", PAGE)
    assert sorted(shown) == sorted([*PANELS, "curves"])
    assert all((ROOT / "docs" / "benchmarks" / f"{name}.png").is_file() for name in shown)
    for table in re.findall(r"`(quality-[\w-]+)`", PAGE):
        assert list(RESULTS.glob(f"{table}_*.json")), table
    for make in PANELS.values():
        assert f"`{make().table.partition('_')[0]}`" in PAGE


def test_an_interval_is_read_with_its_sign():
    assert spread("-0.005 (-0.035 to 0.029)") == (-0.005, -0.035, 0.029)

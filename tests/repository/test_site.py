"""The sources of the documentation site, as far as they can be checked without Sphinx."""

import ast
import re

import pytest
import yaml

from dnamdlm.__main__ import ENTRIES
from tests.helpers.entries import composed
from tests.repository.sources import ROOT

DOCS = ROOT / "docs"
TUTORIALS = sorted(path for path in (DOCS / "tutorials").glob("*.md") if path.stem != "index")
PAGES = sorted(path for path in DOCS.rglob("*.md"))
CELL = re.compile(r"```\{code-cell\}\n(?::tags:[^\n]*\n)?(.*?)```", re.S)


def text_of(path):
    return path.read_text(encoding="utf-8")


def toctree(path):
    listed = re.search(r"```{toctree}\n(.*?)```", text_of(path), re.S)[1]
    return re.findall(r"^[\w./-]+$", listed, re.M)


def test_there_are_nine_tutorials_and_the_index_has_them_all():
    assert len(TUTORIALS) == 9
    assert set(toctree(DOCS / "tutorials/index.md")) == {path.stem for path in TUTORIALS}


@pytest.mark.parametrize("path", TUTORIALS, ids=lambda path: path.stem)
def test_a_tutorial_says_what_it_costs_and_what_comes_out_and_its_cells_are_python(path):
    head, text = re.fullmatch(r"---\n(.*?)\n---\n(.*)", text_of(path), re.S).groups()
    assert yaml.safe_load(head)["file_format"] == "mystnb"
    title, first = text.split("\n\n")[:2]
    assert title.startswith("# ")
    assert re.match(r"\*\*Costs\*\* .* on one CPU core\.\s\*\*Comes out\*\* ", first, re.S)
    cells = CELL.findall(text)
    assert len(cells) >= 3
    for cell in cells:
        if not cell.startswith("%%bash"):
            ast.parse(cell)


@pytest.mark.parametrize("path", TUTORIALS, ids=lambda path: path.stem)
def test_the_commands_of_a_tutorial_compose(path):
    joined = re.sub(r"\\\n\s*", "", text_of(path))
    for name, words in re.findall(r"^dnamdlm (\w+) (.*?)(?: 2?>.*)?$", joined, re.M):
        if "max_step=" not in words:
            assert name in ENTRIES
            composed(name, *words.split())


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(DOCS)))
def test_every_link_to_a_file_leads_to_one(path):
    text = re.sub(r"```.*?```", "", text_of(path), flags=re.S)
    for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text):
        assert (path.parent / link).is_file(), link


def test_every_page_is_in_a_table_of_contents():
    listed = set()
    for path in (DOCS / "index.md", *DOCS.glob("*/index.md"), DOCS / "howto.md"):
        listed |= {(path.parent / name).resolve().with_suffix(".md") for name in toctree(path)}
    assert set(PAGES) - listed == {DOCS / "index.md"}


def test_the_page_of_commands_names_every_command():
    text = text_of(DOCS / "commands.md")
    assert [name for name in ENTRIES if not re.search(rf"`{name}[ `]|then `{name}", text)] == []


def test_the_front_page_is_one_screen():
    shown, _, _ = text_of(DOCS / "index.md").partition("```{toctree}")
    assert len(shown.splitlines()) <= 45
    (code,) = re.findall(r"```python\n(.*?)```", shown, re.S)
    assert len([line for line in code.splitlines() if line.strip()]) == 5
    assert "pip install" in shown
    assert "![" in shown


def test_the_explanation_has_the_pictures_that_its_script_makes():
    script = text_of(DOCS / "explanation/pictures.py")
    pictures = {path.name for path in (DOCS / "explanation").glob("*.png")}
    assert {f"{name}.png" for name in ("masking", "generating", "expected")} == pictures
    assert all(name.removesuffix(".png") in script for name in pictures)

"""`llms.txt`: its links lead somewhere, it names every command, and its Python runs."""

import re

from dnamdlm.__main__ import ENTRIES
from tests.repository.sources import ROOT

TEXT = (ROOT / "llms.txt").read_text(encoding="utf-8")


def test_it_has_the_form_that_readers_expect():
    first, *rest = TEXT.split("\n\n")
    assert first == "# dnamdlm"
    assert rest[0].startswith("> ")
    assert re.findall(r"^## (.*)$", TEXT, re.M)[-1] == "Optional"


def test_every_link_leads_to_a_file():
    links = re.findall(r"\]\(([^)]+)\)", TEXT)
    assert len(links) > 10
    assert [link for link in links if not (ROOT / link).is_file()] == []


def test_it_names_every_command():
    (named,) = re.findall(r"lists the entries, .*: (.*?)\. `", TEXT)
    assert set(re.findall(r"[a-z]+", named)) - {"and"} == set(ENTRIES)


def test_its_python_runs():
    (code,) = re.findall(r"```python\n(.*?)```", TEXT, re.S)
    exec(compile(code.replace('"yeast-demo"', '"yeast-demo", device="cpu"'), "llms.txt", "exec"))

"""The Python of the documents runs as it stands, in order, on a small run and a small genome."""

import re

import numpy as np
import pytest

from tests.helpers import entries
from tests.repository.sources import ROOT

DOCUMENTS = ["README.md", "docs/extending.md", "docs/design.md"]
LONGEST_SNIPPET = 15
"""A network, a sampler or a metric of one's own is a matter of minutes."""


def snippets(document):
    return re.findall(r"```python\n(.*?)```", (ROOT / document).read_text(encoding="utf-8"), re.S)


@pytest.fixture
def place(tmp_path, monkeypatch, tmp_path_factory):
    """A folder with my.fa and the run of the demo, trained for two steps."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DNAMDLM_CACHE_DIR", str(tmp_path_factory.getbasetemp() / "genomes"))
    rng = np.random.default_rng(0)
    records = ["".join(rng.choice(list("ACGT"), 6000)) for _ in range(6)]
    lines = (f">chr{i}\n{text}\n" for i, text in enumerate(records))
    (tmp_path / "my.fa").write_text("".join(lines))
    quick = ["trainer.max_steps=2", "trainer.valid_windows=2", "trainer.accelerator=cpu"]
    entries.train(entries.composed("train", "config=tiny", *quick, "run_dir=runs/demo"))
    return tmp_path


@pytest.mark.parametrize("document", DOCUMENTS)
def test_the_python_of_a_document_runs(document, place):
    names = {}
    for code in snippets(document):
        # two steps teach what a thousand do about the interface, and "auto" may find a GPU.
        quick = code.replace("max_steps=1000", 'max_steps=2, device="cpu", valid_windows=2')
        exec(compile(quick, document, "exec"), names)
    assert len(snippets(document)) >= 2


@pytest.mark.parametrize("document", DOCUMENTS)
def test_a_part_of_ones_own_is_short(document):
    for code in snippets(document):
        lines = [line for line in code.splitlines() if line.strip()]
        assert len(lines) <= LONGEST_SNIPPET

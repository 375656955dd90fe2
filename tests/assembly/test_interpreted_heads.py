"""Which fine-tuned heads `interpret` refuses, and what it says."""

import re

import pytest

from dnamdlm.assembly.head_model import Head
from dnamdlm.assembly.interpret.head_changes import interpret_head
from dnamdlm.data.genome.intervals import Interval
from dnamdlm.data.genome.store import prepare_genome
from dnamdlm.errors import ConfigError
from tests.helpers.head_runs import write_heads, write_text_head

WHERE = Interval("a", 0, 8)


@pytest.fixture
def store(tmp_path):
    (tmp_path / "g.fa").write_text(">a\nACGTACGT\n")
    return prepare_genome(tmp_path / "g.fa", cache_dir=tmp_path / "cache")


@pytest.mark.parametrize(
    ("kind", "names", "said"),
    [
        ("regression", ["score", "rate"], "numbers (score, rate),"),
        ("classes", ["on", "off", "dim"], "classes (on, off, dim),"),
        ("classes", list("abcdefg"), "classes (a, b, c, d, e, f, ...),"),
        ("labels", ["coding", "long"], "labels (coding, long),"),
    ],
)
def test_a_head_of_several_numbers_or_of_more_than_two_classes_is_refused(
    store, tmp_path, kind, names, said
):
    head = Head(write_heads(tmp_path / "run", kind=kind, names=names), device="cpu")
    expected = (
        f"{tmp_path / 'run'} predicts {said} and only a head of one number or of two classes can "
        "be interpreted; fine-tune one for the number or class of interest"
    )
    with pytest.raises(ConfigError, match=f"^{re.escape(expected)}$"):
        interpret_head(head, store, WHERE)


def test_a_head_of_text_is_refused(store, tmp_path):
    head = Head(write_text_head(tmp_path / "run"), device="cpu")
    expected = (
        f"{tmp_path / 'run'} is a head for text, which has no bases to exchange; give a head that "
        "was fine-tuned on sequences"
    )
    with pytest.raises(ConfigError, match=f"^{re.escape(expected)}$"):
        interpret_head(head, store, WHERE)

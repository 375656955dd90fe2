"""Cleaners bring real lines of the benchmarks back to plain text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_prep import cleaning
from data_prep.cleaning import CLEANERS

# lines of the public benchmarks, as they are published, and how people write them.
PAIRS = [
    ("wikitext", " = = Description = = \n", "== Description =="),
    ("wikitext", " = Robert Boulter = \n", "= Robert Boulter ="),
    (
        "wikitext",
        " It may grow to a length of 60 cm ( 24 in ) and a mass of 6 kilograms ( 13 lb ) , and",
        "It may grow to a length of 60 cm (24 in) and a mass of 6 kilograms (13 lb), and",
    ),
    ("wikitext", ' becoming " lobster red " on cooking . ', 'becoming "lobster red" on cooking.'),
    ("wikitext", "a 2 @.@ 5 @-@ metre wall of 1 @,@ 200 bricks",
     "a 2.5-metre wall of 1,200 bricks"),
    ("wikitext", "We 've seen it isn 't the players ' fault , the so @-@ called 'sect ' or Bush 's",
     "We've seen it isn't the players' fault, the so-called 'sect ' or Bush's"),
    ("wikitext", "it was ' dismissed ' upon the Amos ' n ' Andy Show",
     "it was 'dismissed' upon the Amos 'n' Andy Show"),
    ("lm1b", "But now , it 's looking like Reps who won 't talk .",
     "But now, it's looking like Reps who won't talk."),
    ("lm1b", "began at $ 2,900 a month - a full year", "began at $2,900 a month - a full year"),
    ("lm1b", "councils around \u00a3 100,000 a year .", "councils around \u00a3100,000 a year."),
    ("lm1b", "see http : / / example.org", "see http://example.org"),
    ("ptb", "the company does n't expect it 's worth $ N million",
     "the company doesn't expect it's worth $1 million"),
    ("ptb", "the yield was N N to N and <unk> said no to N.V.",
     "the yield was 1 1 to 1 and ? said no to N.V."),
    ("ptb", "about 1\\/2 of traders ' notes", "about 1/2 of traders' notes"),
    ("lambada", "\u201cNo,\u201d he said. It\u2019s", '\n"No," he said. It\'s'),
    ("text8", "First Citizen:\nBefore 12, any!", "first citizen before one two any"),
    ("plain", " as it  is ", " as it  is "),
    ("scientific_papers", "the cells ( see [ 1 ] ) , grown .", "the cells (see [1]), grown."),
]  # fmt: skip


@pytest.mark.parametrize(("name", "published", "written"), PAIRS)
def test_a_line_becomes_plain_text(name, published, written):
    assert CLEANERS[name](published) == written


@given(st.text(max_size=60))
def test_text8_has_its_27_characters_and_no_double_space(text):
    cleaned = cleaning.text8(text)
    assert set(cleaned) <= set("abcdefghijklmnopqrstuvwxyz ")
    assert "  " not in cleaned
    assert cleaning.text8(cleaned) == cleaned


@pytest.mark.parametrize(
    ("name", "file"),
    [("lm1b", "lm1b_heldout.dev.tokens"), ("wikitext", "wikitext2.valid.txt")],
)
def test_hardly_any_space_before_punctuation_is_left(name, file, shared):
    lines = (shared / "data/text" / file).read_text().splitlines()
    before = sum(line.count(" ,") + line.count(" . ") for line in lines)
    cleaned = [CLEANERS[name](line) for line in lines]
    after = sum(line.count(" ,") + line.count(" . ") for line in cleaned)
    assert before > 10_000
    assert after < before / 100
    letters = [sum(map(str.isalnum, "".join(part))) for part in (lines, cleaned)]
    assert letters[0] == letters[1]


@pytest.mark.parametrize("name", sorted(CLEANERS))
@pytest.mark.parametrize("opening", ["(", "[", "{", '"', "'", "", "= ", "s ' "])
def test_long_runs_of_blanks_cost_no_more_than_other_text(name, opening):
    # with a pattern whose cost grows faster than the square of the run this takes hours.
    cleaned = CLEANERS[name](opening + " " * 20_000 + "end")
    assert cleaned.endswith("end")

"""A path or a text on the command line is what was typed, whatever Hydra's grammar makes of it."""

import functools

import hydra
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given
from hypothesis import strategies as st

from dnamdlm.__main__ import ENTRIES
from dnamdlm.composing import composed
from dnamdlm.errors import ConfigError
from dnamdlm.quoting import (
    LISTS,
    NAMES,
    NAMES_OR_NUMBERS,
    PATHS,
    TERMS,
    quoted_argument,
    quoted_text,
    unquoted_argument,
)
from dnamdlm.setting_files import config_folder, groups_of, options_of

ODD = [
    "\xfcn\xefcode/g\xe9nome.fa", "L\xe4ufe/a",
    "\u57fa\u56e0\u7ec4/\u4eba.fa", "genome (copy).fa", "a#1.fa", "tilde~.fa",
    "~home/x.fa", "it's.fa", 'say "hi".fa', "a=b,c.fa", "g[1].fa", "[g].fa", "p{x}.fa", "{x}",
    "two  blanks.fa", "a, b.fa", "50%.fa", "back\\slash.fa", "end\\", "a:b.fa", "$HOME.fa",
    "x;y&z|w<v>.fa", "*.fa", "!bang?.fa", "1e5", "007", "12", "1_000", "true", "off.fa", "nan",
    "-dash.fa", "+plus.fa", "@at.fa", "^caret`tick`.fa", "runs/config=tiny,seed=1,width=2",
    "choice(a,b)", "range(1,3)", "tab\there.fa", "emoji\N{DNA DOUBLE HELIX}.fa", "a..b/../c.fa",
]  # fmt: skip
PARSER = OverridesParser.create()


def value_of(argument):
    override = PARSER.parse_override(argument)
    assert not override.is_sweep_override()
    return override.value()


def arrives(entry, key, value):
    (found,) = all_arrive(entry, [key], value)
    return found


def all_arrive(entry, keys, value):
    tree, _ = composed(entry, [quoted_argument(f"{key}={value}", entry) for key in keys])
    return [functools.reduce(lambda part, name: part[name], key.split("."), tree) for key in keys]


# of one entry together, since composing a tree takes most of the time.
@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize(
    ("entry", "keys"),
    [
        ("train", ["data.fasta", "run_dir", "init_from", "data.annotation"]),
        ("sample", ["model", "out", "infill", "edit", "template"]),
        ("score", ["variants"]), ("embed", ["data.bed"]), ("judge", ["samples"]),
        ("predict", ["input"]), ("report", ["evaluation"]), ("export", ["adapter_of"]),
    ],
)  # fmt: skip
def test_a_path_arrives_as_it_was_typed(entry, keys, name):
    assert all_arrive(entry, keys, name) == [name] * len(keys)


@pytest.mark.parametrize("name", ODD)
def test_paths_of_a_recipe_and_of_an_option_arrive_as_they_were_typed(name):
    tree, _ = composed(
        "finetune", ["config=table", quoted_argument(f"data.train={name}", "finetune")]
    )
    assert tree["data"]["train"] == name
    tree, _ = composed("train", ["data=text", quoted_argument(f"data.corpus={name}", "train")])
    assert tree["data"]["corpus"] == name


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=30))
def test_any_letters_arrive(name):
    quoted = quoted_argument(f"model={name}", "sample")
    is_quoted = name[0] == name[-1] in "'\"" and len(name) > 1
    if is_quoted or name.lower() == "null" or "${" in name:
        return
    assert value_of(quoted) == name
    assert unquoted_argument(quoted) == f"model={name}"


def test_a_value_in_quotes_of_its_own_is_taken_without_them():
    assert arrives("sample", "model", "'a, b'") == "a, b"
    assert arrives("sample", "model", '"a=b"') == "a=b"


def test_null_is_none_and_a_reference_is_followed():
    assert arrives("train", "init_from", "null") is None
    assert arrives("train", "run_dir", "runs/${name}-${seed}") == "runs/${name}-${seed}"


def test_several_files_stand_in_brackets_with_any_letters():
    assert arrives("train", "data.fasta", "[a (1).fa,b=2.fa]") == ["a (1).fa", "b=2.fa"]
    assert arrives("train", "data.fasta", "['a,b.fa', c.fa]") == ["a,b.fa", "c.fa"]


def test_files_by_name_stand_in_braces_with_any_letters():
    assert arrives("train", "data.fasta", "{a: a (1).fa,b: b=2.fa}") == {
        "a": "a (1).fa",
        "b": "b=2.fa",
    }


def test_names_of_records_are_texts():
    assert arrives("train", "data.valid", "[1,chrX]") == ["1", "chrX"]
    assert arrives("train", "data.valid", "[HLA-A*01:01,NC_1.1|x]") == ["HLA-A*01:01", "NC_1.1|x"]
    assert arrives("train", "data.valid", "chr2") == "chr2"
    assert arrives("train", "data.valid", "null") is None


@pytest.mark.parametrize("motif", ["TATAAA@20", "[TATAAA@20]"])
def test_one_motif_needs_no_brackets(motif):
    assert arrives("sample", "motif", motif) in ("TATAAA@20", ["TATAAA@20"])


@pytest.mark.parametrize("typed", ["chr1:1,000-1,234,567", "[chr1:1,000-1,234,567]"])
def test_commas_of_thousands_separate_no_loci(typed):
    assert arrives("interpret", "locus", typed) in ("chr1:1000-1234567", ["chr1:1000-1234567"])
    both = ["chr1:5-1999", "300:7-8"]
    assert arrives("interpret", "locus", "[chr1:5-1,999,300:7-8]") == both


def test_several_texts_without_brackets_are_refused_with_the_brackets_to_write():
    with pytest.raises(ConfigError, match=r"motif=\[A@1,C@2\]"):
        quoted_argument("motif=A@1,C@2", "sample")


@pytest.mark.parametrize(
    "prompt",
    ["To be, or not", "it's {odd}", "12", "a=b [MASK*3]", "$5: \\ tail\\", "back\\'slash", "'",
     "${x}", "Gr\xf6\xdfe", ""],
)  # fmt: skip
def test_a_prompt_arrives_as_it_was_typed(prompt):
    argument = quoted_argument(f"prompt={prompt}", "sample")
    with hydra.initialize_config_dir(version_base="1.3", config_dir=str(config_folder())):
        config = hydra.compose(config_name="sample", overrides=[argument, "model=x", "out=y"])
    assert config.prompt == prompt


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("runs/act (copy)", "runs/act (copy)"),
        ("mine.py:f", "mine.py:f"),
        ("[{head: runs/a (b), weight: 0.5}]", [{"head": "runs/a (b)", "weight": 0.5}]),
        ("[{motif:TATAAT,weight:-2},{gc:[0.4,0.6]}]",
         [{"motif": "TATAAT", "weight": -2}, {"gc": [0.4, 0.6]}]),
        ("{function: my file.py:f}", {"function": "my file.py:f"}),
        ("[{mean: [{head: a,seed: 1},{head: b,class: strong one}]}]",
         [{"mean": [{"head": "a", "seed": 1}, {"head": "b", "class": "strong one"}]}]),
    ],
)  # fmt: skip
def test_terms_arrive_with_their_numbers_and_texts(typed, expected):
    assert arrives("design", "reward", typed) == expected


def test_a_switch_of_one_command_is_not_the_list_of_another():
    assert arrives("design", "baselines", "false") is False
    tree, _ = composed("finetune", ["config=table", quoted_argument("baselines=cnn", "finetune")])
    assert tree["baselines"] == "cnn"


def test_other_arguments_and_quoted_prompts_stay():
    for argument in ("seed=1", "prompt=null", "prompt='a, b'", "+debug", "trainer={a: 1}"):
        assert quoted_argument(argument, "sample") == argument


def test_commas_separate_the_values_of_a_sweep_but_not_within_a_path_that_exists(
    tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)

    def swept(argument):
        quoted = quoted_argument(argument, "sample", sweeps=True)
        override = PARSER.parse_override(quoted)
        if not override.is_sweep_override():
            return [override.value()]
        return [getattr(value, "text", value) for value in override.value().list]

    assert swept("model=a,b c") == ["a", "b c"]
    assert swept("model=sw/seed=1,width=2,b") == ["sw/seed=1", "width=2", "b"]
    (tmp_path / "sw" / "seed=1,width=2").mkdir(parents=True)
    (tmp_path / "sw" / "seed=2,width=2").mkdir(parents=True)
    first, second = "sw/seed=1,width=2", "sw/seed=2,width=2"
    assert swept(f"model={first}") == [first]
    assert swept(f"model={first},{second}") == [first, second]
    assert swept(f"out={first}/x.fa") == [f"{first}/x.fa"]
    assert swept("template=\xfc.fa,\xe4 b.fa") == ["\xfc.fa", "\xe4 b.fa"]


def test_quoted_text_is_read_as_the_text():
    for text in ODD:
        assert value_of(f"model={quoted_text(text)}") == text


def test_every_setting_that_may_be_a_text_is_named():
    """One that is added and not named would be read by Hydra's grammar."""
    named = PATHS | NAMES | LISTS | NAMES_OR_NUMBERS | TERMS | WORDS | NUMBERS
    found = set()
    for entry in ENTRIES:
        folder = config_folder(entry)
        choices = [f"{group}={option}" for group in groups_of(folder, entry)
                   for option in options_of(folder, group)]  # fmt: skip
        for choice in [[], *([choice] for choice in choices)]:
            found |= maybe_texts(composed(entry, choice)[0])
    assert found - named == set()


# settings with few possible values, which Hydra reads as they are.
WORDS = frozenset({
    "accelerator", "activation", "block", "constraints", "control", "device", "devices",
    "directions", "dtype", "estimator", "guide_order", "head", "inner", "iupac", "kind", "layout",
    "long", "method",
    "metric", "mixture", "num_nodes", "ops", "order", "pi", "pooling", "precision", "probe",
    "proposal", "select", "split", "strand", "strands", "strategy", "transform", "value", "version",
    "weights",
})  # fmt: skip
# settings that may be null, and are numbers, lists of them, true or false, or groups otherwise.
NUMBERS = frozenset({
    "density",
    "bases", "batch_size", "block_length", "dilations", "expand", "gc",
    "genetic_code", "genomes", "grid", "inner_size", "length",
    "limit", "longest_run", "max_length", "max_minutes", "micro_batch_size", "most_draws",
    "overlap", "part_rows", "pool", "population", "seed", "seeds", "shots", "temperature",
    "threads", "threshold", "time_points", "top_k", "wildcards", "window", "workers",
})  # fmt: skip


def maybe_texts(tree):
    """Last part of each key whose value is a text or several, or null, or has to be given."""
    found = set()
    for key, value in tree.items():
        if isinstance(value, dict):
            found |= maybe_texts(value)
        elif (value is None or isinstance(value, str | list)) and key != "_target_":
            found.add(key)
    return found

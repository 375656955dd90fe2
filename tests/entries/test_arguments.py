"""Options and settings of a command line, and what is said of a word that is neither."""

import subprocess
import sys

import pytest

from dnamdlm.arguments import read_arguments
from dnamdlm.composing import known_keys
from dnamdlm.errors import ConfigError
from dnamdlm.suggestions import did_you_mean, nearest


def read(*words, entry="sample"):
    return read_arguments(words, entry, lambda settings: known_keys(entry, settings))


def test_options_may_stand_anywhere():
    for words in (["-m", "seed=1,2"], ["seed=1,2", "--multirun"]):
        arguments = read(*words)
        assert arguments.is_sweep
        assert arguments.settings == ("seed=1,2",)
    assert read("seed=1", "--cfg", "job", "width=2").for_hydra == [
        "--cfg", "job", "seed=1", "width=2",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--model", "runs/demo"], "--model is not an option of sample, .* write model=runs/demo$"),
        (["--model=runs/demo"], "--model is not an option of sample, .* write model=runs/demo$"),
        (["--num-sequences", "3"], "write num_sequences=3$"),
        (["--n", "3"], "write num_sequences=3$"),
        (["--fasta", "x.fa"], "write data.fasta=x.fa$"),
        (["-o", "x.fa"], "write out=x.fa$"),
        (["--debug"], "write debug=VALUE$"),
        (["--cfg", "model=x"], "write --cfg job, --cfg hydra or --cfg all"),
        (["runs/demo"], "runs/demo is not a setting of sample; write .* such as model=runs/demo"),
        (["model"], "model is not a setting of sample; write model=VALUE"),
        (["out="], "out= is empty; give out=VALUE, or leave it out"),
        (["out=a\udcff.fa"], "holds bytes that are not UTF-8; rename the file"),
        (["motif=A@1,C@2"], r"write several in brackets, motif=\[A@1,C@2\]"),
    ],
    ids=lambda value: value[0].encode("ascii", "replace").decode() if value[0] else None,
)
def test_a_word_that_is_no_setting_gets_a_sentence(words, message):
    with pytest.raises(ConfigError, match=message) as found:
        read(*words)
    assert "\n" not in str(found.value)


@pytest.mark.parametrize(
    ("word", "entry", "meant"),
    [
        ("n", "sample", "num_sequences"),
        ("num_samples", "sample", "num_sequences"),
        ("fasta", "embed", "data.fasta"),
        ("vcf", "score", "variants"),
        ("output", "score", "out"),
        ("output", "train", "run_dir"),
        ("lr", "train", "optimizer.learning_rate"),
        ("steps", "train", "trainer.max_steps"),
        ("trainer.learning_rate", "train", "optimizer.learning_rate"),
        ("epochs", "finetune", "training.epochs"),
        ("genome", "sample", "data.fasta"),
        ("temperatures", "sample", "temperature"),
        ("gpu", "sample", "device"),
    ],
)
def test_a_wrong_name_leads_to_the_setting_that_is_meant(word, entry, meant):
    assert nearest(word, known_keys(entry, [])) == meant


def test_nothing_is_suggested_for_a_word_that_is_like_none():
    assert did_you_mean("zzzz", known_keys("sample", [])) == ""
    assert did_you_mean("x", known_keys("sample", [])) == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["n=2"], "n is not a setting of sample (did you mean num_sequences?); see --help"),
        (["--model", "X"], "write model=X"),
        (["seed=1,2", "model=x", "out=y.fa"], "seed=1,2 names several values; give one, or"),
        (["width=(", "model=x", "out=y.fa"], "width=( cannot be read; put the value into quotes"),
        (["out=x${nothing}.fa", "model=x"], "out refers to ${nothing}, which is not a setting"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else None,
)
def test_a_command_line_that_cannot_be_read_is_one_sentence(tmp_path, arguments, message):
    done = subprocess.run(
        [sys.executable, "-m", "dnamdlm.sample", *arguments],
        capture_output=True, text=True, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
    assert done.stderr.startswith("dnamdlm: ")
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []

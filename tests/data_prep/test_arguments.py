"""Command lines of the data scripts."""

import subprocess
import sys

import pytest

from data_prep.arguments import parse_arguments, run_script
from dnamdlm.errors import ConfigError, DataError

DEFAULTS = {"out": None, "base_url": "https://x"}


def test_given_values_replace_defaults():
    assert parse_arguments(["out=a=b"], DEFAULTS) == {"out": "a=b", "base_url": "https://x"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["out"], "'out' is not of the form key=value"),
        (["out="], "not of the form"),
        (["ot=x"], "'ot' is not a setting; did you mean 'out'"),
        (["out=a", "out=b"], "'out' is given twice"),
        ([], "out=... is needed"),
    ],
)
def test_a_wrong_argument_is_named(arguments, message):
    with pytest.raises(ConfigError, match=message):
        parse_arguments(arguments, DEFAULTS)


def test_a_mistake_prints_one_sentence_and_gives_status_2(capsys):
    def body(_):
        raise DataError("x: no such file")

    status = run_script(body, usage="u", defaults=DEFAULTS, arguments=["out=a"])
    assert status == 2
    assert capsys.readouterr().err == "error: x: no such file\n"


@pytest.mark.parametrize("script", ["yeast", "hg38", "species", "package"])
def test_every_script_explains_itself(script):
    done = subprocess.run(
        [sys.executable, "-m", f"data_prep.{script}", "--help"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "out=DIR" in done.stdout
    assert not done.stderr

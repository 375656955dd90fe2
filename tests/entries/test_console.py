"""The console command: its list of entries, completion, and scripts that prepare data."""

import shutil
import subprocess
import sys

import pytest

from dnamdlm.__main__ import ENTRIES, main
from dnamdlm.completion import words_of
from dnamdlm.setting_files import config_folder


def run(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "dnamdlm", *arguments], capture_output=True, text=True, check=False
    )


def test_without_a_command_the_entries_are_listed(capsys):
    main([])
    text = capsys.readouterr().out
    for name in (*ENTRIES, "prepare", "completion", "skill"):
        assert f"\n  {name} " in text


def test_an_entry_is_the_same_as_its_module():
    by_console = run("sample", "--help")
    module = [sys.executable, "-m", "dnamdlm.sample", "--help"]
    by_module = subprocess.run(module, capture_output=True, text=True, check=True)
    assert by_console.returncode == 0
    assert by_console.stdout == by_module.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["trian"], "unknown command 'trian' (did you mean train?)"),
        (["completion", "tcsh"], "name one shell: dnamdlm completion bash|zsh|fish"),
        (["skill"], "name one folder: dnamdlm skill DIR"),
        (["skill", "README.md/x"], "out=README.md/x"),
        (["skill", "/proc/x"], "the folder /proc/x cannot be made"),
        (["prepare", "yaest"], "unknown data set 'yaest' (did you mean yeast?)"),
        (["evaluate", "model=no/such/run"], "model=no/such/run does not exist"),
    ],
)
def test_a_mistake_is_one_sentence_and_exits_with_2(arguments, message):
    done = run(*arguments)
    assert done.returncode == 2
    assert done.stderr.startswith(f"dnamdlm: {message}")
    assert done.stderr.count("\n") == 1


def test_prepare_runs_a_script_of_data_prep():
    done = run("prepare", "package", "--help")
    assert done.returncode == 0
    assert "file=ncbi_dataset.zip out=DIR" in done.stdout
    assert "species" in run("prepare").stdout


def test_words_to_complete_are_groups_with_their_options_and_keys():
    words = words_of(config_folder("train"), "train")
    assert {"backbone=dit", "config=demo", "data.fasta=", "trainer.max_steps=", "seed="} <= set(
        words
    )
    assert len(words) == len(set(words))


def _completed(line, words, current):
    script = f"""
source <({sys.executable} -m dnamdlm completion bash)
COMP_LINE={line!r}; COMP_POINT=${{#COMP_LINE}}; COMP_WORDS=({words}); COMP_CWORD={current}
compopt() {{ :; }}
_dnamdlm; printf '%s\\n' "${{COMPREPLY[@]}}"
"""
    bash = shutil.which("bash")
    return subprocess.run([bash, "-c", script], capture_output=True, text=True, check=True).stdout


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
def test_bash_completes_entries_keys_and_options():
    assert _completed("dnamdlm eva", "dnamdlm eva", 1).split() == ["evaluate"]
    assert _completed("dnamdlm sample num", "dnamdlm sample num", 2).split() == ["num_sequences="]
    # "=" breaks words, so only what follows it is given.
    found = _completed("dnamdlm train backbone=cad", "dnamdlm train backbone = cad", 4)
    assert found.split() == ["caduceus_ph", "caduceus_ps"]


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_can_read_their_script(shell, tmp_path):
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    script = tmp_path / "script"
    script.write_text(run("completion", shell).stdout)
    subprocess.run([shell, "-n", str(script)], check=True)


def test_the_skill_has_a_page_per_entry_that_is_its_help(tmp_path, capsys):
    main(["skill", str(tmp_path / "skill")])
    assert capsys.readouterr().out == f"wrote {len(ENTRIES) + 1} pages to {tmp_path / 'skill'}\n"
    pages = {path.name: path.read_text() for path in (tmp_path / "skill").iterdir()}
    assert set(pages) == {"SKILL.md", *(f"{name}.md" for name in ENTRIES)}
    assert pages["SKILL.md"].startswith("---\nname: dnamdlm\ndescription: ")
    for name in ENTRIES:
        assert f"]({name}.md) | " in pages["SKILL.md"]
        assert f"usage: python -m dnamdlm.{name} key=value" in pages[f"{name}.md"]
    capsys.readouterr()
    main(["slim", "--help"])
    assert capsys.readouterr().out in pages["slim.md"]

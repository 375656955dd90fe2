"""The benchmarks of text run from end to end with two steps of training."""

import pytest

from benchmarks.quality import figure2, text
from benchmarks.speed import semi_autoregressive
from dnamdlm.errors import DataError


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Run folders of all models on a corpus of 27 characters."""
    folder = tmp_path_factory.mktemp("runs")
    words = ["to be or not to be", "that is the question", "whether it is nobler"]
    (folder / "tinyshakespeare.txt").write_text("\n".join(words * 100))
    place = ["--data", str(folder), "--runs", str(folder / "runs"), "--threads", "1"]
    text.main(["--smoke", "--corpora", "shakespeare", *place])
    return folder / "runs" / "shakespeare"


@pytest.mark.slow
def test_the_table_of_perplexities_has_all_models_and_counts(runs, capsys):
    place = ["--data", str(runs.parents[1]), "--runs", str(runs.parent), "--threads", "1"]
    text.main(["--smoke", "--corpora", "shakespeare", "--models", "ar", *place])
    printed = capsys.readouterr().out
    for name in ("unigram counts", "trigram counts", "| AR |"):
        assert name in printed


@pytest.mark.slow
@pytest.mark.parametrize("script", [figure2, semi_autoregressive])
def test_figures_are_drawn_from_run_folders(script, runs, tmp_path, capsys):
    scorer = ["--scorer", str(runs / "ar_seed1")]
    script.main(
        ["--smoke", "--runs", str(runs), *scorer, "--results", str(tmp_path), "--threads", "1"]
    )
    assert {path.suffix for path in tmp_path.iterdir()} == {".png", ".svg"}
    assert "held-out text" in capsys.readouterr().out


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"tinyshakespeare\.txt is missing; name the folder"):
        text.main(["--smoke", "--corpora", "shakespeare", "--data", str(tmp_path)])

"""Every recipe of text runs dry on a small corpus, with every objective; the papers' numbers."""

import re

import pytest

from data_prep.text import main
from dnamdlm.errors import ConfigError, DataError
from dnamdlm.setting_files import config_folder
from tests.assembly.test_configs import TEXT_RECIPES, compose
from tests.helpers.entries import train

SMALL = ["backbone.hidden_size=8", "backbone.num_blocks=1", "backbone.num_heads=2"]
DRY = ["trainer.accelerator=cpu", "dry_run=true"]
CONFIGS = config_folder()
LETTERS = "the quick brown fox jumps over the lazy dog"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A corpus of bytes, one of text8, and one with words that have begin and end marks."""
    folder = tmp_path_factory.mktemp("text")
    (folder / "lines.txt").write_text(f"{LETTERS}\n" * 400)
    (folder / "words").mkdir()
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *sorted(set(LETTERS.split()))]
    (folder / "words" / "vocab.txt").write_text("\n".join(words))
    for name, tokenizer in (("bytes", "bytes"), ("text8", "text8"), ("marks", folder / "words")):
        if name == "marks":
            pytest.importorskip("tokenizers")
        arguments = [f"files={folder / 'lines.txt'}", f"tokenizer={tokenizer}"]
        assert main([*arguments, f"out={folder / name}"]) == 0
    return folder


def corpus_of(recipe):
    if recipe.startswith("text8"):
        return "text8"
    return "marks" if recipe.startswith(("lm1b", "openwebtext")) else "bytes"


@pytest.mark.parametrize("recipe", TEXT_RECIPES)
def test_every_recipe_of_text_runs_dry_on_a_small_corpus(recipe, folder, tmp_path):
    corpus = f"data.corpus={folder / corpus_of(recipe)}"
    train(compose(f"config={recipe}", corpus, *SMALL, *DRY, f"run_dir={tmp_path / 'run'}"))
    assert not (tmp_path / "run" / "config.yaml").exists()


@pytest.mark.parametrize("objective", ["mdlm", "sedd", "d3pm", "ar", "mlm"])
def test_every_objective_runs_dry_on_text(objective, folder, tmp_path):
    network = ["backbone=ar"] if objective == "ar" else []
    choice = [f"lm={objective}", *network, f"data.corpus={folder / 'bytes'}"]
    train(compose("config=text8", *choice, "data.tokenizer=null", *SMALL, *DRY,
                  f"run_dir={tmp_path / 'run'}"))  # fmt: skip


@pytest.mark.parametrize("recipe", ["lm1b", "openwebtext", "text8", "wikitext2", "text"])
def test_the_autoregressive_settings_that_a_recipe_names_give_a_network_of_its_size(recipe):
    comment = (CONFIGS / "config" / f"{recipe}.yaml").read_text().replace("\n# ", " ")
    settings = re.search(r"Autoregressive: ([^;]*);", comment)[1].split()
    masked, causal = compose(f"config={recipe}"), compose(f"config={recipe}", *settings)
    assert causal["backbone"]["_target_"].endswith("CausalTransformer")
    for size in ("hidden_size", "num_blocks", "num_heads", "mlp_ratio", "dropout"):
        assert causal["backbone"][size] == masked["backbone"][size]


def test_the_recipes_of_the_paper_have_its_numbers():
    for recipe, length in (("lm1b", 128), ("openwebtext", 1024)):
        tree = compose(f"config={recipe}")
        assert tree["data"]["length"] == length
        assert tree["trainer"]["global_batch_size"] == 512
        assert tree["trainer"]["max_steps"] == 1_000_000
        assert tree["trainer"]["averaging_decay"] == 0.9999
        assert tree["learning_rate"]["warmup_steps"] == 2500
        assert tree["optimizer"]["learning_rate"] == 3e-4
        sizes = [tree["backbone"][key] for key in ("hidden_size", "num_blocks", "num_heads")]
        assert sizes == [768, 12, 12]
        assert tree["backbone"]["dropout"] == 0.1
    assert compose("config=lm1b")["data"]["layout"] == "padded"
    assert compose("config=lm1b_packed")["data"]["layout"] == "packed"


def test_a_missing_corpus_names_the_command_that_brings_it(tmp_path):
    tree = compose("config=lm1b", f"data.corpus={tmp_path / 'none'}", *SMALL, *DRY)
    with pytest.raises(
        DataError, match=r"command that prepares it: 'python -m data_prep\.text corpus=lm1b out="
    ):
        train(tree)


def test_wrapping_needs_marks(folder):
    tree = compose("config=openwebtext", f"data.corpus={folder / 'bytes'}", *SMALL, *DRY)
    with pytest.raises(ConfigError, match="needs begin and end marks"):
        train(tree)


def test_a_corpus_that_is_smaller_than_a_block_is_refused(folder):
    tree = compose("config=text", f"data.corpus={folder / 'marks'}", "data.length=100000",
                   *SMALL, *DRY)  # fmt: skip
    with pytest.raises(DataError, match="less than one block of 100,000"):
        train(tree)

"""Small corpora and small models of text that several benchmarks share.

A folder of runs holds, for each corpus, `CORPUS/tokenizer`, `CORPUS/corpus` (what
`python -m data_prep.text` wrote) and one run folder per model and seed, `CORPUS/MODEL_seed1`.
"""

from __future__ import annotations

import contextlib
import io
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import hydra
from omegaconf import OmegaConf

from benchmarks.results_table import RESULTS
from data_prep.text import main as prepare_text
from dnamdlm.assembly.train.train_settings import read_train_settings
from dnamdlm.assembly.train.training_run import train
from dnamdlm.command_line import Tree, config_folder
from dnamdlm.errors import ConfigError, DataError

DATA = Path(os.environ.get("DNAMDLM_SHARED", RESULTS.parents[2] / "shared")) / "data" / "text"


@dataclass(frozen=True)
class SmallCorpus:
    """A corpus from local files.

    Attributes:
        name: short name.
        label: as shown.
        train: file of the training part.
        test: file of the test part; None takes the end of the training file.
        settings: further settings of `data_prep.text`.
        subwords: whether a vocabulary is learned from the training part.
    """

    name: str
    label: str
    train: str
    test: str | None
    settings: tuple[str, ...]
    subwords: bool


CORPORA = {
    corpus.name: corpus
    for corpus in (
        SmallCorpus(
            "lm1b",
            "LM1B held-out sentences",
            "lm1b_heldout.dev.tokens",
            None,
            ("corpus=lm1b", "valid_fraction=0.05", "test_fraction=0.1"),
            True,
        ),
        SmallCorpus(
            "wikitext2",
            "WikiText-2, validation part",
            "wikitext2.valid.txt",
            "wikitext2.test.txt",
            ("corpus=wikitext2", "unit=paragraph", "valid_fraction=0.05"),
            True,
        ),
        SmallCorpus(
            "shakespeare",
            "tiny Shakespeare, text8 characters",
            "tinyshakespeare.txt",
            None,
            ("unit=file", "clean=text8", "tokenizer=text8"),
            False,
        ),
    )
}

_TIME, _NO_TIME = "backbone.time_conditioning=true", "backbone.time_conditioning=false"
MODELS: dict[str, tuple[str, ...]] = {
    "ar": ("lm=ar", "backbone=text_cpu_ar"),
    "mdlm": ("lm=mdlm", _NO_TIME),
    "mdlm_time": ("lm=mdlm", _TIME),
    "sedd": ("lm=sedd", _TIME),
    "d3pm": ("lm=d3pm", _TIME),
}
LABELS = {
    "ar": "AR",
    "mdlm": "MDLM without the time",
    "mdlm_time": "MDLM",
    "sedd": "SEDD",
    "d3pm": "D3PM, T = 1000",
}


@dataclass(frozen=True)
class Size:
    """What all models of a benchmark share.

    Attributes:
        steps: optimizer steps.
        batch: rows per step.
        length: tokens per row.
        hidden: channels.
        blocks: transformer blocks.
        vocabulary: ids of a learned vocabulary.
    """

    steps: int
    batch: int = 8
    length: int = 128
    hidden: int = 64
    blocks: int = 2
    vocabulary: int = 1024


SMOKE = Size(steps=2, batch=2, length=16, hidden=16, blocks=1, vocabulary=300)
"""For a test that everything works; the figures mean nothing."""


def prepare(corpus: SmallCorpus, folder: Path, data: Path, vocabulary: int) -> Path:
    """Learn a vocabulary from the training part and tokenize; returns the prepared corpus.

    Raises:
        DataError: if a file is missing.
    """
    files = [data / name for name in (corpus.train, corpus.test) if name]
    for file in files:
        if not file.is_file():
            raise DataError(f"{file} is missing; name the folder that holds it as --data DIR")
    settings = [f"files={files[0]}", *corpus.settings]
    if corpus.test:
        settings.append(f"test={files[1]}")
    if corpus.subwords:
        settings.append(f"tokenizer={_learned(files[0], folder / 'tokenizer', vocabulary)}")
    out = folder / "corpus"
    with contextlib.redirect_stdout(io.StringIO()):
        status = prepare_text([*settings, f"out={out}"])
    if status:
        raise DataError(f"{out} could not be prepared; give an empty folder as --runs DIR")
    return out


def _learned(file: Path, folder: Path, vocabulary: int) -> Path:
    """A byte-level BPE vocabulary of the first 85 % of a file, which no split tests on."""
    try:
        from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    except ImportError as error:
        raise ConfigError(
            "a vocabulary is learned with the package tokenizers, which is not installed; install "
            "it with pip install 'dnamdlm[text]', or take --corpora shakespeare"
        ) from error
    lines = file.read_text(encoding="utf-8").splitlines()
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(lines[: len(lines) * 85 // 100], trainer)
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def train_run(model: str, corpus: Path, run_dir: Path, seed: int, size: Size) -> float | None:
    """Train a model; returns the CPU seconds that it took, None if an interrupted run went on.

    Args:
        model: a name of `MODELS`.
        corpus: a prepared corpus.
        run_dir: run folder.
        seed: of weights, order and noise.
        size: of model and training.
    """
    settings = (
        "config=text", *MODELS[model], f"data.corpus={corpus}", f"data.length={size.length}",
        f"backbone.hidden_size={size.hidden}", f"backbone.num_blocks={size.blocks}",
        "backbone.num_heads=4", f"trainer.max_steps={size.steps}",
        f"trainer.global_batch_size={size.batch}", f"trainer.valid_every={size.steps}",
        f"trainer.checkpoint_every={size.steps}", "trainer.keep_checkpoints=1",
        "trainer.averaging_decay=0.98", f"learning_rate.warmup_steps={max(1, size.steps // 20)}",
        "optimizer.learning_rate=0.004", "trainer.accelerator=cpu", "trainer.devices=1",
        f"seed={seed}", f"run_dir={run_dir}",
    )  # fmt: skip
    noted = run_dir / "cpu_seconds.txt"  # by a benchmark that trained it before
    if noted.is_file():
        return float(noted.read_text(encoding="utf-8"))
    goes_on = (run_dir / "checkpoints").is_dir()
    began = time.process_time()
    train(read_train_settings(composed(settings)))
    if goes_on:
        return None
    seconds = time.process_time() - began
    noted.write_text(f"{seconds:.1f}\n", encoding="utf-8")
    return seconds


def composed(settings: Sequence[str]) -> Tree:
    """The tree that a command line of `train` means."""
    with hydra.initialize_config_dir(version_base="1.3", config_dir=str(config_folder())):
        tree = OmegaConf.to_container(
            hydra.compose(config_name="train", overrides=list(settings)), resolve=True
        )
    assert isinstance(tree, dict)
    return {str(key): value for key, value in tree.items()}

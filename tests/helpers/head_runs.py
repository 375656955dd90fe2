"""Run folders of fine-tuned heads with random weights, as `finetune` writes them."""

import functools
from dataclasses import asdict

import hydra
import torch
from omegaconf import OmegaConf

from dnamdlm.lm.checkpoint import json_writer, tensors_writer, write_folder
from dnamdlm.lm.states.heads import SequenceClassifier
from dnamdlm.lm.states.state_pooling import WindowSettings
from dnamdlm.setting_files import config_folder
from tests.helpers.entries import build_language_model

SMALL = ["config=tiny", "backbone.hidden_size=16", "backbone.num_heads=2", "backbone.num_blocks=1",
         "data.length=32"]  # fmt: skip


@functools.lru_cache
def small_tree(*overrides):
    """The tree of a small masked model."""
    with hydra.initialize_config_dir(version_base="1.3", config_dir=str(config_folder())):
        config = hydra.compose(config_name="train", overrides=[*SMALL, *overrides])
    return OmegaConf.to_container(config, resolve=True)


def write_heads(
    run_dir, *, kind, names, seeds=1, strand="one", window=32, scale=(0.0, 1.0), changes=None, **how
):
    """A run folder with one head per seed; `how` are further window settings."""
    tree = small_tree()
    for seed in range(1, seeds + 1):
        lm = build_language_model(tree, seed=seed).eval()
        torch.manual_seed(seed)
        for parameter in lm.parameters():
            if parameter.ndim > 1:
                torch.nn.init.normal_(parameter, std=0.3)
        windows = WindowSettings(window, **how)
        made = SequenceClassifier(lm, len(names), windows, strand)
        torch.nn.init.normal_(made.head.weight)
        torch.nn.init.normal_(made.head.bias)
        head = {
            "model_config": tree,
            "vocabulary": lm.vocabulary.fingerprint(),
            "kind": kind,
            "task": "toy",
            "label_names": list(names),
            "text_columns": [],
            "strand": strand,
            "windows": asdict(windows),
            "target_mean": [scale[0]],
            "target_deviation": [scale[1]],
        } | (changes or {})
        writers = {
            "result.json": json_writer({}),
            "head.json": json_writer(head),
            "head.safetensors": tensors_writer(made.state_dict()),
        }
        write_folder(run_dir / "splits" / f"model_seed_{seed}", writers)
    return run_dir


def write_text_head(run_dir):
    """A run folder whose record says that its head reads text; its weights are those of DNA."""
    data = {"_target_": "dnamdlm.data.text.corpus.TextData", "corpus": "x", "tokenizer": "bytes"}
    changes = {"model_config": {**small_tree(), "data": data}, "text_columns": ["sentence"]}
    return write_heads(run_dir, kind="classes", names=["bad", "good"], changes=changes)

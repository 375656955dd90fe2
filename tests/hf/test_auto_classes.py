"""Exported folders behind the auto classes of transformers: the same logits, no foreign code."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import dnamdlm
from dnamdlm.assembly.exporting import ExportSettings, export
from dnamdlm.errors import CheckpointError, ConfigError
from dnamdlm.hf.sources import open_classifier
from dnamdlm.lm.states.state_pooling import WindowSettings
from tests.assembly.test_exporting import RECIPES, checkpoint
from tests.helpers.entries import composed
from tests.helpers.entries import finetune as run_finetuning
from tests.lm.test_import_caduceus import random_state

TOKENS = torch.tensor([[7, 3, 8, 9, 3, 10, 11, 7], [10, 10, 3, 3, 8, 4, 4, 4]])
MASKED = [name for name in RECIPES if name != "ar"]
REAL = slice(7, 11)


@pytest.fixture(scope="module")
def transformers():
    found = pytest.importorskip("transformers", reason="transformers is not installed")
    dnamdlm.hf.register()
    return found


def exported(folder, name):
    checkpoint(folder / "checkpoint", name)
    return export(ExportSettings(str(folder / "checkpoint"), str(folder / "out"))).folder


@pytest.mark.parametrize("name", [name for name in MASKED if name != "bert"])
def test_logits_are_those_of_dnamdlm_bit_for_bit(transformers, tmp_path, name):
    folder = exported(tmp_path, name)
    model = transformers.AutoModelForMaskedLM.from_pretrained(folder)
    assert not model.training
    found = model(TOKENS, attention_mask=(TOKENS != 4).long()).logits
    lm = dnamdlm.load(tmp_path / "checkpoint", device="cpu").loaded.lm
    time = lm.process.time_of_masks(TOKENS, lm.real_tokens[TOKENS])
    expected = lm.logits(TOKENS, time, TOKENS != 4)
    assert torch.equal(found[..., REAL], expected[..., REAL])
    others = [id_ for id_ in range(found.shape[-1]) if id_ not in (7, 8, 9, 10)]
    assert bool((found[..., others] == -torch.inf).all())


def test_bert_is_read_by_transformers_alone(transformers, tmp_path):
    folder = exported(tmp_path, "bert")
    model = transformers.AutoModelForMaskedLM.from_pretrained(folder).double()
    assert type(model).__module__.startswith("transformers.")
    own = dnamdlm.load(folder, device="cpu").loaded.lm.double()
    present = TOKENS != 4
    found = model(TOKENS, attention_mask=present.long()).logits
    torch.testing.assert_close(found[present], own.logits(TOKENS, None, present)[present])


FRESH = """
import sys
import torch
import dnamdlm
dnamdlm.hf.register()
from transformers import AutoModelForMaskedLM, AutoTokenizer, pipeline
tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
model = AutoModelForMaskedLM.from_pretrained(sys.argv[1])
inputs = tokenizer("ACGTACGT[MASK][MASK]GATTACA", return_tensors="pt")
logits = model(**inputs).logits
own = dnamdlm.load(sys.argv[1], device="cpu").loaded.lm.logits(inputs["input_ids"])
assert torch.equal(logits[..., 7:11], own[..., 7:11])
fill = pipeline("fill-mask", model=sys.argv[1])
found = fill("ACGTACGT[MASK]GATTACA", top_k=4)
print("".join(sorted(entry["token_str"] for entry in found)))
print(round(sum(entry["score"] for entry in found), 5), found[0]["sequence"][:8])
"""


@pytest.mark.slow
def test_a_fresh_process_needs_register_and_no_network(transformers, tmp_path):
    folder = exported(tmp_path, "dit")
    done = subprocess.run(
        [sys.executable, "-c", FRESH, str(folder)], capture_output=True, text=True, check=False,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONPATH": ":".join(sys.path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["ACGT", "1.0", "ACGTACGT"]


def test_a_saved_model_is_read_by_both(transformers, tmp_path):
    folder = exported(tmp_path, "experts")
    auto = transformers.AutoModelForMaskedLM
    model = auto.from_pretrained(folder)
    with torch.no_grad():
        model.lm.backbone.head.weight.mul_(2.0)
    model.save_pretrained(tmp_path / "saved")
    expected = model(TOKENS).logits
    assert torch.equal(auto.from_pretrained(tmp_path / "saved")(TOKENS).logits, expected)
    own = dnamdlm.load(tmp_path / "saved", device="cpu").loaded.lm
    assert torch.equal(own.logits(TOKENS, None, TOKENS != 4)[..., REAL], expected[..., REAL])


def test_the_loss_is_the_cross_entropy_of_the_labels(transformers, tmp_path):
    model = transformers.AutoModelForMaskedLM.from_pretrained(exported(tmp_path, "dit"))
    labels = torch.full_like(TOKENS, -100)
    labels[0, 1], labels[1, 2] = 9, 7
    found = model(TOKENS, labels=labels)
    log_probs = found.logits.log_softmax(-1)
    expected = -(log_probs[0, 1, 9] + log_probs[1, 2, 7]) / 2
    torch.testing.assert_close(found.loss, expected)
    found.loss.backward()
    assert model.lm.backbone.head.weight.grad.abs().sum() > 0


def test_published_caduceus_needs_no_remote_code(transformers, tmp_path):
    save_file(random_state(ps=True), tmp_path / "model.safetensors")
    config = {"model_type": "caduceus", "d_model": 8, "rcps": True, "fused_add_norm": True}
    (tmp_path / "config.json").write_text(json.dumps(config))
    model = transformers.AutoModelForMaskedLM.from_pretrained(tmp_path)
    own = dnamdlm.load(tmp_path, device="cpu").loaded.lm
    tokens = TOKENS[:1]
    assert torch.equal(model(tokens).logits[..., REAL], own.logits(tokens)[..., REAL])


def test_a_model_that_is_not_masked_is_refused(transformers, tmp_path):
    with pytest.raises(ConfigError, match="a CausalLM, which AutoModelForMaskedLM does not have"):
        transformers.AutoModelForMaskedLM.from_pretrained(exported(tmp_path, "ar"))


@pytest.mark.parametrize("name", ["dit", "caduceus_ps", "caduceus_ph"])
def test_a_new_head_learns_and_is_saved(transformers, tmp_path, name):
    auto = transformers.AutoModelForSequenceClassification
    model = auto.from_pretrained(exported(tmp_path, name), num_labels=3)
    labels = torch.tensor([2, 0])
    before = model(TOKENS, labels=labels).loss
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    before.backward()
    optimizer.step()
    assert model(TOKENS, labels=labels).loss < before
    model.save_pretrained(tmp_path / "saved")
    again = auto.from_pretrained(tmp_path / "saved")
    assert torch.equal(again(TOKENS).logits, model(TOKENS).logits)
    assert again.config.num_labels == 3
    with pytest.raises(CheckpointError, match="a fine-tuned head that was exported for transform"):
        dnamdlm.load(tmp_path / "saved")


def test_padding_changes_no_output(transformers, tmp_path):
    auto = transformers.AutoModelForSequenceClassification
    model = auto.from_pretrained(exported(tmp_path, "dit"), num_labels=2).double()
    with torch.no_grad():
        model.classifier.head.weight.normal_()
    short = TOKENS[1:, :5]
    torch.testing.assert_close(model(TOKENS).logits[1:], model(short).logits)


@pytest.mark.parametrize("kind", ["classes", "regression"])
def test_an_exported_head_gives_the_predictions_of_the_run(tmp_path, monkeypatch, kind):
    monkeypatch.setenv("DNAMDLM_CACHE_DIR", str(tmp_path / "cache"))
    checkpoint(tmp_path / "checkpoint", "dit")
    rng = np.random.default_rng(0)
    texts = ["".join(rng.choice(list("ACGT"), 30)) for _ in range(24)]
    targets = ["yes" if text.count("A") > 7 else "no" for text in texts]
    if kind == "regression":
        targets = [str(text.count("A") + 0.5) for text in texts]
    rows = "".join(f"{text},{target}\n" for text, target in zip(texts, targets, strict=True))
    (tmp_path / "t.csv").write_text("sequence,label\n" + rows)
    options = ("config=table", f"data.train={tmp_path / 't.csv'}", "baselines=[]", "seeds=1",
               f"model={tmp_path / 'checkpoint'}", f"run_dir={tmp_path / 'ft'}", "bootstrap=0",
               "training.epochs=2", "device=cpu")  # fmt: skip
    run_finetuning(composed("finetune", *options))
    export(ExportSettings(str(tmp_path / "ft"), str(tmp_path / "out")))
    head = dnamdlm.load(tmp_path / "ft", device="cpu")
    names = head.label_names
    opened = open_classifier(tmp_path / "out", len(names))
    assert isinstance(opened.classifier.windows, WindowSettings)
    ids = torch.stack([torch.from_numpy(row) for row in map(_encoded, texts)])
    found = opened.outputs(ids, torch.ones_like(ids, dtype=torch.bool)).detach().double()
    table = head.predict(texts)
    word = "value" if kind == "regression" else "probability"
    expected = table[[f"{word}_{name}" for name in names]].to_numpy()
    found = found if kind == "regression" else found.softmax(-1)
    # the table has six digits, and the batches differ.
    np.testing.assert_allclose(found.numpy(), expected, rtol=2e-5, atol=1e-6)


def _encoded(text):
    return np.array([{"A": 7, "C": 8, "G": 9, "T": 10}[letter] for letter in text])


def test_without_transformers_register_is_one_sentence(monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ConfigError, match="needs the package transformers, which is not installed"):
        dnamdlm.hf.register()

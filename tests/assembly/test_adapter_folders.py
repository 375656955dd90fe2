"""Adapters of `finetune method=lora` as a folder of PEFT: written, read back, and read by PEFT."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

import dnamdlm
from dnamdlm.assembly.exporting import ExportSettings, export
from dnamdlm.assembly.models import load_model
from dnamdlm.errors import CheckpointError, ConfigError
from dnamdlm.lm.states.adapters import add_adapters, merge_adapters
from dnamdlm.lm.states.heads import SequenceClassifier
from dnamdlm.lm.states.peft_layout import adapter_config, adapter_tensors, merge_adapter_folder
from dnamdlm.lm.states.state_pooling import WindowSettings
from tests.assembly.test_exporting import checkpoint
from tests.helpers.entries import composed
from tests.helpers.entries import finetune as run_finetuning

SEQUENCES = ["ACGTTGCAACGTTGCA", "GGGGCCCCGGGG", "ATATATATATNATA"]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with an exported base model and a run of fine-tuning with adapters."""
    folder = tmp_path_factory.mktemp("adapters")
    checkpoint(folder / "checkpoint", "dit")
    export(ExportSettings(str(folder / "checkpoint"), str(folder / "base")))
    lines = (f"{text},{'x' if i % 2 else 'y'}" for i, text in enumerate(SEQUENCES * 12))
    (folder / "table.csv").write_text("sequence,label\n" + "\n".join(lines))
    run_finetuning(composed(
        "finetune", "config=table", f"data.train={folder / 'table.csv'}", "bootstrap=0",
        f"model={folder / 'base'}", f"run_dir={folder / 'run'}", "baselines=[]", "device=cpu",
        "method=lora", "lora_rank=2", "lora_alpha=6.0", "training.epochs=1",
        "training.batch_size=8", "training.learning_rate=0.1",
    ))  # fmt: skip
    export(ExportSettings(str(folder / "run"), str(folder / "adapter"),
                          adapter_of=str(folder / "base"), license="mit"))  # fmt: skip
    return folder


def weights_of_head(place):
    return load_file(place / "run/splits/model_seed_1/head.safetensors")


@pytest.mark.parametrize("name", ["dit", "caduceus_ps", "caduceus_ph"])
def test_a_folder_read_back_gives_the_same_outputs_to_twelve_digits(tmp_path, name):
    checkpoint(tmp_path / "checkpoint", name)

    def opened():
        return load_model(str(tmp_path / "checkpoint")).lm.double()

    classifier = SequenceClassifier(opened(), 2, WindowSettings(64), "one").double()
    torch.manual_seed(0)
    add_adapters(classifier.lm, 2, 6.0)
    for key, parameter in classifier.double().named_parameters():
        if key.endswith(".up"):
            torch.nn.init.normal_(parameter)
    tensors = adapter_tensors(classifier)
    tokens = torch.tensor([[7, 3, 8, 9, 3, 10, 7, 7]])
    with_parts = classifier.lm.logits(tokens)
    merge_adapters(classifier)
    torch.testing.assert_close(classifier.lm.logits(tokens), with_parts, rtol=0, atol=1e-12)
    (tmp_path / "adapter").mkdir()
    save_file(tensors, tmp_path / "adapter/adapter_model.safetensors")
    config = adapter_config(tensors, rank=2, alpha=6.0)
    (tmp_path / "adapter/adapter_config.json").write_text(json.dumps(config))
    again = opened()
    plain = again.logits(tokens)
    assert merge_adapter_folder(again, tmp_path / "adapter") == len(config["target_modules"])
    torch.testing.assert_close(again.logits(tokens), with_parts, rtol=0, atol=1e-12)
    assert (plain - with_parts)[..., 7:11].abs().max() > 1e-3


def test_the_tensors_have_the_names_of_peft(place):
    found = load_file(place / "adapter/adapter_model.safetensors")
    config = json.loads((place / "adapter/adapter_config.json").read_text())
    assert (config["r"], config["lora_alpha"], config["peft_type"]) == (2, 6.0, "LORA")
    for layer in config["target_modules"]:
        down = found[f"base_model.model.{layer}.lora_A.weight"]
        up = found[f"base_model.model.{layer}.lora_B.weight"]
        assert (len(down), up.shape[1]) == (2, 2)
    head = found["base_model.model.classifier.head.weight"]
    assert torch.equal(head, weights_of_head(place)["head.weight"])
    assert len(found) == 2 * len(config["target_modules"]) + 2
    card = (place / "adapter/README.md").read_text()
    assert "license: mit" in card
    assert str(place / "base") in card


def test_a_folder_of_adapters_is_a_model_with_the_weights_that_were_fitted(place):
    found = load_model(str(place / "adapter"))
    state = weights_of_head(place)
    for name, tensor in found.lm.state_dict().items():
        assert torch.equal(tensor, state[f"lm.{name}"]), name
    base = load_model(str(place / "base"))
    assert found.digest != base.digest
    assert any(
        not torch.equal(tensor, base.lm.state_dict()[name])
        for name, tensor in found.lm.state_dict().items()
    )
    assert dnamdlm.load(place / "adapter", device="cpu").embed(SEQUENCES).shape == (3, 16)


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing:FutureWarning")
def test_peft_gives_the_predictions_of_the_run(place):
    peft = pytest.importorskip("peft", reason="peft is not installed")
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    dnamdlm.hf.register()
    auto = transformers.AutoModelForSequenceClassification
    base = auto.from_pretrained(place / "base", num_labels=2)
    adapted = peft.PeftModel.from_pretrained(base, place / "adapter").merge_and_unload().eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(place / "base")
    expected = dnamdlm.load(place / "run", device="cpu").predict(SEQUENCES)
    for row, text in enumerate(SEQUENCES):
        logits = adapted(**tokenizer(text, return_tensors="pt")).logits
        share = logits.softmax(-1)[0].detach().numpy()
        wanted = expected.loc[row, ["probability_x", "probability_y"]].to_numpy(float)
        assert share == pytest.approx(wanted, abs=1e-5)  # products in another order, float32


def changed(place, folder, **settings):
    folder.mkdir()
    config = json.loads((place / "adapter/adapter_config.json").read_text()) | settings
    (folder / "adapter_config.json").write_text(json.dumps(config))
    (folder / "adapter_model.safetensors").write_bytes(
        (place / "adapter/adapter_model.safetensors").read_bytes()
    )
    return str(folder)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"peft_type": "IA3"}, "LORA alone can be merged"),
        ({"use_dora": True}, "use_dora=True, which is not supported"),
        ({"rank_pattern": {"x": 3}}, "rank_pattern"),
        ({"r": "two"}, "r=two and lora_alpha=6.0; both must be numbers"),
        ({"r": 3}, "does not have the shape of its layer"),
        ({"base_model_name_or_path": None}, "names no base model"),
        ({"base_model_name_or_path": "nowhere"}, "base_model_name_or_path=nowhere does not exist"),
    ],
)
def test_other_adapters_are_refused(place, tmp_path, settings, message):
    with pytest.raises(CheckpointError, match=message):
        load_model(changed(place, tmp_path / "other", **settings))


def test_adapters_of_another_network_are_refused(place, tmp_path):
    checkpoint(tmp_path / "checkpoint", "caduceus_ps")
    folder = changed(place, tmp_path / "other",
                     base_model_name_or_path=str(tmp_path / "checkpoint"))  # fmt: skip
    with pytest.raises(CheckpointError, match="which is not a layer of the base model"):
        load_model(folder)


def test_a_scale_by_the_root_of_the_rank_is_read(place, tmp_path):
    plain, rooted = (load_model(str(place / "base")).lm for _ in range(2))
    merge_adapter_folder(plain, place / "adapter")
    changed(place, tmp_path / "other", use_rslora=True, lora_alpha=6.0 / 2**0.5)
    merge_adapter_folder(rooted, tmp_path / "other")
    torch.testing.assert_close(dict(rooted.state_dict()), dict(plain.state_dict()))


def test_what_has_no_adapters_cannot_be_exported_as_such(place, tmp_path):
    out = str(tmp_path / "out")
    with pytest.raises(ConfigError, match="which has no adapters"):
        export(ExportSettings(str(place / "base"), out, adapter_of="x"))
    with pytest.raises(ConfigError, match="data_license has no effect with adapter_of"):
        export(ExportSettings(str(place / "run"), out, adapter_of="x", data_license="free"))
    assert not (tmp_path / "out").exists()

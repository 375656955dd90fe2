"""`dnamdlm export`: folders that hold the same model again, with a card that says what it is."""

import json

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

import dnamdlm
from dnamdlm.assembly.building.model_config import ModelConfig
from dnamdlm.assembly.exporting import ExportSettings, export
from dnamdlm.assembly.models import load_model
from dnamdlm.errors import CheckpointError, ConfigError
from dnamdlm.lm.checkpoint import AVERAGE, MODEL, WEIGHTS, json_writer, tensors_writer, write_folder
from dnamdlm.lm.published.import_caduceus import import_caduceus
from dnamdlm.lm.published.import_mdlm import import_dit
from tests.assembly.test_configs import compose
from tests.helpers.entries import evaluate, train

SMALL = ("backbone.hidden_size=16", "backbone.num_blocks=1")
RECIPES = {
    "dit": ("backbone.num_heads=2",),
    "mdlm": ("backbone=dit_tiny", "backbone.num_heads=2", "backbone.conv_width=0",
             "backbone.stem_width=0", "backbone.local_radius=0", "backbone.attention_window=0",
             "backbone.mlp_ratio=4", "backbone.activation=gelu_tanh"),
    "block": ("lm=block", "backbone=dit_tiny", "backbone.num_heads=2"),
    "uniform": ("lm=uniform", "backbone=dit_tiny", "backbone.num_heads=2",
                "backbone.time_conditioning=true"),
    "time": ("backbone=dit_tiny", "backbone.num_heads=2", "backbone.time_conditioning=true"),
    "caduceus_ps": ("backbone=caduceus_ps",),
    "caduceus_ph": ("backbone=caduceus_ph",),
    "dimamba": ("backbone=dimamba",),
    "bert": ("backbone=bert", "backbone.num_heads=2"),
    "ar": ("lm=ar", "backbone=ar", "backbone.num_heads=2"),
    "experts": ("backbone.num_heads=2", "experts=wildcard", "lm.experts.wildcards=[2]"),
    "classes": ("backbone.num_heads=2", "backbone.num_classes=3"),
    "pointer": ("backbone.num_heads=2", "copying=pointer"),
}  # fmt: skip
LAYOUTS = {"mdlm": "mdlm", "caduceus_ps": "caduceus", "caduceus_ph": "caduceus", "dimamba": "mdlm",
           "bert": "bert", "block": "bd3lm", "uniform": "udlm"}  # fmt: skip


def checkpoint(folder, name):
    """A checkpoint of an untrained model whose weights are all random, as training writes it."""
    tree = compose("config=tiny", *RECIPES[name], *SMALL, "data.annotation=null")
    config = ModelConfig(tree)
    lm = config.build(seed=0)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in lm.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.1)
    if name == "experts":
        counts = lm.expert_gates.members[0].counts
        drawn = torch.randint(50, counts.shape, generator=generator, dtype=torch.int32)
        axes = drawn.reshape((4,) * 5)
        counts.copy_((axes + axes.flip(0, 1, 2, 3, 4).permute(4, 3, 2, 1, 0)).reshape(-1))
    average = {key: tensor for key, tensor in lm.state_dict().items() if "counts" not in key}
    write_folder(folder, {
        MODEL: json_writer({**config.describe(), "step": 7}),
        WEIGHTS: tensors_writer(lm.state_dict()),
        AVERAGE: tensors_writer(average),
    })  # fmt: skip
    return folder


@pytest.mark.parametrize("name", RECIPES)
def test_an_exported_model_is_the_same_model(tmp_path, name):
    source = checkpoint(tmp_path / "checkpoint", name)
    done = export(ExportSettings(str(source), str(tmp_path / "out")))
    record = json.loads((tmp_path / "out" / "config.json").read_text())["dnamdlm"]
    assert record["layout"] == done.layout
    if name in LAYOUTS:
        assert done.layout == LAYOUTS[name]
    found, expected = load_model(str(tmp_path / "out")), load_model(str(source))
    state = found.lm.state_dict()
    assert state.keys() == expected.lm.state_dict().keys()
    for key, tensor in expected.lm.state_dict().items():
        assert state[key].dtype == tensor.dtype
        assert torch.equal(state[key], tensor), key
    assert (found.step, found.length, found.labels) == (7, expected.length, expected.labels)
    again = export(ExportSettings(str(tmp_path / "out"), str(tmp_path / "again")))
    first, second = (
        load_file(tmp_path / folder / "model.safetensors") for folder in ("out", "again")
    )
    assert again.layout == done.layout
    assert first.keys() == second.keys()
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_original_names_are_read_by_the_imports(tmp_path):
    for name, read in (("mdlm", import_dit), ("caduceus_ps", import_caduceus)):
        source = checkpoint(tmp_path / name, name)
        export(ExportSettings(str(source), str(tmp_path / f"{name}_out")))
        network = read(load_file(tmp_path / f"{name}_out" / "model.safetensors"))
        own = load_model(str(source)).lm.backbone
        tokens = torch.tensor([[7, 3, 8, 9, 3, 10]])
        time = torch.zeros(1) if name == "mdlm" else None
        torch.testing.assert_close(
            network.double()(tokens, None if time is None else time.double()), own.double()(tokens)
        )


@pytest.mark.parametrize("name", ["experts", "classes", "pointer"])
def test_a_model_that_is_more_than_its_network_keeps_our_names(tmp_path, name):
    source = checkpoint(tmp_path / "checkpoint", name)
    assert export(ExportSettings(str(source), str(tmp_path / "out"))).layout == "own"


def test_counts_of_experts_take_a_quarter_of_their_bytes(tmp_path):
    source = checkpoint(tmp_path / "checkpoint", "experts")
    export(ExportSettings(str(source), str(tmp_path / "out")))
    packed = load_file(tmp_path / "out" / "model.safetensors")["expert_gates.members.0.counts"]
    assert (packed.dtype, len(packed)) == (torch.uint8, 4**5 // 2)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A tiny run on a genome in a folder of its own, with its test split evaluated."""
    folder = tmp_path_factory.mktemp("run")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DNAMDLM_CACHE_DIR", str(folder / "cache"))
        rng = np.random.default_rng(0)
        records = {name: "".join(rng.choice(list("ACGT"), 3000)) for name in ("a", "b", "c")}
        fasta = folder / "secret place" / "g.fa"
        fasta.parent.mkdir()
        fasta.write_text("".join(f">{name}\n{text}\n" for name, text in records.items()))
        train(compose(
            "config=tiny", *SMALL, "backbone.num_heads=2", "data.annotation=null",
            f"data.fasta={fasta}".replace(" ", r"\ "), "data.valid=[b]", "data.test=[c]",
            "trainer.max_steps=2", "trainer.valid_windows=2", "trainer.accelerator=cpu",
            f"run_dir={folder / 'run'}",
        ))  # fmt: skip
        options = (f"model={folder / 'run'}", "max_order=2", "draws=1", "device=cpu")
        evaluate(compose(*options, name="evaluate"))
        yield folder / "run"


def test_the_card_has_the_figures_of_the_evaluation_of_these_weights(run, tmp_path):
    export(ExportSettings(str(run), str(tmp_path / "mine"), license="mit", data_license="CC0"))
    card = (tmp_path / "mine" / "README.md").read_text()
    head = yaml.safe_load(card.split("---\n")[1])
    likelihood = json.loads((run / "evaluation" / "test.json").read_text())["likelihood"]
    rows = {row["name"]: row["classes"]["all"]["bits_per_base"] for row in likelihood["rows"]}
    (result,) = head["model-index"][0]["results"]
    assert result["metrics"][0]["value"] == round(rows["model"], 4)
    assert (head["license"], head["library_name"]) == ("mit", "dnamdlm")
    assert f"| **this model** | {rows['model']:.4f}" in card
    assert f"{rows[likelihood['best_markov']]:.4f}" in card
    assert "| Uniform over A, C, G, T | 2.0000" in card
    assert "training data: CC0" in card
    recorded = json.loads((run / "run.json").read_text())["data"]
    assert recorded["sha256"] in card
    assert "test split: 3,000 bases; c:0-3000" in card


def test_a_folder_names_no_folder_of_this_machine(run, tmp_path):
    export(ExportSettings(str(run), str(tmp_path / "mine")))
    for path in (tmp_path / "mine").iterdir():
        assert b"secret place" not in path.read_bytes(), path.name


def test_an_exported_model_remembers_its_figures_and_its_training_split(run, tmp_path):
    export(ExportSettings(str(run), str(tmp_path / "mine")))
    shown = repr(dnamdlm.load(tmp_path / "mine", device="cpu"))
    assert repr(dnamdlm.load(run, device="cpu")).splitlines()[-1] == shown.splitlines()[-1]
    assert "bits per base" in shown
    export(ExportSettings(str(tmp_path / "mine"), str(tmp_path / "again")))
    assert "| **this model** |" in (tmp_path / "again" / "README.md").read_text()
    loaded = load_model(str(tmp_path / "mine"))
    assert loaded.data_record["splits"]["train"]["intervals"] == ["a:0-3000"]


def test_weights_that_were_not_evaluated_have_no_figures(run, tmp_path):
    export(ExportSettings(str(run), str(tmp_path / "raw"), weights="raw"))
    card = (tmp_path / "raw" / "README.md").read_text()
    assert "Not evaluated before the export." in card
    assert "model-index" not in card
    with pytest.raises(ConfigError, match="which holds the raw weights alone; give weights=raw"):
        load_model(str(tmp_path / "raw"))
    assert load_model(str(tmp_path / "raw"), weights="raw").weights == "raw"


def test_python_exports_what_the_command_exports(run, tmp_path):
    export(ExportSettings(str(run), str(tmp_path / "command" / "mine")))
    for strands in ("one", "both"):
        model = dnamdlm.load(run, device="cpu", strands=strands)
        folder = model.export(tmp_path / strands / "mine")
        for path in (tmp_path / "command" / "mine").iterdir():
            assert path.read_bytes() == (folder / path.name).read_bytes(), path.name


def test_training_starts_from_an_exported_model(run, tmp_path, monkeypatch):
    monkeypatch.setenv("DNAMDLM_CACHE_DIR", str(run.parent / "cache"))
    export(ExportSettings(str(run), str(tmp_path / "mine")))
    train(compose(
        "config=tiny", *SMALL, "backbone.num_heads=2", "data.annotation=null",
        f"data.fasta={run.parent / 'secret place' / 'g.fa'}".replace(" ", r"\ "),
        "data.valid=[b]", "data.test=[c]", "trainer.max_steps=1", "trainer.valid_windows=2",
        "trainer.accelerator=cpu", f"init_from={tmp_path / 'mine'}",
        "optimizer.learning_rate=1e-12", "learning_rate=constant",
        "optimizer.weight_decay=0.0", f"run_dir={tmp_path / 'run'}",
    ))  # fmt: skip
    found, expected = load_model(str(tmp_path / "run")), load_model(str(run))
    for key, tensor in expected.lm.state_dict().items():
        # a step of 1e-12 does not move float32 weights of order one.
        torch.testing.assert_close(found.lm.state_dict()[key], tensor, rtol=0, atol=1e-9)


def test_a_target_that_exists_or_belongs_to_a_run_is_refused(run, tmp_path):
    with pytest.raises(ConfigError, match="exists; choose a folder that does not"):
        export(ExportSettings(str(run), str(tmp_path)))
    with pytest.raises(ConfigError, match="belongs to the run in"):
        export(ExportSettings(str(run), str(run / "evaluation" / "mine")))
    with pytest.raises(ConfigError, match="seed chooses a head of a fine-tuning run"):
        export(ExportSettings(str(run), str(tmp_path / "mine"), seed=1))
    assert not list(tmp_path.glob("*"))


@pytest.fixture
def folder(tmp_path):
    """An exported folder."""
    checkpoint(tmp_path / "checkpoint", "dit")
    export(ExportSettings(str(tmp_path / "checkpoint"), str(tmp_path / "out")))
    return tmp_path / "out"


def test_other_weights_than_those_exported_are_refused(folder):
    path = folder / "model.safetensors"
    tensors = load_file(path)
    save_file({name: tensor + 1 for name, tensor in tensors.items()}, path)
    with pytest.raises(CheckpointError, match=r"does not have the content it was exported with"):
        load_model(str(folder))
    path.unlink()
    with pytest.raises(CheckpointError, match=r"model.safetensors is missing; export again"):
        load_model(str(folder))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format_version": 9}, "exported in format 9, this version reads 1"),
        ({"layout": 3}, r"dnamdlm\.layout is not what dnamdlm writes"),
        ({"description": {}}, "has no config of the kind that dnamdlm writes"),
    ],
)
def test_a_damaged_record_is_one_sentence(folder, change, message):
    content = json.loads((folder / "config.json").read_text())
    content["dnamdlm"] |= change
    (folder / "config.json").write_text(json.dumps(content))
    with pytest.raises(CheckpointError, match=message):
        load_model(str(folder))


def test_a_record_cannot_name_code(folder):
    content = json.loads((folder / "config.json").read_text())
    content["dnamdlm"]["description"]["config"]["backbone"]["_target_"] = "os.system"
    (folder / "config.json").write_text(json.dumps(content))
    with pytest.raises((CheckpointError, ConfigError), match="os"):
        load_model(str(folder))


def test_published_weights_are_exported_as_they_were(tmp_path):
    checkpoint(tmp_path / "checkpoint", "caduceus_ph")
    export(ExportSettings(str(tmp_path / "checkpoint"), str(tmp_path / "out")))
    # without the record it is a folder of another project.
    content = json.loads((tmp_path / "out" / "config.json").read_text())
    del content["dnamdlm"]
    (tmp_path / "out" / "config.json").write_text(json.dumps(content))
    export(ExportSettings(str(tmp_path / "out"), str(tmp_path / "again")))
    first, second = (load_file(tmp_path / name / "model.safetensors") for name in ("out", "again"))
    assert first.keys() == second.keys()
    assert all(torch.equal(first[key], second[key]) for key in first)

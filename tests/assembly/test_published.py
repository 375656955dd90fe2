"""Weights of other projects behind `model=` and `init_from=`, from Python and the command line."""

import json
import sys
import types

import pytest
import torch
from safetensors.torch import load_file, save_file

import dnamdlm
from dnamdlm.assembly.models import load_model
from dnamdlm.backbones.caduceus import CaduceusPS
from dnamdlm.errors import CheckpointError, ConfigError
from dnamdlm.lm.published.import_caduceus import read_caduceus
from dnamdlm.lm.published.import_mdlm import import_dit
from tests.assembly.test_configs import compose
from tests.helpers.entries import evaluate, train
from tests.helpers.rounding import additions, rounding
from tests.lm.test_import_caduceus import random_state

SEQUENCES = ["ACGTTGCAAC", "TTTNACGTAA"]
SHORT = ("trainer.max_steps=2", "trainer.log_every=1", "trainer.valid_every=2",
         "trainer.checkpoint_every=2", "trainer.valid_windows=4")  # fmt: skip
# what the tables of tests/lm/test_import_caduceus.py hold.
SIZES = ("backbone.hidden_size=8", "backbone.num_blocks=2", "backbone.state_size=4",
         "backbone.vocab_multiple=8")  # fmt: skip


@pytest.fixture(autouse=True)
def _cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("DNAMDLM_CACHE_DIR", str(tmp_path_factory.getbasetemp() / "genomes"))


@pytest.fixture
def folder(tmp_path):
    """Writes a folder of Caduceus as Hugging Face does."""

    def write(*, ps, pickled=False, **config):
        path = tmp_path / "published"
        path.mkdir()
        state = random_state(ps=ps)
        if pickled:
            torch.save(state, path / "pytorch_model.bin")
        else:
            save_file(state, path / "model.safetensors")
        config = {"model_type": "caduceus", "d_model": 8, "rcps": ps, **config}
        (path / "config.json").write_text(json.dumps(config))
        return path

    return write


@pytest.mark.parametrize("pickled", [False, True], ids=["safetensors", "bin"])
@pytest.mark.parametrize("ps", [False, True], ids=["ph", "ps"])
def test_a_folder_of_caduceus_is_a_model(folder, ps, pickled):
    path = folder(ps=ps, fused_add_norm=True, pickled=pickled)
    model = dnamdlm.load(str(path), device="cpu")
    backbone = model.loaded.lm.backbone
    assert isinstance(backbone, CaduceusPS) == ps
    tokens = torch.tensor([[7, 8, 9, 10, 3, 11, 7]])
    expected = read_caduceus(path)(tokens)
    allowed = rounding(additions(backbone), expected.abs().max().item())
    torch.testing.assert_close(backbone(tokens), expected, rtol=0, atol=allowed)
    assert model.log_likelihood(SEQUENCES).shape == (2,)
    assert set("".join(model.sample(2, 9))) <= set("ACGT")
    assert model.window_length == 1024


def test_a_pickle_that_would_run_code_is_not_run(tmp_path, folder):
    path = folder(ps=False)
    (path / "model.safetensors").unlink()
    torch.save({"model": _Trap(tmp_path / "sprung")}, path / "pytorch_model.bin")
    with pytest.raises(CheckpointError):
        load_model(str(path))
    assert not (tmp_path / "sprung").exists()


class _Trap:
    """Makes a file where it is unpickled as it asks to be."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (type(self.path).touch, (self.path,))


@pytest.mark.parametrize("name", ["caduceus_ph", "caduceus_ps", "caduceus_ps_fused"])
@pytest.mark.parity
def test_published_folders_give_the_original_logits(shared, tmp_path, name):
    folder = shared / "parity"
    state = load_file(folder / f"{name}.weights.safetensors")
    save_file(state, tmp_path / "model.safetensors")
    config = {"rcps": "ps" in name, "fused_add_norm": "fused" in name}
    (tmp_path / "config.json").write_text(json.dumps(config))
    golden = load_file(folder / f"{name}.io.safetensors")
    logits = load_model(str(tmp_path)).lm.backbone.double()(golden["input_ids"])
    torch.testing.assert_close(logits, golden["logits_f64"], rtol=0, atol=1e-10)


@pytest.mark.parity
def test_a_file_of_mdlm_is_a_model_if_its_ids_are_those_of_dna(shared, tmp_path):
    state = load_file(shared / "parity" / "dit.weights.safetensors")
    size = state["vocab_embed.embedding"].shape[0]
    path = tmp_path / "mdlm.safetensors"
    if size != 12:
        save_file(state, path)
        with pytest.raises(CheckpointError, match=rf"has {size} token ids, .* DNA has 12"):
            load_model(str(path))
        for name in ("vocab_embed.embedding", "output_layer.linear.weight",
                     "output_layer.linear.bias"):  # fmt: skip
            state[name] = state[name][:12].clone()
    save_file(state, path)
    loaded = load_model(str(path))
    tokens = torch.tensor([[7, 3, 9, 10]])
    # published weights were trained without time conditioning, where the original feeds zeros.
    network = import_dit(state)
    expected = network(tokens, torch.zeros(1))
    # the loaded network has its time folded into its weights, in float32.
    allowed = rounding(additions(network), expected.abs().max().item())
    torch.testing.assert_close(loaded.lm.backbone(tokens), expected, rtol=0, atol=allowed)


@pytest.mark.parametrize("name", ["caduceus_ph", "caduceus_ps"])
def test_masked_language_models_are_continued_as_diffusion_models(folder, tmp_path, name):
    ps = name == "caduceus_ps"
    path = folder(ps=ps, fused_add_norm=True)
    exchange = ("backbone.exchange_strands=true",) if ps else ()
    tree = compose(
        "config=tiny", *SHORT, f"backbone={name}", *SIZES, *exchange, f"init_from={path}",
        f"run_dir={tmp_path / 'run'}", "learning_rate=constant",
        "optimizer.learning_rate=1e-12", "optimizer.weight_decay=0.0",
    )  # fmt: skip
    run_dir = train(tree)
    expected = read_caduceus(path).state_dict()
    reached = load_model(str(run_dir)).lm.backbone.state_dict()
    assert reached.keys() == expected.keys()
    for key, tensor in reached.items():
        # two steps of 1e-12 do not move float32 weights of order one.
        torch.testing.assert_close(tensor, expected[key], rtol=0, atol=1e-9)


def test_another_form_is_refused_with_the_settings_that_fit(folder, tmp_path):
    path = folder(ps=True, fused_add_norm=True)
    tree = compose(
        "config=tiny", "backbone=caduceus_ps", *SIZES[:3], f"init_from={path}",
        f"run_dir={tmp_path / 'run'}",
    )  # fmt: skip
    fits = r"train with backbone.vocab_multiple=8 backbone.exchange_strands=true$"
    with pytest.raises(CheckpointError, match=fits):
        train(tree)


def test_published_weights_are_evaluated_on_a_named_genome_alone(folder, tmp_path):
    path = folder(ps=False)
    options = (f"model={path}", f"out={tmp_path / 'out.json'}", "limit=1", "draws=1", "max_order=0",
               "split=valid")  # fmt: skip
    with pytest.raises(ConfigError, match=r"does not say what it was trained on; give data\.fasta"):
        evaluate(compose(*options, name="evaluate"))
    fasta = tmp_path / "genome.fa"
    generator = torch.Generator().manual_seed(0)
    letters = torch.randint(4, (20_000,), generator=generator)
    fasta.write_text(">one\n" + "".join("ACGT"[i] for i in letters) + "\n")
    evaluate(compose(*options, f"data.fasta={fasta}", name="evaluate"))
    content = json.loads((tmp_path / "out.json").read_text())
    assert content["provenance"]["step"] == 0
    assert content["likelihood"]["rows"][-1]["kind"] == "upper bound"


def test_damaged_folders_are_refused_in_one_sentence(folder):
    path = folder(ps=False)
    (path / "config.json").write_text("{")
    with pytest.raises(CheckpointError, match="not readable as JSON"):
        load_model(str(path))
    (path / "config.json").write_text("{}")
    (path / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"holds neither model\.safetensors, pytorch"):
        load_model(str(path))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_published_weights_that_are_not_finite_are_refused(folder, value):
    path = folder(ps=False)
    file = path / "model.safetensors"
    tensors = load_file(file)
    name = next(name for name in sorted(tensors) if name.endswith("in_proj.weight"))
    tensors[name][0, 0] = value
    save_file(tensors, file)
    with pytest.raises(CheckpointError, match=r"model.safetensors: 1 of \d+ numbers of .* are NaN"):
        load_model(str(path))


def test_a_hub_id_needs_huggingface_hub(monkeypatch):
    monkeypatch.setattr(
        "dnamdlm.assembly.building.published.importlib.util.find_spec", lambda name: None
    )
    with pytest.raises(CheckpointError, match="for a hub id, install huggingface_hub"):
        load_model("someone/model")


def test_a_hub_id_is_fetched_and_a_refusal_is_one_sentence(monkeypatch, folder, tmp_path):
    path = folder(ps=False)
    asked = []

    class Refused(OSError):
        """Stands for every error of the hub."""

    def fetch(model, allow_patterns):
        asked.append((model, tuple(allow_patterns)))
        if model != "someone/model":
            raise Refused("404\nand much more")
        return str(path)

    hub = types.ModuleType("huggingface_hub")
    hub.snapshot_download = fetch
    hub.errors = types.SimpleNamespace(
        HfHubHTTPError=Refused, LocalEntryNotFoundError=Refused, HFValidationError=Refused
    )
    monkeypatch.setitem(sys.modules, "huggingface_hub", hub)
    monkeypatch.setattr(
        "dnamdlm.assembly.building.published.importlib.util.find_spec", lambda name: hub
    )
    monkeypatch.chdir(tmp_path)
    assert load_model("someone/model").step == 0
    patterns = ("config.json", "model.safetensors", "pytorch_model.bin", "weights.ckpt",
                "tokenizer.json", "vocab.json", "merges.txt", "vocab.txt",
                "adapter_config.json", "adapter_model.safetensors")  # fmt: skip
    assert asked == [("someone/model", patterns)]
    with pytest.raises(CheckpointError, match=r"hub does not give it \(404\); give a run folder"):
        load_model("someone/other")
    # a mistyped run folder is not asked for on the network.
    (tmp_path / "runs").mkdir()
    with pytest.raises(CheckpointError, match="runs/typo does not exist"):
        load_model("runs/typo")
    assert len(asked) == 2

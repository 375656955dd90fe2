"""Training of predictors: learning, choice by validation, determinism, frozen parts."""

import signal

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from dnamdlm.data.tasks.labelled import LabelledSet
from dnamdlm.data.tasks.sequence_inputs import SequenceSet
from dnamdlm.errors import ConfigError
from dnamdlm.lm.checkpoint import tensors_writer, text_writer, write_folder
from dnamdlm.lm.states.heads import predict_outputs
from dnamdlm.lm.states.suite_cnn import SuiteCnn
from dnamdlm.tokens.nucleotide import NUCLEOTIDE_VOCABULARY
from dnamdlm.training.head_fitting import FinetuneSettings, TargetScale, train_predictor
from dnamdlm.training.head_state import EpochKeeper, FitInterrupted

SETTINGS = FinetuneSettings(epochs=4, batch_size=16, learning_rate=0.01)


class Share(torch.nn.Module):
    """Logits from the share of each letter: the simplest predictor there is."""

    def __init__(self, num_outputs):
        super().__init__()
        self.vocabulary = NUCLEOTIDE_VOCABULARY
        self.both_strands = False
        self.frozen = torch.nn.Parameter(torch.ones(4), requires_grad=False)
        self.map = torch.nn.Linear(4, num_outputs)

    def collate(self, sequences):
        return torch.tensor(
            [[(part == i).mean() for i in range(7, 11)] for part in sequences]
        ).float()

    def forward(self, inputs):
        return self.map(inputs * self.frozen)


def rows(count, seed, kind="classes"):
    rng = np.random.default_rng(seed)
    rich = rng.random(count) < 0.5
    arrays = [
        rng.choice([7, 8, 9, 10], size=80, p=[0.1, 0.4, 0.4, 0.1] if r else [0.3, 0.2, 0.2, 0.3])
        for r in rich
    ]
    targets = rich.astype(np.int64) if kind == "classes" else 50.0 + 10.0 * rich[:, None]
    if kind == "labels":
        targets = np.stack([rich, ~rich], axis=1).astype(np.float32)
    sequences = SequenceSet.of([str(i) for i in range(count)], [a.astype(np.uint8) for a in arrays])
    return LabelledSet(sequences, targets)


def fit(predictor, kind="classes", seed=1, settings=SETTINGS, metric=None):
    metric = metric or {"classes": "accuracy", "labels": "auroc", "regression": "mse"}[kind]
    return train_predictor(
        predictor, kind, rows(97, 1, kind), rows(40, 2, kind), settings, metric=metric, seed=seed
    )


def made(num_outputs=2, seed=0):
    torch.manual_seed(seed)
    return Share(num_outputs)


@pytest.mark.parametrize("kind", ["classes", "labels", "regression"])
def test_every_kind_of_target_is_learned(kind):
    predictor = made(1 if kind == "regression" else 2)
    settings = FinetuneSettings(epochs=20, batch_size=16, learning_rate=0.3)
    history = fit(predictor, kind, settings=settings)
    best = max(epoch.valid.get("auroc", epoch.valid.get("r2")) for epoch in history)
    assert best > 0.6
    assert history[-1].train_loss < history[0].train_loss


def test_the_best_epoch_is_kept_and_frozen_parts_stay():
    predictor = made()
    history = fit(predictor)
    valid = rows(40, 2)
    outputs = predict_outputs(predictor, valid.sequences)
    accuracy = float((outputs.argmax(axis=1) == valid.targets).mean())
    assert accuracy == pytest.approx(max(epoch.valid["accuracy"] for epoch in history))
    assert predictor.frozen.tolist() == [1.0] * 4


def test_a_start_that_no_epoch_improves_on_stays():
    def begun():
        predictor = made()
        with torch.no_grad():
            # more C and G than a half speaks for the second class, which hardly a row contradicts.
            predictor.map.weight.copy_(
                torch.tensor([[1.0, -1.0, -1.0, 1.0], [-1.0, 1.0, 1.0, -1.0]])
            )
            predictor.map.bias.copy_(torch.tensor([0.2, -0.2]))
        return predictor

    # steps so large that each pass throws the weights away.
    wild = FinetuneSettings(epochs=3, batch_size=97, learning_rate=30.0)
    data = (rows(97, 1), rows(40, 2), wild)
    predictor = begun()
    history = train_predictor(
        predictor, "classes", *data, metric="accuracy", seed=1, counts_start=True
    )
    assert [epoch.epoch for epoch in history] == [0, 1, 2, 3]
    assert history[0].train_loss is None
    assert history[0].valid["accuracy"] >= max(epoch.valid["accuracy"] for epoch in history)
    assert torch.equal(predictor.map.weight, begun().map.weight)
    other = begun()
    passes = train_predictor(other, "classes", *data, metric="accuracy", seed=1)
    assert passes == history[1:]
    assert not torch.equal(other.map.weight, begun().map.weight)


def test_the_same_seed_gives_the_same_weights_and_the_outer_generator_is_left_alone():
    torch.manual_seed(5)
    first = SuiteCnn(NUCLEOTIDE_VOCABULARY, 2, 80)
    second = SuiteCnn(NUCLEOTIDE_VOCABULARY, 2, 80)
    second.load_state_dict(first.state_dict())
    state = torch.get_rng_state()
    one = fit(first)
    assert torch.equal(state, torch.get_rng_state())
    torch.rand(3)
    assert fit(second) == one
    for a, b in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(a, b)


def test_numbers_are_scaled_for_the_head_and_restored():
    targets = np.array([[1.0, 5.0], [3.0, 5.0]])
    scale = TargetScale.of("regression", targets)
    assert scale.restore(np.array([[-1.0, 0.0]])).tolist() == [[1.0, 5.0]]
    assert (
        TargetScale.of("classes", np.array([0, 1])).restore(np.ones((2, 3))).tolist()
        == [[1.0] * 3] * 2
    )


def test_impossible_settings_are_refused():
    with pytest.raises(ConfigError, match=r"training.epochs=0 must be above 0"):
        FinetuneSettings(epochs=0)
    with pytest.raises(ConfigError, match=r"training.warmup_fraction=2 must lie in 0\.\.1"):
        FinetuneSettings(warmup_fraction=2)


class StopAfterAnEpoch:
    """A signal that arrives when a state was kept."""

    def __init__(self, folder):
        self.folder = folder

    @property
    def number(self):
        return signal.SIGTERM if self.folder.exists() else None


def kept_fit(folder, *, stop=None, counts_start=False):
    """The weights of a fit that keeps its state."""
    predictor = made()
    train_predictor(
        predictor, "classes", rows(97, 1), rows(40, 2), SETTINGS, metric="accuracy", seed=1,
        keeper=EpochKeeper(folder, stop), counts_start=counts_start,
    )  # fmt: skip
    return predictor.map.weight.tolist()


@pytest.mark.parametrize("name", ["latest.map.weight", "best.map.bias", "optimizer.0.exp_avg"])
def test_a_fit_does_not_resume_from_what_is_not_finite(tmp_path, caplog, name):
    folder = tmp_path / "state"
    with pytest.raises(FitInterrupted):
        kept_fit(folder, stop=StopAfterAnEpoch(folder))
    tensors = load_file(folder / "state.safetensors")
    tensors[name] *= float("nan")
    write_folder(
        folder,
        {
            "state.json": text_writer((folder / "state.json").read_text()),
            "state.safetensors": tensors_writer(tensors),
        },
    )
    assert kept_fit(folder) == kept_fit(None)
    assert "the fit starts anew" in caplog.text
    assert "are NaN or infinite" in caplog.text


@pytest.mark.parametrize("counts_start", [False, True])
def test_a_fit_resumes_where_a_signal_ended_it(tmp_path, caplog, counts_start):
    caplog.set_level("INFO")
    folder = tmp_path / "state"
    with pytest.raises(FitInterrupted):
        kept_fit(folder, stop=StopAfterAnEpoch(folder), counts_start=counts_start)
    assert kept_fit(folder, counts_start=counts_start) == kept_fit(None)
    assert "resumes after epoch 1" in caplog.text

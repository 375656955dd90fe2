"""Exported torch programs as rewards: their numbers, derivatives, and what is refused."""

import numpy as np
import pytest
import torch
from torch import nn

import dnamdlm
from dnamdlm.errors import ConfigError, DataError
from dnamdlm.rewards import WeightedSum
from dnamdlm.rewards.reward import gradient_of

TEXTS = ["ACGTA", "GGGGG", "TTACA"]
WEIGHTS = torch.tensor([1.0, 2.0, 4.0, 8.0])


class Weighed(nn.Module):
    """Sum of 1, 2, 4 or 8 for each A, C, G or T; squared in the second output."""

    def __init__(self, outputs):
        super().__init__()
        self.outputs = outputs
        self.weights = nn.Parameter(WEIGHTS.clone())

    def forward(self, x):
        total = (self.weights[:, None] * x).sum(dim=(1, 2))
        if self.outputs == 1:
            return total
        return torch.stack([total, total**2], dim=1)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("programs")
    for outputs in (1, 2):
        dynamic = {"x": {0: torch.export.Dim("n", min=1, max=4096)}}
        example = (torch.zeros(3, 4, 5),)
        program = torch.export.export(Weighed(outputs), example, dynamic_shapes=dynamic)
        torch.export.save(program, folder / f"weighed{outputs}.pt2")
    (folder / "text.pt2").write_text("not a program")
    return folder


def totals(texts):
    return [sum({"A": 1.0, "C": 2.0, "G": 4.0, "T": 8.0}[base] for base in text) for text in texts]


def test_it_gives_what_the_network_gave(files):
    found = dnamdlm.reward(f"{files}/weighed1.pt2", trust="weighed1", device="cpu")
    assert found.batch(TEXTS).tolist() == totals(TEXTS)
    term = {"program": f"{files}/weighed2.pt2", "output": 1, "weight": 0.5}
    halved = dnamdlm.reward([term], trust="weighed2", device="cpu")
    assert halved.batch(TEXTS).tolist() == [total**2 / 2 for total in totals(TEXTS)]


def test_its_derivatives_are_those_of_the_network(files):
    plain = dnamdlm.reward(f"{files}/weighed1.pt2", trust="weighed1", device="cpu")
    squared = dnamdlm.reward(
        [{"program": f"{files}/weighed2.pt2", "output": 1}], trust="weighed2", device="cpu"
    )
    values, slopes = gradient_of(WeightedSum((plain, squared), (3.0, 0.5)), TEXTS)
    total = np.array(totals(TEXTS))
    np.testing.assert_allclose(values, 3 * total + total**2 / 2, rtol=1e-6)
    expected = (3 + total)[:, None, None] * WEIGHTS.numpy() * np.ones((3, 5, 1))
    np.testing.assert_allclose(slopes, expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("terms", "trust", "message"),
    [
        ("weighed1.pt2", "", r"may run code when it is read; .*trust=\[weighed1\]"),
        ("none.pt2", "none", "does not exist"),
        ("text.pt2", "text", "cannot be read as an exported program"),
        ({"program": "weighed2.pt2", "output": "x"}, "weighed2", "must be a whole number from 0"),
        ({"program": "weighed2.pt2", "class": 1}, "weighed2", "has no key class"),
    ],
)
def test_what_cannot_be_read_is_one_sentence(files, monkeypatch, terms, trust, message):
    monkeypatch.chdir(files)
    with pytest.raises(ConfigError, match=message) as found:
        dnamdlm.reward(terms, trust=trust, device="cpu")
    assert "\n" not in str(found.value)


@pytest.mark.parametrize(
    ("terms", "texts", "message"),
    [
        ("weighed2.pt2", TEXTS, r"numbers of shape \(3, 2\) for 3 sequences"),
        ({"program": "weighed2.pt2", "output": 2}, TEXTS, "output: NUMBER below K"),
        ("weighed1.pt2", ["ACGTAC"], r"cannot read \(1, 4, 6\)"),
    ],
)
def test_what_cannot_be_computed_is_one_sentence(files, monkeypatch, terms, texts, message):
    monkeypatch.chdir(files)
    reward = dnamdlm.reward(terms, trust=["weighed1", "weighed2"], device="cpu")
    with pytest.raises(DataError, match=message) as found:
        reward.batch(texts)
    assert "\n" not in str(found.value)


def test_a_reward_without_derivatives_is_refused():
    reward = dnamdlm.reward([{"motif": "TATA"}])
    with pytest.raises(ConfigError, match=r"has none .* use proposal=first_order"):
        gradient_of(reward, TEXTS)

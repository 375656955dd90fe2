"""The metrics file: one row per step, also after an interrupted run has resumed."""

import torch

from dnamdlm.training.metrics import (
    OF_BASES,
    OF_LABELS,
    OF_TOKENS,
    MetricsFile,
    lacks_value,
    metric_names,
    read_rows,
)

COLUMNS = (
    "step", "bases", "seconds", "learning_rate", "train_bits_per_base", "valid_bits_per_base",
    "bases_per_second", "gradient_norm", "skipped_updates",
)  # fmt: skip


def _row(step):
    return {"step": step, "bases": 10 * step, "seconds": 2.5 * step, "train_bits_per_base": 1.5}


def test_rows_are_read_back_and_unmeasured_columns_are_empty(tmp_path):
    metrics = MetricsFile(tmp_path / "metrics.csv", 0)
    metrics.append(_row(5))
    (row,) = read_rows(tmp_path / "metrics.csv")
    assert tuple(row) == COLUMNS
    assert row["step"] == "5"
    assert row["valid_bits_per_base"] == ""


def test_resuming_drops_later_rows_and_a_half_written_line(tmp_path):
    path = tmp_path / "metrics.csv"
    metrics = MetricsFile(path, 0)
    for step in (5, 10, 15):
        metrics.append(_row(step))
    with path.open("a") as stream:
        stream.write("20,200")
    resumed = MetricsFile(path, 10)
    resumed.append(_row(15))
    assert [row["step"] for row in read_rows(path)] == ["5", "10", "15"]
    assert resumed.seconds_before == 25.0


def test_a_new_run_starts_an_empty_file(tmp_path):
    path = tmp_path / "metrics.csv"
    MetricsFile(path, 0).append(_row(5))
    MetricsFile(path, 0)
    assert read_rows(path) == []


def test_what_a_cut_validation_left_empty_is_filled_in(tmp_path):
    path = tmp_path / "metrics.csv"
    metrics = MetricsFile(path, 0)
    metrics.append(_row(5) | {"valid_bits_per_base": 1.9})
    metrics.append(_row(10))
    assert lacks_value(path, 10, "valid_bits_per_base")
    assert not lacks_value(path, 5, "valid_bits_per_base")
    resumed = MetricsFile(path, 10)
    whole = resumed.complete({"valid_bits_per_base": 1.8})
    assert whole == _row(10) | {"valid_bits_per_base": 1.8}
    assert not lacks_value(path, 10, "valid_bits_per_base")
    resumed.append(_row(15))
    assert [row["valid_bits_per_base"] for row in read_rows(path)] == ["1.9", "1.8", ""]


def test_no_digit_of_a_loss_is_lost(tmp_path):
    loss = float(torch.tensor(1.9434567, dtype=torch.float32))
    metrics = MetricsFile(tmp_path / "metrics.csv", 0)
    metrics.append(_row(5) | {"train_bits_per_base": loss})
    (row,) = read_rows(tmp_path / "metrics.csv")
    assert torch.tensor(float(row["train_bits_per_base"]), dtype=torch.float32).item() == loss


def test_a_classifier_has_columns_of_its_own(tmp_path):
    assert OF_BASES.columns == COLUMNS
    assert set(OF_LABELS.columns) - set(COLUMNS) == {
        "train_bits_per_label",
        "valid_bits_per_label",
        "valid_label_accuracy",
    }
    metrics = MetricsFile(tmp_path / "metrics.csv", 0, OF_LABELS.columns)
    metrics.append({"step": 5, "train_bits_per_label": 0.75, "valid_label_accuracy": 0.5})
    (row,) = read_rows(tmp_path / "metrics.csv")
    assert (row["train_bits_per_label"], row["valid_label_accuracy"]) == ("0.75", "0.5")
    assert row["valid_bits_per_label"] == ""
    assert "train_bits_per_base" not in row


def test_a_run_on_text_has_columns_for_tokens(tmp_path):
    assert OF_TOKENS.columns == tuple(name.replace("base", "token") for name in OF_BASES.columns)
    path = tmp_path / "metrics.csv"
    assert metric_names("token", kind="", path=path) == OF_TOKENS
    assert metric_names("base", kind="", path=path) == OF_BASES
    assert metric_names("base", kind="classifier", path=path) == OF_LABELS


def test_a_text_run_of_an_earlier_version_keeps_its_columns(tmp_path):
    path = tmp_path / "metrics.csv"
    MetricsFile(path, 0, OF_BASES.columns).append(_row(5))
    names = metric_names("token", kind="", path=path)
    assert names == OF_BASES
    MetricsFile(path, 5, names.columns).append(_row(10))
    assert [row["train_bits_per_base"] for row in read_rows(path)] == ["1.5", "1.5"]

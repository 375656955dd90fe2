"""What the log says of a step."""

import logging

from dnamdlm.training.progress import TrainingProgress

ROW = {"step": 5, "bases": 500, "train_bits_per_base": 1.5}


def test_a_step_without_a_rate_says_neither_rate_nor_time(caplog):
    caplog.set_level(logging.INFO)
    progress = TrainingProgress(10, 0)
    progress.bar = None
    progress.report(ROW)
    assert caplog.messages == ["step 5/10  train 1.5000 bits/base"]


def test_a_step_with_a_rate_says_how_long_the_rest_takes(caplog):
    caplog.set_level(logging.INFO)
    progress = TrainingProgress(10, 0)
    progress.bar = None
    progress.report(ROW | {"bases_per_second": 50.0})
    assert caplog.messages == ["step 5/10  train 1.5000 bits/base  50 bases/s  10 s left"]

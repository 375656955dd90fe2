"""A few faults that every test run goes through; `make faults` has all of them."""

import signal

from tests.faults.harness import checkpoints, leftovers, state


def test_a_run_killed_in_an_update_and_in_a_save_ends_as_the_unbroken_one(
    trainer, unbroken, tmp_path
):
    folder = tmp_path / "run"
    for fault in (
        {"place": "update", "step": 5},
        {"place": "save_file", "step": 9, "count": 3},
    ):
        assert trainer.run(folder, faults=[fault]).code == -signal.SIGKILL
    trainer.finish(folder)
    assert state(folder) == state(unbroken)
    assert leftovers(folder) == []


def test_sigterm_saves_at_its_step(trainer, unbroken, tmp_path):
    folder = tmp_path / "run"
    ended = trainer.run(folder, faults=[{"place": "batch_end", "step": 7, "signal": "SIGTERM"}])
    assert ended.code == 128 + signal.SIGTERM, ended.text
    assert checkpoints(folder)[-1] == 7
    trainer.finish(folder)
    assert state(folder) == state(unbroken)


def test_a_loss_that_is_nan_changes_nothing_but_the_order_of_things(trainer, tmp_path):
    folder = tmp_path / "run"
    ended = trainer.finish(folder, faults=[{"poison": "loss", "step": 5}])
    assert "step 6 made no update: the loss is nan" in ended.text
    assert (folder / "bad_batches" / "step_000000005_rank_0.json").is_file()

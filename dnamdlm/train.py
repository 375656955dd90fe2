"""Train a masked diffusion language model of DNA: `python -m dnamdlm.train config=NAME`."""

from __future__ import annotations

from dnamdlm.command_line import Stopped, Tree, run_entry, say


def main(tree: Tree, given: frozenset[str]) -> None:
    """Train, and say where everything lies."""
    from dnamdlm.assembly.train.train_settings import read_train_settings
    from dnamdlm.assembly.train.training_run import train
    from dnamdlm.training.failures import TrainingFailed
    from dnamdlm.training.signals import Interrupted

    settings = read_train_settings(tree, given)
    try:
        run_dir = train(settings)
    except Interrupted as stop:
        raise Stopped(f"{stop}; the same command resumes from there", 128 + stop.number) from stop
    except TrainingFailed as failure:
        raise Stopped(str(failure), 1) from failure
    if settings.dry_run:
        say(f"all settings and data are usable; nothing was written to {run_dir}")
    else:
        say(f"wrote checkpoints, metrics.csv and config.yaml to {run_dir}")


if __name__ == "__main__":
    run_entry("train", main)

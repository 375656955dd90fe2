"""Fine-tuning: every predictor on every split, then one table.

A finished split is a folder `run_dir/splits/<predictor>_seed_<k>` that appears whole or not at all;
the same command computes only what is missing, and writes the table again.
"""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from dnamdlm.assembly.devices import choose_device, plan_for
from dnamdlm.assembly.finetune.finetune_results import finite, split_figures, write_results
from dnamdlm.assembly.finetune.finetune_settings import FinetuneEntry
from dnamdlm.assembly.finetune.head_record import HEAD
from dnamdlm.assembly.finetune.predictors import (
    Fit,
    Predictors,
    Setup,
    strand_of,
    window_settings,
)
from dnamdlm.assembly.finetune.text_tasks import open_task
from dnamdlm.assembly.models import LoadedModel, load_model
from dnamdlm.assembly.operations import start_ops
from dnamdlm.data.targets import check_run_folder, inputs_of
from dnamdlm.data.tasks.labelled import LabelledTask, limited
from dnamdlm.data.tasks.leaks import Leaks, find_leaks, overlap_shares
from dnamdlm.data.tasks.sequence_inputs import SequenceSet
from dnamdlm.data.tasks.target_transforms import transformed
from dnamdlm.data.textfile import plain_cell
from dnamdlm.errors import CheckpointError
from dnamdlm.evaluation.tasks.prediction_metrics import check_metric, probabilities
from dnamdlm.evaluation.tasks.seqleak_audit import audit_task, check_seqleak
from dnamdlm.lm.checkpoint import (
    json_writer,
    read_json,
    remove_partial,
    tensors_writer,
    verify_folder,
    write_folder,
)
from dnamdlm.lm.states.peft_layout import ADAPTER_CONFIG, ADAPTER_WEIGHTS, adapter_config
from dnamdlm.threads import running_with
from dnamdlm.training.head_state import EpochKeeper
from dnamdlm.training.run_folder import open_run, versions
from dnamdlm.training.run_lock import claimed
from dnamdlm.training.signals import StopRequest, restored_handlers

logger = logging.getLogger(__name__)

RESULT, HEAD_WEIGHTS, PREDICTIONS = "result.json", "head.safetensors", "predictions.tsv"
SPLITS = "splits"
_UNFINISHED = "unfinished"
_MAX_SHOWN = 8
# what may change between two calls with one run folder.
_FREE = (
    "run_dir",
    "thorough",
    "audit",
    "seeds",
    "baselines",
    "device",
    "trust",
    "threads",
    "debug",
)


def finetune(settings: FinetuneEntry) -> tuple[Path, str]:
    """Fit and test all predictors on all splits.

    Returns:
        The file of results, and its headline for people.

    Raises:
        ConfigError: for a setting that does not suit the model or the task.
        DataError: for files of the task that cannot be used.
        FitInterrupted: if a signal ended it; the same call resumes after the last epoch.
    """
    check_run_folder(Path(settings.run_dir), inputs_of(settings), fine_tunes=True)
    if settings.audit == "seqleak":
        check_seqleak()
    start_ops(settings.ops, settings.device, settings.precision)
    choose_device(settings.device)
    loaded = load_model(
        settings.model, weights=settings.weights, device=settings.device, trust=settings.trust
    )
    # refuses a classifier of noisy sequences.
    _ = loaded.language_model
    settings = settings.protocol(loaded.modality.name)
    task = limited(transformed(open_task(settings, loaded), settings.transform), settings.limit)
    check_metric(task.kind, task.metric)
    setup = Setup(
        task,
        loaded,
        settings,
        window_settings(settings, task, loaded.length),
        strand_of(settings.strand, loaded),
    )
    run_dir = Path(settings.run_dir)
    recorded = {key: value for key, value in settings.record.items() if key not in _FREE}
    plan = plan_for(loaded.lm, setup.tokens_at_once, threads=settings.threads, can_share=False)
    with claimed(run_dir), running_with(plan.threads):
        remove_partial(run_dir / SPLITS)
        remove_partial(run_dir / _UNFINISHED)
        open_run(
            run_dir,
            recorded | {"model_sha256": loaded.digest},
            {"fingerprint": task.fingerprint(), "task": f"the task {task.name}"},
        )
        leaks = _leaks(task, loaded, settings.near_share)
        _log_task(setup, leaks)
        audit = _audit(setup, leaks)
        results = _all_splits(setup, leaks, run_dir)
        return write_results(run_dir, _description(setup, leaks) | audit, results)


def _leaks(task: LabelledTask, loaded: LoadedModel, share: float) -> Leaks:
    learned = [task.train.sequences] + ([] if task.valid is None else [task.valid.sequences])
    joined = SequenceSet.of(
        [name for part in learned for name in part.names],
        [part[i] for part in learned for i in range(len(part))],
    )
    return find_leaks(joined, task.test.sequences, loaded.lm.vocabulary, share=share)


def _audit(setup: Setup, leaks: Leaks) -> dict[str, Any]:
    """What seqleak says of the task next to our own search, where that is asked for."""
    settings, task = setup.settings, setup.task
    if settings.audit == "own":
        return {}
    vocabulary = setup.loaded.lm.vocabulary
    found = audit_task(task, vocabulary, share=settings.near_share, seed=settings.seed)
    audit = found.compared(leaks)
    copies = audit["copies"]["any"]
    logger.info(
        "%s: verdict %s; %d test rows with a copy in train are found by both audits, %d by ours "
        "alone, %d by seqleak alone",
        audit["package"], audit["verdict"], *copies.values(),
    )  # fmt: skip
    return {"audit": audit}


def _log_task(setup: Setup, leaks: Leaks) -> None:
    task = setup.task
    logger.info("%s", describe_targets(task))
    logger.info(
        "%s: %d rows to learn from, %d to test on, of which %d have a copy or near copy in the "
        "first (%d exact)",
        task.name, len(task.train), len(task.test), leaks.counts()["any"], leaks.counts()["exact"],
    )  # fmt: skip
    longer = int((task.train.sequences.lengths > setup.windows.length).sum())
    if longer:
        logger.info(
            "%d of %d training sequences are longer than a window of %d: long=%s",
            longer, len(task.train), setup.windows.length, setup.windows.long,
        )  # fmt: skip


def describe_targets(task: LabelledTask) -> str:
    """What is learnt, in a sentence: the columns, the kind, and what they hold."""
    columns = ", ".join(task.label_columns or ("label",))
    targets = task.train.targets
    if task.kind == "regression":
        ranges = ", ".join(
            f"{name} from {low:g} to {high:g}, median {middle:g}"
            for name, low, middle, high in zip(
                task.label_names, targets.min(0), np.median(targets, 0), targets.max(0), strict=True
            )
        )
        return f"{task.name}: regression on column {columns} ({ranges}); metric {task.metric}"
    shown = list(task.label_names[:_MAX_SHOWN])
    if task.kind == "classes":
        counts = np.bincount(targets, minlength=task.num_outputs)
    else:
        counts = targets.sum(axis=0).astype(int)
    held = ", ".join(f"{name} {count:,}" for name, count in zip(shown, counts, strict=False))
    more = "" if len(shown) == task.num_outputs else f" and {task.num_outputs - len(shown)} more"
    noun = "classes" if task.kind == "classes" else "labels"
    return (
        f"{task.name}: classification by column {columns} into {task.num_outputs} {noun} "
        f"({held}{more} training rows); metric {task.metric}"
    )


def _all_splits(setup: Setup, leaks: Leaks, run_dir: Path) -> list[dict[str, Any]]:
    """Fit what is not finished; a signal ends it between two steps of a network, or two fits."""
    settings = setup.settings
    wanted = [
        (name, seed)
        for name in ("model", *(settings.baselines or ()))
        for seed in range(settings.seed, settings.seed + (settings.seeds or 1))
    ]
    folders = {key: run_dir / SPLITS / f"{key[0]}_seed_{key[1]}" for key in wanted}
    results = {key: _finished(folder) for key, folder in folders.items()}
    for (name, seed), result in results.items():
        if result is not None:
            logger.info("%s, seed %d: finished before", name, seed)
    predictors = Predictors(setup)
    stop = StopRequest()
    with restored_handlers():
        stop.install()
        for key, result in results.items():
            if result is not None:
                continue
            keeper = EpochKeeper(run_dir / _UNFINISHED / folders[key].name, stop)
            keeper.check()
            start = time.monotonic()
            fit = predictors.fit(*key, keeper)
            found = split_figures(setup.task, fit, leaks, settings) | {
                "predictor": key[0],
                "seed": key[1],
                "seconds": round(time.monotonic() - start, 2),
            }
            _store(folders[key], setup, fit, leaks, found)
            keeper.clear()
            results[key] = found
            _log_split(setup.task.metric, results, key)
    shutil.rmtree(run_dir / _UNFINISHED, ignore_errors=True)
    return [result for result in results.values() if result is not None]


def _log_split(
    metric: str, results: Mapping[tuple[str, int], Mapping[str, Any] | None], key: tuple[str, int]
) -> None:
    """One line per finished split, with the time left where the same predictor was fitted."""
    found = results[key]
    assert found is not None
    seconds = {name: item["seconds"] for (name, _), item in results.items() if item is not None}
    # random weights take as long as the model itself.
    seconds.setdefault("random_weights", seconds.get("model", 0.0))
    left = [name for (name, _), item in results.items() if item is None]
    known = sum(seconds[name] for name in left if name in seconds)
    new = sorted({name for name in left if name not in seconds})
    rest = [f"about {known:,.0f} s"] if len(new) < len(set(left)) else []
    rest += [f"the time of {', '.join(new)}"] if new else []
    remaining = f"; left: {' and '.join(rest)}" if rest else ""
    logger.info(
        "%s, seed %d: test %s %.4f after %.0f s (%d of %d fits)%s",
        *key, metric, found["test"]["figures"][metric], found["seconds"],
        len(results) - len(left), len(results), remaining,
    )  # fmt: skip


def _finished(folder: Path) -> dict[str, Any] | None:
    """The result of a split that was finished before; a damaged one is computed again."""
    if not folder.is_dir():
        return None
    try:
        verify_folder(folder)
    except CheckpointError as error:
        logger.warning("split computed again: %s", error)
        return None
    return read_json(folder / RESULT)


def _store(folder: Path, setup: Setup, fit: Fit, leaks: Leaks, result: Mapping[str, Any]) -> None:
    writers = {
        RESULT: json_writer(finite(result)),
        PREDICTIONS: lambda path: path.write_text(
            _prediction_table(setup.task, fit, leaks), encoding="utf-8"
        ),
    }
    # of the baselines only figures and predictions are kept.
    if fit.classifier is not None and fit.scale is not None and result["predictor"] == "model":
        head = {
            "model_config": dict(setup.loaded.config.tree),
            "vocabulary": setup.loaded.lm.vocabulary.fingerprint(),
            "kind": setup.task.kind,
            "task": setup.task.name,
            "label_names": list(setup.task.label_names),
            "text_columns": list(setup.task.text_columns),
            "strand": setup.strand,
            "windows": asdict(setup.windows),
            "target_mean": fit.scale.mean.tolist(),
            "target_deviation": fit.scale.deviation.tolist(),
        }
        writers[HEAD] = json_writer(head)
        writers[HEAD_WEIGHTS] = tensors_writer(fit.classifier.state_dict())
        if fit.adapters is not None:
            how = adapter_config(
                fit.adapters, rank=setup.settings.lora_rank, alpha=setup.settings.lora_alpha
            )
            writers[ADAPTER_CONFIG] = json_writer(how)
            writers[ADAPTER_WEIGHTS] = tensors_writer(fit.adapters)
    write_folder(folder, writers)


def _prediction_table(task: LabelledTask, fit: Fit, leaks: Leaks) -> str:
    columns = "value" if task.kind == "regression" else "probability"
    names = [f"{columns}_{name}" for name in task.label_names]
    lines = ["\t".join(["name", "target", "in_train", *names])]
    shares = probabilities(task.kind, fit.outputs)
    for row, name in enumerate(task.test.sequences.names):
        target = np.atleast_1d(task.test.targets[row])
        shown = (
            task.label_names[int(target[0])]
            if task.kind == "classes"
            else ";".join(f"{value:g}" for value in target)
        )
        cells = [plain_cell(name), shown, str(int(leaks.any[row]))]
        lines.append("\t".join([*cells, *(f"{share:.6g}" for share in shares[row])]))
    return "\n".join(lines) + "\n"


def _description(setup: Setup, leaks: Leaks) -> dict[str, Any]:
    task, settings = setup.task, setup.settings
    overlap = None
    if task.train.intervals is not None and task.test.intervals is not None:
        shares = overlap_shares(task.train.intervals, task.test.intervals)
        overlap = {"any": int((shares > 0).sum()), "half": int((shares >= 0.5).sum())}
    return {
        "task": task.name,
        "kind": task.kind,
        "metric": task.metric,
        "label_names": list(task.label_names),
        "rows": {
            "train": len(task.train),
            "valid": None if task.valid is None else len(task.valid),
            "test": len(task.test),
        },
        **({} if settings.shots is None else {"shots": settings.shots}),
        "leaks": leaks.counts(),
        "overlap_of_coordinates": overlap,
        "method": _method(settings, task),
        "strand": setup.strand,
        "windows": asdict(setup.windows),
        "training": asdict(settings.training),
        "model": settings.model,
        "model_sha256": setup.loaded.digest,
        "model_parameters": setup.loaded.num_parameters,
        "versions": versions(),
    }


def _method(settings: FinetuneEntry, task: LabelledTask) -> str:
    """What is fitted, for people."""
    if settings.method != "probe":
        return settings.method
    # for numbers the logistic probe is a ridge regression.
    is_ridge = task.kind == "regression" and settings.probe == "logistic"
    return f"probe {'ridge' if is_ridge else settings.probe}"

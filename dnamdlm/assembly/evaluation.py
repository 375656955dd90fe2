"""Evaluation of a trained model from a composed config tree."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dnamdlm.assembly.building import build, check_keys, check_node, check_value
from dnamdlm.assembly.models import LoadedModel, load_model, windows_at_once
from dnamdlm.assembly.operations import start_ops
from dnamdlm.data.fasta import read_fasta
from dnamdlm.data.fasta_writer import check_writable
from dnamdlm.data.source import GenomeData, OpenGenome
from dnamdlm.errors import ConfigError
from dnamdlm.evaluation.files import read_evaluation, write_evaluation
from dnamdlm.evaluation.generated import evaluate_generated
from dnamdlm.evaluation.likelihood import LikelihoodReport, evaluate_likelihood
from dnamdlm.lm.estimation import with_estimator
from dnamdlm.lm.markov import Smoothing
from dnamdlm.lm.markov_fit import MarkovFit, fit_markov
from dnamdlm.training.run_folder import versions

logger = logging.getLogger(__name__)

_KEYS = {
    "model": str,
    "split": str,
    "out": str | None,
    "samples": str | None,
    "draws": int,
    "estimator": str,
    "limit": int | None,
    "batch_size": int | None,
    "max_order": int,
    "weights": str,
    "device": str,
    "ops": str,
    "seed": int,
    "debug": bool,
}
_DATA_KEYS: dict[str, Any] = {
    "fasta": str | None,
    "annotation": str | None,
    "bed": str | None,
    "train": Sequence[str] | None,
    "valid": Sequence[str] | None,
    "test": Sequence[str] | None,
    "cache_dir": str | None,
}
_SPLITS = ("train", "valid", "test")
_MAX_ORDER = 12
# settings that only make sense for the genome they were chosen for.
_OF_ONE_GENOME = ("annotation", "bed", "train", "valid", "test")


def evaluate(tree: Mapping[str, Any]) -> tuple[Path, str]:
    """Score a split and, where asked, generated sequences; write both as JSON.

    Args:
        tree: the resolved config of `evaluate`.

    Returns:
        The JSON file, and its headline for people.
    """
    _check(tree)
    start_ops(tree["ops"], tree["device"])
    loaded = load_model(tree["model"], weights=tree["weights"], device=tree["device"])
    device = next(loaded.lm.parameters()).device
    lm = with_estimator(loaded.lm, tree["estimator"])
    out = _target(tree, loaded)
    data = evaluation_data(loaded, tree["data"])
    genome: OpenGenome = data.open()
    samples = read_fasta(tree["samples"]) if tree["samples"] else None
    windows = genome.evaluation_windows(tree["split"], limit=tree["limit"], seed=tree["seed"])
    logger.info(
        "%s: %d windows of %d bases, %d draws each", tree["split"], len(windows), data.length,
        tree["draws"],
    )  # fmt: skip
    markov = fit_baselines(genome, tree["max_order"])
    report = evaluate_likelihood(
        lm,
        windows,
        draws=tree["draws"],
        batch_size=tree["batch_size"] or windows_at_once(data.length, device),
        device=device,
        region_classes=genome.region_classes,
        markov=markov,
        progress=_progress,
    )
    sections: dict[str, Any] = {
        "provenance": provenance(loaded, genome, tree),
        "likelihood": report.to_json(),
    }
    if samples is not None:
        logger.info(
            "comparing %d generated sequences with the %s split", len(samples), tree["split"]
        )
        sections["generated"] = evaluate_generated(
            samples,
            genome.store,
            genome.splits,
            markov or {},
            rng=np.random.default_rng(tree["seed"]),
            heldout=tree["split"],
        )
    forget_other_model(out, loaded)
    write_evaluation(out, tree["split"], sections)
    return out, sentence(report, tree["split"])


def _check(tree: Mapping[str, Any]) -> None:
    check_keys(tree, _KEYS, ["data"])
    check_keys(tree["data"], _DATA_KEYS)
    for key, value in tree["data"].items():
        check_value(value, _DATA_KEYS[key], f"data.{key}")
    if tree["split"] not in _SPLITS:
        raise ConfigError(f"split={tree['split']} is unknown; choose {', '.join(_SPLITS)}")
    for key in ("draws", "batch_size", "limit"):
        if tree[key] is not None and tree[key] < 1:
            raise ConfigError(f"{key}={tree[key]} must be at least 1")
    if not 0 <= tree["max_order"] <= _MAX_ORDER:
        raise ConfigError(f"max_order={tree['max_order']} must lie in 0..{_MAX_ORDER}")


def _target(tree: Mapping[str, Any], loaded: LoadedModel) -> Path:
    if tree["out"]:
        out = Path(tree["out"])
        check_writable(out)
        return out
    folder = loaded.run_dir or loaded.folder.parent
    out = folder / "evaluation" / f"{tree['split']}.json"
    check_writable(folder / f"{tree['split']}.json")
    return out


def evaluation_data(loaded: LoadedModel, changes: Mapping[str, Any]) -> GenomeData:
    """The data settings of the model's run, with what the command line changes.

    Another genome does not inherit the splits and the annotation of the training genome.
    """
    node = dict(loaded.tree["data"])
    if changes["fasta"] is not None and changes["fasta"] != node["fasta"]:
        node |= dict.fromkeys(_OF_ONE_GENOME)
    if changes["bed"] is not None:
        node |= dict.fromkeys(("train", "valid", "test"))
    node |= {key: value for key, value in changes.items() if value is not None}
    check_node(node, "data")
    return build(node, "data")


def forget_other_model(path: Path, loaded: LoadedModel) -> None:
    """Remove an evaluation file of other weights, whose sections would be taken for ours."""
    if path.is_file():
        before = read_evaluation(path).get("provenance", {}).get("model_sha256")
        if before != loaded.digest:
            path.unlink()


def fit_baselines(genome: OpenGenome, max_order: int) -> dict[Smoothing, MarkovFit] | None:
    """Markov models of the training split; None where there is no validation split to choose by."""
    if not genome.splits.valid or not genome.splits.train:
        logger.info("there is no train or valid split; the Markov baselines are left out")
        return None
    return fit_markov(genome.store, genome.splits.train, genome.splits.valid, max_order=max_order)


def provenance(loaded: LoadedModel, genome: OpenGenome, tree: Mapping[str, Any]) -> dict[str, Any]:
    """What made the figures: model, data, command, versions, seed."""
    return {
        "command": sys.argv,
        "checkpoint": loaded.folder.name,
        "model_sha256": loaded.digest,
        "step": loaded.step,
        "num_parameters": loaded.num_parameters,
        "weights": tree["weights"],
        "estimator": tree["estimator"],
        "seed": tree["seed"],
        "data": genome.describe(),
        "versions": versions(),
    }


def sentence(report: LikelihoodReport, split: str) -> str:
    """The headline in one line."""
    bits = report.model.bits["all"]
    text = (
        f"{split}: {bits.value:.4f} +- {bits.standard_error:.4f} bits per base "
        f"({report.model.kind}, {bits.count:,} bases)"
    )
    for baseline, by_class in report.differences.items():
        row = next(row for row in report.rows if row.name == baseline)
        difference = by_class["all"]
        text += (
            f"\n  {row.label}: {row.bits['all'].value:.4f}; this model minus it "
            f"{difference.value:+.4f} +- {difference.standard_error:.4f}"
        )
    return text


def _progress(done: int, total: int) -> None:
    if sys.stderr.isatty():
        end = "\n" if done == total else ""
        sys.stderr.write(f"\r  {done}/{total} windows{end}")
        sys.stderr.flush()
    elif done == total:
        logger.info("scored %d windows", total)

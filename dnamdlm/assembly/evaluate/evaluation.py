"""Evaluation of a trained model from a composed config tree."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dnamdlm.assembly.building.own_tokenizer import is_text
from dnamdlm.assembly.building.schema import TARGET, build, check_keys, check_node, check_value
from dnamdlm.assembly.class_labels import check_same_labels
from dnamdlm.assembly.evaluate.locus import write_locus
from dnamdlm.assembly.evaluate.overlap import refuse_trained_bases, report_overlap
from dnamdlm.assembly.evaluate.text_evaluation import text_data, text_sentence
from dnamdlm.assembly.judge.judge_dna import (
    QualityOptions,
    check_quality_keys,
    compare_with_file,
    compare_with_split,
    is_file_comparison,
)
from dnamdlm.assembly.judge.judge_text import (
    check_sample_settings,
    compare_texts,
    compared_sentence,
)
from dnamdlm.assembly.models import (
    UNKNOWN_FASTA,
    LoadedModel,
    load_model,
    windows_at_once,
)
from dnamdlm.assembly.operations import start_ops
from dnamdlm.assembly.strands import read_strands
from dnamdlm.data.data_source import DataSource, OpenData
from dnamdlm.data.genome.fasta import read_fasta
from dnamdlm.data.genome.fasta_writer import check_writable
from dnamdlm.data.genome.genome_source import GenomeData, OpenGenome
from dnamdlm.data.genome.mixture import OpenMixture
from dnamdlm.data.genome.windows import EvaluationWindows
from dnamdlm.data.text.corpus import OpenText
from dnamdlm.errors import ConfigError
from dnamdlm.evaluation.evaluation_files import read_evaluation, write_evaluation
from dnamdlm.evaluation.likelihood.likelihood_report import (
    SOFT_MASKED,
    UNIQUE,
    LikelihoodReport,
    evaluate_likelihood,
)
from dnamdlm.evaluation.likelihood.mixtures import pooled_report
from dnamdlm.evaluation.samples.generated import evaluate_generated
from dnamdlm.evaluation.samples.quality_lines import quality_text
from dnamdlm.evaluation.text.perplexity import evaluate_text
from dnamdlm.lm.estimation import with_estimator
from dnamdlm.lm.language_model import LanguageModel
from dnamdlm.lm.markov import Smoothing
from dnamdlm.lm.markov_fit import MarkovFit, fit_markov
from dnamdlm.training.run_folder import read_run, versions

logger = logging.getLogger(__name__)

_KEYS = {
    "model": str | None,
    "split": str,
    "out": str | None,
    "samples": str | None,
    "scorer": str | None,
    "mauve": bool,
    "reference": str,
    "motifs": str | None,
    "genes": bool,
    "infill_windows": int,
    "locus": str | None,
    "genome": str | None,
    "draws": int,
    "estimator": str,
    "limit": int | None,
    "batch_size": int | None,
    "max_order": int,
    "overlap_report": bool,
    "strands": str,
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
    "expand": bool | None,
    "train": Sequence[str] | None,
    "valid": Sequence[str] | None,
    "test": Sequence[str] | None,
    "cache_dir": str | None,
    "corpus": str | None,
}
_SPLITS = ("train", "valid", "test")
_RECORD_LISTS = ("train", "valid", "test")
_MAX_ORDER = 12
# settings that only make sense for the genome they were chosen for.
_OF_ONE_GENOME = ("annotation", "bed", "labels", "expand", "train", "valid", "test")


def evaluate(tree: Mapping[str, Any]) -> tuple[Path, str]:
    """Score a split or a locus, and test generated sequences where asked; write the figures.

    Args:
        tree: the resolved config of `evaluate`.

    Returns:
        The JSON file, and its headline for people.
    """
    _check(tree)
    is_comparison = is_file_comparison(tree)
    start_ops(tree["ops"], tree["device"])
    if tree["model"] is None:
        _refuse_settings_of_text(tree)
        return compare_with_file(tree, None, None)
    loaded = load_model(tree["model"], weights=tree["weights"], device=tree["device"])
    read_strands(loaded.lm, tree["strands"])
    device = next(loaded.lm.parameters()).device
    lm = with_estimator(loaded.language_model, tree["estimator"])
    if is_text(loaded.tree):
        return score_text(tree, loaded, lm)
    _refuse_settings_of_text(tree)
    if tree["locus"] is not None:
        return write_locus(tree, loaded, lm, evaluation_data(loaded, tree["data"]).open())
    if is_comparison:
        return compare_with_file(tree, loaded, _training_genome(tree, loaded))
    out = _target(tree, loaded, tree["split"])
    data = evaluation_data(loaded, tree["data"])
    opened = data.open()
    check_same_labels(loaded, opened)
    samples = read_fasta(tree["samples"]) if tree["samples"] else None
    options = QualityOptions(tree) if samples is not None else None
    genomes = chosen_genomes(opened, tree["genome"])
    if samples is not None and len(genomes) > 1:
        raise ConfigError(
            f"samples= are compared with one genome; say which as genome=NAME, one of "
            f"{', '.join(genomes)}"
        )
    if loaded.run_dir is not None:
        refuse_trained_bases(read_run(loaded.run_dir).get("data", {}), genomes, tree["split"])
    windows = windows_of(opened, genomes, tree)
    reports, markov = _score_genomes(tree, lm, windows, genomes, device)
    report = pooled_report(reports) if len(genomes) > 1 else next(iter(reports.values()))
    sections: dict[str, Any] = {
        "provenance": provenance(loaded, opened, tree),
        "likelihood": report.to_json(),
    }
    if len(genomes) > 1:
        sections["genomes"] = {name: part.to_json() for name, part in reports.items()}
    if samples is not None and options is not None:
        logger.info(
            "comparing %d generated sequences with the %s split", len(samples), tree["split"]
        )
        sections |= _sections_of_samples(
            tree, samples, next(iter(genomes.values())), loaded, options=options, markov=markov
        )
    if tree["overlap_report"]:
        sections["overlap"] = report_overlap(opened)
    forget_other_model(out, loaded)
    write_evaluation(out, tree["split"], sections)
    text = sentence(report, tree["split"], list(reports) if len(genomes) > 1 else ())
    if "quality" in sections:
        text += "\n\n" + quality_text(sections["quality"])
    return out, text


def _refuse_settings_of_text(tree: Mapping[str, Any]) -> None:
    for key in ("scorer", "mauve"):
        if tree[key]:
            raise ConfigError(f"{key} is for models of text, and none is given; leave {key} out")
    if tree["data"]["corpus"] is not None:
        raise ConfigError("data.corpus is for models of text; give data.fasta to one of DNA")


def _score_genomes(
    tree: Mapping[str, Any],
    lm: LanguageModel,
    windows: Mapping[str, EvaluationWindows],
    genomes: Mapping[str, OpenGenome],
    device: torch.device,
) -> tuple[dict[str, LikelihoodReport], dict[Smoothing, MarkovFit] | None]:
    """The likelihood of each genome, and the baselines of the last one."""
    reports: dict[str, LikelihoodReport] = {}
    markov: dict[Smoothing, MarkovFit] | None = None
    for name, part in windows.items():
        logger.info(
            "%s: %d windows of %d bases, %d draws each",
            f"{tree['split']} of {name}" if name else tree["split"], len(part), part.length,
            tree["draws"],
        )  # fmt: skip
        markov = fit_baselines(genomes[name], tree["max_order"])
        reports[name] = evaluate_likelihood(
            lm,
            part,
            draws=tree["draws"],
            batch_size=tree["batch_size"] or windows_at_once(part.length, device),
            device=device,
            region_classes=genomes[name].region_classes,
            markov=markov,
            progress=_progress,
        )
    return reports, markov


def _sections_of_samples(
    tree: Mapping[str, Any],
    samples: Mapping[str, np.ndarray],
    genome: OpenGenome,
    loaded: LoadedModel,
    *,
    options: QualityOptions,
    markov: Mapping[Smoothing, MarkovFit] | None,
) -> dict[str, Any]:
    """The two sections on generated sequences."""
    generated = evaluate_generated(
        samples,
        genome.store,
        genome.splits,
        markov or {},
        rng=np.random.default_rng(tree["seed"]),
        heldout=tree["split"],
    )
    quality = compare_with_split(tree, samples, genome, loaded, options)
    return {"generated": generated, "quality": quality}


def _training_genome(tree: Mapping[str, Any], loaded: LoadedModel) -> OpenGenome | None:
    """The genome in whose training split copies are looked for; None if it is not one genome."""
    if loaded.tree["data"].get("fasta") in (None, UNKNOWN_FASTA):
        return None
    opened = evaluation_data(loaded, tree["data"]).open()
    return opened if isinstance(opened, OpenGenome) and opened.splits.train else None


def score_text(tree: Mapping[str, Any], loaded: LoadedModel, lm: LanguageModel) -> tuple[Path, str]:
    """Perplexity of a split of the corpus of the model, or of another that was prepared alike.

    Samples are compared with held-out text where they are given. Figures of another corpus than
    that of the run go to a file of their own, SPLIT.CORPUS.json, and name it in the headline.

    Raises:
        ConfigError: for a setting that is for DNA.
        DataError: if the corpus was made with another vocabulary, or samples cannot be read.
    """
    check_sample_settings(tree)
    opened = text_data(tree, loaded)
    corpus = Path(opened.settings.corpus).resolve().name
    is_other = _is_other_corpus(loaded, opened)
    out = _target(tree, loaded, f"{tree['split']}.{corpus}" if is_other else tree["split"])
    compared = None if tree["samples"] is None else compare_texts(tree, loaded, opened, _progress)
    windows = opened.evaluation_windows(tree["split"], limit=tree["limit"], seed=tree["seed"])
    device = next(loaded.lm.parameters()).device
    logger.info("%s: %d rows of %d tokens", tree["split"], len(windows), windows.length)
    report = evaluate_text(
        lm,
        windows,
        opened.split(tree["split"]),
        opened.split("train") if opened.has_split("train") else None,
        draws=tree["draws"],
        batch_size=tree["batch_size"]
        or windows_at_once(windows.length, device, len(lm.vocabulary)),
        device=device,
        progress=_progress,
    )
    sections = {
        "provenance": provenance(loaded, opened, tree),
        "text": {"corpus": corpus, **report.to_json()},
    }
    text = text_sentence(report, f"{tree['split']} of {corpus}" if is_other else tree["split"])
    if compared is not None:
        sections["generated_text"] = {"corpus": corpus, **compared}
        text += compared_sentence(compared)
    forget_other_model(out, loaded)
    write_evaluation(out, tree["split"], sections)
    return out, text


def _is_other_corpus(loaded: LoadedModel, opened: OpenText) -> bool:
    """Whether a corpus is not that of the run; the same one may lie elsewhere by now."""
    own = loaded.tree["data"]["corpus"]
    if Path(opened.settings.corpus).resolve() == Path(own).resolve():
        return False
    data = {} if loaded.run_dir is None else read_run(loaded.run_dir).get("data", {})
    return data.get("fingerprint") != opened.fingerprint()


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
    check_quality_keys(tree)
    if not 0 <= tree["max_order"] <= _MAX_ORDER:
        raise ConfigError(f"max_order={tree['max_order']} must lie in 0..{_MAX_ORDER}")


def _target(tree: Mapping[str, Any], loaded: LoadedModel, stem: str) -> Path:
    if tree["out"]:
        out = Path(tree["out"])
        check_writable(out)
        return out
    folder = loaded.run_dir or loaded.folder.parent
    out = folder / "evaluation" / f"{stem}.json"
    check_writable(folder / f"{stem}.json")
    return out


def chosen_genomes(data: OpenData, name: str | None) -> dict[str, OpenGenome]:
    """The genomes to score by name: one of a mixture, or all; a genome alone has no name.

    Raises:
        ConfigError: if there is no genome of that name.
    """
    parts = dict(data.parts) or {"": data}
    if name is not None:
        if name not in data.parts:
            known = f"choose one of {', '.join(data.parts)}" if data.parts else "leave genome out"
            raise ConfigError(f"genome={name} is no part of the data of this model; {known}")
        parts = {name: parts[name]}
    genomes = {key: part for key, part in parts.items() if isinstance(part, OpenGenome)}
    if len(genomes) < len(parts):
        raise ConfigError("these data are no genomes; evaluate a model of DNA")
    return genomes


def windows_of(
    data: OpenData, genomes: Mapping[str, OpenGenome], tree: Mapping[str, Any]
) -> dict[str, EvaluationWindows]:
    """The windows of each genome; a limit is shared among those of a mixture."""
    split, limit, seed = tree["split"], tree["limit"], tree["seed"]
    if isinstance(data, OpenMixture) and len(genomes) > 1:
        return data.windows_of_each(split, None, limit, seed)
    return {
        name: genome.evaluation_windows(split, limit=limit, seed=seed)
        for name, genome in genomes.items()
    }


def evaluation_data(loaded: LoadedModel, changes: Mapping[str, Any]) -> DataSource:
    """The data settings of the model's run, with what the command line changes.

    Another genome does not inherit the splits and the annotation of the training genome.

    Args:
        loaded: the model.
        changes: settings by name; what is absent or None stays as in the run.

    Raises:
        ConfigError: if something is changed that a mixture of genomes does not have.
    """
    node = dict(loaded.tree["data"])
    given = {key: value for key, value in changes.items() if value is not None}
    if node.get("fasta") == UNKNOWN_FASTA and "fasta" not in given:
        raise ConfigError(f"{loaded.folder} does not say what it was trained on; give data.fasta")
    if "fasta" not in node:
        if "fasta" in given:
            kept = {key: node[key] for key in ("length", "cache_dir") if key in node}
            node = {TARGET: f"{GenomeData.__module__}.{GenomeData.__name__}", "fasta": None, **kept}
        elif odd := [key for key in _OF_ONE_GENOME if key in given]:
            raise ConfigError(
                f"data.{odd[0]} belongs to one genome, and this model was trained on a mixture; "
                "give data.fasta too, or leave it out"
            )
    if "fasta" in given and given["fasta"] != node["fasta"]:
        node |= {key: None for key in _OF_ONE_GENOME if key != "expand"} | {"expand": False}
    if "bed" in given:
        node |= dict.fromkeys(_RECORD_LISTS)
    elif any(key in given for key in _RECORD_LISTS):
        node |= {"bed": None, "expand": False}
    node |= given
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


def provenance(loaded: LoadedModel, data: OpenData, tree: Mapping[str, Any]) -> dict[str, Any]:
    """What made the figures: model, data, command, versions, seed."""
    return {
        "command": sys.argv,
        "checkpoint": loaded.folder.name,
        "model_sha256": loaded.digest,
        "step": loaded.step,
        "num_parameters": loaded.num_parameters,
        "weights": tree["weights"],
        "strands": tree["strands"],
        "estimator": tree["estimator"],
        "seed": tree["seed"],
        "data": data.describe(),
        "versions": versions(),
    }


def sentence(report: LikelihoodReport, split: str, genomes: Sequence[str] = ()) -> str:
    """The headline in one line, and a line for each genome of a mixture and each baseline."""
    bits = report.model.bits["all"]
    text = (
        f"{split}: {bits.value:.4f} +- {bits.standard_error:.4f} bits per base "
        f"({report.model.kind}, {bits.count:,} bases)"
    )
    for name in genomes:
        part = report.model.bits[name]
        text += f"\n  {name}: {part.value:.4f} +- {part.standard_error:.4f} ({part.count:,} bases)"
    for name in (SOFT_MASKED, UNIQUE):
        if name in report.model.bits and report.model.bits[name].count < bits.count:
            part = report.model.bits[name]
            text += (
                f"\n  {name} bases: {part.value:.4f} +- {part.standard_error:.4f} "
                f"({part.count:,} bases)"
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

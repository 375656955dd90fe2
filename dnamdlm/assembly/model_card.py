"""The model card of an exported folder: Markdown with a YAML head, as the hub reads it.

Every figure is that of an evaluation of exactly these weights, next to those of baselines; what
nobody recorded is named as not recorded.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from dnamdlm.assembly.modality import Text
from dnamdlm.assembly.models import LoadedModel
from dnamdlm.assembly.own_evaluations import own_evaluations
from dnamdlm.assembly.shared_with_train import rows_sentence, windows_sentences
from dnamdlm.data.genome.genome_files import EMBEDDED_LICENSES
from dnamdlm.lm.masked import MaskedDiffusionLM
from dnamdlm.lm.published.exported_folder import WEIGHTS_FILE, Record

_MOST_RECORDS = 24
_NOT_RECORDED = "not recorded; ask whoever published the data"


def model_card(
    loaded: LoadedModel,
    record: Record,
    *,
    title: str,
    license: str | None,
    data_license: str | None,
    has_tokenizer: bool,
) -> str:
    """Text of `README.md`.

    Args:
        loaded: the model.
        record: what the folder says of it.
        title: name of the model.
        license: of the weights, as an identifier of the hub such as apache-2.0; None is left open.
        data_license: of the training data, in words; None takes that of data of the package.
        has_tokenizer: whether the folder has a `tokenizer.json`.
    """
    figures = list(_figures(loaded))
    parts = [
        f"---\n{yaml.safe_dump(_head(loaded, record, license, figures), sort_keys=False)}---",
        f"# {title}\n\n{_about(loaded, record)}",
        _use(
            loaded,
            title,
            has_tokenizer=has_tokenizer,
            layout=record.layout,
            head=record.head,
        ),
        f"## Training{' of the language model' if record.head else ''}\n\n"
        + "\n".join(_training(loaded, record)),
        "## Figures\n\n" + "\n".join(_tables(record, figures)).strip(),
        "## Limits\n\n" + "\n".join(_limits(loaded, record)),
        "## Licences\n\n"
        f"- weights: {license or 'not stated; ask whoever exported them'}\n"
        f"- training data: {data_license or _license_of(record) or _NOT_RECORDED}",
        f"SHA-256 of `{WEIGHTS_FILE}`: `{record.sha256}`",
    ]
    return "\n\n".join(parts) + "\n"


def _head(
    loaded: LoadedModel,
    record: Record,
    license: str | None,
    figures: list[tuple[str, dict[str, Any]]],
) -> dict[str, Any]:
    is_dna = not isinstance(loaded.modality, Text)
    head: dict[str, Any] = {"library_name": "dnamdlm"}
    if license:
        head["license"] = license
    if isinstance(loaded.lm, MaskedDiffusionLM):
        head["pipeline_tag"] = "text-classification" if record.head else "fill-mask"
    head["tags"] = ["masked-diffusion", *(["dna", "genomics", "biology"] if is_dna else ["text"])]
    found = [
        {
            "task": {"type": "fill-mask"},
            "dataset": {"type": "genome", "name": f"{_data_name(record)}, {split} split"},
            "metrics": [{"type": "bits_per_base", "value": round(row["bits_per_base"], 4)}],
        }
        for split, likelihood in figures
        for row in [_row(likelihood, "model")["classes"]["all"]]
    ]
    if found:
        head["model-index"] = [{"name": "dnamdlm", "results": found}]
    return head


def _about(loaded: LoadedModel, record: Record) -> str:
    kind = {
        "MaskedDiffusionLM": "A masked diffusion language model",
        "DistilledDiffusionLM": "A masked diffusion language model for half the steps of another",
        "IupacDiffusionLM": "An IUPAC diffusion language model",
        "CausalLM": "A causal language model",
        "BlockDiffusionLM": "A block diffusion language model",
        "UniformDiffusionLM": "A diffusion language model of uniform or hybrid noise",
        "NoisyClassifier": "A classifier of partly masked sequences",
        "NoisyRegressor": "A regression of partly masked sequences",
    }
    what = "text" if isinstance(loaded.modality, Text) else "DNA"
    units = loaded.modality.units
    if record.head:
        outputs = f"{record.head['kind']}: {', '.join(record.head['label_names'])}"
        return (
            f"A linear head ({outputs}) on the hidden states of a language model of {what}, with "
            f"the network {loaded.config.backbone_name} and windows of "
            f"{record.head['windows']['length']:,} {units}."
        )
    classes = f", with the classes {', '.join(loaded.labels)}" if loaded.labels else ""
    if loaded.scales:
        classes = f", with the numbers {', '.join(scale.name for scale in loaded.scales)}"
    return (
        f"{kind[type(loaded.lm).__name__]} of {what}: network {loaded.config.backbone_name}, "
        f"{loaded.num_parameters:,} parameters, windows of {loaded.length:,} {units}{classes}."
    )


def _use(
    loaded: LoadedModel, title: str, *, has_tokenizer: bool, layout: str, head: Mapping[str, Any]
) -> str:
    lines = ["## Use", "", "```python", "import dnamdlm", "", f'model = dnamdlm.load("{title}")']
    if isinstance(loaded.modality, Text):
        lines += ["model.sample(1)", "```"]
    else:
        lines += ['model.fill("ACGTNNNNACGT")', 'model.log_likelihood(["ACGTTGCA"])', "```"]
    if head:
        lines = lines[:1]
    if head or (isinstance(loaded.lm, MaskedDiffusionLM) and has_tokenizer):
        auto = "AutoModelForSequenceClassification" if head else "AutoModelForMaskedLM"
        lines += [
            "", "With transformers:", "", "```python",
            f"from transformers import {auto}, AutoTokenizer", "",
            *([] if layout == "bert" else ["import dnamdlm", "", "dnamdlm.hf.register()"]),
            f'tokenizer = AutoTokenizer.from_pretrained("{title}")',
            f'model = {auto}.from_pretrained("{title}")', "```",
        ]  # fmt: skip
    if layout in ("caduceus", "mdlm", "bd3lm", "udlm"):
        lines += [
            "",
            f"The tensors have the names of the original {layout} code, which loads them.",
        ]
    if loaded.labels and not head:
        lines += ["", "Give a class as `model.sample(label=NAME)`."]
    if loaded.scales and not head:
        first = loaded.scales[0]
        lines += [
            "",
            f"Ask for a number as `model.sample(condition={{{first.name!r}: VALUE}})`, which lay "
            f"between {first.low:.4g} and {first.high:.4g} in training, or 'q0.99' for a quantile.",
        ]
    return "\n".join(lines)


def _training(loaded: LoadedModel, record: Record) -> Iterator[str]:
    run, data = record.run, record.run.get("data", {})
    yield f"- data: {_data_name(record)}"
    if isinstance(source := data.get("source"), Mapping) and source.get("sha256"):
        yield f"- file: {source.get('name')}, SHA-256 `{source.get('sha256')}`"
    if data.get("sha256"):
        size = f"{data.get('num_records')} records, {data.get('num_bases'):,} bases"
        yield f"- content: {size}, SHA-256 `{data['sha256']}`"
    for split, part in data.get("splits", {}).items():
        yield f"- {split} split: {_split(part, loaded.modality.units)}"
    if record.run.get("arguments"):
        entry, *settings = run["arguments"]
        yield f"- command: `python -m {entry} {' '.join(settings)}`"
    if versions := run.get("versions"):
        named = [f"{name} {versions[name]}" for name in ("dnamdlm", "torch") if name in versions]
        yield f"- versions: {', '.join(named)}"
    yield f"- {loaded.step:,} optimizer steps; {record.weights} weights"


def _split(part: Mapping[str, Any], units: str) -> str:
    intervals = part.get("intervals", [])
    shown = ", ".join(intervals[:_MOST_RECORDS])
    more = f" and {len(intervals) - _MOST_RECORDS} more" if len(intervals) > _MOST_RECORDS else ""
    size = part.get("num_bases", part.get("num_tokens"))
    counted = f"{size:,} {units}" if size is not None else ""
    return "; ".join(filter(None, [counted, shown + more])) or "empty"


def _tables(record: Record, figures: list[tuple[str, dict[str, Any]]]) -> Iterator[str]:
    if not figures and not record.held_out:
        yield "Not evaluated before the export."
    elif not figures:
        yield from _held_out(record)
    for split, likelihood in figures:
        model = _row(likelihood, "model")
        classes = [name for name in likelihood["classes"] if name in model["classes"]]
        yield (
            f"Bits per base of the {split} split, lower is better, with standard errors over "
            f"windows ({likelihood['draws']} noise draws each). The figure of the model is an "
            f"{model['kind']}, those of the baselines are exact."
            f"{_meaning_of_classes(likelihood)}"
        )
        yield ""
        yield f"| | {' | '.join(classes)} |"
        yield "|---|" + "---|" * len(classes)
        for name, row in _compared(likelihood):
            cells = [_cell(row["classes"].get(column)) for column in classes]
            yield f"| {name} | {' | '.join(cells)} |"
        yield ""


def _compared(likelihood: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """This model, the best Markov models of each class of windows, and uniform letters."""
    yield "**this model**", _row(likelihood, "model")
    best = (likelihood.get("repeats") or {}).get("best_markov_by_class", {})
    names = dict.fromkeys([*best.values(), likelihood.get("best_markov"), "uniform"])
    for name in filter(None, names):
        row = _row(likelihood, name)
        chosen = " (best on the validation split)" if name == likelihood["best_markov"] else ""
        yield f"{row['label']}{chosen}", row


def _held_out(record: Record) -> Iterator[str]:
    """The figures that an exported folder keeps."""
    for split, found in record.held_out.items():
        windows = f", {found['windows']}" if found["windows"] else ""
        yield f"| {split} split{windows} | bits per {found['unit']} |"
        yield "|---|---|"
        yield f"| **this model** | {found['bits']:.4f} +- {found['standard_error'] or 0:.4f} |"
        yield f"| {found['baseline']} | {found['baseline_bits']:.4f} |"
        yield ""


def _meaning_of_classes(likelihood: Mapping[str, Any]) -> str:
    if not (repeats := likelihood.get("repeats")):
        return ""
    return f" Unique windows have no {repeats['word_length']}-mer of the training split."


def _cell(figures: Mapping[str, Any] | None) -> str:
    if figures is None:
        return ""
    error = figures.get("standard_error")
    shown = f" +- {error:.4f}" if error is not None and math.isfinite(error) and error else ""
    return f"{figures['bits_per_base']:.4f}{shown}"


def _row(likelihood: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    return next(row for row in likelihood["rows"] if row["name"] == name)


def _figures(loaded: LoadedModel) -> Iterator[tuple[str, dict[str, Any]]]:
    """Split and likelihoods of the evaluations of exactly these weights."""
    for split, content in own_evaluations(loaded):
        if "rows" in content.get("likelihood", {}):
            yield split, content["likelihood"]


def _limits(loaded: LoadedModel, record: Record) -> Iterator[str]:
    if shared := record.head.get("shared_rows"):
        yield f"- {rows_sentence(shared)}."
    for sentence in windows_sentences(loaded.run_dir):
        yield f"- {sentence}."
    if isinstance(loaded.lm, MaskedDiffusionLM):
        yield "- The likelihood is an upper bound on -log p, estimated with noise draws."
    yield f"- The model sees one window of {loaded.length:,} {loaded.modality.units} at a time."
    yield "- It knows the data above and nothing else; sequences of other sources are not tested."
    if not isinstance(loaded.modality, Text):
        yield (
            "- Generated sequences are not tested in any organism, and scores of variants are no "
            "medical advice."
        )


def _data_name(record: Record) -> str:
    data = record.run.get("data", {})
    return str(data.get("fasta") or data.get("corpus") or "not recorded")


def _license_of(record: Record) -> str | None:
    return EMBEDDED_LICENSES.get(_data_name(record))

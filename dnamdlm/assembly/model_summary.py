"""A loaded model in a few facts: what it is, how it was trained, and how good it is."""

from __future__ import annotations

import html
from collections.abc import Sequence

from dnamdlm.assembly.held_out import held_out_of
from dnamdlm.assembly.models import LoadedModel
from dnamdlm.assembly.own_evaluations import own_evaluations

Facts = Sequence[tuple[str, str]]


def facts_of(loaded: LoadedModel) -> Facts:
    """Name and value of each fact, as far as the folder of the model has them."""
    modality, config = loaded.modality, loaded.config
    size = f"{loaded.num_parameters:,} parameters, {modality.units} in windows of {loaded.length:,}"
    facts = [
        ("model", f"{type(loaded.lm).__name__}, {config.backbone_name}"),
        ("size", size),
        ("weights", f"{loaded.weights} ({loaded.digest[:12]}) on {loaded.device}"),
        ("training", f"{loaded.step:,} steps on {_data(loaded)}" if loaded.step else "published"),
    ]
    if loaded.labels:
        facts.append(("classes", ", ".join(loaded.labels)))
    if loaded.scales:
        shown = [f"{scale.name} ({scale.low:.4g} to {scale.high:.4g})" for scale in loaded.scales]
        facts.append(("numbers", ", ".join(shown)))
    return [*facts, *_quality(loaded)]


def _data(loaded: LoadedModel) -> str:
    described = loaded.data_record
    if name := described.get("corpus") or described.get("fasta"):
        return str(name)
    data = loaded.config.data
    return str(getattr(data, "fasta", None) or getattr(data, "corpus", None) or "a mixture")


def _quality(loaded: LoadedModel) -> Facts:
    """Held-out figures of these weights, where they were evaluated."""
    if (found := held_out_of(loaded)) is not None:
        split, figures = found
        text = f"{figures.bits:.4f} bits per {figures.unit}"
        if figures.is_worse:
            text += f", worse than {figures.baseline} ({figures.baseline_bits:.4f})"
        return [(f"{split} split", text)]
    if loaded.run_dir is None:
        return []
    # figures of a run that was evaluated by an earlier version.
    for split, content in own_evaluations(loaded):
        for row in content.get("likelihood", {}).get("rows", []):
            if row.get("family") == "model":
                bits = row["classes"]["all"]["bits_per_base"]
                return [(f"{split} split", f"{bits:.4f} bits per base")]
        if "perplexity" in content.get("text", {}):
            return [(f"{split} split", f"perplexity {content['text']['perplexity']:.2f} per token")]
    return [("quality", "not evaluated yet; run evaluate")]


def as_text(facts: Facts) -> str:
    """One fact per line."""
    width = max(len(name) for name, _ in facts)
    return "\n".join(f"{name:<{width}}  {value}" for name, value in facts)


def as_html(facts: Facts) -> str:
    """A table."""
    rows = "".join(
        f"<tr><th style='text-align:left'>{html.escape(name)}</th>"
        f"<td style='text-align:left'>{html.escape(value)}</td></tr>"
        for name, value in facts
    )
    return f"<table>{rows}</table>"

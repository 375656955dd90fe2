"""What the splits of data have in common, and whether a model has seen what it is tested on."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dnamdlm.data.data_source import OpenData
from dnamdlm.data.files import write_text
from dnamdlm.data.genome.intervals import Interval
from dnamdlm.data.genome.opened_genome import OpenGenome
from dnamdlm.data.genome.splits import SPLIT_NAMES, first_overlap, merge, shared_bases
from dnamdlm.errors import ConfigError, DataError
from dnamdlm.evaluation.split_overlap import overlap_report

logger = logging.getLogger(__name__)

OVERLAP = "overlap.json"


def report_overlap(data: OpenData) -> dict[str, Any]:
    """Compare the splits of a genome, or of each genome of a mixture, and log the outcome.

    Returns:
        The report as JSON values: that of the genome, or {"genomes": {name: report}}.

    Raises:
        ConfigError: if the data have no genome.
    """
    parts = dict(data.parts) or {"": data}
    reports: dict[str, Any] = {}
    for name, genome in parts.items():
        if not isinstance(genome, OpenGenome):
            raise ConfigError(
                "overlap_report=true compares the splits of a genome, and these data have none; "
                "leave it out"
            )
        windows = {split: genome.window_intervals(split) for split in SPLIT_NAMES}
        report = overlap_report(genome.store, windows, genome.length)
        title = f"overlap of the splits of {name}" if name else "overlap of the splits"
        for line in report.sentences() or ["only one split holds anything"]:
            logger.info("%s: %s", title, line)
        reports[name] = report.to_json()
    return {"genomes": reports} if data.parts else reports[""]


def store_overlap(report: Mapping[str, Any], run_dir: Path) -> None:
    """Leave the report in the run folder."""
    write_text(run_dir / OVERLAP, json.dumps(report, indent=1) + "\n")


def refuse_trained_bases(
    record: Mapping[str, Any], genomes: Mapping[str, OpenGenome], split: str
) -> None:
    """Refuse to test a model on bases of its own training split.

    Args:
        record: how the data of the run were described (`describe`), empty if that is unknown.
        genomes: what is to be evaluated.
        split: "train" is never refused.

    Raises:
        DataError: naming one interval of the split that was trained on.
    """
    if split == "train":
        return
    for trained in record.get("genomes", {"": record}).values():
        for genome in genomes.values():
            if trained.get("sha256") != genome.store.sha256:
                continue
            seen = merge([_interval(text) for text in trained["splits"]["train"]["intervals"]])
            if pair := first_overlap(seen, genome.splits[split]):
                shared = shared_bases(seen, genome.splits[split])
                raise DataError(
                    f"{shared:,} bases of the {split} split stand in the training split of this "
                    f"model, such as bases of {pair[1]}; test it on intervals that it has not "
                    "seen, or name them data.train and score split=train"
                )


def _interval(text: str) -> Interval:
    """An interval from its written form, chrom:start-end."""
    chrom, _, span = text.rpartition(":")
    start, _, end = span.partition("-")
    return Interval(chrom, int(start), int(end))

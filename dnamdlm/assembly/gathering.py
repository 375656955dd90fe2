"""Joins the parts that the shards of a command have left."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dnamdlm.assembly.building.field_types import check_fields
from dnamdlm.assembly.embed.embed_parts import embed_facts, join_embeddings
from dnamdlm.assembly.evaluate.evaluation import join_evaluation
from dnamdlm.assembly.evaluation_target import EVALUATION
from dnamdlm.assembly.finetune.predicted_parts import join_predictions, predict_facts
from dnamdlm.assembly.runner.part_makers import warn_of_makers
from dnamdlm.assembly.runner.part_runner import Join, join_parts, whole_parts
from dnamdlm.assembly.sample.sample_parts import join_samples, sample_facts
from dnamdlm.assembly.score.label_figures import label_report
from dnamdlm.assembly.score.score_parts import join_scores, score_facts
from dnamdlm.assembly.tracks.track_parts import is_joined, join_tracks, tracks_facts
from dnamdlm.data.partial_files import unwinding_on_signals
from dnamdlm.data.parts.cutting import Shard
from dnamdlm.data.parts.part_files import PartHead
from dnamdlm.data.parts.part_folders import (
    MANIFEST,
    Manifest,
    folder_of,
    held_folder,
    is_claimed,
    part_path,
    read_manifest,
    remove_folder,
)
from dnamdlm.data.targets import check_target
from dnamdlm.errors import DataError

_MOST_NAMED = 6


@dataclass(frozen=True)
class GatherSettings:
    """What is joined; the meaning of each field stands in `configs/gather.yaml`."""

    out: str

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True)
class _Kind:
    """How the parts of a command are joined, and what the result holds, for people."""

    join: Join
    facts: Callable[[Mapping[str, Any], int, Mapping[str, int]], str]


_KINDS = {
    "score": _Kind(join_scores, lambda _, rows, counts: "".join(score_facts(rows, counts))),
    "embed": _Kind(join_embeddings, lambda head, *_: embed_facts(head)),
    "predict": _Kind(join_predictions, lambda head, *_: predict_facts(head)),
    "sample": _Kind(join_samples, lambda head, _, counts: sample_facts(head, counts)),
    "tracks": _Kind(join_tracks, lambda head, _, counts: tracks_facts(head, counts)),
    "evaluate": _Kind(join_evaluation, lambda head, rows, _: f"{rows:,} {head['unit']}"),
}


def gather(settings: GatherSettings) -> tuple[Path, str]:
    """Verify the parts of all shards of a result, join them in order, and remove their folder.

    Returns:
        The result, and a sentence for people.

    Raises:
        DataError: naming the shards that have not run, are not complete, damaged or still at work.
    """
    out = Path(settings.out)
    if is_joined(out):
        return out, "all parts had been joined already"
    check_target(out, compressed=(".gz",), within=(EVALUATION,))
    folder = folder_of(out)
    _check_folder(folder, out)
    with unwinding_on_signals(out.name), held_folder(folder):
        manifest = read_manifest(folder)
        if manifest is None:
            # what a process left that was killed while it removed the folder of a whole result.
            remove_folder(folder)
            raise _nothing_to_join(folder, out)
        kind = _KINDS.get(manifest.entry)
        if kind is None:
            raise DataError(
                f"{folder / MANIFEST} is of the command {manifest.entry!r}, whose parts are not "
                "joined; remove the folder"
            )
        heads = _complete(folder, manifest)
        figures = join_parts(folder, manifest, out, kind.join)
    counts: Counter[str] = Counter()
    for head in heads:
        counts.update(head.counts)
    said = kind.facts(manifest.head, sum(head.rows for head in heads), counts)
    if manifest.head.get("labels"):
        said = f"{said}\n{label_report(out, manifest.head['labels'])}"
    if figures is not None:
        said = f"{said}\n{figures}"
    return out, f"joined {len(heads)} parts of {manifest.shards} shards: {said}"


def gather_parts(out: str | Path) -> Path:
    """Join the parts that the shards of a command left next to `out`, as `dnamdlm gather` does.

    Returns:
        The result.

    Raises:
        DataError: naming the shards that have not run, are not complete, damaged or still at work.

    Example:
        >>> gather_parts("scores.tsv")  # doctest: +SKIP
        PosixPath('scores.tsv')
    """
    return gather(GatherSettings(str(out)))[0]


def _check_folder(folder: Path, out: Path) -> None:
    if not os.path.lexists(folder):
        raise _nothing_to_join(folder, out)
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder of parts; give the out=FILE of a command")


def _nothing_to_join(folder: Path, out: Path) -> DataError:
    if out.exists():
        return DataError(
            f"there is nothing to join: {out} exists, and {folder} does not hold parts of it"
        )
    return DataError(
        f"there is nothing to join: {folder} does not hold parts; run the command with shard=k/n "
        f"and out={out} first"
    )


def _complete(folder: Path, manifest: Manifest) -> list[PartHead]:
    """The heads of all parts in order.

    Raises:
        DataError: if a shard is at work, or a part is missing or damaged.
    """
    shards = [Shard(number, manifest.shards) for number in range(1, manifest.shards + 1)]
    if busy := [shard for shard in shards if is_claimed(folder, shard)]:
        raise DataError(f"{_named(busy)} still at work in {folder}; wait for the end")
    num_parts = manifest.cut.num_parts
    found = whole_parts(folder, manifest, range(num_parts))
    problems = []
    for shard in shards:
        mine = shard.parts(num_parts)
        lost = [number for number in mine if number not in found]
        if lost:
            problems.append((shard, lost, len(mine)))
    if problems:
        said = "; ".join(_problem(folder, *problem) for problem in problems[:_MOST_NAMED])
        more = len(problems) - _MOST_NAMED
        missing = sum(len(lost) for _, lost, _ in problems)
        raise DataError(
            f"{said}{f'; and {more} more' if more > 0 else ''}: {missing} of {num_parts} parts "
            f"missing; run the command again {_remedy(manifest, [shard for shard, *_ in problems])}"
        )
    heads = [found[number] for number in range(num_parts)]
    warn_of_makers(folder, heads)
    return heads


def _problem(folder: Path, shard: Shard, lost: Sequence[int], count: int) -> str:
    damaged = [number for number in lost if part_path(folder, number).exists()]
    name = f"shard {shard}" if shard.count > 1 else "the command"
    if damaged:
        what = "part of it is" if len(damaged) == 1 else "parts of it are"
        return f"{name} is not complete ({len(damaged)} {what} damaged)"
    if len(lost) == count:
        return f"{name} has not run"
    return f"{name} is not complete"


def _remedy(manifest: Manifest, shards: Sequence[Shard]) -> str:
    if manifest.shards == 1:
        return "to complete and join them"
    return "with " + ", ".join(f"shard={shard}" for shard in shards[:_MOST_NAMED])


def _named(shards: Sequence[Shard]) -> str:
    names = ", ".join(map(str, shards[:_MOST_NAMED]))
    return f"shard {names} is" if len(shards) == 1 else f"shards {names} are"

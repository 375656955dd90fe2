"""Names in configs that earlier versions wrote, and what they are called now."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_RENAMED: Mapping[str, str] = {
    "dnamdlm.data.source.GenomeData": "dnamdlm.data.genome.genome_settings.GenomeData",
    "dnamdlm.data.mixture.GenomeMixture": "dnamdlm.data.genome.mixture.GenomeMixture",
    "dnamdlm.data.text.TextData": "dnamdlm.data.text.corpus.TextData",
    **{
        f"dnamdlm.training.settings.{name}": f"dnamdlm.training.trainer_settings.{name}"
        for name in ("TrainerSettings", "ResumeSettings")
    },
    **{
        f"dnamdlm.data.tasks.{name}": f"dnamdlm.data.tasks.families.{name}"
        for name in ("GenomicBenchmarks", "Gue", "NucleotideTransformer", "Table")
    },
    "dnamdlm.data.glue.Glue": "dnamdlm.data.tasks.glue.Glue",
    "dnamdlm.training.finetuning.FinetuneSettings": (
        "dnamdlm.training.head_fitting.FinetuneSettings"
    ),
}

_RENAMED_KEYS: Mapping[str, str] = {"bring": "download_command"}


def with_present_names(tree: Any) -> Any:
    """A config tree of any version, with each target and key under the name that it has now."""
    if isinstance(tree, Mapping):
        return {
            _RENAMED_KEYS.get(key, key): _RENAMED.get(value, value)
            if key == "_target_" and isinstance(value, str)
            else with_present_names(value)
            for key, value in tree.items()
        }
    return [with_present_names(item) for item in tree] if isinstance(tree, list) else tree

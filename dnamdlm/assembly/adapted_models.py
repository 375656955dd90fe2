"""A base model with the low-rank adapters of a folder of PEFT merged into its weights."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dnamdlm.assembly.shared_with_train import rows_sentence, shared_rows_of
from dnamdlm.data.files import whole_folder
from dnamdlm.errors import ConfigError
from dnamdlm.lm.checkpoint import file_hash, read_description, verify_folder
from dnamdlm.lm.published.exported_folder import CARD
from dnamdlm.lm.states.peft_layout import (
    ADAPTER_CONFIG,
    ADAPTER_WEIGHTS,
    base_of,
    merge_adapter_folder,
)

if TYPE_CHECKING:
    from dnamdlm.assembly.models import LoadedModel


def with_adapters(base: LoadedModel, folder: Path) -> LoadedModel:
    """The base model with merged adapters; the weights of `base` change.

    Raises:
        CheckpointError: if the adapters are of another model, or of another kind.
    """
    merge_adapter_folder(base.lm, folder)
    content = base.digest + file_hash(folder / ADAPTER_WEIGHTS) + file_hash(folder / ADAPTER_CONFIG)
    digest = hashlib.sha256(content.encode("ascii")).hexdigest()
    return replace(base, digest=digest, folder=folder, run_dir=None)


def export_adapters(split: Path, out: Path, base: str, *, license: str | None) -> int:
    """Write the adapters of a fine-tuned split as a folder that PEFT reads.

    Args:
        split: folder of the split, of a run with method=lora.
        out: the new folder, complete or absent.
        base: the exported base model, by its folder or hub id, for `from_pretrained`.
        license: of the weights, for the card.

    Returns:
        The bytes that were written.

    Raises:
        CheckpointError: if the split is damaged.
        ConfigError: if it has no adapters.
    """
    if not (split / ADAPTER_WEIGHTS).is_file():
        raise ConfigError(
            f"{split} has no adapters, which adapter_of needs; fine-tune with method=lora"
        )
    verify_folder(split)
    config = read_description(split / ADAPTER_CONFIG) | {"base_model_name_or_path": base}
    head = read_description(split / "head.json")
    with whole_folder(out) as partial:
        text = json.dumps(config, indent=1) + "\n"
        (partial / ADAPTER_CONFIG).write_text(text, encoding="utf-8")
        (partial / ADAPTER_WEIGHTS).write_bytes((split / ADAPTER_WEIGHTS).read_bytes())
        (partial / CARD).write_text(
            _card(out.name, config, head, license, shared_rows_of(split)), encoding="utf-8"
        )
    return sum(path.stat().st_size for path in out.iterdir())


def base_name(folder: Path) -> str:
    """The base model of a folder of adapters, a hub id or a path.

    A path that is not absolute is read from the present folder, and else from that of the adapters.
    """
    base = base_of(folder)
    neighbour = folder / base
    return str(neighbour) if neighbour.exists() and not Path(base).exists() else base


def _card(
    name: str,
    config: Mapping[str, Any],
    head: Mapping[str, Any],
    license: str | None,
    shared: Mapping[str, int],
) -> str:
    labels = head["label_names"]
    return "\n".join([
        "---", "library_name: peft", f"base_model: {config['base_model_name_or_path']}",
        *([f"license: {license}"] if license else []), "tags:", "- dna", "- lora", "---", "",
        f"# {name}", "",
        f"Low-rank adapters (rank {config['r']}, alpha {config['lora_alpha']}) and a head for "
        f"{head['task']} ({head['kind']}: {', '.join(labels[:20])}), made by dnamdlm.", "",
        "```python", "import dnamdlm", "from peft import PeftModel",
        "from transformers import AutoModelForSequenceClassification", "",
        "dnamdlm.hf.register()", "base = AutoModelForSequenceClassification.from_pretrained(",
        f'    "{config["base_model_name_or_path"]}", num_labels={len(labels)}', ")",
        f'model = PeftModel.from_pretrained(base, "{name}").merge_and_unload()', "```", "",
        "Merge before use: the networks read weights directly, which adapters that are not merged "
        "do not change.", "",
        *([f"{rows_sentence(shared)}.", ""] if shared else []),
    ])  # fmt: skip

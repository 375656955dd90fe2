"""Classes for `transformers.AutoModel...`, around the models that dnamdlm itself builds and loads.

A model is loaded by `dnamdlm.assembly.models`, so its weights, its checks and its logits are those
of `dnamdlm.load`. The loader of transformers is not used: it makes networks without their tables.

Shapes: B sequences, L positions, V vocabulary, C classes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch.nn import functional
from transformers import (  # pyright: ignore[reportMissingImports]
    AutoConfig,
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
    PretrainedConfig,
    PreTrainedModel,
)
from transformers.modeling_outputs import (  # pyright: ignore[reportMissingImports]
    MaskedLMOutput,
    SequenceClassifierOutput,
)

from dnamdlm.assembly.building.model_config import ModelConfig
from dnamdlm.assembly.exporting import Exported, save_into
from dnamdlm.assembly.models import LoadedModel, load_model
from dnamdlm.errors import ConfigError
from dnamdlm.hf.sources import Classifier, check_ids, local_folder, open_classifier, weights_in
from dnamdlm.lm.masked import MaskedDiffusionLM
from dnamdlm.lm.model_parts import present_of
from dnamdlm.lm.published.exported_folder import RECORD

_OF_HUB = ("cache_dir", "force_download", "local_files_only", "revision", "token")


class DnamdlmConfig(PretrainedConfig):
    """The `config.json` of an exported folder; the key `dnamdlm` has the record of the model."""

    model_type = "dnamdlm"


class DnamdlmCaduceusConfig(DnamdlmConfig):
    """The config of a folder with tensors named as in Caduceus."""

    model_type = "caduceus"


class DnamdlmMdlmConfig(DnamdlmConfig):
    """The config of a folder with tensors named as in MDLM."""

    model_type = "mdlm"


class _FromFolder(PreTrainedModel):
    """What both classes share: loading and saving by the functions of dnamdlm."""

    config_class = DnamdlmConfig

    def _init_weights(self, module: Any) -> None:
        """Leave the weights as they are, which dnamdlm initialises."""

    @classmethod
    def from_pretrained(  # pyright: ignore[reportIncompatibleMethodOverride]
        cls,
        pretrained_model_name_or_path: str | Path,
        *model_args: Any,
        config: Any = None,
        dtype: Any = None,
        torch_dtype: Any = None,
        device_map: Any = None,
        output_loading_info: bool = False,
        **settings: Any,
    ) -> Any:
        """Load an exported or published folder, or a hub id; in evaluation mode.

        Of the further settings of transformers, those of the hub and attributes of the config are
        used.
        """
        hub = {name: settings.pop(name) for name in _OF_HUB if name in settings}
        folder = local_folder(str(pretrained_model_name_or_path), **hub)
        check_ids(folder)
        if config is None:
            kind: Any = cls.config_class
            config, _ = kind.from_pretrained(str(folder), return_unused_kwargs=True, **settings)
        model = cls._open(config, folder, *model_args).eval()
        wanted = dtype or torch_dtype
        if isinstance(wanted, torch.dtype):
            model = model.to(wanted)
        if device_map is not None:
            model = model.to(_one_device(device_map))
        info = {"missing_keys": set(), "unexpected_keys": set(), "mismatched_keys": set(),
                "error_msgs": []}  # fmt: skip
        return (model, info) if output_loading_info else model

    @classmethod
    def _open(cls, config: Any, folder: Path) -> Any:
        raise NotImplementedError

    def _exported(self, title: str) -> Exported:
        raise NotImplementedError

    def save_pretrained(  # pyright: ignore[reportIncompatibleMethodOverride]
        self,
        save_directory: str | Path,
        is_main_process: bool = True,
        push_to_hub: bool = False,
        **settings: Any,
    ) -> None:
        """Write a folder as `dnamdlm export` does; `from_pretrained` and `dnamdlm.load` read it."""
        del settings
        if push_to_hub:
            raise ConfigError(
                "push_to_hub=True is not supported; save the folder and run hf upload NAME FOLDER"
            )
        if is_main_process:
            save_into(Path(save_directory), self._exported(Path(save_directory).name))


class DnamdlmForMaskedLM(_FromFolder):
    """A masked diffusion model; the logits of what it cannot predict (marks, N) are -inf."""

    base_model_prefix = "lm"

    def __init__(self, config: Any, loaded: LoadedModel | None = None) -> None:
        super().__init__(config)
        if loaded is None:
            stored = ModelConfig.stored(getattr(config, RECORD)["description"]["config"])
            lm = stored.without_local_places().build(seed=0)
            loaded = LoadedModel(lm, stored, 0, "", Path(), None)
        if not isinstance(loaded.lm, MaskedDiffusionLM):
            raise ConfigError(
                f"this model is a {type(loaded.lm).__name__}, which AutoModelForMaskedLM does not "
                "have; load it with dnamdlm.load"
            )
        self.lm = loaded.lm
        self._loaded = loaded
        self.post_init()

    @classmethod
    def _open(cls, config: Any, folder: Path) -> DnamdlmForMaskedLM:
        return cls(config, load_model(str(folder), weights=weights_in(folder)))

    def _exported(self, title: str) -> Exported:
        return Exported(self._loaded, self.lm, title, may_have_changed=True)

    def forward(
        self,
        input_ids: Any,
        attention_mask: Any = None,
        *,
        labels: Any = None,
        token_type_ids: Any = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
    ) -> Any:
        """Logits at each position, and the mean cross-entropy of `labels` where they are not -100.

        Args:
            input_ids: int (B, L), with the id of the mask where a token is hidden. A network with
                time conditioning is given the time at which this share of masks is expected.
            attention_mask: (B, L), 0 at padding; None takes the padding from `input_ids`.
            labels: int (B, L), or None.
            token_type_ids: not used.
            output_hidden_states: return the last hidden states.
            return_dict: False returns a tuple.
        """
        del token_type_ids
        lm, present = self.lm, present_of(input_ids, self.lm.vocabulary)
        if attention_mask is not None:
            present = attention_mask.bool()
        time = lm.process.time_of_masks(input_ids, lm.real_tokens[input_ids])
        logits = lm.logits(input_ids, time, present)
        logits = logits.masked_fill(~lm.real_tokens, -torch.inf)
        loss = None
        if labels is not None:
            loss = functional.cross_entropy(logits.flatten(0, 1), labels.flatten())
        states = None
        if output_hidden_states:
            inputs = lm._inputs(input_ids, time, present, None)
            states = (lm.backbone.hidden(*inputs),)
        found = MaskedLMOutput(loss=loss, logits=logits, hidden_states=states)
        return found.to_tuple() if return_dict is False else found


class DnamdlmForSequenceClassification(_FromFolder):
    """A language model with a linear head on the mean of its hidden states, on both strands."""

    base_model_prefix = "classifier"

    def __init__(self, config: Any, opened: Classifier) -> None:
        super().__init__(config)
        self.classifier = opened.classifier
        self._opened = opened
        self.post_init()

    @classmethod
    def _open(cls, config: Any, folder: Path) -> DnamdlmForSequenceClassification:
        opened = open_classifier(folder, config.num_labels)
        return cls(config, opened)

    def _exported(self, title: str) -> Exported:
        config: Any = self.config
        names = [config.id2label[number] for number in range(config.num_labels)]
        return self._opened.exported(names, title)

    def forward(
        self,
        input_ids: Any,
        attention_mask: Any = None,
        *,
        labels: Any = None,
        token_type_ids: Any = None,
        return_dict: bool | None = None,
    ) -> Any:
        """Logits (B, C), or numbers of a regression, and their loss.

        Args:
            input_ids: int (B, L).
            attention_mask: (B, L), 0 at padding; None takes the padding from `input_ids`.
            labels: (B,) classes, or (B, C) labels or numbers, as `config.problem_type` says; None:
                one output is a regression, integers are classes.
            token_type_ids: not used.
            return_dict: False returns a tuple.
        """
        del token_type_ids
        vocabulary = self.classifier.vocabulary
        present = input_ids != vocabulary.pad_id
        if attention_mask is not None:
            present = attention_mask.bool()
        logits = self._opened.outputs(input_ids, present)
        loss = None if labels is None else self._loss(logits, labels)
        found = SequenceClassifierOutput(loss=loss, logits=logits)
        return found.to_tuple() if return_dict is False else found

    def _loss(self, logits: Any, labels: Any) -> Any:
        problem = self.config.problem_type
        if problem is None and logits.shape[-1] > 1:
            single = not labels.is_floating_point()
            problem = "single_label_classification" if single else "multi_label_classification"
        if problem == "single_label_classification":
            return functional.cross_entropy(logits, labels.flatten())
        if problem == "multi_label_classification":
            return functional.binary_cross_entropy_with_logits(logits, labels.to(logits.dtype))
        return functional.mse_loss(logits, labels.reshape(logits.shape).to(logits.dtype))


def register_auto_classes() -> None:
    """Register the classes; what is registered already under a name stays."""
    for config in (DnamdlmConfig, DnamdlmCaduceusConfig, DnamdlmMdlmConfig):
        try:
            AutoConfig.register(config.model_type, config)
        except ValueError:
            continue
        for auto, base in (
            (AutoModelForMaskedLM, DnamdlmForMaskedLM),
            (AutoModelForSequenceClassification, DnamdlmForSequenceClassification),
        ):
            own = type(base.__name__, (base,), {"config_class": config, "__module__": __name__})
            auto.register(config, own)


def _one_device(device_map: Any) -> Any:
    """The device of a map that names one."""
    if isinstance(device_map, dict):
        places = set(device_map.values())
        if len(places) != 1:
            raise ConfigError("device_map names several devices; a model of dnamdlm is on one")
        (device_map,) = places
    if device_map == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return device_map

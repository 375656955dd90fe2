"""The models that a fine-tuning run compares: the language model and its baselines.

Each is fitted on the same rows, chosen on the same validation rows, and gives outputs for the same
test rows. `model` and `random_weights` are the language model with trained and with random weights;
`cnn` is the network published with Genomic Benchmarks; `kmer` is a linear model of word counts,
and `bag_of_words` its counterpart for text; `majority` gives every row the commonest label.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dnamdlm.assembly.finetune.finetune_settings import FinetuneEntry
from dnamdlm.assembly.models import LoadedModel
from dnamdlm.data.tasks.few_shots import few_rows
from dnamdlm.data.tasks.labelled import LabelledSet, LabelledTask
from dnamdlm.evaluation.tasks.bag_of_words import commonest, fit_bag_of_words
from dnamdlm.evaluation.tasks.prediction_metrics import figures
from dnamdlm.evaluation.tasks.probes import Probe, fit_probe, kmer_frequencies
from dnamdlm.lm.states.adapters import add_adapters, merge_adapters
from dnamdlm.lm.states.heads import SequenceClassifier, is_equivariant, predict_outputs
from dnamdlm.lm.states.peft_layout import adapter_tensors
from dnamdlm.lm.states.state_pooling import WindowSettings, too_long
from dnamdlm.lm.states.suite_cnn import SuiteCnn
from dnamdlm.training.head_fitting import FinetuneSettings, TargetScale, train_predictor
from dnamdlm.training.head_state import EpochKeeper

# as the papers train the CNN of Genomic Benchmarks.
_CNN_LEARNING_RATE = 1e-3
_CNN_BATCH_SIZE = 64
_CNN_MAX_LENGTH = 1024
_TOKENS_AT_ONCE = {"cpu": 4096, "cuda": 1 << 18}


@dataclass(frozen=True)
class Fit:
    """One predictor fitted on one split.

    Attributes:
        valid: figures of the validation rows at the choice.
        outputs: of the test rows, (N, C).
        details: what else is recorded.
        classifier: the fitted language model, where it can be stored.
        scale: of the targets that its head works with.
        adapters: the low-rank corrections and the head, named as in PEFT, of method=lora.
    """

    valid: Mapping[str, float]
    outputs: NDArray
    details: Mapping[str, Any]
    classifier: SequenceClassifier | None = None
    scale: TargetScale | None = None
    adapters: Mapping[str, Tensor] | None = None


@dataclass(frozen=True)
class Setup:
    """What all splits share."""

    task: LabelledTask
    loaded: LoadedModel
    settings: FinetuneEntry
    windows: WindowSettings
    strand: str

    @property
    def device(self) -> torch.device:
        """Where the language model is."""
        return self.loaded.device

    @property
    def tokens_at_once(self) -> int:
        """Bound on the tokens of one call without gradients."""
        return _TOKENS_AT_ONCE.get(self.device.type, _TOKENS_AT_ONCE["cpu"])


def window_settings(
    settings: FinetuneEntry, task: LabelledTask, trained_length: int
) -> WindowSettings:
    """How the sequences of a task become windows of the model.

    Raises:
        DataError: if a sequence is too long and that is refused.
        ConfigError: for an unknown option.
    """
    parts = [part for part in (task.train, task.valid, task.test) if part is not None]
    longest = max(int(part.sequences.lengths.max()) for part in parts)
    usual = (task.length or longest) if settings.long == "cut" else longest
    length = settings.max_length or min(trained_length, usual)
    windows = WindowSettings(length, settings.long, settings.pooling)
    if longest > length and windows.long == "refuse":
        raise too_long(longest, length)
    return windows


def strand_of(setting: str, loaded: LoadedModel) -> str:
    """What `strand=auto` means for a model."""
    if setting != "auto":
        return setting
    if is_equivariant(loaded.lm):
        return "invariant"
    both = loaded.config.reads_both_strands
    return "conjoined" if both and loaded.lm.vocabulary.complement is not None else "one"


class Predictors:
    """Fits predictors by name; features that no split changes are computed once."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self.keeper = EpochKeeper()

    def fit(self, name: str, seed: int, keeper: EpochKeeper | None = None) -> Fit:
        """Fit one predictor on the split of a seed.

        Args:
            name: `model` or a baseline.
            seed: of the split, of new weights and of the order of rows.
            keeper: keeps the state of a network after each epoch.

        Raises:
            FitInterrupted: if a signal ended the training of a network.
        """
        self.keeper = keeper or EpochKeeper()
        if name == "kmer":
            return self._fit_kmer(seed)
        if name == "cnn":
            return self._fit_cnn(seed)
        if name == "bag_of_words":
            return self._fit_bag_of_words(seed)
        if name == "majority":
            return self._fit_majority(seed)
        if self.setup.settings.method == "probe":
            return self._fit_probe(name, seed)
        return self._fit_network(name, seed)

    def _parts(self, seed: int) -> tuple[LabelledSet, LabelledSet]:
        task = self.setup.task
        rows, held, part = self._rows(seed)
        is_whole = self.setup.settings.shots is None and part is task.valid
        return (task.train, part) if is_whole else (task.train.take(rows), part.take(held))

    def _rows(self, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64], LabelledSet]:
        """Rows of train to learn from, and rows to choose by with the part that they are of."""
        task, shots = self.setup.task, self.setup.settings.shots
        rows, held = task.split_rows(seed, self.setup.settings.valid_fraction)
        if held is None:
            assert task.valid is not None
            held, part = np.arange(len(task.valid)), task.valid
        else:
            part = task.train
        if shots is not None:
            rows = few_rows(task.kind, task.train.targets, rows, shots, seed=seed)
            held = few_rows(task.kind, part.targets, held, shots, seed=seed)
        return rows, held, part

    def _language_model(self, name: str, seed: int) -> Any:
        loaded = self.setup.loaded
        if name == "model":
            return copy.deepcopy(loaded.lm)
        return loaded.config.build(seed=seed).to(self.setup.device).eval()

    def _classifier(self, name: str, seed: int) -> SequenceClassifier:
        setup = self.setup
        lm = self._language_model(name, seed)
        classifier = SequenceClassifier(lm, setup.task.num_outputs, setup.windows, setup.strand)
        return classifier.to(setup.device).eval()

    def _fit_network(self, name: str, seed: int) -> Fit:
        classifier = self._classifier(name, seed)
        settings = self.setup.settings
        if begun := settings.head == "probe":
            self._begin_with_probe(classifier, name, seed)
        if settings.method == "lora":
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)
                add_adapters(classifier.lm, settings.lora_rank, settings.lora_alpha)  # pyright: ignore[reportArgumentType]
        fit = self._trained(classifier, settings.training, name, seed, counts_start=begun)
        if settings.method == "lora":
            fit = replace(fit, adapters=adapter_tensors(classifier))
            merge_adapters(classifier)
        return replace(fit, classifier=classifier)

    def _fit_cnn(self, seed: int) -> Fit:
        task = self.setup.task
        longest = int(max(part.sequences.lengths.max() for part in (task.train, task.test)))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = SuiteCnn(
                self.setup.loaded.lm.vocabulary,
                task.num_outputs,
                min(longest, task.length or _CNN_MAX_LENGTH),
            )
        settings = replace(
            self.setup.settings.training,
            learning_rate=_CNN_LEARNING_RATE,
            batch_size=_CNN_BATCH_SIZE,
        )
        return self._trained(network.to(self.setup.device), settings, "cnn", seed)

    def _begin_with_probe(self, classifier: SequenceClassifier, name: str, seed: int) -> None:
        """Give a head the weights of a regression on the states before any training."""
        features = self._features(name, seed if name == "random_weights" else 0)
        probe, _ = self._probed(self.setup.settings.probe, features, seed)
        assert probe.weight is not None
        assert probe.bias is not None
        # the head predicts z-scores of the targets, the regression the targets.
        scale = TargetScale.of(self.setup.task.kind, self._parts(seed)[0].targets)
        weight = probe.weight / scale.deviation[:, None]
        bias = (probe.bias - scale.mean) / scale.deviation
        with torch.no_grad():
            classifier.head.weight.copy_(torch.from_numpy(weight))
            classifier.head.bias.copy_(torch.from_numpy(bias))

    def _trained(
        self,
        predictor: Any,
        settings: FinetuneSettings,
        name: str,
        seed: int,
        *,
        counts_start: bool = False,
    ) -> Fit:
        setup = self.setup
        train, valid = self._parts(seed)
        trained = sum(p.numel() for p in predictor.parameters() if p.requires_grad)
        history = train_predictor(
            predictor,
            setup.task.kind,
            train,
            valid,
            settings,
            metric=setup.task.metric,
            seed=seed,
            device=setup.device,
            tokens_at_once=setup.tokens_at_once,
            label=f"{name}, seed {seed}: ",
            keeper=self.keeper,
            counts_start=counts_start,
        )
        scale = TargetScale.of(setup.task.kind, train.targets)
        outputs = predict_outputs(
            predictor,
            setup.task.test.sequences,
            tokens_at_once=setup.tokens_at_once,
            device=setup.device,
        )
        better = min if setup.task.metric == "mse" else max
        best = better(history, key=lambda epoch: epoch.valid[setup.task.metric])
        details = {
            "best_epoch": best.epoch,
            "trained_parameters": trained,
            "history": [asdict(epoch) for epoch in history],
        }
        return Fit(best.valid, scale.restore(outputs), details, scale=scale)

    def _fit_probe(self, name: str, seed: int) -> Fit:
        setup = self.setup
        probe_name = setup.settings.probe
        features = self._features(name, seed if name == "random_weights" else 0)
        probe, valid = self._probed(probe_name, features, seed)
        classifier = None
        if probe.weight is not None and probe.bias is not None:
            classifier = self._classifier(name, seed)
            with torch.no_grad():
                classifier.head.weight.copy_(torch.from_numpy(probe.weight))
                classifier.head.bias.copy_(torch.from_numpy(probe.bias))
        trained = 0 if probe.weight is None else probe.weight.size + len(probe.weight)
        details = {"strength": probe.strength, "trained_parameters": trained}
        scale = TargetScale(np.zeros(1), np.ones(1))
        return Fit(valid, probe.outputs(features["test"]), details, classifier, scale)

    def _fit_kmer(self, seed: int) -> Fit:
        features = self._words()
        probe, valid = self._probed("logistic", features, seed)
        trained = 0 if probe.weight is None else probe.weight.size + len(probe.weight)
        details = {"strength": probe.strength, "trained_parameters": trained}
        return Fit(valid, probe.outputs(features["test"]), details)

    def _fit_bag_of_words(self, seed: int) -> Fit:
        task = self.setup.task
        train, valid = self._parts(seed)
        assert train.texts is not None
        assert valid.texts is not None
        assert task.test.texts is not None
        model, strength = fit_bag_of_words(
            task.kind,
            (train.texts, train.targets),
            (valid.texts, valid.targets),
            num_outputs=task.num_outputs,
            metric=task.metric,
        )
        found = figures(task.kind, valid.targets, model.outputs(valid.texts))
        details = {"strength": strength, "words": len(model.weights.vocabulary_)}
        return Fit(found, model.outputs(task.test.texts), details)

    def _fit_majority(self, seed: int) -> Fit:
        task = self.setup.task
        train, valid = self._parts(seed)
        outputs = commonest(task.kind, train.targets, task.num_outputs)
        found = figures(task.kind, valid.targets, outputs(len(valid)))
        return Fit(found, outputs(len(task.test)), {"trained_parameters": 0})

    def _probed(
        self, probe_name: str, features: Mapping[str, Any], seed: int
    ) -> tuple[Probe, dict[str, float]]:
        task = self.setup.task
        rows, held, part = self._rows(seed)
        train = (features["train"][rows], task.train.targets[rows])
        found = features["valid" if part is task.valid else "train"]
        is_whole = len(held) == found.shape[0]
        valid = (found if is_whole else found[held], part.targets[held])
        probe = fit_probe(
            probe_name,
            task.kind,
            train,
            valid,
            num_outputs=task.num_outputs,
            metric=task.metric,
        )
        return probe, figures(task.kind, valid[1], probe.outputs(valid[0]))

    @functools.lru_cache(maxsize=1)  # noqa: B019
    def _features(self, name: str, seed: int) -> dict[str, NDArray]:
        classifier = self._classifier(name, seed)
        return {
            part: predict_outputs(
                classifier,
                rows.sequences,
                tokens_at_once=self.setup.tokens_at_once,
                device=self.setup.device,
                features=True,
            ).astype(np.float64)
            for part, rows in self._all_parts().items()
        }

    @functools.lru_cache(maxsize=1)  # noqa: B019
    def _words(self) -> dict[str, Any]:
        vocabulary = self.setup.loaded.lm.vocabulary
        return {
            part: kmer_frequencies(rows.sequences, vocabulary, self.setup.settings.kmer)
            for part, rows in self._all_parts().items()
        }

    def _all_parts(self) -> dict[str, LabelledSet]:
        task = self.setup.task
        parts = {"train": task.train, "test": task.test}
        return parts if task.valid is None else parts | {"valid": task.valid}

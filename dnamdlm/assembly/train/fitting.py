"""Training from Python: a model object and data, with everything that the command `train` gives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dnamdlm.assembly.building.field_types import as_tuple
from dnamdlm.assembly.building.foreign_classes import foreign_classes
from dnamdlm.assembly.building.model_config import TrainedLM, backbone_of
from dnamdlm.assembly.building.object_nodes import model_nodes
from dnamdlm.assembly.models import LoadedModel, load_into
from dnamdlm.assembly.operations import start_ops
from dnamdlm.assembly.train.fit_settings import chosen_settings, run_settings
from dnamdlm.assembly.train.model_training import train_model
from dnamdlm.data.data_source import DataSource
from dnamdlm.data.targets import check_run_folder, inputs_of
from dnamdlm.diffusion.schedules import LogLinear, Schedule
from dnamdlm.diffusion.times import Stratified, TimeSampler
from dnamdlm.errors import ConfigError
from dnamdlm.lm.causal import CausalLM
from dnamdlm.lm.masked import MaskedDiffusionLM
from dnamdlm.lm.objectives import Objective
from dnamdlm.tokens.vocabulary import Vocabulary
from dnamdlm.training.accelerators import own_device, precision_beside_steps
from dnamdlm.training.trainer_settings import ResumeSettings

_TRIAL_SEED = 0


def fit(
    model: nn.Module,
    data: str | Path | DataSource,
    *,
    run_dir: str | Path,
    max_steps: int,
    seed: int = 1,
    device: str = "auto",
    name: str | None = None,
    objective: Objective | None = None,
    schedule: Schedule | None = None,
    times: TimeSampler | None = None,
    arguments: Mapping[str, Any] | None = None,
    allow: str | Sequence[str] = (),
    optimizer: str = "adamw",
    ops: str = "auto",
    threads: int | None = None,
    overlap_report: bool = False,
    **settings: Any,
) -> LoadedModel:
    """Train a network or a language model, or resume the run in `run_dir`.

    Gives what `dnamdlm train` gives: metrics, checkpoints, validation, a stop at the next step for
    a signal, and a run folder for `dnamdlm evaluate`, `sample` and `report`. Call it again with the
    same arguments to resume; the result is byte-identical to an uninterrupted run. A run that has
    no checkpoint yet starts from the weights of `model`, so seed torch before you make it.

    A checkpoint of a network of another package records its class, the version of its package, and
    its constructor arguments where these are known: where each is an attribute of the same name,
    or `arguments` gives them, and a network that is built from them gives the same logits. Load
    it with `dnamdlm.load(run_dir, trust=["mypackage"])`, or give the network itself:
    `dnamdlm.load(run_dir, backbone=MyNet())`.

    Args:
        model: a module from token ids (B, L) to logits (B, L, V), see `ModuleBackbone`, which is
            trained as a masked diffusion model, or with `causal = True` as an autoregressive one;
            or a language model of this package. Afterwards it has the averaged weights.
        data: path of a FASTA or .2bit file, 'embedded:yeast', or settings such as `GenomeData` and
            `TextData`.
        run_dir: folder of the run.
        max_steps: optimizer steps of the whole run.
        seed: of the order of windows and all noise.
        device: 'auto', 'cpu', 'cuda' or another accelerator that Lightning knows; one device. For
            several give `accelerator=` and `devices=`.
        name: of the run; None is the name of its folder.
        objective: what a network is trained on; None is the bound in continuous time.
        schedule: noise schedule of a network; None is log-linear.
        times: how times are drawn for a network; None is in equal strata.
        arguments: constructor arguments of a network of another package.
        allow: settings that may differ from those of the run that is resumed.
        optimizer: adamw, or muon for the hidden matrices with AdamW for the rest.
        ops: implementations of the primitives: auto, reference, portable or fused.
        threads: of the CPU; None chooses by the size of the network.
        overlap_report: compare the splits first.
        settings: further settings by name: those of `GenomeData` for a path (`length`, `valid`,
            `test`, ...), of `TrainerSettings` (`global_batch_size`, `valid_every`, ...), of
            `AdamWSettings` or `MuonSettings` (`learning_rate`, `weight_decay`, ...) and of
            `WarmupCosine` (`warmup_steps`, ...).

    Returns:
        The model, with the averaged weights of its last step; from `dnamdlm.fit` a `Model`.

    Raises:
        ConfigError: for a setting, a model that cannot be trained, or a folder with another run.
        DataError: for data that cannot be used.
        Interrupted: if a signal ended the run, after saving.

    Example:
        >>> net = MyNet(vocab_size=12)  # doctest: +SKIP
        >>> fit(net, "my.fa", run_dir="runs/mine", max_steps=1000, length=256)  # doctest: +SKIP
    """
    chosen = chosen_settings(data, max_steps, device, optimizer, settings)
    lm = _language_model(model, chosen.source, _Parts(objective, schedule, times))
    nodes = model_nodes(lm, arguments=arguments, trial=_Trial(chosen.source))
    packages = sorted({found.package for found in foreign_classes(nodes)})
    of_command: dict[str, Any] = {
        "name": name or Path(run_dir).resolve().name,
        "run_dir": str(run_dir),
        "seed": seed,
        "ops": ops,
        "threads": threads,
        "overlap_report": overlap_report,
        "trust": tuple(packages),
    }
    run = run_settings(chosen, of_command, ResumeSettings(as_tuple(allow)), nodes)
    check_run_folder(Path(run_dir), inputs_of(run))
    from dnamdlm.training.trainer import check_devices

    check_devices(chosen.trainer)
    place = str(own_device(chosen.trainer))
    start_ops(ops, place, precision_beside_steps(chosen.trainer))
    train_model(lm.cpu().train(), run)
    return load_into(lm, Path(run_dir), device=place, trust=packages)


@dataclass(frozen=True)
class _Parts:
    """What makes a language model of a network; None takes the default."""

    objective: Objective | None
    schedule: Schedule | None
    times: TimeSampler | None


def _language_model(model: nn.Module, source: DataSource, parts: _Parts) -> TrainedLM:
    """A language model of the vocabulary of the data.

    Raises:
        ConfigError: if it is not a module, has no weights, or is one of another vocabulary.
    """
    if not isinstance(model, nn.Module):
        raise ConfigError(
            f"model is a {type(model).__name__}; give a torch module from token ids to logits, or "
            "a language model (of a loaded model: .loaded.lm)"
        )
    given = [field.name for field in fields(parts) if getattr(parts, field.name) is not None]
    if isinstance(model, TrainedLM):
        if given:
            raise ConfigError(
                f"{given[0]}= is for a network, and a {type(model).__name__} has its own; leave it "
                "out"
            )
        if model.vocabulary.fingerprint() != source.vocabulary.fingerprint():
            raise ConfigError(
                "the model has another vocabulary than the data; make it with that of the data"
            )
        return model
    _check_state(model)
    vocabulary = source.vocabulary
    backbone = backbone_of(model, vocabulary, source.length)
    if getattr(backbone, "causal", False):
        if given:
            raise ConfigError(
                f"{given[0]}= is for masked diffusion, and this network sees only the past; leave "
                "it out"
            )
        return CausalLM(backbone, vocabulary)
    return MaskedDiffusionLM(
        backbone,
        vocabulary,
        parts.schedule or LogLinear(),
        parts.times or Stratified(),
        parts.objective,
    )


def _check_state(network: nn.Module) -> None:
    if not any(parameter.requires_grad for parameter in network.parameters()):
        raise ConfigError(f"{type(network).__name__} has no weights to train")
    for name, value in network.state_dict().items():
        if not isinstance(value, Tensor):
            raise ConfigError(
                f"the state of {type(network).__name__} holds {name}, a {type(value).__name__}; a "
                "checkpoint stores tensors only"
            )


class _Trial:
    """Logits of a network for one window of random tokens."""

    def __init__(self, source: DataSource) -> None:
        self.vocabulary: Vocabulary = source.vocabulary
        self.length = source.length

    def __call__(self, network: nn.Module) -> Tensor:
        backbone = backbone_of(network, self.vocabulary, self.length)
        device = next(network.parameters()).device
        generator = torch.Generator().manual_seed(_TRIAL_SEED)
        real = torch.tensor(self.vocabulary.real_ids)
        ids = real[torch.randint(len(real), (2, self.length), generator=generator)].to(device)
        time = torch.ones(2, device=device)
        was_training = network.training
        network.eval()
        try:
            with torch.no_grad(), torch.random.fork_rng(devices=[]):
                torch.manual_seed(_TRIAL_SEED)
                return backbone(ids, time)
        finally:
            network.train(was_training)

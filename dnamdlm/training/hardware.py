"""The `trainer` settings that name devices and machines, as arguments of a Lightning trainer."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning.pytorch.plugins.precision import DoublePrecision
from lightning.pytorch.strategies import DDPStrategy, ModelParallelStrategy
from lightning.pytorch.strategies.strategy import Strategy
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from dnamdlm.data.batch import Batch
from dnamdlm.errors import ConfigError
from dnamdlm.training.accelerators import resolve_accelerator, resolve_precision
from dnamdlm.training.launch import is_slurm_task, is_torchrun_worker, launched_shape
from dnamdlm.training.sharding import cut_like, cut_optimizer_state, gathered
from dnamdlm.training.trainer_settings import TrainerSettings


def hardware(settings: TrainerSettings) -> dict[str, Any]:
    """Arguments of `Trainer`; `auto` takes the number of ranks that torchrun or srun started.

    Raises:
        ConfigError: if the settings contradict the launcher.
    """
    shape = launched_shape()
    wanted = {"devices": settings.devices, "num_nodes": settings.num_nodes}
    if shape is None:
        devices, num_nodes = settings.devices, 1
        if settings.num_nodes not in ("auto", 1):
            raise ConfigError(
                f"trainer.num_nodes={settings.num_nodes} needs a launcher that starts a process "
                "per device on each machine; use srun or torchrun, see CLUSTER.md"
            )
    else:
        devices, num_nodes = shape
        for (name, value), started in zip(wanted.items(), shape, strict=True):
            if value not in ("auto", started, str(started)):
                raise ConfigError(
                    f"trainer.{name}={value} contradicts the launcher, which started {started}; "
                    f"leave trainer.{name}=auto or start as many processes"
                )
    precision: str | None = resolve_precision(settings.precision, settings.accelerator)
    plugins: list[Any] = [_environment()]
    if precision == "64-true":
        precision, plugins = None, [*plugins, DoubleBatches()]
    return {
        "accelerator": resolve_accelerator(settings.accelerator),
        "devices": devices,
        "num_nodes": num_nodes,
        "strategy": _strategy(settings, devices, num_nodes),
        "precision": precision,
        "plugins": plugins,
    }


def _environment() -> ClusterEnvironment:
    """What started the ranks; Lightning would take any process within a SLURM job for a task."""
    if is_torchrun_worker():
        return TorchElasticEnvironment()
    # the run saves itself, and the batch script requeues it.
    return SLURMEnvironment(auto_requeue=False) if is_slurm_task() else LightningEnvironment()


def _strategy(settings: TrainerSettings, devices: int | str, num_nodes: int) -> Strategy | str:
    if settings.strategy == "fsdp2":
        return ShardedStrategy()
    if devices == "auto":
        on_gpu = resolve_accelerator(settings.accelerator) == "cuda"
        devices = torch.cuda.device_count() if on_gpu else 1
    if settings.strategy == "auto" and str(devices) in ("0", "1") and num_nodes == 1:
        return "auto"
    # buffers are constants here, and sending them before each forward pass is time lost; torch
    # has renamed the switch.
    known = inspect.signature(DistributedDataParallel).parameters
    switch = "forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers"
    arguments: dict[str, Any] = {"gradient_as_bucket_view": True, switch: False}
    return DDPStrategy(**arguments)


class DoubleBatches(DoublePrecision):
    """float64 throughout; Lightning's own form of it cannot read a batch."""

    def convert_input(self, data: Any) -> Any:
        """Numbers of a batch in float64."""
        return data.double() if isinstance(data, Batch) else super().convert_input(data)


class ShardedStrategy(ModelParallelStrategy):
    """FSDP2 over all ranks, with the same checkpoint folder as any other strategy.

    Weights and moments are gathered before they are written, and sharded again after reading, so
    that a run can resume with another strategy or another number of ranks.
    """

    def __init__(self) -> None:
        super().__init__(save_distributed_checkpoint=False)

    @property
    def lightning_restore_optimizer(self) -> bool:
        """Moments come from the checkpoint dictionary."""
        return True

    def setup_environment(self) -> None:
        """All ranks share the data axis; none is used for tensor parallelism."""
        self._data_parallel_size = self.num_nodes * self.num_processes
        self._tensor_parallel_size = 1
        super().setup_environment()

    def lightning_module_state_dict(self) -> dict[str, Any]:
        """Whole weights, on every rank."""
        return gathered(dict(self._own_module().state_dict()))

    def optimizer_state(self, optimizer: Optimizer) -> dict[str, Any]:
        """Whole moments, on every rank."""
        return gathered(optimizer.state_dict())

    def save_checkpoint(
        self, checkpoint: dict[str, Any], filepath: str | Path, storage_options: Any = None
    ) -> None:
        """Rank 0 writes the folder."""
        if self.is_global_zero:
            self.checkpoint_io.save_checkpoint(checkpoint, filepath, storage_options)

    def load_checkpoint(
        self, checkpoint_path: str | Path, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Every rank reads and verifies the folder."""
        return self.checkpoint_io.load_checkpoint(checkpoint_path, weights_only=weights_only)

    def load_model_state_dict(self, checkpoint: Mapping[str, Any], strict: bool = True) -> None:
        """Shard the weights of a checkpoint and load them."""
        module = self._own_module()
        own = module.state_dict()
        weights = checkpoint["state_dict"]
        cut = {name: cut_like(weights[name], own[name]) for name in weights.keys() & own.keys()}
        module.load_state_dict({**weights, **cut}, strict=strict)

    def load_optimizer_state_dict(self, checkpoint: Mapping[str, Any]) -> None:
        """Shard the moments of a checkpoint and load them."""
        for optimizer, state in zip(self.optimizers, checkpoint["optimizer_states"], strict=True):
            optimizer.load_state_dict(cut_optimizer_state(state, optimizer))

    def _own_module(self) -> torch.nn.Module:
        if self.lightning_module is None:
            raise TypeError("the strategy has no module yet")
        return self.lightning_module

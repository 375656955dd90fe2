"""The `trainer` group of a config; without Lightning, so that a mistake is found at once."""

from __future__ import annotations

import math
from dataclasses import dataclass

from dnamdlm.errors import ConfigError

STRATEGIES = ("auto", "ddp", "fsdp2")
PRECISIONS = ("auto", "32-true", "64-true", "bf16-mixed", "16-mixed")


@dataclass(frozen=True)
class TrainerSettings:
    """Length of the run, sizes of batches, devices, and when things happen.

    Attributes:
        max_steps: optimizer steps.
        global_batch_size: windows per optimizer step, over all devices.
        micro_batch_size: windows per forward pass on one device; None: as many as there are.
        gradient_clip: largest gradient norm; 0 does not clip.
        averaging_decay: decay of the moving average of the weights.
        precision: auto, 32-true, 64-true, bf16-mixed or 16-mixed; auto is bf16-mixed on a GPU that
            computes in bfloat16, 32-true elsewhere.
        compile: True compiles the loss, network included, with torch.compile; 'auto' does so on a
            GPU where a compiler is found, and on a CPU where a step was measured to gain by it.
            The last digits of a compiled run differ from those of another.
        accelerator: auto (a CUDA GPU if there is one, else the CPU), cpu, gpu or another name that
            Lightning knows; not mps, which has no float64.
        devices: devices per machine; 'auto' takes all, or as many as torchrun or srun started.
        num_nodes: machines; 'auto' takes what torchrun or srun started.
        strategy: ddp (a copy of the model on each device), fsdp2 (weights, moments and average
            sharded over all devices) or auto (ddp where there are several devices).
        num_workers: loader processes; 0 is fastest for a memory-mapped genome.
        log_every: steps between metrics rows.
        valid_every: steps between validations.
        valid_windows: windows of the validation split that a validation sees.
        valid_draws: time draws per window and validation.
        checkpoint_every: steps between checkpoints.
        keep_checkpoints: newest checkpoints that stay.
        spike_sigmas: an update whose loss is this many standard deviations above the recent ones
            and above three times their mean is skipped; 0 skips none for its size.
        max_skipped_in_a_row: skipped updates in a row that end the run.
        max_minutes: a command that has run for so long saves and ends; the same command resumes.
            None sets no limit.
    """

    max_steps: int
    global_batch_size: int = 32
    micro_batch_size: int | None = None
    gradient_clip: float = 1.0
    averaging_decay: float = 0.999
    precision: str = "auto"
    compile: bool | str = False
    accelerator: str = "auto"
    devices: int | str = "auto"
    num_nodes: int | str = "auto"
    strategy: str = "auto"
    num_workers: int = 0
    log_every: int = 50
    valid_every: int = 500
    valid_windows: int = 1024
    valid_draws: int = 4
    checkpoint_every: int = 500
    keep_checkpoints: int = 2
    spike_sigmas: float = 6.0
    max_skipped_in_a_row: int = 10
    max_minutes: float | None = None

    def __post_init__(self) -> None:
        for name in (
            "max_steps", "global_batch_size", "log_every", "valid_every", "valid_windows",
            "valid_draws", "checkpoint_every", "keep_checkpoints",
            "max_skipped_in_a_row",
        ):  # fmt: skip
            if getattr(self, name) < 1:
                raise ConfigError(f"trainer.{name}={getattr(self, name)} must be at least 1")
        if self.num_workers < 0:
            raise ConfigError(f"trainer.num_workers={self.num_workers} must not be negative")
        if not 0.0 <= self.averaging_decay < 1.0:
            raise ConfigError(f"trainer.averaging_decay={self.averaging_decay} must lie in [0, 1)")
        if self.gradient_clip < 0:
            raise ConfigError(f"trainer.gradient_clip={self.gradient_clip} must not be negative")
        if not 0.0 <= self.spike_sigmas < math.inf:
            raise ConfigError(f"trainer.spike_sigmas={self.spike_sigmas} must not be negative")
        if self.num_nodes != "auto" and (isinstance(self.num_nodes, str) or self.num_nodes < 1):
            raise ConfigError(f"trainer.num_nodes={self.num_nodes} must be auto or at least 1")
        if not isinstance(self.compile, bool) and self.compile != "auto":
            raise ConfigError(f"trainer.compile={self.compile} must be auto, true or false")
        if self.strategy not in STRATEGIES:
            raise ConfigError(
                f"trainer.strategy={self.strategy} is unknown; choose {', '.join(STRATEGIES)}"
            )
        if self.precision not in PRECISIONS:
            raise ConfigError(
                f"trainer.precision={self.precision} is unknown; choose {', '.join(PRECISIONS)}"
            )
        if self.max_minutes is not None and not 0.0 < self.max_minutes < math.inf:
            raise ConfigError(f"trainer.max_minutes={self.max_minutes} must be above 0, or null")
        if self.micro_batch_size is not None and self.micro_batch_size < 1:
            raise ConfigError(
                f"trainer.micro_batch_size={self.micro_batch_size} must be at least 1"
            )

    def num_micro_steps(self, num_devices: int) -> int:
        """Forward passes per optimizer step on each of `num_devices` devices.

        Raises:
            ConfigError: if the global batch cannot be divided evenly.
        """
        per_device, left = divmod(self.global_batch_size, num_devices)
        if left or per_device == 0:
            raise ConfigError(
                f"trainer.global_batch_size={self.global_batch_size} cannot be divided among "
                f"{num_devices} devices; use a multiple of {num_devices}"
            )
        micro = min(self.micro_batch_size or per_device, per_device)
        if per_device % micro:
            raise ConfigError(
                f"trainer.micro_batch_size={micro} does not divide the {per_device} windows that "
                "each device has per step; use a divisor"
            )
        return per_device // micro


@dataclass(frozen=True)
class ResumeSettings:
    """The `resume` group of a config.

    Attributes:
        allow: settings that may differ from those of the run that is resumed, such as
            `trainer.max_steps`; the name of a group means all settings in it, and `data` also
            allows other content of the data files.
    """

    allow: tuple[str, ...] = ()

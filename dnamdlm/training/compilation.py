"""Compilation of the loss with torch.compile: the setting `trainer.compile`.

The loss of a micro-batch is compiled as a function: noise, network and score in one graph, which is
kept in a cache folder for the next run. The modules stay what they are, so that the names of
weights, the moving average, checkpoints and validation know nothing of it, and a run that was
started in one way may be resumed in the other. The results differ by rounding.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import shutil
import sysconfig
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dnamdlm.data.batch import Batch
from dnamdlm.errors import ConfigError
from dnamdlm.lm.language_model import LossTerms, Trainable
from dnamdlm.lm.objectives import ChangeOfVariables
from dnamdlm.ops.kernels.compiled_scan import kernels_folder
from dnamdlm.ops.selection import first_line, keep_choices_while_compiling
from dnamdlm.training.accelerators import resolve_accelerator
from dnamdlm.training.trainer_settings import TrainerSettings

logger = logging.getLogger(__name__)

BACKEND = "inductor"
_FOLDER = "TORCHINDUCTOR_CACHE_DIR"
# how many times as fast a step became, by the class of the network: the larger of its rows in
# benchmarks/results/speed-compiled_amd-epyc-1-threads_2026-11.md, from a busy machine.
GAINS_ON_CPU: Mapping[str, float] = {"DiT": 0.87, "Mamba": 1.11, "CaduceusPS": 1.1}
# less is not worth minutes in the first step.
WORTHWHILE_GAIN = 1.2


def check_compile(settings: TrainerSettings) -> None:
    """Refuse `trainer.compile=true` where nothing can be compiled.

    Raises:
        ConfigError: with what is missing.
    """
    if settings.compile is True and (reason := _obstacle(settings)) is not None:
        raise ConfigError(f"trainer.compile=true, but {reason}, or use trainer.compile=auto")


def compiler_of(settings: TrainerSettings, lm: nn.Module) -> str | None:
    """The compiler of the loss of a run, or None; logs a sentence unless none was asked for.

    Args:
        settings: of the run.
        lm: the model.

    Raises:
        ConfigError: as `check_compile`.
    """
    check_compile(settings)
    if settings.compile is False:
        return None
    reason = _obstacle(settings)
    if reason is None and settings.compile == "auto":
        reason = _small_gain(settings, type(getattr(lm, "backbone", lm)).__name__)
    if reason is not None:
        logger.info("trainer.compile=auto does not compile the loss: %s", reason)
        return None
    logger.info(
        "%s compiles the loss in the first step, which takes minutes once; it is kept in %s",
        BACKEND, _cache(),
    )  # fmt: skip
    return BACKEND


def _obstacle(settings: TrainerSettings) -> str | None:
    """What prevents compilation, and what to do about it, or None."""
    if settings.strategy == "fsdp2":
        return (
            "trainer.strategy=fsdp2 gathers weights between the operators of a graph; use "
            "trainer.strategy=ddp"
        )
    on_gpu = resolve_accelerator(settings.accelerator) == "cuda"
    return _missing_on_gpu() if on_gpu else _missing_on_cpu()


def _missing_on_gpu() -> str | None:
    """What the compiler needs on a GPU and does not find."""
    if importlib.util.find_spec("triton") is None:
        return (
            "torch.compile needs Triton on a GPU, which comes with builds of torch for CUDA; "
            "install one"
        )
    if not any(map(shutil.which, (os.environ.get("CC", "cc"), "gcc", "clang"))):
        return "Triton finds no C compiler (gcc, clang or what CC names); install one"
    return None


def _missing_on_cpu() -> str | None:
    """What the compiler needs on a CPU and does not find."""
    if not any(map(shutil.which, (os.environ.get("CXX", "g++"), "g++"))):
        return "there is no C++ compiler (g++ or what CXX names); install one"
    headers = Path(sysconfig.get_path("include"))
    if not (headers / "Python.h").is_file():
        return f"{headers} has no Python.h, which compiled code needs; install python3-dev"
    return None


def _small_gain(settings: TrainerSettings, network: str) -> str | None:
    """Why `auto` does not compile a network on a CPU, or None."""
    if resolve_accelerator(settings.accelerator) == "cuda":
        return None
    gain = GAINS_ON_CPU.get(network)
    if gain is None:
        return f"it was not measured for {network} on a CPU"
    if gain < WORTHWHILE_GAIN:
        return f"a step of a {network} became {gain:.2g} times as fast on a CPU, too little"
    return None


def _cache() -> Path:
    """Folder in which compiled code is kept, given to torch unless the user names another."""
    named = Path(os.environ.get(_FOLDER, ""))
    # torch sets its own default when parts of it are imported.
    is_default = named.parent == Path(tempfile.gettempdir()) and "torchinductor_" in named.name
    if _FOLDER not in os.environ or is_default:
        os.environ[_FOLDER] = str(kernels_folder() / "inductor")
    return Path(os.environ[_FOLDER])


def loss_terms_of(
    lm: Trainable,
    compiler: str | None,
    settings: TrainerSettings,
    *,
    given_up: Callable[[], object] | None = None,
) -> Callable[[Batch], LossTerms] | None:
    """What computes the loss of a run: compiled, or None for `lm.loss_terms`.

    Args:
        lm: the model.
        compiler: a backend of torch.compile, or None.
        settings: of the trainer.
        given_up: called once if the compiler fails and the loss is computed without.
    """
    if compiler is None:
        return None
    return CompiledLoss(lm, compiler, must=settings.compile is True, given_up=given_up)


class CompiledLoss:
    """The loss of a model, compiled when it is first computed.

    Args:
        lm: the model.
        backend: the compiler, a backend of torch.compile.
        must: whether a failure of the compiler is an error; else the loss is computed without.
        fullgraph: refuse code that the compiler cannot follow, which otherwise runs between graphs.
        given_up: called once if the loss is computed without.
    """

    def __init__(
        self,
        lm: Trainable,
        backend: str,
        *,
        must: bool = True,
        fullgraph: bool = False,
        given_up: Callable[[], object] | None = None,
    ) -> None:
        _cache()
        keep_choices_while_compiling()
        torch.compiler.assume_constant_result(ChangeOfVariables.highest)
        self.lm = lm
        self.must = must
        self.given_up = given_up
        self._compiled: Any = torch.compile(
            self._tensors, backend=backend, fullgraph=fullgraph, dynamic=False
        )
        self.is_given_up = False

    def __call__(self, batch: Batch) -> LossTerms:
        """The same as `lm.loss_terms`, up to rounding.

        Raises:
            ConfigError: if the compiler fails and `must` is set.
        """
        if self.is_given_up:
            return self.lm.loss_terms(batch)
        import torch._dynamo
        from torch._dynamo.exc import TorchDynamoException

        # counts of hidden tokens are part of the graph; one graph is one bucket of gradients.
        options = {"capture_dynamic_output_shape_ops": True, "optimize_ddp": False}
        try:
            with torch._dynamo.config.patch(options):
                return LossTerms(*self._compiled(batch))
        except TorchDynamoException as error:
            # what the backend raised, if it was not the tracer.
            reason = first_line(getattr(error, "inner_exception", error))
            if self.must:
                raise ConfigError(
                    f"trainer.compile=true, but the loss cannot be compiled ({reason}); use "
                    "trainer.compile=auto, which then computes it without"
                ) from error
            logger.warning("the loss is not compiled: %s", reason)
            self.is_given_up = True
            if self.given_up is not None:
                self.given_up()
        return self.lm.loss_terms(batch)

    def _tensors(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor | None]:
        """The fields of the loss."""
        terms = self.lm.loss_terms(batch)
        return terms.nats, terms.valid, terms.minimised

"""Where a process finds a model that another has loaded, so that all use the same weights."""

from __future__ import annotations

from dataclasses import dataclass

from dnamdlm.assembly.block_lengths import with_block_length
from dnamdlm.assembly.models import LoadedModel, WeightSet, load_model
from dnamdlm.assembly.operations import start_ops
from dnamdlm.errors import CheckpointError
from dnamdlm.ops.precision import get_precision
from dnamdlm.ops.selection import get_mode


@dataclass(frozen=True)
class ModelSource:
    """A model on disk, to be pickled in its place.

    Attributes:
        folder: checkpoint folder or published weights; never a run folder, whose newest checkpoint
            changes while it trains.
        weights: which set of weights.
        device: where the model goes.
        ops: implementations of the primitives.
        precision: of the network.
        digest: SHA-256 of the weights.
        trust: packages besides dnamdlm whose classes it may name.
        block_length: of block diffusion, where it is not that of the training.
    """

    folder: str
    weights: WeightSet
    device: str
    ops: str
    precision: str
    digest: str
    trust: tuple[str, ...] = ()
    block_length: int | None = None

    @staticmethod
    def of(loaded: LoadedModel) -> ModelSource:
        """The source of a loaded model."""
        return ModelSource(
            str(loaded.folder),
            loaded.weights,
            str(loaded.device),
            get_mode(),
            get_precision(),
            loaded.digest,
            tuple(loaded.config.trust),
            loaded.block_length,
        )

    def open(self) -> LoadedModel:
        """Load the model.

        Raises:
            CheckpointError: if it is gone, or no longer what it was.
        """
        start_ops(self.ops, self.device, self.precision)
        loaded = load_model(self.folder, weights=self.weights, device=self.device, trust=self.trust)
        if loaded.digest != self.digest:
            raise CheckpointError(
                f"{self.folder} changed while it was in use; run the command again"
            )
        return with_block_length(loaded, self.block_length)

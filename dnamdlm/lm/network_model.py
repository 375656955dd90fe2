"""What every model over one network has: the network, the meaning of the ids, and a few answers."""

from __future__ import annotations

from torch import Tensor, nn

from dnamdlm.backbones.backbone import Backbone
from dnamdlm.lm.model_parts import real_token_mask
from dnamdlm.tokens.vocabulary import Vocabulary


class NetworkModel(nn.Module):
    """A network that reads the ids of a vocabulary.

    Attributes:
        backbone: the network.
        real_tokens: True for the ids that may be predicted, shape (V,).
    """

    real_tokens: Tensor

    def __init__(self, backbone: Backbone, vocabulary: Vocabulary) -> None:
        """Join network and vocabulary.

        Raises:
            ConfigError: if the backbone has fewer outputs than the vocabulary has ids.
        """
        super().__init__()
        self.register_buffer(
            "real_tokens", real_token_mask(vocabulary, backbone.vocab_size), persistent=False
        )
        self.backbone = backbone
        self._vocabulary = vocabulary

    @property
    def vocabulary(self) -> Vocabulary:
        """The meaning of the token ids."""
        return self._vocabulary

    @property
    def network_vocabulary(self) -> Vocabulary:
        """The meaning of the ids that the network reads, which may be more than those of data."""
        return self._vocabulary

    @property
    def mask_id(self) -> int:
        """Id of the mask."""
        return self._vocabulary.mask_id

    @property
    def sees_time(self) -> bool:
        """Whether the network is conditioned on time."""
        return self.backbone.time_conditioning

"""A second input of a denoiser: what the training genome has at the place a window points to.

With p(x | T) a masked diffusion model that also reads a template T, and z a latent pointer, an
offset and a strand in the training genome,

    p(x) = (1 - pi) p(x | none) + pi sum over z of u(z) p(x | T_z),    u uniform.

The template enters as an embedding that is added to that of the tokens: one vector for each base,
one for N, and one for whether a visible base agrees with it. A row without a template has zero
added, so that it is the network alone. See `pointer_bound` for the likelihood.

Shapes: B sequences, L positions, D channels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from dnamdlm.backbones.backbone import Backbone, RowLabel, takes_label
from dnamdlm.backbones.dit import DiT
from dnamdlm.errors import ConfigError
from dnamdlm.tokens.nucleotide import IDS_OF_CODES, NUCLEOTIDE_VOCABULARY
from dnamdlm.tokens.vocabulary import Vocabulary

_DIGEST_BYTES = 32
_WORD_LENGTHS = (8, 31)


@dataclass(frozen=True)
class Pointer:
    """How windows find templates in the training split, and how training uses them.

    Attributes:
        word_length: bases in a row that a window must share with its template, 8 to 31.
        share: probability that a training window has the template it points to; the others, and
            those that point nowhere, have none.
        substitutions: the share of the bases of a template that training replaces at random is
            uniform between 0 and this.
    """

    word_length: int = 20
    share: float = 0.5
    substitutions: float = 0.1

    def __post_init__(self) -> None:
        low, high = _WORD_LENGTHS
        if not low <= self.word_length <= high:
            raise ConfigError(
                f"lm.pointer.word_length={self.word_length} must lie in {low}..{high}"
            )
        if not 0.0 < self.share <= 1.0:
            raise ConfigError(f"lm.pointer.share={self.share} must lie in (0, 1]")
        if not 0.0 <= self.substitutions <= 0.75:
            raise ConfigError(
                f"lm.pointer.substitutions={self.substitutions} must lie in [0, 0.75]"
            )


class PointerChannel(nn.Module):
    """Embeds templates, and knows by its hash the training split that they are from."""

    digest: Tensor
    kinds: Tensor
    undecayed = ("letters", "agreement")

    def __init__(self, backbone: Backbone, vocabulary: Vocabulary) -> None:
        """Make the embeddings, zero at first; the training split is not known before `claim`.

        Raises:
            ConfigError: if the vocabulary is not that of DNA, or the network cannot take them.
        """
        super().__init__()
        if vocabulary.fingerprint() != NUCLEOTIDE_VOCABULARY.fingerprint():
            raise ConfigError(
                "pointers copy A, C, G and T, and the data have another vocabulary; use "
                "copying=none"
            )
        if not isinstance(backbone, DiT):
            raise ConfigError(
                "pointers add an embedding of templates to that of tokens, which "
                f"{type(backbone).__name__} does not take; use backbone=dit or copying=none"
            )
        size = backbone.hidden_size
        # A, C, G, T and N; a visible base that agrees with the template, and one that does not.
        self.letters = nn.Parameter(torch.zeros(len(IDS_OF_CODES), size))
        self.agreement = nn.Parameter(torch.zeros(2, size))
        kinds = torch.zeros(len(vocabulary), dtype=torch.int64)
        kinds[torch.from_numpy(IDS_OF_CODES)] = torch.arange(1, len(IDS_OF_CODES) + 1)
        self.register_buffer("kinds", kinds, persistent=False)
        self.register_buffer("digest", torch.zeros(_DIGEST_BYTES, dtype=torch.uint8))

    @property
    def has_genome(self) -> bool:
        """Whether a training split was claimed."""
        return bool(self.digest.any())

    def claim(self, digest: bytes) -> None:
        """Keep the hash of the training split that templates are from.

        Raises:
            ConfigError: if it is that of another split than before.
        """
        self.check(digest)
        self.digest.copy_(torch.tensor(list(digest), dtype=torch.uint8))

    def check(self, digest: bytes) -> None:
        """Refuse templates of another training split than that of the training.

        Raises:
            ConfigError: if the hash differs.
        """
        if self.has_genome and bytes(self.digest.cpu().tolist()) != digest:
            raise ConfigError(
                "the pointers of this model lead into the training split of its own training, and "
                "these data have another one; use the same FASTA file and splits, or leave "
                "pointer out"
            )

    def forward(
        self, tokens: Int[Tensor, "B L"], aligned: Int[Tensor, "B L"]
    ) -> Float[Tensor, "B L D"]:
        """The embedding that is added to that of the tokens; zero for rows without a template."""
        nothing = self.letters.new_zeros(1, self.letters.shape[1])
        kind, visible = self.kinds[aligned], self.kinds[tokens]
        num_bases = len(NUCLEOTIDE_VOCABULARY.real_ids)
        both = (kind > 0) & (kind <= num_bases) & (visible > 0) & (visible <= num_bases)
        agreement = torch.where(both, 1 + (kind != visible).long(), 0)
        letters = torch.cat([nothing, self.letters])
        return letters[kind] + torch.cat([nothing, self.agreement])[agreement]


class AlignedNetwork(nn.Module):
    """A network together with the templates of the one batch that this object is made for."""

    def __init__(
        self, backbone: Backbone, channel: PointerChannel, aligned: Int[Tensor, "B L"]
    ) -> None:
        """Join both."""
        super().__init__()
        self.backbone, self.channel, self.aligned = backbone, channel, aligned
        self.vocab_size = backbone.vocab_size
        self.time_conditioning = backbone.time_conditioning
        self.num_classes: int = getattr(backbone, "num_classes", 0)
        self.num_numbers: int = getattr(backbone, "num_numbers", 0)

    def forward(
        self,
        tokens: Int[Tensor, "B L"],
        time: Float[Tensor, " B"] | None = None,
        present: Bool[Tensor, "B L"] | None = None,
        label: RowLabel | None = None,
    ) -> Float[Tensor, "B L V"]:
        """Logits; arguments as in `ClassBackbone`."""
        return self.head(self.hidden(tokens, time, present, label))

    def hidden(
        self,
        tokens: Int[Tensor, "B L"],
        time: Float[Tensor, " B"] | None = None,
        present: Bool[Tensor, "B L"] | None = None,
        label: RowLabel | None = None,
    ) -> Float[Tensor, "B L D"]:
        """The last hidden states, given the templates."""
        inputs: tuple[Any, ...] = (tokens, time, present)
        added: Any = {"added": self.channel(tokens, self.aligned)}
        if takes_label(self.backbone):
            inputs = (*inputs, label)
        return self.backbone.hidden(*inputs, **added)

    def head(self, states: Float[Tensor, "*positions D"]) -> Float[Tensor, "*positions V"]:
        """Logits from hidden states."""
        return self.backbone.head(states)


def with_templates(
    backbone: Backbone, channel: PointerChannel | None, aligned: Int[Tensor, "B L"] | None
) -> Backbone:
    """The network given templates; the network itself without a channel or templates."""
    if channel is None or aligned is None:
        return backbone
    return AlignedNetwork(backbone, channel, aligned)

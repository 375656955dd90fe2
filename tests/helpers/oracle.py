"""A joint law over few short sequences, enumerated, with its exact conditionals as a denoiser."""

import itertools

import torch
from torch import Tensor, nn

from dnamdlm.diffusion.parameterization import substitution
from dnamdlm.tokens.vocabulary import Vocabulary


class TabulatedLaw:
    """A random law p over all sequences of `length` tokens out of `num_symbols` symbols.

    Ids: the symbols are 0 .. num_symbols - 1, the mask is num_symbols, padding num_symbols + 1.
    """

    def __init__(self, length: int = 3, num_symbols: int = 2, seed: int = 0):
        generator = torch.Generator().manual_seed(seed)
        self.length = length
        self.num_symbols = num_symbols
        self.mask_id = num_symbols
        self.vocab_size = num_symbols + 2
        self.sequences = torch.tensor(
            list(itertools.product(range(num_symbols), repeat=length)), dtype=torch.int64
        )
        probs = torch.rand(len(self.sequences), generator=generator, dtype=torch.float64)
        self.probs = probs / probs.sum()

    @property
    def real_tokens(self) -> Tensor:
        return torch.arange(self.vocab_size) < self.num_symbols

    @property
    def vocabulary(self) -> Vocabulary:
        symbols = (*"ACGT"[: self.num_symbols], ".", "_")
        return Vocabulary(
            symbols=symbols,
            mask_id=self.mask_id,
            pad_id=self.mask_id + 1,
            real_ids=tuple(range(self.num_symbols)),
        )

    def partial_sequences(self) -> Tensor:
        """All states of the chain: every token is a symbol or the mask."""
        tokens = [*range(self.num_symbols), self.mask_id]
        return torch.tensor(list(itertools.product(tokens, repeat=self.length)))

    def posterior(self, xt: Tensor) -> Tensor:
        """p(sequence | visible tokens of xt), shape (B, number of sequences)."""
        visible = (xt != self.mask_id).unsqueeze(1)
        agrees = ((xt.unsqueeze(1) == self.sequences) | ~visible).all(dim=-1)
        joint = agrees * self.probs
        return joint / joint.sum(dim=-1, keepdim=True)

    def logits(self, xt: Tensor) -> Tensor:
        """log p(x_i | visible tokens), up to a constant, with nonsense on the ids that never occur.

        The shift and the nonsense must be removed by the parameterization.
        """
        one_hot = nn.functional.one_hot(self.sequences, self.num_symbols).double()
        marginals = torch.einsum("bs,slv->blv", self.posterior(xt), one_hot)
        nonsense = torch.full((*xt.shape, 2), 5.0, dtype=torch.float64)
        return torch.cat([marginals.log() + 3.0, nonsense], dim=-1)

    def log_probs(self, xt: Tensor) -> Tensor:
        """What `substitution` makes of the logits."""
        return substitution(self.logits(xt), xt, real_tokens=self.real_tokens, mask_id=self.mask_id)

    def index_of(self, sequences: Tensor) -> Tensor:
        """Position in `sequences` of finished sequences."""
        place = self.num_symbols ** torch.arange(self.length - 1, -1, -1)
        return (sequences * place).sum(dim=-1)


class OracleBackbone(nn.Module):
    """The exact conditionals behind the interface of a network."""

    def __init__(self, law: TabulatedLaw):
        super().__init__()
        self.law = law
        self.vocab_size = law.vocab_size
        self.time_conditioning = False
        self.scale = nn.Parameter(torch.ones((), dtype=torch.float64))

    def forward(self, tokens: Tensor, time: Tensor | None, present: Tensor | None) -> Tensor:
        return self.law.logits(tokens) * self.scale

    def hidden(self, tokens: Tensor, time: Tensor | None, present: Tensor | None) -> Tensor:
        return self(tokens, time, present)

    def head(self, states: Tensor) -> Tensor:
        return states

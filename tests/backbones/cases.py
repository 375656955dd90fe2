"""The backbones over which the common tests run: one line each."""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import nn

from dnamdlm.backbones.bert import Bert
from dnamdlm.backbones.bidirectional import Mamba
from dnamdlm.backbones.caduceus import CaduceusPS
from dnamdlm.backbones.convnet import ConvNet
from dnamdlm.backbones.dit import DiT
from dnamdlm.backbones.equivariance import StrandAverage
from dnamdlm.backbones.hyena import Hyena
from dnamdlm.backbones.nucleotide_transformer import NucleotideTransformer

VOCAB_SIZE = 12
COMPLEMENT = (0, 1, 2, 3, 4, 5, 6, 10, 9, 8, 7, 11)


@dataclass(frozen=True)
class Case:
    """A small backbone and what is expected of it.

    Attributes:
        name: shown as the test id.
        build: makes the network.
        parameters: golden number of parameters; it changes only with the architecture.
        reach: how far the output at a position can depend on the input, or None for anywhere.
        causal: no output depends on a later input.
        has_head: the logits of a position follow from its hidden state.
    """

    name: str
    build: Callable[[], nn.Module] = field(repr=False)
    parameters: int
    reach: int | None = None
    causal: bool = False
    has_head: bool = True

    def network(self, dtype=torch.float32):
        """The network with every parameter random, none of them zero, in evaluation mode."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            network = self.build().to(dtype).eval()
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for parameter in network.parameters():
                noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
                parameter.add_(0.2 * noise.to(dtype))
        return network


def _dit(**options):
    return DiT(VOCAB_SIZE, 16, 2, 2, **options)


def _bert(**options):
    return Bert(VOCAB_SIZE, 16, 2, 2, max_length=40, **options)


def _convnet(**options):
    return ConvNet(VOCAB_SIZE, 16, 3, dilations=(1, 2), **options)


def _hyena(**options):
    return Hyena(VOCAB_SIZE, 16, 2, max_length=40, filter_size=8, vocab_multiple=1, **options)


def _words(**options):
    return NucleotideTransformer(VOCAB_SIZE, 16, 2, 2, word_size=2, inner_size=24, **options)


def _mamba(**options):
    return Mamba(VOCAB_SIZE, 16, 2, state_size=4, **options)


def _caduceus(**options):
    return CaduceusPS(VOCAB_SIZE, COMPLEMENT, 16, 2, state_size=4, **options)


CASES = [
    Case("dit", _dit, 6780),
    Case("dit-time", lambda: _dit(time_conditioning=True, cond_size=8), 10924),
    Case("dit-conv", lambda: _dit(conv_width=3, stem_width=5), 6956),
    Case("dit-window", lambda: _dit(attention_window=2), 6780, reach=4),
    Case("dit-local", lambda: _dit(attention_window=2, conv_width=3, stem_width=5), 6956, reach=8),
    Case("dit-stem", lambda: _dit(attention_window=2, local_radius=3, local_size=8), 7272, reach=7),
    Case("dit-tied", lambda: _dit(tie_embeddings=True), 6588),
    Case("dit-checkpointing", lambda: _dit(gradient_checkpointing=True), 6780),
    Case("dit-gelu", lambda: _dit(activation="gelu"), 6780),
    Case("dit-bias", lambda: _dit(qkv_bias=True, mlp_ratio=2), 4764),
    Case("dit-classes", lambda: _dit(num_classes=3), 6844),
    Case("dit-numbers", lambda: _dit(num_numbers=2), 7388),
    Case("bert", _bert, 7772),
    Case("bert-checkpointing", lambda: _bert(gradient_checkpointing=True), 7772),
    Case("gpn", lambda: _convnet(first_width=5, width=3), 10496, reach=5),
    Case(
        "gpn-bytenet",
        lambda: _convnet(block="bytenet", inner_size=8, width=3, bias=True),
        2748,
        reach=7,
    ),
    Case(
        "gpn-plain",
        lambda: _convnet(block="plain", first_width=3, width=3, bias=True),
        4060,
        reach=4,
    ),
    Case("gpn-depthwise", lambda: _convnet(depthwise=True, tie_embeddings=True), 9952, reach=10),
    Case("gpn-bare", lambda: _convnet(transform=False, width=1), 10224, reach=4),
    Case("hyena", _hyena, 8256, causal=True),
    Case("hyena-checkpointing", lambda: _hyena(gradient_checkpointing=True), 8256, causal=True),
    Case("nt", _words, 5652, has_head=False),
    Case(
        "nt-checkpointing",
        lambda: _words(gradient_checkpointing=True, mlp_bias=True),
        5780,
        has_head=False,
    ),
    Case("mamba", _mamba, 6192),
    Case("mamba-causal", lambda: _mamba(directions="forward"), 4848, causal=True),
    Case("mamba-multiply", lambda: _mamba(directions="multiply"), 6192),
    Case("mamba-checkpointing", lambda: _mamba(gradient_checkpointing=True), 6192),
    Case("dimamba", lambda: _mamba(time_conditioning=True, cond_size=8), 9472),
    Case("dimamba-lost-residual", lambda: _mamba(residual=False), 6192),
    Case(
        "dimamba-classes", lambda: _mamba(time_conditioning=True, cond_size=8, num_classes=2), 9520
    ),
    Case("dimamba-numbers", lambda: _mamba(num_numbers=2), 6800),
    Case("caduceus-ph", lambda: _mamba(tie_embeddings=True), 6000),
    Case("caduceus-ph-average", lambda: StrandAverage(_mamba(), COMPLEMENT), 6192),
    Case(
        "caduceus-ph-average-classes",
        lambda: StrandAverage(_mamba(num_classes=2), COMPLEMENT),
        6240,
    ),
    Case("caduceus-ps", _caduceus, 6000),
    Case("caduceus-ps-exchange", lambda: _caduceus(exchange_strands=True), 6000),
    Case("caduceus-ps-classes", lambda: _caduceus(num_classes=3, exchange_strands=True), 6064),
    Case("caduceus-ps-numbers", lambda: _caduceus(num_numbers=1, exchange_strands=True), 6304),
    Case("caduceus-ps-time", lambda: _caduceus(time_conditioning=True, cond_size=8), 9280),
]

"""Networks from token ids to logits; they know no schedule, tokenizer or config.

A network of your own needs a `forward` from ids to logits alone, see `as_backbone`; the interface
in full is `Backbone`.
"""

from dnamdlm.backbones.autoregressive import CausalTransformer, KeyValueCache
from dnamdlm.backbones.backbone import Backbone, ClassBackbone
from dnamdlm.backbones.bert import Bert
from dnamdlm.backbones.bidirectional import Mamba
from dnamdlm.backbones.caduceus import CaduceusPS
from dnamdlm.backbones.convnet import ConvNet
from dnamdlm.backbones.dit import DiT
from dnamdlm.backbones.dnabert2 import Dnabert2
from dnamdlm.backbones.equivariance import (
    StrandAverage,
    reverse_complement,
    reverse_complement_logits,
)
from dnamdlm.backbones.hyena import Hyena
from dnamdlm.backbones.kept_arguments import keeps_arguments
from dnamdlm.backbones.nucleotide_transformer import NucleotideTransformer
from dnamdlm.backbones.plain_module import ModuleBackbone, as_backbone

__all__ = [
    "Backbone",
    "Bert",
    "CaduceusPS",
    "CausalTransformer",
    "ClassBackbone",
    "ConvNet",
    "DiT",
    "Dnabert2",
    "Hyena",
    "KeyValueCache",
    "Mamba",
    "ModuleBackbone",
    "NucleotideTransformer",
    "StrandAverage",
    "as_backbone",
    "keeps_arguments",
    "reverse_complement",
    "reverse_complement_logits",
]

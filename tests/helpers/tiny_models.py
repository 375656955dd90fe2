"""Every backbone and objective at a tiny size, and a batch for it: on the CPU."""

import torch

from dnamdlm.data.batch import Batch
from dnamdlm.diffusion import row_keys
from dnamdlm.tokens.nucleotide import NUCLEOTIDE_VOCABULARY
from tests.helpers import entries

LENGTH, ROWS = 16, 3

SMALL = ("backbone.hidden_size=16", "backbone.num_blocks=2")
HEADS = (*SMALL, "backbone.num_heads=2")
MAMBA = (*SMALL, "backbone.state_size=4")
MODELS = {
    "dit": HEADS,
    "dit, padded": HEADS,
    "dit, everything": (
        *HEADS, "backbone.attention_window=3", "backbone.time_conditioning=true",
        "backbone.dropout=0.1", "backbone.gradient_checkpointing=true",
        "backbone.num_classes=2",
    ),
    "bert": ("backbone=bert", *HEADS, "backbone.max_length=16", "lm=mlm"),
    "caduceus_ph": ("backbone=caduceus_ph", *MAMBA),
    "caduceus_ph, padded": ("backbone=caduceus_ph", *MAMBA),
    "caduceus_ps": ("backbone=caduceus_ps", *MAMBA),
    "dimamba": ("backbone=dimamba", *MAMBA),
    "ar": ("lm=ar", "backbone=ar", *HEADS),
    "ar, mamba": ("lm=ar", "backbone=mamba", *MAMBA),
    "classifier": ("lm=classifier", *HEADS),
    "uniform": ("lm=uniform", "backbone.time_conditioning=true", *HEADS),
    "uniform, steps": ("lm=uniform_discrete", "backbone.time_conditioning=true", *HEADS),
    "hybrid": ("lm=hybrid", "backbone.time_conditioning=true", *HEADS),
    "iupac": ("lm=iupac", *HEADS),
    "iupac, count": ("lm=iupac_count", *HEADS),
    "block": ("lm=block", "lm.block_length=4", *HEADS),
    "block_time": ("lm=block_time", "lm.block_length=4", "backbone.time_conditioning=true", *HEADS),
    **{
        f"dit, {name}": (f"lm={name}", *HEADS)
        for name in ("d3pm", "mdlm_change_of_variables", "mdlm_count", "mdlm_discrete",
                     "mdlm_simple", "mlm", "sedd")
    },
}  # fmt: skip


def model(*overrides):
    """A model with random weights, none of them zero, in training mode on the CPU."""
    tree = entries.composed("train", "config=tiny", f"data.length={LENGTH}", *overrides)
    lm = entries.build_language_model(tree, 1)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for weight in lm.parameters():
            weight.add_(0.05 * torch.randn(weight.shape, generator=generator))
    return lm


def batch(*, padded, labelled, seed=0):
    """Rows of random bases on the CPU."""
    vocabulary = NUCLEOTIDE_VOCABULARY
    real = torch.tensor(list(vocabulary.real_ids))
    tokens = real[torch.randint(4, (ROWS, LENGTH), generator=torch.Generator().manual_seed(seed))]
    present = torch.ones(ROWS, LENGTH, dtype=torch.bool)
    if padded:
        present[1, 11:] = False
    index = torch.arange(ROWS)
    return Batch(
        tokens=tokens.masked_fill(~present, vocabulary.pad_id),
        present=present,
        valid=present,
        weight=None,
        key=row_keys(seed, index),
        row=index,
        global_size=ROWS,
        label=index % 2 if labelled else None,
    )

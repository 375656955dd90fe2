"""Bytes and launches that `benchmarks/scaling.py` has: `python -m tests.gpu.count_bytes [NAME]`.

Takes some minutes, most of them for the portable scan of long rows.

Networks of one and two blocks and of one and two rows are run; what a network of more has follows,
since both numbers are linear in blocks, and bytes in rows.
"""

from tests.helpers.pretended_gpu import PretendedGpu, to_gpu  # isort: skip  before torch

import sys

import torch

from dnamdlm.backbones.bidirectional import Mamba
from dnamdlm.backbones.dit import DiT
from dnamdlm.data.batch import Batch
from dnamdlm.diffusion import row_keys
from dnamdlm.lm.masked import MaskedDiffusionLM
from dnamdlm.ops import selection
from dnamdlm.tokens.nucleotide import NUCLEOTIDE_VOCABULARY
from tests.helpers.fused_stand_ins import install

LENGTH = 1024


def counted(gpu, backbone, rows):
    """Bytes of elementwise operators, of products, and launches of one micro-batch."""
    lm = to_gpu(MaskedDiffusionLM(backbone, NUCLEOTIDE_VOCABULARY).train())
    tokens = torch.full((rows, LENGTH), NUCLEOTIDE_VOCABULARY.real_ids[0])
    everywhere, index = torch.ones_like(tokens, dtype=torch.bool), torch.arange(rows)
    batch = Batch(
        tokens, everywhere, everywhere, None, key=row_keys(0, index), row=index, global_size=rows
    ).to("cuda", non_blocking=True)
    gpu.reset()
    with torch.autocast("cuda", torch.bfloat16):
        loss = lm.loss_terms(batch).nats.sum()
    loss.backward()
    return gpu.bytes - gpu.product_bytes, gpu.product_bytes, gpu.launches.total()


def of_network(gpu, build, blocks):
    """Bytes per token, of products per token, and launches, of a network of so many blocks."""
    one, two = counted(gpu, build(1), 1), counted(gpu, build(2), 1)
    wide = counted(gpu, build(1), 2), counted(gpu, build(2), 2)
    found = []
    for number in range(2):
        # weights are read once per micro-batch, whatever its rows.
        per_row = [w[number] - s[number] for w, s in zip(wide, (one, two), strict=True)]
        found.append((per_row[0] + (blocks - 1) * (per_row[1] - per_row[0])) / LENGTH)
    return *map(round, found), one[2] + (blocks - 1) * (two[2] - one[2])


def main():
    """Print the table."""
    networks = {
        "dit 768 x 12": (lambda n: DiT(12, 768, n, 12), 12),
        "caduceus 118 x 4": (lambda n: Mamba(12, 118, n, tie_embeddings=True), 4),
        "caduceus 256 x 16": (lambda n: Mamba(12, 256, n), 16),
    }
    wanted = sys.argv[1:] or [*networks, *(f"{name}, fused" for name in networks)]
    with PretendedGpu() as gpu:
        for name in wanted:
            plain, comma, _ = name.partition(",")
            if comma:
                install(gpu)
                selection._broken.clear()
            print(f'    "{name}": {of_network(gpu, *networks[plain])},', flush=True)


if __name__ == "__main__":
    main()

"""The sentence on how much a file of samples copies."""

import numpy as np

from dnamdlm.data.genome.genome_settings import GenomeData
from dnamdlm.evaluation.samples.novelty_of_copies import novelty_sentence


def test_copies_are_counted_and_the_longest_is_placed(tmp_path):
    rng = np.random.default_rng(0)
    rows = ["".join(rng.choice(list("ACGT"), 600)) for _ in range(2)]
    (tmp_path / "my.fa").write_text(f">r1\n{rows[0]}\n>r2\n{rows[1]}\n")
    data = GenomeData(
        fasta=str(tmp_path / "my.fa"), cache_dir=str(tmp_path), train=["r1"], valid=["r2"]
    ).open()
    codes = np.array(["ACGT".index(base) for base in rows[0]], np.uint8)
    samples = {
        "copied": codes[100:180],
        "turned": 3 - codes[300:370][::-1],
        "held out": np.array(["ACGT".index(base) for base in rows[1][:80]], np.uint8),
    }
    said = novelty_sentence(samples, data.store, data.splits["train"])
    assert said.startswith("novelty: 2 of 3 sequences are copies of training sequence; the longest")
    assert "has 80 bp (r1:101 +), the median 70 bp" in said

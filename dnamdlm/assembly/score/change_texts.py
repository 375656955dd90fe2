"""Single variants as text."""

from __future__ import annotations

import re

from dnamdlm.data.variants.vcf import Variant
from dnamdlm.errors import ConfigError


def parse_change(text: str, *, rna: bool = False) -> Variant:
    """A variant from its text, chrom:position REF>ALT, 1-based as in VCF.

    Args:
        text: the variant.
        rna: read U as T.

    Raises:
        ConfigError: if it is written otherwise.

    >>> row = parse_change("chr1:5 A>G")
    >>> row.chrom, row.start, row.ref, row.alts
    ('chr1', 4, 'A', ('G',))
    """
    letters = "ACGTUNacgtun" if rna else "ACGTNacgtn"
    match = re.fullmatch(
        rf"(\S+):([0-9]{{1,18}})\s+([{letters}]+)\s*>\s*([{letters}]+)", text.strip()
    )
    if match is None or int(match[2]) < 1:
        raise ConfigError(
            f"change={text!r} is not a valid variant; use chrom:position REF>ALT, for instance "
            "chr1:12345 A>G"
        )
    chrom, position = match[1], match[2]
    ref, alt = (allele.upper().replace("U", "T") for allele in match.groups()[2:])
    fields = (chrom, position, ".", ref, alt, ".", ".", ".")
    return Variant(1, chrom, int(position) - 1, ref, (alt,), fields)

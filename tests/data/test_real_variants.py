"""Variants of 1000 Genomes on the chromosome that they were called on."""

from dnamdlm.data.genome.store import prepare_genome
from dnamdlm.data.variants.variant_places import Places, check_variants
from dnamdlm.data.variants.vcf import VariantFile


def test_variants_of_1000_genomes_agree_with_their_chromosome(shared, tmp_path_factory):
    cache = tmp_path_factory.getbasetemp() / "genomes"
    store = prepare_genome(shared / "data/genomes/human_b37_chr20.fa.gz", cache_dir=cache)
    folder = shared / "data/variants"
    counts = check_variants(VariantFile(folder / "1kgp3_chr20_1M-2M_b37.vcf.gz"), Places(store))
    assert counts.rows == 28_998
    assert counts.reasons["ref_mismatch"] == counts.reasons["past_end"] == 0
    indels = check_variants(VariantFile(folder / "vt_chr20_indels_b37.vcf.gz"), Places(store))
    assert indels.rows == 194
    assert not indels.reasons

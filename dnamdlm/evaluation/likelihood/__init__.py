"""Likelihood of DNA: reports of splits, mixtures of genomes, bits along a locus."""

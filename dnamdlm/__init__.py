"""Masked diffusion language models of DNA."""

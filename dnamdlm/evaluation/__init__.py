"""Figures from a language model and data; no trainer and no config tree."""

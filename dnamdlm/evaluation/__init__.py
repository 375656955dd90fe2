"""Evaluation: likelihood, generated samples, text, prediction tasks, overlap of splits."""

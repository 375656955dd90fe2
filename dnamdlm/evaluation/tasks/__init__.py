"""Metrics and baselines of prediction tasks on fixed features."""

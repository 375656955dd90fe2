"""Compiled extensions; only this package imports them, and only inside functions."""

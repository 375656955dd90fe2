"""Interpretation of a model at a stretch of sequence: mutagenesis and dependency maps."""

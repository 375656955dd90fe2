"""Perplexity of text, and quality of generated text."""

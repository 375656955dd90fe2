"""Words of DNA: codes of the genome store, k-mers, hashes, minimizers, near copies (numpy only)."""

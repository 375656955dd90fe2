"""Files to batches: readers, the genome store, splits, windows and the sampling order."""

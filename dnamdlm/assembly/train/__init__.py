"""Training: from settings, or from a model object, to a run folder."""

"""The mathematics of masked diffusion as pure functions on tensors."""

"""Triton kernels alone: what runs on the GPU, and the seam to Triton where that is absent."""

"""Tensor primitives, each with a reference and a portable form and at times a fused one."""

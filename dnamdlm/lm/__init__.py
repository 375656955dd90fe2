"""Language models behind one interface: diffusion over a backbone, and baselines."""

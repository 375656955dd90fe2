"""Language models: a backbone and the diffusion mathematics, or a baseline, behind one interface."""

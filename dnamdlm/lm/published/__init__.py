"""Weights published by other projects (MDLM, Caduceus, BERT), read strictly into our networks."""

"""The only folder that may import compiled extensions, and only inside functions."""

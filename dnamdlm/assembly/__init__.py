"""The only package that turns a config tree into objects."""

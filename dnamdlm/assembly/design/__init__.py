"""The entry `design`: sequences with a wanted reward, under conditions, and their audit."""

"""Constants of splitmix64, the mixing function behind every addressed random number.

Source: Steele, Lea and Flood 2014, "Fast splittable pseudorandom number generators".
"""

INCREMENT = 0x9E3779B97F4A7C15
"""2^64 divided by the golden ratio, odd: its multiples visit every 64-bit word once."""

MULTIPLIERS = (0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
"""Factors of the two rounds of multiplication."""

SHIFTS = (30, 27, 31)
"""Right shifts before the first and second multiplication, and after the second."""

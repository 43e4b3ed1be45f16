"""Causal indicators: arrays in, arrays of the same length out, NaN until enough bars are there.

Value t never depends on a bar after t, and on no more bars before it than the function states as its memory: live and history
get the same answer. Means that are recursive by definition (Wilder, exponential) end where what is left out weighs exp(-8).
"""

"""Causal indicators: arrays in, arrays of the same length out, NaN until enough bars are there.

Value t never depends on a bar after t. Memory (bars a value depends on) is stated by each function; recursive ones
(Wilder, exponential) remember every earlier bar of the array they are given, so whoever needs one answer for live and
history computes them on windows of fixed length (`app.indicators.window.trailing`).
"""

"""Sweeps, searches and walk-forwards."""

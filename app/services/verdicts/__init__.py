"""Trials counted, verdicts given, and the gate they are for."""

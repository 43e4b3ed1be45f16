"""Facts and rules of trading. Standard library and numpy arrays only; no clock, no I/O."""

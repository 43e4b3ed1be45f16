"""The parts of a trading cycle: what it collects, how it sends, and how the venue's answers come back."""

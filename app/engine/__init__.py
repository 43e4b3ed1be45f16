"""The event core: what to do, what would happen, what has happened. No I/O, no clock, no randomness of its own."""

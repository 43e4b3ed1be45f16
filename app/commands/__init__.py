"""Sub-commands of `trader`, one module each."""

"""The past, decided again: the same decision and the same matching over stored bars, and what came of it."""

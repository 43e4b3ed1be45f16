"""Strategies: what to make of bars. One file each; the catalog lists them."""

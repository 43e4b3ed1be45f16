"""Accounts: which orders they accept, how these live and fill, and what follows for cash and positions."""

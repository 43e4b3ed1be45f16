"""Accounts: who may do what, how they show who they are, and what is left of it between two requests."""

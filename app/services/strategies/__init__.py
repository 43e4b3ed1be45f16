"""Strategies by name, new ones, and the checks before they are trusted."""

"""Panels for the tests of strategies."""

from app.strategies.laws import random_panel as walk

__all__ = ["walk"]

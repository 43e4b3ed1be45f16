"""Alpha Trader: a self-hosted automated trading backend. See README.md for the map of the house."""

__version__ = "0.1.0"

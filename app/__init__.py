"""Alpha Trader: a self-hosted automated trading backend. See README.md for the map of the house."""

from app.compiled_cache import use_compiled_cache

__version__ = "0.1.0"

use_compiled_cache()

"""Names of files under which no symbol can lead astray."""

from __future__ import annotations

from urllib.parse import quote, unquote

from app.config import is_symbol
from app.domain.errors import InvalidInput


def file_name(symbol: str) -> str:
    """One path segment for a symbol: BTC/USD becomes BTC%2FUSD. Raises InvalidInput for what is no symbol."""
    if not is_symbol(symbol):
        raise InvalidInput(f"{symbol!r:.40} is not a symbol")
    return quote(symbol, safe="")


def symbol_of(name: str) -> str | None:
    """The symbol that `file_name` turned into `name`, or None."""
    symbol = unquote(name)
    return symbol if is_symbol(symbol) and quote(symbol, safe="") == name else None

"""Arguments that several commands take, and how their text is read. Readers raise InvalidInput, saying what to give."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Annotated

import typer

from app.domain.errors import InvalidInput

Start = Annotated[str | None, typer.Option(metavar="DATE", help="First day of the run, such as 2022-03-01. Begins a new run.")]
Symbols = Annotated[
    str | None, typer.Option(help='Symbols, apart by spaces or commas: "AAPL MSFT SPY". Default: the watch list.')
]


def read_symbols(text: str | None) -> tuple[str, ...] | None:
    """Symbols in upper case, each once."""
    from app.config import is_symbol

    if text is None:
        return None
    symbols = tuple(dict.fromkeys(text.replace(",", " ").upper().split()))
    bad = [symbol for symbol in symbols if not is_symbol(symbol)]
    if bad or not symbols:
        raise InvalidInput(f"not a list of symbols: {' '.join(bad) or 'it is empty'}")
    return symbols


def read_date(text: str | None) -> date | None:
    """A day."""
    try:
        return None if text is None else datetime.fromisoformat(text).date()
    except ValueError:
        raise InvalidInput(f"not a date: {text}; write it as 2022-03-01") from None


def read_amount(text: str | None) -> Decimal | None:
    """Money, above zero."""
    try:
        amount = None if text is None else Decimal(text.replace(",", "").replace("_", ""))
    except ArithmeticError:
        raise InvalidInput(f"not an amount: {text}") from None
    if amount is not None and not (amount.is_finite() and 0 < amount < Decimal(10) ** 12):
        raise InvalidInput(f"not an amount to begin with: {text}")
    return amount

"""Corporate actions of the tape: splits and cash dividends, from a file, and the factors by which they adjust older bars.

A bar of a day before `ex_date` is adjusted once the clock has reached that date, never earlier: prices times 1 / ratio and
volume times ratio for a split, prices times 1 - dividend / previous close for a dividend (the method of CRSP).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import NamedTuple

import numpy as np

from app.domain.bar import BarSeries, Floats, Seconds
from app.domain.errors import InvalidInput
from app.runtime.calendar import midnight_new_york
from app.simulator.tape.csv_rows import read_rows

ADJUSTMENTS = {
    "raw": frozenset[str](),
    "split": frozenset({"split"}),
    "dividend": frozenset({"dividend"}),
    "spin-off": frozenset[str](),
    "all": frozenset({"split", "dividend"}),
}
_COLUMNS = ("symbol", "ex_date", "kind", "value")
_KINDS = ("split", "dividend")


@dataclass(frozen=True, slots=True, kw_only=True)
class CorporateAction:
    """kind "split": value is new shares for each old one. kind "dividend": dollars for each share held before ex_date."""

    symbol: str
    ex_date: date
    kind: str
    value: Decimal


class Factors(NamedTuple):
    """Steps of an adjustment. before: New York midnights of the ex-dates, rising; a bar labelled earlier than before[i], and
    not earlier than before[i - 1], is multiplied by price[i] and volume[i]."""

    before: Seconds
    price: Floats
    volume: Floats

    def of(self, label: Seconds) -> tuple[Floats, Floats]:
        """Factors of price and volume for bars with these labels."""
        step = np.searchsorted(self.before, label, side="right")
        return self.price[step], self.volume[step]


def load_actions(path: Path) -> tuple[CorporateAction, ...]:
    """Read a CSV file with the columns symbol, ex_date, kind (split or dividend) and value; raises InvalidInput for others."""
    found = [_action(row, where) for where, row in read_rows(path, _COLUMNS, "corporate actions")]
    return tuple(sorted(found, key=lambda action: (action.ex_date, action.symbol, action.kind)))


def factors(actions: Sequence[CorporateAction], daily: BarSeries, today: date) -> Factors | None:
    """The adjustment of one symbol by those of its `actions` whose ex-date has come; None when there is nothing to adjust."""
    steps: dict[int, tuple[float, float]] = {}
    for action in sorted(actions, key=lambda action: (action.ex_date, action.kind != "split")):
        if action.ex_date > today:
            continue
        at, value = int(midnight_new_york(action.ex_date).timestamp()), float(action.value)
        price, volume = steps.get(at, (1.0, 1.0))
        if action.kind == "split":
            steps[at] = price / value, volume * value
            continue
        index = int(np.searchsorted(daily.timestamp, at)) - 1
        close = float(daily.close[index]) * price if index >= 0 else 0.0  # in shares of the ex-date
        if close > value:
            steps[at] = price * (1.0 - value / close), volume
    if not steps:
        return None
    before = sorted(steps)
    prices, volumes = (np.cumprod([steps[at][i] for at in reversed(before)])[::-1] for i in (0, 1))
    return Factors(np.array(before, dtype=np.int64), np.append(prices, 1.0), np.append(volumes, 1.0))


def _action(row: dict[str, str], where: str) -> CorporateAction:
    try:
        symbol, kind = row["symbol"].strip().upper(), row["kind"].strip().lower()
        ex_date, value = date.fromisoformat(row["ex_date"].strip()), Decimal(row["value"].strip())
    except (AttributeError, ValueError, InvalidOperation):
        raise InvalidInput(f"{where}: ex_date must be a date such as 2020-08-31 and value a number") from None
    if not symbol or kind not in _KINDS or not (value.is_finite() and 0 < value < 10**6):
        raise InvalidInput(f"{where}: give a symbol, a kind of {' or '.join(_KINDS)} and a value above zero")
    return CorporateAction(symbol=symbol, ex_date=ex_date, kind=kind, value=value)

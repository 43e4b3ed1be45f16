"""Corporate actions of the tape: splits and cash dividends."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from decimal import Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class CorporateAction:
    """kind "split": value is new shares for each old one. kind "dividend": dollars for each share held before ex_date."""

    symbol: str
    ex_date: date
    kind: str
    value: Decimal

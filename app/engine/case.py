"""One decision while it is being made."""

from __future__ import annotations

from dataclasses import dataclass

from app.engine.decision import Book, Context, MarketView, Sleeve
from app.engine.rules import Market, Outcome
from app.risk.limits import RiskLimits


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One decision's inputs beside what the rules answered."""

    view: MarketView
    book: Book
    context: Context
    limits: RiskLimits
    sleeves: tuple[Sleeve, ...]
    market: Market
    outcome: Outcome

    def sleeve(self, i: int) -> Sleeve:
        """Whose word counts for symbol `i`."""
        return self.sleeves[int(self.outcome.heard.sleeve[i])]

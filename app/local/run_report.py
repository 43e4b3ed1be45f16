"""Reads a run's ledger after each cycle and keeps the sums for its summary."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from decimal import Decimal
from typing import Any, Protocol

from app.domain.errors import Conflict
from app.local.terminal import CycleLine, RunSummary

_TOP_REASONS = 8


class Ledger(Protocol):
    """The reads of the database service that a report needs; records as in `app.domain.records`."""

    def cycles(self, limit: int) -> Any:
        """Newest first."""
        ...

    def decisions(self, *, cycle_id: str, limit: int) -> Any:
        """Decisions of one cycle."""
        ...

    def orders(self, limit: int) -> Any:
        """Newest first."""
        ...

    def fills(self, limit: int) -> Any:
        """Newest first."""
        ...

    def equity_curve(self, *, limit: int) -> Any:
        """The newest points, oldest first."""
        ...

    def portfolio(self) -> Any:
        """Cash and positions."""
        ...


class RunReport:
    """One run as its ledger tells it, from the moment of construction on."""

    def __init__(self, ledger: Ledger, *, simulated: bool) -> None:
        self._ledger = ledger
        self._simulated = simulated
        self._outcomes: Counter[str] = Counter()
        self._reasons: Counter[str] = Counter()
        self._known_fills = {fill.fill.execution_id for fill in ledger.fills(500)}
        self._orders = 0
        self._fills = 0
        self._start_equity: Decimal | None = None
        self._end_equity: Decimal | None = self._equity()

    def add(self, at: datetime, cycle: Any | None, seconds: float) -> CycleLine:
        """Count a cycle (None: its slot was missed) and describe it in one line."""
        fills = [fill for fill in self._ledger.fills(500) if fill.fill.execution_id not in self._known_fills]
        self._known_fills.update(fill.fill.execution_id for fill in fills)
        self._fills += len(fills)
        orders = 0
        outcome = "missed"
        if cycle is not None:
            outcome = str(cycle.outcome or cycle.state)
            orders = sum(
                1 for order in self._ledger.orders(200) if order.cycle_id == cycle.cycle_id and order.sent_at is not None
            )
            self._reasons.update(record.reason for record in self._ledger.decisions(cycle_id=cycle.cycle_id, limit=5000))
        self._orders += orders
        self._outcomes[outcome] += 1
        self._end_equity = self._equity() or self._end_equity
        if self._start_equity is None:
            self._start_equity = self._end_equity
        return CycleLine(
            at=at,
            outcome=outcome,
            detail=cycle.detail if cycle is not None else "no cycle finished in time",
            equity=self._end_equity,
            positions=self.positions,
            orders=orders,
            fills=len(fills),
            seconds=seconds,
        )

    @property
    def equity(self) -> Decimal | None:
        """The newest known equity."""
        return self._end_equity

    @property
    def positions(self) -> int:
        """How many holdings the ledger has."""
        try:
            portfolio = self._ledger.portfolio()
        except Conflict:  # the books are not open yet
            return 0
        return sum(1 for position in portfolio.positions.values() if position.quantity)

    def completed(self) -> int:
        """Cycles that finished as they should."""
        return self._outcomes["completed"]

    def summary(self, ended: str) -> RunSummary:
        """The sums so far."""
        return RunSummary(
            ended=ended,
            outcomes=dict(self._outcomes.most_common()),
            orders=self._orders,
            fills=self._fills,
            start_equity=self._start_equity,
            end_equity=self._end_equity,
            positions=self.positions,
            reasons=self._reasons.most_common(_TOP_REASONS),
            simulated=self._simulated,
        )

    def _equity(self) -> Decimal | None:
        points = self._ledger.equity_curve(limit=1)
        return points[-1].equity if points else None

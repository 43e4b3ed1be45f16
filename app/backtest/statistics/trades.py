"""Round trips: from flat to flat in one symbol, with what they earned."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

import numpy as np

from app.domain.bar import BarSeries
from app.domain.order import Side
from app.domain.reason import Reason
from app.engine.costs import CostModel
from app.engine.ledger import Execution

_ZERO = Decimal(0)
_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundTrip:
    """A holding from its first buy to its last sale; money in account currency.

    profit: after commissions. return_fraction: profit over what was paid. entry_reason: of the order that opened it;
    reason: of the one that closed it. strategy: on whose budget, "" where there is only one.
    """

    symbol: str
    quantity: Decimal
    entry_price: Decimal
    exit_price: Decimal
    opened_at: datetime
    closed_at: datetime
    commissions: Decimal
    profit: Decimal
    return_fraction: float
    reason: str
    entry_reason: str = ""
    strategy: str = ""

    @property
    def holding_days(self) -> float:
        """From the first buy to the last sale, calendar days."""
        return (self.closed_at - self.opened_at) / _DAY

    def r_multiple(self, risk_fraction: float | None) -> float | None:
        """Profit over what was risked: quantity * entry price * risk_fraction, the distance of the first stop as a fraction of
        the entry price (Tharp's R). None where no stop was known."""
        if risk_fraction is None or not risk_fraction > 0 or not self.entry_price:
            return None
        return float(self.profit) / (float(self.quantity * self.entry_price) * risk_fraction)


@dataclass(frozen=True, slots=True, kw_only=True)
class TradeFigures:
    """Figures of closed round trips, after commissions. Money in account currency.

    win_rate: share with a profit above zero. profit_factor: sum of the profits over sum of the losses. expectancy: mean
    profit. average_return: mean return. average_win, average_loss: mean return of those that gained and of those that
    lost, the loss a magnitude. average_holding_days: calendar days.
    """

    trades: int
    win_rate: float | None
    profit_factor: float | None
    expectancy: float | None
    average_return: float | None
    average_win: float | None
    average_loss: float | None
    average_holding_days: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Excursion:
    """How far the price went while a holding was open, as returns on its entry price (Sweeney, "Maximum Adverse Excursion",
    1996). adverse: the worst, 0 or below. favourable: the best, 0 or above."""

    adverse: float
    favourable: float


def trade_figures(trips: Sequence[RoundTrip]) -> TradeFigures:
    """The figures of `trips`; None where there are none to count."""
    profits = [trip.profit for trip in trips]
    won, lost = sum((p for p in profits if p > 0), _ZERO), -sum((p for p in profits if p < 0), _ZERO)
    returns = [trip.return_fraction for trip in trips]
    return TradeFigures(
        trades=len(trips),
        win_rate=sum(p > 0 for p in profits) / len(profits) if profits else None,
        profit_factor=float(won / lost) if lost else None,
        expectancy=float(sum(profits, _ZERO) / len(profits)) if profits else None,
        average_return=_mean(returns),
        average_win=_mean([r for r in returns if r > 0]),
        average_loss=_mean([-r for r in returns if r < 0]),
        average_holding_days=_mean([trip.holding_days for trip in trips]),
    )


def slippage_of(execution: Execution, costs: CostModel) -> Decimal:
    """What an execution lost to the constant slippage and the half spread of `costs`, currency; market impact and the rounding
    to a tick are not in it. Entries and take-profits are limit orders, which pay neither."""
    if execution.fill.side is Side.BUY or execution.reason == Reason.TAKE_PROFIT.code:
        return _ZERO
    fraction = (costs.slippage_bps + costs.half_spread_bps) / 10_000
    return execution.fill.quantity * execution.fill.price * fraction / (1 - fraction)


def excursion(trip: RoundTrip, bars: BarSeries) -> Excursion:
    """By the entry, the exit, and the bars that lie wholly between them: of the bars in which it was opened and closed nobody
    knows which extreme came before and which after. A fill stamped with the end of a bar happened in that bar."""
    first = int(np.searchsorted(bars.known_at, math.ceil(trip.opened_at.timestamp()))) + 1
    stop = int(np.searchsorted(bars.known_at, math.ceil(trip.closed_at.timestamp())))
    entry, leave = float(trip.entry_price), float(trip.exit_price)
    lows, highs = bars.low[first:stop], bars.high[first:stop]
    lowest = np.nanmin(lows, initial=min(entry, leave)) if len(lows) else min(entry, leave)
    highest = np.nanmax(highs, initial=max(entry, leave)) if len(highs) else max(entry, leave)
    return Excursion(adverse=float(lowest / entry - 1.0), favourable=float(highest / entry - 1.0))


@dataclass(slots=True, kw_only=True)
class _Open:
    opened_at: datetime
    reason: str
    bought: Decimal = _ZERO
    paid: Decimal = _ZERO
    sold: Decimal = _ZERO
    received: Decimal = _ZERO
    commissions: Decimal = _ZERO


class RoundTrips:
    """Collects executions of long holdings into round trips. closed: in the order of their ends."""

    def __init__(self) -> None:
        self.closed: list[RoundTrip] = []
        self._open: dict[str, _Open] = {}

    def book(self, execution: Execution) -> None:
        """Take in the next execution."""
        fill = execution.fill
        trip = self._open.setdefault(fill.symbol, _Open(opened_at=fill.filled_at, reason=execution.reason))
        trip.commissions += fill.commission
        if fill.side is Side.BUY:
            trip.bought += fill.quantity
            trip.paid += fill.quantity * fill.price
            return
        trip.sold += fill.quantity
        trip.received += fill.quantity * fill.price
        if trip.sold >= trip.bought:
            self.closed.append(_closed(trip, execution))
            del self._open[fill.symbol]


def _closed(trip: _Open, last: Execution) -> RoundTrip:
    profit = trip.received - trip.paid - trip.commissions
    return RoundTrip(
        symbol=last.fill.symbol,
        quantity=trip.bought,
        entry_price=trip.paid / trip.bought if trip.bought else _ZERO,
        exit_price=trip.received / trip.sold,
        opened_at=trip.opened_at,
        closed_at=last.fill.filled_at,
        commissions=trip.commissions,
        profit=profit,
        return_fraction=float(profit / trip.paid) if trip.paid else 0.0,
        reason=last.reason,
        entry_reason=trip.reason,
        strategy=last.strategy,
    )


def _mean(values: Sequence[float]) -> float | None:
    return math.fsum(values) / len(values) if values else None

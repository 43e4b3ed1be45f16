"""Portfolio history: what an account was worth at the end of each window of time.

Daily points are the equities recorded at the closes. Points inside a day are folded from executions and entries over the
tape: cash and shares in force at that instant, at the newest prices complete by then; nothing later than the clock is read.
Amounts are JSON numbers rounded to the cent, as Alpaca reports them; the books they are read from stay Decimal.

Rules from Alpaca's OpenAPI (getAccountPortfolioHistory). Where it leaves room: n days are the newest n sessions, daily points
are those of sessions that have closed, and nothing is shown from before the account was opened.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import numpy as np
import numpy.typing as npt

from app.domain.bar import Floats, Seconds
from app.runtime.calendar import Session, midnight_new_york, session_day
from app.simulator.accounts.account import Account
from app.simulator.api.wire_reference import extended_hours
from app.simulator.wire import Json

DAY = 86_400
TIMEFRAMES = {"1Min": 60, "5Min": 300, "15Min": 900, "1H": 3600, "1D": DAY}
_MINUTE = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryRequest:
    """timeframe: a key of TIMEFRAMES. start, end: aware instants, inclusive. reporting: which hours have points.

    per_day: gains inside a day count from the close before that day, else from the close before the first point.
    cashflow: activity types whose running sums are wanted; None for every type that occurred.
    """

    timeframe: str
    start: datetime
    end: datetime
    reporting: str = "market_hours"
    per_day: bool = True
    cashflow: tuple[str, ...] | None = ()


def history(account: Account, request: HistoryRequest) -> Json:
    """The body of GET /v2/account/portfolio/history."""
    step = TIMEFRAMES[request.timeframe]
    if step == DAY:
        label, equity = _closes(account, request)
        ends, base = label, equity[:1].repeat(len(equity))
        base_day = None
    else:
        label, ends = _windows(account, request, step)
        equity = _equity(account, ends)
        base, base_day = _bases(account, label, per_day=request.per_day)
    gain = np.round(equity - base, 2)
    share = np.round(np.divide(gain, base, out=np.zeros_like(gain), where=base != 0), 6)
    first = float(base[0]) if len(base) else round(float(account.ledger.start_cash), 2)
    return {
        "timestamp": label.tolist(),
        "equity": equity.tolist(),
        "profit_loss": gain.tolist(),
        "profit_loss_pct": share.tolist(),
        "base_value": first,
        **({} if base_day is None else {"base_value_asof": base_day.isoformat()}),
        "timeframe": request.timeframe,
        "cashflow": _cashflow(account, request, ends),
    }


def period_start(account: Account, count: int, unit: str, end: datetime) -> datetime:
    """Where a period of `count` D, W, M or A (years) that ends at `end` begins."""
    day = session_day(end)
    if unit == "D":
        # Sessions are never more than five calendar days apart.
        recent = account.market.calendar.between(day - timedelta(days=5 + count * 5), day)
        return midnight_new_york(recent[-count:][0].day if recent else day)
    if unit == "W":
        return midnight_new_york(day - timedelta(weeks=count))
    months = day.year * 12 + day.month - 1 - count * (12 if unit == "A" else 1)
    year, month = divmod(months, 12)
    return midnight_new_york(_day_of(max(year, 1), month + 1, day.day))


def _day_of(year: int, month: int, day: int) -> date:
    following = date(year + month // 12, month % 12 + 1, 1)
    return date(year, month, min(day, (following - timedelta(days=1)).day))


# -- points ----------------------------------------------------------------------------------------------------------


def _closes(account: Account, request: HistoryRequest) -> tuple[Seconds, Floats]:
    """Closing second and equity of every session that closed in start <= t <= end, by New York date."""
    first, last = session_day(request.start), session_day(request.end)
    rows = [(day, equity) for day, equity in account.ledger.closes if first <= day <= last]
    closing = {session.day: int(session.closes_at.timestamp()) for session in account.market.calendar.between(first, last)}
    return _seconds(closing[day] for day, _ in rows), np.array([round(float(equity), 2) for _, equity in rows])


def _windows(account: Account, request: HistoryRequest, step: int) -> tuple[Seconds, Seconds]:
    """Labels (starts) and ends of the windows, in order; the one in progress ends at the clock."""
    now, opened = account.second, int(account.opened_at.timestamp())
    start, end = int(request.start.timestamp()), min(int(request.end.timestamp()), now)
    labels, ends = [], []
    for begin, close in _spans(account, request, start - start % step, end):
        label = np.arange(begin, close, step, dtype=np.int64)
        labels.append(label)
        ends.append(np.minimum(label + step, close))
    if not labels:
        return _seconds(()), _seconds(())
    label, until = np.concatenate(labels), np.minimum(np.concatenate(ends), now)
    wanted = (label > start - step) & (label <= end) & (until >= opened)
    return label[wanted], until[wanted]


def _spans(account: Account, request: HistoryRequest, start: int, end: int) -> Iterable[tuple[int, int]]:
    if request.reporting == "continuous":
        return [(start, end + 1)]
    sessions = account.market.calendar.between(_day(start), _day(end))
    hours = extended_hours if request.reporting == "extended_hours" else _regular_hours
    return [(_second(first), _second(last)) for first, last in map(hours, sessions)]


def _regular_hours(session: Session) -> tuple[datetime, datetime]:
    return session.opens_at, session.closes_at


def _bases(account: Account, label: Seconds, *, per_day: bool) -> tuple[Floats, date | None]:
    """The equity each point's gain counts from, and the day whose close the first of them is."""
    closes = account.ledger.closes
    days = [day for day, _ in closes]
    known = [round(float(account.ledger.start_cash), 2), *(round(float(equity), 2) for _, equity in closes)]
    if not label.size:
        return np.empty(0), None
    dates, inverse = np.unique(_new_york_midnights(label), return_inverse=True)
    before = [bisect_left(days, _day(int(second))) for second in dates]
    base = np.array([known[number] for number in before])[inverse]
    if not per_day:
        base = base[:1].repeat(len(label))
    return base, days[before[0] - 1] if before[0] else None


def _new_york_midnights(label: Seconds) -> Seconds:
    """For each instant the New York midnight before it, asked once for each UTC hour."""
    hours, inverse = np.unique(label // 3600, return_inverse=True)
    return _seconds(int(midnight_new_york(_day(int(hour) * 3600)).timestamp()) for hour in hours)[inverse]


# -- valuation -------------------------------------------------------------------------------------------------------


def _equity(account: Account, times: Seconds) -> Floats:
    """Cash and holdings at each of the rising `times`, in dollars to the cent."""
    ledger = account.ledger
    steps = [
        (_second(f.filled_at), -f.side.sign * f.quantity * f.price - f.commission, f.symbol, f.side.sign * f.quantity)
        for f in ledger.fills
    ]
    steps += [
        (_second(e.at), e.net_amount, e.symbol or "", e.quantity or Decimal(0) if e.activity_type == "SPLIT" else Decimal(0))
        for e in ledger.entries
    ]
    steps.sort(key=lambda step: step[0])
    value = _in_force(((at, amount) for at, amount, _, _ in steps), ledger.start_cash, times)
    for symbol in sorted({symbol for _, _, symbol, quantity in steps if quantity}):
        shares = _in_force(((at, quantity) for at, _, name, quantity in steps if name == symbol), Decimal(0), times)
        held = np.flatnonzero(shares)
        if held.size:
            value[held] += shares[held] * _prices(account, symbol, times[held])
    return np.round(value, 2)


def _in_force(steps: Iterable[tuple[int, Decimal]], begin: Decimal, times: Seconds) -> Floats:
    """`begin` plus every amount dated at or before each of `times`."""
    at, total, totals = [], begin, [float(begin)]
    for second, amount in steps:
        total += amount
        at.append(second)
        totals.append(float(total))
    return np.array(totals)[np.searchsorted(_seconds(at), times, side="right")]


def _prices(account: Account, symbol: str, times: Seconds) -> Floats:
    """The newest trade price at each of the rising `times`: the close of the last complete minute with a trade."""
    market, first, last = account.market, int(times[0]), int(times[-1])
    known, prices = [times[:1]], [np.array([float(account.price(symbol, first) or 0)])]
    for number in range(max(market.begun(first), 0), market.begun(last) + 1):
        minutes = market.minute_columns(symbol, number, last)
        if minutes is not None:
            later = minutes.label + _MINUTE > first
            known.append(minutes.label[later] + _MINUTE)
            prices.append(minutes.close[later])
    newest = np.searchsorted(np.concatenate(known), times, side="right") - 1
    return np.asarray(np.concatenate(prices)[newest], dtype=np.float64)


def _cashflow(account: Account, request: HistoryRequest, ends: Seconds) -> Json:
    """Running sums by activity type at the end of each window, from the start of the series."""
    begin = int(request.start.timestamp())
    entries = [entry for entry in account.ledger.entries if _second(entry.at) >= begin]
    kinds = request.cashflow if request.cashflow is not None else sorted({entry.activity_type for entry in entries})
    sums = {
        kind: _in_force(((_second(e.at), e.net_amount) for e in entries if e.activity_type == kind), Decimal(0), ends)
        for kind in kinds
    }
    return {kind: np.round(values, 2).tolist() for kind, values in sums.items()}


def _seconds(values: Iterable[int]) -> npt.NDArray[np.int64]:
    return np.array(list(values), dtype=np.int64)


def _second(at: datetime) -> int:
    return int(at.timestamp())


def _day(second: int) -> date:
    return session_day(datetime.fromtimestamp(second, UTC))

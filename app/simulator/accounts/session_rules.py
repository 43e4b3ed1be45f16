"""Which hours an order belongs to: when it may be sent, when it works, when it ends by itself.

Windows of the auction orders: opg is refused from 09:28 to 19:00 New York time, cls from ten minutes before the close to
19:00, on session days (Alpaca's OpenAPI, schema TimeInForce). A gtc order ends at 16:15 of its 90th day.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import NamedTuple

from app.domain.order import TimeInForce
from app.engine.matching import PriceArrays
from app.runtime.calendar import NEW_YORK, Session
from app.simulator.errors import ApiError, forbidden
from app.simulator.tape.market import Market
from app.simulator.tape.paths import session_windows

MINUTE = timedelta(minutes=1)
_OPG_BEFORE_OPEN, _CLS_BEFORE_CLOSE = timedelta(minutes=2), timedelta(minutes=10)
_AUCTIONS_AGAIN = time(19)
_GTC_DAYS, _GTC_END = timedelta(days=90), time(16, 15)


class Window(NamedTuple):
    """Hours of one session in which orders are matched. kind: "day" for the regular session, else "pre" or "post"."""

    number: int
    kind: str
    opens_at: datetime
    minutes: int

    def path(self, market: Market, symbol: str) -> PriceArrays | None:
        """Minutes of `symbol`, None where nothing trades."""
        if symbol in market.halted:
            return None
        if self.kind == "day":
            return market.path(symbol, self.number)
        return market.window_path(symbol, self.number, self.kind)

    def complete(self, at: datetime) -> int:
        """How many of its minutes are complete."""
        return min(max(0, int((at - self.opens_at) // MINUTE)), self.minutes)

    def end_of(self, minute: int) -> datetime:
        """When a minute is complete."""
        return self.opens_at + (minute + 1) * MINUTE


def new_york(day: date, at: time) -> datetime:
    """An instant of New York's day, in UTC."""
    return datetime.combine(day, at, NEW_YORK).astimezone(UTC)


def windows(market: Market, number: int) -> list[Window]:
    """The windows of session `number` in time order; the extended ones only where the market has prices in them."""
    return [
        Window(number, w.kind, datetime.fromtimestamp(w.begin, UTC), (w.end - w.begin) // 60) for w in market.windows(number)
    ]


def post_closes(session: Session) -> datetime:
    """When trading after hours ends: 20:00 New York time, 17:00 on half days."""
    return datetime.fromtimestamp(session_windows(session)[-1].end, UTC)


def is_open(market: Market, now: datetime, *, extended: bool) -> bool:
    """Whether orders are matched at `now`, in extended hours too when the order and the market allow it."""
    session = _session_of(market, now)
    if session is None:
        return False
    if session.opens_at <= now < session.closes_at:
        return True
    begin, end = (session_windows(session)[0].begin, session_windows(session)[-1].end)
    return extended and market.extended and begin <= now.timestamp() < end


def check_window(market: Market, now: datetime, force: TimeInForce) -> None:
    """Refuse auction orders that come too late for their auction and too early for the next."""
    session = _session_of(market, now)
    if session is None or force not in {TimeInForce.OPG, TimeInForce.CLS}:
        return
    first = session.opens_at - _OPG_BEFORE_OPEN if force is TimeInForce.OPG else session.closes_at - _CLS_BEFORE_CLOSE
    if first <= now < new_york(session.day, _AUCTIONS_AGAIN):
        raise _too_late(force, first)


def expiry(market: Market, now: datetime, force: TimeInForce, *, extended: bool) -> datetime | None:
    """When an order accepted at `now` ends by itself, at the latest; None when the tape ends before."""
    if force is TimeInForce.GTC:
        return new_york(now.astimezone(NEW_YORK).date() + _GTC_DAYS, _GTC_END)
    number = max(0, market.started(int(now.timestamp())))
    if _day_ends(market, market.sessions[number], extended=extended) <= now:
        number += 1
    if number >= len(market.sessions):
        return None
    session = market.sessions[number]
    return post_closes(session) if extended else session.closes_at


def _day_ends(market: Market, session: Session, *, extended: bool) -> datetime:
    return post_closes(session) if extended and market.extended else session.closes_at


def _session_of(market: Market, now: datetime) -> Session | None:
    """The session of the New York day of `now`."""
    day = now.astimezone(NEW_YORK).date()
    number = market.started(int(new_york(day, time.max).timestamp()))
    session = market.sessions[number] if number >= 0 else None
    return session if session is not None and session.day == day else None


def _too_late(force: TimeInForce, first: datetime) -> ApiError:
    since = first.astimezone(NEW_YORK)
    return forbidden(f"{force} orders are not accepted between {since:%H:%M} and 19:00 ET", time_in_force=force.value)

"""Assets, clock and calendar as Alpaca's trading API shows them."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from app.runtime.calendar import NEW_YORK, Session, TradingCalendar, session_day
from app.simulator.accounts.account import Account
from app.simulator.wire import Json, asset_id

EXCHANGE = "NASDAQ"
_PRE_OPENS = time(4)
# Days from trade to settlement and the first trade date of each rule (SEC releases 34-80295 and 34-96930).
_SETTLEMENT = ((date(2024, 5, 28), 1), (date(2017, 9, 5), 2), (date.min, 3))
_MARKETS = {
    "NYSE": ("NYSE", "New York Stock Exchange", "XNYS"),
    "XNYS": ("NYSE", "New York Stock Exchange", "XNYS"),
    "NASDAQ": ("NASDAQ", "National Association of Securities Dealers Automated Quotations", "XNAS"),
    "XNAS": ("NASDAQ", "National Association of Securities Dealers Automated Quotations", "XNAS"),
}
MARKETS = tuple(_MARKETS)


def asset(symbol: str, *, tradable: bool, margin: bool) -> Json:
    """GET /v2/assets/{symbol}. margin: whether the account may borrow money and shares."""
    return {
        "id": asset_id(symbol),
        "class": "us_equity",
        "exchange": EXCHANGE,
        "symbol": symbol,
        "name": f"{symbol} (SIMULATED)",
        "status": "active",
        "tradable": tradable,
        "marginable": margin,
        "maintenance_margin_requirement": 30 if margin else 100,
        "margin_requirement_long": "30" if margin else "100",
        "margin_requirement_short": "30" if margin else "100",
        "shortable": margin,
        "easy_to_borrow": margin,
        "borrow_status": "easy_to_borrow" if margin else "hard_to_borrow",
        "fractionable": True,
        "cusip": None,
        "attributes": [],
    }


def clock(account: Account) -> Json:
    """GET /v2/clock, in New York time as Alpaca sends it."""
    calendar, now = account.market.calendar, account.now
    return {
        "timestamp": now.astimezone(NEW_YORK).isoformat(),
        "is_open": calendar.is_open(now),
        "next_open": calendar.next_open(now).astimezone(NEW_YORK).isoformat(),
        "next_close": calendar.next_close(now).astimezone(NEW_YORK).isoformat(),
    }


def extended_hours(one: Session) -> tuple[datetime, datetime]:
    """Start of the pre-market and end of the after-hours session: 04:00 to 20:00 New York, to 17:00 on half days."""
    half = one.closes_at.astimezone(NEW_YORK).hour < 16
    return _at(one.day, _PRE_OPENS), _at(one.day, time(17) if half else time(20))


def settlement(calendar: TradingCalendar, day: date) -> date:
    """When a trade of `day` settles: sessions are counted, as the venue's calendar knows no bank holidays."""
    distance = next(days for since, days in _SETTLEMENT if day >= since)
    following = calendar.between(day + timedelta(days=1), min(day + timedelta(days=15), date(9999, 12, 31)))
    return following[distance - 1].day if len(following) >= distance else day + timedelta(days=distance)


def session(calendar: TradingCalendar, one: Session) -> Json:
    """One row of GET /v2/calendar."""
    opens, closes = one.opens_at.astimezone(NEW_YORK), one.closes_at.astimezone(NEW_YORK)
    first, last = extended_hours(one)
    return {
        "date": one.day.isoformat(),
        "open": opens.strftime("%H:%M"),
        "close": closes.strftime("%H:%M"),
        "session_open": first.strftime("%H%M"),
        "session_close": last.strftime("%H%M"),
        "settlement_date": settlement(calendar, one.day).isoformat(),
    }


def market(code: str) -> Json:
    """The head of the v3 answers."""
    acronym, name, mic = _MARKETS[code]
    return {"acronym": acronym, "name": name, "mic": mic, "timezone": "America/New_York"}


def market_clock(calendar: TradingCalendar, code: str, now: datetime) -> Json:
    """One row of GET /v3/clock."""
    today = calendar.between(session_day(now), session_day(now))
    phase, until = _phase(today[0], now) if today else ("closed", None)
    following = calendar.between(session_day(now) + timedelta(days=1), session_day(now) + timedelta(days=15))
    return {
        "market": market(code),
        "timestamp": now.astimezone(NEW_YORK).isoformat(),
        "is_market_day": bool(today),
        "next_market_open": calendar.next_open(now).astimezone(NEW_YORK).isoformat(),
        "next_market_close": calendar.next_close(now).astimezone(NEW_YORK).isoformat(),
        "phase": phase,
        "phase_until": (until or _at(following[0].day, _PRE_OPENS)).isoformat(),
    }


def market_day(calendar: TradingCalendar, one: Session, zone: ZoneInfo | None) -> Json:
    """One row of GET /v3/calendar/{market}. zone: None for UTC."""
    pre, post = extended_hours(one)
    instants = {
        "pre_start": pre,
        "pre_end": one.opens_at,
        "core_start": one.opens_at,
        "core_end": one.closes_at,
        "post_start": one.closes_at,
        "post_end": post,
    }
    return {
        "date": one.day.isoformat(),
        **{name: at.astimezone(zone or UTC).isoformat() for name, at in instants.items()},
        "settlement_date": settlement(calendar, one.day).isoformat(),
    }


def _phase(one: Session, now: datetime) -> tuple[str, datetime | None]:
    pre, post = extended_hours(one)
    for name, until in (("closed", pre), ("pre", one.opens_at), ("core", one.closes_at), ("post", post)):
        if now < until:
            return name, until.astimezone(NEW_YORK)
    return "closed", None


def _at(day: date, clock_time: time) -> datetime:
    return datetime.combine(day, clock_time, NEW_YORK)

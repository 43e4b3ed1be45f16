"""Bars of any timeframe at a moment, adjusted for corporate actions.

Minutes and hours are labelled on the round clock (UTC), days, weeks and months with New York's midnight: of the day, of the
Monday, of the first of the month. Minutes and hours are listed when complete; the day, week and month in progress as they
stand, from the minutes that are complete.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime

import numpy as np

from app.domain.bar import Seconds
from app.runtime.calendar import midnight_new_york, session_day
from app.simulator.errors import bad_request
from app.simulator.tape.actions import ADJUSTMENTS, Factors, factors
from app.simulator.tape.columns import MINUTE, Columns, grouped, joined
from app.simulator.tape.market import Market

_TEXT = re.compile(r"(\d{1,2})(Min|T|Hour|H|Day|D|Week|W|Month|M)")
_MONTHS = (1, 2, 3, 4, 6, 12)
_HOUR = 3600
_CENTS_OF_CENTS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeframe:
    """seconds: length of a bar within a day, 0 for calendar units. unit: "D", "W" or "M" of those, with `count` of them."""

    seconds: int
    unit: str = ""
    count: int = 1


def parse_timeframe(text: str) -> Timeframe:
    """1-59Min, 1-23Hour, 1Day, 1Week, 1/2/3/4/6/12Month and their short forms T, H, D, W, M. ApiError 400 for others."""
    found = _TEXT.fullmatch(text)
    count, unit = (int(found[1]), found[2]) if found else (0, "")
    if unit in {"Min", "T"} and 1 <= count <= 59:
        return Timeframe(seconds=count * MINUTE)
    if unit in {"Hour", "H"} and 1 <= count <= 23:
        return Timeframe(seconds=count * _HOUR)
    if (unit[:1] in {"D", "W"} and count == 1) or (unit in {"Month", "M"} and count in _MONTHS):
        return Timeframe(seconds=0, unit=unit[0], count=count)
    raise bad_request(
        f"invalid timeframe: {text[:20]}; it must be one of 1-59Min, 1-23Hour, 1Day, 1Week and 1, 2, 3, 4, 6 or 12Month"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class BarQuery:
    """Which bars of a symbol. start, end: of the labels, inclusive."""

    timeframe: Timeframe
    adjustment: frozenset[str]
    start: int
    end: int
    descending: bool = False


def parse_adjustment(text: str) -> frozenset[str]:
    """The kinds of corporate actions to adjust for, from names apart by commas; ApiError 400 for unknown names."""
    names = text.lower().split(",")
    if any(name not in ADJUSTMENTS for name in names):
        raise bad_request(f"invalid adjustment: {text[:40]}; it must be made of {', '.join(ADJUSTMENTS)}")
    return frozenset[str]().union(*(ADJUSTMENTS[name] for name in names))


def bars_of(market: Market, symbol: str, query: BarQuery, now: int) -> Iterator[Columns]:
    """The bars of one symbol in pieces, in the order asked for; never an empty piece."""
    adjustment = _factors(market, symbol, query.adjustment, now)
    if query.timeframe.seconds:
        pieces: Iterator[Columns] = _intraday(market, symbol, query, adjustment, now)
    else:
        pieces = iter([_calendar_bars(market, symbol, query.timeframe, adjustment, now)])
    for piece in pieces:
        low, high = np.searchsorted(piece.label, query.start), np.searchsorted(piece.label, query.end, side="right")
        if low < high:
            step = slice(low, high)
            part = Columns(*(column[step] for column in piece))
            yield Columns(*(column[::-1] for column in part)) if query.descending else part


def _factors(market: Market, symbol: str, kinds: frozenset[str], now: int) -> Factors | None:
    wanted = [a for a in market.source.actions if a.symbol == symbol and a.kind in kinds] if kinds else []
    return factors(wanted, market.source.daily[symbol], session_day(datetime.fromtimestamp(now, UTC))) if wanted else None


def _adjusted(bars: Columns, adjustment: Factors | None) -> Columns:
    if adjustment is None:
        return bars
    price, volume = adjustment.of(bars.label)
    changed = price != 1.0
    o, h, lo, c = (np.where(changed, np.round(p * price, _CENTS_OF_CENTS), p) for p in bars[1:5])
    return Columns(bars.label, o, h, lo, c, np.rint(bars.volume * volume))


def _intraday(market: Market, symbol: str, query: BarQuery, adjustment: Factors | None, now: int) -> Iterator[Columns]:
    seconds = query.timeframe.seconds
    # A bar's label can lie up to its length before the session opens.
    first, last = max(0, market.started(query.start)), market.begun(min(now, query.end + seconds))
    for begin, end in _runs(market, first, last, seconds, descending=query.descending):
        days = [_adjusted(day, adjustment) for n in range(begin, end + 1) if (day := market.minute_columns(symbol, n, now))]
        if not days:
            continue
        minutes = joined(days)
        if seconds == MINUTE:
            yield minutes
            continue
        made = grouped(minutes, minutes.label - minutes.label % seconds)
        complete = len(made.label) - int(min(made.label[-1] + seconds, market.windows(end)[-1].end) > now)
        yield Columns(*(column[:complete] for column in made))


def _runs(market: Market, first: int, last: int, seconds: int, *, descending: bool) -> Iterator[tuple[int, int]]:
    """Sessions first..last in runs (begin, end) that share no bar with each other."""

    def together(number: int) -> bool:
        """Whether a bar can hold minutes of both `number` and the session after it."""
        ends, begins = market.windows(number)[-1].end - MINUTE, market.windows(number + 1)[0].begin
        return seconds > _HOUR and ends // seconds == begins // seconds

    most = len(market.sessions) - 1
    number = last if descending else first
    while first <= number <= last:
        begin = end = number
        while begin > 0 and together(begin - 1):
            begin -= 1
        while end < most and together(end):
            end += 1
        yield begin, end
        number = begin - 1 if descending else end + 1


def _calendar_bars(market: Market, symbol: str, timeframe: Timeframe, adjustment: Factors | None, now: int) -> Columns:
    days = market.daily_columns(symbol, now)
    running = market.running_day(symbol, now)
    if running is not None:
        days = joined([days, Columns(*(np.array([value]) for value in running))])
    days = _adjusted(days, adjustment)
    if timeframe.unit == "D" or not len(days.label):
        return days
    return grouped(days, _labels(days.label, timeframe))


def _labels(label: Seconds, timeframe: Timeframe) -> Seconds:
    """The week or month that each day belongs to."""
    # Midnight in New York is between 04:00 and 05:00 UTC of the same date.
    day = (label // 86_400).astype("datetime64[D]")
    if timeframe.unit == "W":
        begin = day - ((day.astype(np.int64) + 3) % 7).astype("timedelta64[D]")  # 1970-01-01 was a Thursday
    else:
        month = day.astype("datetime64[M]").astype(np.int64)
        begin = (month - month % timeframe.count).astype("datetime64[M]").astype("datetime64[D]")
    unique, inverse = np.unique(begin, return_inverse=True)
    midnights = [int(midnight_new_york(date.fromisoformat(str(day))).timestamp()) for day in unique]
    return np.array(midnights, dtype=np.int64)[inverse]

"""What the tape has to say between two moments, in the order in which a market data stream says it.

A message is told when its minute is complete: first the minute's trades and quotes, then its bar, then the running daily
bar; at the close the daily bar is the final one. Nothing is read from the tape that was not complete at the clock.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from app.simulator.api import wire_data
from app.simulator.tape.market import Market, OneBar
from app.simulator.tape.ticks import trades_between
from app.simulator.wire import Json

MINUTE = 60
WHOLE_SESSIONS = 2
_BARS_A_CHUNK = 480
_Wanted = Mapping[str, Mapping[str, None]]  # symbols by channel, in order


class Span(NamedTuple):
    """Time of which a client must still be told: after < t <= until, in seconds. minutes False: only its daily bars.

    halted: symbols that said nothing then.
    """

    after: int
    until: int
    minutes: bool
    halted: frozenset[str] = frozenset()


def spans(market: Market, after: int, until: int, halted: frozenset[str]) -> list[Span]:
    """What a clock that moves from `after` to `until` makes known.

    Of a move through at most `WHOLE_SESSIONS` sessions everything is told; of a longer jump the minutes of the newest session
    only, and of those before it the daily bars.
    """
    last = market.begun(until)
    if last < 0 or last - _session_after(market, after) < WHOLE_SESSIONS:
        return [Span(after, until, True, halted)]
    begin = market.windows(last)[0].begin
    return [Span(after, begin, False, halted), Span(begin, until, True, halted)]


def next_chunk(market: Market, subscribed: Mapping[str, frozenset[str]], span: Span) -> tuple[int, Iterator[tuple[str, Json]]]:
    """The first piece of a span: the moment it reaches, and its messages as (channel, message)."""
    number = _session_after(market, span.after)
    if number > market.begun(span.until):
        return span.until, iter(())
    windows, closes = market.windows(number), market.closes(number)
    end = windows[-1].end
    wanted = {channel: _chosen(market, names, span.halted) for channel, names in subscribed.items()}
    if not span.minutes:
        told = span.after < closes <= span.until
        return min(span.until, end), _daily_bars(market, wanted, number, closes) if told else iter(())
    begin = max(span.after, windows[0].begin)
    chunk = max(1, _BARS_A_CHUNK // max(1, *map(len, wanted.values()))) * MINUTE
    until = min(begin - begin % MINUTE + chunk, span.until, end)
    return until, _minutes(market, wanted, number, begin, until)


def minutes_in(market: Market, span: Span) -> int:
    """How many minutes of a span are told one by one."""
    if not span.minutes:
        return 0
    first, last = _session_after(market, span.after), market.begun(span.until)
    windows = [window for number in range(first, last + 1) for window in market.windows(number)]
    return sum(window.minutes_done(span.until) - window.minutes_done(span.after) for window in windows)


def _session_after(market: Market, after: int) -> int:
    """The first session that is not over at `after`."""
    number = max(market.started(after), 0)
    return number + 1 if market.windows(number)[-1].end <= after else number


def _minutes(market: Market, wanted: _Wanted, number: int, after: int, until: int) -> Iterator[tuple[str, Json]]:
    """Minutes of one session that are complete in after < t <= until."""
    bars = _bars(market, wanted, number, after, until)
    ticks = _ticks(market, wanted, after - after % MINUTE, until - until % MINUTE)
    for start in range(after - after % MINUTE, until - until % MINUTE, MINUTE):
        yield from ticks.get(start, ())
        rows = bars.get(start, {})
        for symbol, row in rows.items():
            if symbol in wanted["bars"]:
                yield "bars", {"T": "b", "S": symbol, **(wire_data.bar(row) or {})}
        if start + MINUTE == market.closes(number):
            yield from _daily_bars(market, wanted, number, start + MINUTE)
        else:
            for symbol in wanted["dailyBars"]:
                running = market.running_day(symbol, start + MINUTE) if symbol in rows else None
                if running is not None:
                    yield "dailyBars", {"T": "d", "S": symbol, **(wire_data.bar(running) or {})}


def _bars(market: Market, wanted: _Wanted, number: int, after: int, until: int) -> dict[int, dict[str, OneBar]]:
    """Minute bars by start and symbol."""
    symbols = sorted(wanted["bars"].keys() | wanted["dailyBars"].keys())
    market.prepare(symbols, number)
    found: dict[int, dict[str, OneBar]] = {}
    for symbol in symbols:
        columns = market.session_columns(symbol, number, MINUTE, until)
        if columns is None:
            continue
        first = int(columns.label.searchsorted(after - MINUTE, side="right"))
        for values in zip(*(column[first:].tolist() for column in columns), strict=True):
            found.setdefault(values[0], {})[symbol] = OneBar(*values)
    return found


def _ticks(market: Market, wanted: _Wanted, begin: int, end: int) -> dict[int, list[tuple[str, Json]]]:
    """Trades and quotes of begin <= t < end, both full minutes, by the start of their minute and in time order."""
    found: list[tuple[int, str, Json]] = []
    for symbol in sorted(wanted["trades"].keys() | wanted["quotes"].keys()):
        for price in trades_between(market, symbol, begin - 1, end):
            if price.at < end:
                if symbol in wanted["trades"]:
                    found.append((price.at, "trades", {"T": "t", "S": symbol, **wire_data.trade(price)}))
                if symbol in wanted["quotes"]:
                    found.append((price.at, "quotes", {"T": "q", "S": symbol, **wire_data.quote(price)}))
    found.sort(key=lambda row: row[0])
    by_minute: dict[int, list[tuple[str, Json]]] = {}
    for at, channel, message in found:
        by_minute.setdefault(at - at % MINUTE, []).append((channel, message))
    return by_minute


def _daily_bars(market: Market, wanted: _Wanted, number: int, closes: int) -> Iterator[tuple[str, Json]]:
    """The final daily bars of a session."""
    for symbol in wanted["dailyBars"]:
        if market.daily_known(symbol, closes) > market.daily_known(symbol, market.opens(number)):
            yield "dailyBars", {"T": "d", "S": symbol, **(wire_data.bar(market.daily_bar(symbol, closes, 0)) or {})}


def _chosen(market: Market, names: frozenset[str], halted: frozenset[str]) -> dict[str, None]:
    """The symbols meant by a subscription, in order; "*" means all."""
    symbols = market.symbols if "*" in names else sorted(names)
    return {symbol: None for symbol in symbols if market.knows(symbol) and symbol not in halted}

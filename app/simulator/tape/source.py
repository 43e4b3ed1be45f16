"""From options to a tape: bars of files, or a generated market."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import structlog

from app.domain.bar import DAILY, BarSeries
from app.domain.errors import InvalidInput
from app.marketdata.files import load_bars
from app.marketdata.generator import GENERATOR_VERSION, GeneratedBars
from app.runtime.calendar import Session, TradingCalendar, session_day
from app.simulator.options import SimulatorOptions
from app.simulator.tape.actions import CorporateAction, load_actions
from app.simulator.tape.columns import Source, daily_from_fine, fingerprint, ticked
from app.simulator.tape.market import Market
from app.simulator.tape.merge import finest, with_daily
from app.simulator.tape.news import FileNews, GeneratedNews, load_news

GENERATED_START = date(2024, 1, 2)
GENERATED_HISTORY = 1_000
REPLAY_SESSIONS = 60
_DAY = 86_400
_log = structlog.get_logger(__name__)


def open_market(options: SimulatorOptions, calendar: TradingCalendar, *, start: date | None, seed: int) -> tuple[Market, date]:
    """The tape and the first session of the replay. Raises InvalidInput when the data cannot serve `start`."""
    if options.prices not in {"raw", "split"}:
        raise InvalidInput(f"prices must be raw or split, not {options.prices[:20]}")
    actions = load_actions(options.actions) if options.actions else ()
    if options.prices == "split":
        actions = tuple(action for action in actions if action.kind != "split")
    news = load_news(options.news) if options.news else None
    if not options.files:
        return _generated(options, actions, news, calendar, start or GENERATED_START, seed)
    return _replay(options, actions, news, calendar, start, seed)


def _generated(
    options: SimulatorOptions,
    actions: tuple[CorporateAction, ...],
    news: FileNews | None,
    calendar: TradingCalendar,
    start: date,
    seed: int,
) -> tuple[Market, date]:
    before = calendar.between(date.min, start - timedelta(days=1))
    ahead = calendar.between(start, date.max)
    if not before or not ahead:
        raise InvalidInput(f"no market can be generated from {start}: the calendar knows no session on one side of it")
    symbols = options.symbols
    if not symbols:
        from app.config import DEFAULT_WATCHLIST  # settings are slow to import, and a replay of a file needs none

        symbols = tuple(DEFAULT_WATCHLIST.split())
    sessions = before[-GENERATED_HISTORY:] + ahead
    # Not the bars themselves: their number grows with the calendar, while the earlier ones stay.
    identity = f"generated|{GENERATOR_VERSION}|{seed}|{sessions[0].day}|{ahead[0].day}|{' '.join(sorted(symbols))}"
    daily = GeneratedBars(seed, symbols, sessions, any_symbol=not options.symbols)
    source = Source(
        label=f"generated market, seed {seed}",
        daily=daily,
        fine={},
        fine_seconds=_DAY,
        generated=True,
        fingerprint=_with_options(hashlib.blake2b(identity.encode(), digest_size=16).hexdigest(), options, actions),
        actions=actions,
        news=news or GeneratedNews(seed, daily),
        extended_hours=options.extended_hours,
    )
    return Market(source, calendar, sessions, seed), ahead[0].day


def _replay(
    options: SimulatorOptions,
    actions: tuple[CorporateAction, ...],
    news: FileNews | None,
    calendar: TradingCalendar,
    start: date | None,
    seed: int,
) -> tuple[Market, date]:
    daily, fine, fine_seconds = _load(options.files, options.symbols, calendar)
    label = f"file{'s' if len(options.files) > 1 else ''} {', '.join(path.name for path in options.files)}"
    every = [*daily.values(), *fine.values()]
    first, last = min(int(part.timestamp[0]) for part in every), max(int(part.known_at[-1]) for part in every)
    covered = calendar.between(_day(first), _day(last))
    if not covered:
        raise InvalidInput(f"{label} holds no New York session")
    identity = fingerprint({**{f"{s} {DAILY}": part for s, part in daily.items()}, **fine} if daily and fine else fine or daily)
    made = {symbol: daily_from_fine(part, covered) for symbol, part in fine.items()}
    merged = with_daily(made, daily)
    if start is None:
        start = _default_start(covered, fine, bool(daily))
    later = [s.day for s in covered if s.day >= start]
    if not later or start < covered[0].day:
        raise InvalidInput(f"{label} runs from {covered[0].day} to {covered[-1].day}; a start on {start} is outside it")
    source = Source(
        label=label,
        daily=merged,
        fine={symbol: part for symbol, part in fine.items() if symbol in merged},
        fine_seconds=fine_seconds,
        generated=False,
        fingerprint=_with_options(identity, options, actions),
        actions=actions,
        news=news,
        extended_hours=options.extended_hours,
    )
    return Market(source, calendar, calendar.between(covered[0].day, date.max), seed), later[0]


def _load(
    files: tuple[Path, ...], symbols: tuple[str, ...], calendar: TradingCalendar
) -> tuple[dict[str, BarSeries], dict[str, BarSeries], int]:
    """Daily and intraday bars by symbol, on the tick, and the length of the longest bar that minutes are taken from."""
    daily: dict[str, BarSeries] = {}
    intraday: dict[str, list[BarSeries]] = {}
    found: set[str] = set()
    longest = 0
    for path in files:
        file = load_bars(path, symbols=symbols, calendar=calendar, partly=len(files) > 1)
        if file.dropped:
            _log.warning("market data incomplete", file=path.name, dropped=file.dropped)
        found |= set(file.bars)
        for symbol in list(file.bars):
            part = ticked(file.bars.pop(symbol))
            if part.timeframe == DAILY:
                daily.setdefault(symbol, part)
            else:
                intraday.setdefault(symbol, []).append(part)
            longest = max(longest, int(part.known_at[0] - part.timestamp[0]) if part.timeframe != DAILY else _DAY)
    absent = sorted(set(symbols) - found)
    if absent:
        _log.warning("market data incomplete", files=[path.name for path in files], absent=absent)
    if not found:
        raise InvalidInput(f"no file holds a usable bar of {' '.join(symbols)[:80]}")
    return daily, {symbol: finest(parts) for symbol, parts in intraday.items()}, longest


def _default_start(covered: list[Session], fine: dict[str, BarSeries], has_daily: bool) -> date:
    """`REPLAY_SESSIONS` before the end; not before the intraday bars where daily ones are their history."""
    start = covered[max(0, len(covered) - REPLAY_SESSIONS)].day
    if fine and has_daily:
        start = max(start, _day(min(int(part.timestamp[0]) for part in fine.values())))
    return start


def _with_options(identity: str, options: SimulatorOptions, actions: Iterable[CorporateAction]) -> str:
    """The identity of a tape, changed by what else changes its prices."""
    more = [f"{a.symbol}|{a.ex_date}|{a.kind}|{a.value}" for a in actions]
    more += ["extended hours"] if options.extended_hours else []
    return hashlib.blake2b("\n".join([identity, *more]).encode(), digest_size=16).hexdigest() if more else identity


def _day(second: int) -> date:
    return session_day(datetime.fromtimestamp(second, UTC))

"""From options to a tape: bars of a file, or a generated market."""

from __future__ import annotations

import hashlib
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import structlog

from app.domain.bar import DAILY, BarSeries
from app.domain.errors import InvalidInput
from app.marketdata.files import load_bars
from app.marketdata.generator import GENERATOR_VERSION, generate_daily
from app.runtime.calendar import TradingCalendar, midnight_new_york, session_day
from app.simulator.market import Market, Source, daily_from_fine, fingerprint, ticked

GENERATED_START = date(2024, 1, 2)
GENERATED_HISTORY = 1_000
REPLAY_SESSIONS = 60
_FINE_SECONDS = {"1Min": 60, "5Min": 300, "15Min": 900, "30Min": 1800, "1Hour": 3600}
_log = structlog.get_logger(__name__)


def open_market(
    *, data: Path | None, symbols: tuple[str, ...], start: date | None, seed: int, calendar: TradingCalendar
) -> tuple[Market, date]:
    """The tape and the first session of the replay. Raises InvalidInput when the data cannot serve `start`."""
    if data is None:
        from app.config import DEFAULT_WATCHLIST  # settings are slow to import, and a replay of a file needs none

        return _generated(symbols or tuple(DEFAULT_WATCHLIST.split()), start or GENERATED_START, seed, calendar)
    file = load_bars(data, symbols=symbols, calendar=calendar)
    absent = sorted(set(symbols) - set(file.bars))
    if absent or file.dropped:
        _log.warning("market data incomplete", file=data.name, absent=absent, dropped=file.dropped)
    return _replay(file.bars, file.timeframe, f"file {data.name}", start, seed, calendar)


def _generated(symbols: tuple[str, ...], start: date, seed: int, calendar: TradingCalendar) -> tuple[Market, date]:
    before = calendar.between(date.min, start - timedelta(days=1))
    ahead = calendar.between(start, date.max)
    if not before or not ahead:
        raise InvalidInput(f"no market can be generated from {start}: the calendar knows no session on one side of it")
    sessions = before[-GENERATED_HISTORY:] + ahead
    # Not the bars themselves: their number grows with the calendar each real day, while the earlier ones stay.
    identity = f"generated|{GENERATOR_VERSION}|{seed}|{sessions[0].day}|{ahead[0].day}|{' '.join(sorted(symbols))}"
    daily = generate_daily(seed, symbols, sessions)
    source = Source(
        label=f"generated market, seed {seed}",
        daily=daily,
        fine={},
        fine_seconds=86_400,
        generated=True,
        fingerprint=hashlib.blake2b(identity.encode(), digest_size=16).hexdigest(),
    )
    return Market(source, calendar, sessions, seed), ahead[0].day


def _replay(  # noqa: PLR0917 - the parts of one market
    bars: dict[str, BarSeries], timeframe: str, label: str, start: date | None, seed: int, calendar: TradingCalendar
) -> tuple[Market, date]:
    bars = {symbol: ticked(part) for symbol, part in bars.items()}
    first = min(int(part.timestamp[0]) for part in bars.values())
    last = max(int(part.known_at[-1]) for part in bars.values())
    covered = calendar.between(_day(first), _day(last))
    if not covered:
        raise InvalidInput(f"{label} holds no New York session")
    fine: dict[str, BarSeries] = {}
    if timeframe != DAILY:
        labels = {s: int(midnight_new_york(s.day).timestamp()) for s in covered}
        fine = bars
        bars = {symbol: daily_from_fine(part, covered, labels) for symbol, part in bars.items()}
        bars = {symbol: part for symbol, part in bars.items() if len(part)}
    if start is None:
        start = covered[max(0, len(covered) - REPLAY_SESSIONS)].day
    later = [s.day for s in covered if s.day >= start]
    if not later or start < covered[0].day:
        raise InvalidInput(f"{label} runs from {covered[0].day} to {covered[-1].day}; a start on {start} is outside it")
    source = Source(
        label=label,
        daily=bars,
        fine={symbol: fine[symbol] for symbol in bars} if fine else {},
        fine_seconds=_FINE_SECONDS.get(timeframe, 86_400),
        generated=False,
        fingerprint=fingerprint(fine or bars),
    )
    return Market(source, calendar, calendar.between(covered[0].day, date.max), seed), later[0]


def _day(second: int) -> date:
    return session_day(datetime.fromtimestamp(second, UTC))

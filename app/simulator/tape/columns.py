"""What a replay is made of: bars in columns, and the source they come from."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from app.domain.bar import DAILY, BarSeries, Floats, Seconds
from app.engine.path import on_tick
from app.runtime.calendar import Session, midnight_new_york
from app.simulator.tape.actions import CorporateAction
from app.simulator.tape.news import Newsroom

MINUTE = 60
_TICK_FROM = 1.0


class Price(NamedTuple):
    """A trade. at: seconds since 1970 UTC."""

    price: float
    size: float
    at: int


class OneBar(NamedTuple):
    """A single bar. label: its start, seconds since 1970 UTC."""

    label: int
    open: float
    high: float
    low: float
    close: float
    volume: float


class Columns(NamedTuple):
    """Bars as arrays of shape (n_bars,). label: their start, seconds since 1970 UTC."""

    label: np.ndarray
    open: np.ndarray
    high: np.ndarray
    low: np.ndarray
    close: np.ndarray
    volume: np.ndarray


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where the tape comes from. daily: complete sessions by symbol; iterates over the listed symbols and may hold more.

    fine: intraday bars, if any, of at most `fine_seconds` each, with those before and after hours. label: for people.
    fingerprint: equal for equal data. extended_hours: whether prices between sessions are invented.
    """

    label: str
    daily: Mapping[str, BarSeries]
    fine: Mapping[str, BarSeries]
    fine_seconds: int
    generated: bool
    fingerprint: str
    actions: tuple[CorporateAction, ...] = ()
    news: Newsroom | None = None
    extended_hours: bool = False

    @property
    def derived(self) -> bool:
        """Whether minute bars are invented inside longer ones."""
        return self.fine_seconds != MINUTE


def columns_of(bars: BarSeries, count: int) -> Columns:
    """The oldest `count` bars of a series; views, not copies."""
    part = bars.slice(0, count)
    return Columns(part.timestamp, part.open, part.high, part.low, part.close, part.volume)


def joined(pieces: Sequence[Columns]) -> Columns:
    """Columns one after the other."""
    return pieces[0] if len(pieces) == 1 else Columns(*(np.concatenate(parts) for parts in zip(*pieces, strict=True)))


def grouped(bars: Columns, label: Seconds) -> Columns:
    """One bar for each run of equal labels: first open, highest high, lowest low, last close, all the volume."""
    first = np.flatnonzero(np.diff(label, prepend=-1))
    if len(first) == len(label):
        return bars._replace(label=label)
    last = np.append(first[1:], len(label)) - 1
    return Columns(
        label[first],
        bars.open[first],
        np.maximum.reduceat(bars.high, first),
        np.minimum.reduceat(bars.low, first),
        bars.close[last],
        np.add.reduceat(bars.volume, first),
    )


def ticked(bars: BarSeries) -> BarSeries:
    """The same bars with prices on the tick, as the venue quotes them."""
    return replace(bars, open=on_tick(bars.open), high=on_tick(bars.high), low=on_tick(bars.low), close=on_tick(bars.close))


def fingerprint(bars: Mapping[str, BarSeries]) -> str:
    """Equal for equal bars, whatever file they came from."""
    digest = hashlib.blake2b(digest_size=16)
    for symbol in sorted(bars):
        part = bars[symbol]
        digest.update(f"{symbol}|{part.timeframe}|{len(part)}".encode())
        for array in (part.timestamp, part.open, part.high, part.low, part.close, part.volume):
            digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def daily_from_fine(bars: BarSeries, sessions: Sequence[Session]) -> BarSeries:
    """Daily bars made of the intraday bars within each session; sessions without any have no bar."""
    opens = np.array([int(s.opens_at.timestamp()) for s in sessions], dtype=np.int64)
    closes = np.array([int(s.closes_at.timestamp()) for s in sessions], dtype=np.int64)
    number = np.searchsorted(opens, bars.known_at - 1, side="right") - 1
    inside = np.flatnonzero((number >= 0) & (bars.timestamp < closes[number]))
    prices = (bars.open, bars.high, bars.low, bars.close, bars.volume)
    if len(inside) < len(bars):
        prices = tuple(array[inside] for array in prices)  # type: ignore[assignment]
    days = grouped(Columns(number[inside], *prices), number[inside])
    numbers = days.label.tolist()
    return BarSeries(
        symbol=bars.symbol,
        timeframe=DAILY,
        timestamp=np.array([int(midnight_new_york(sessions[n].day).timestamp()) for n in numbers], dtype=np.int64),
        known_at=closes[days.label],
        open=days.open,
        high=days.high,
        low=days.low,
        close=days.close,
        volume=days.volume,
    )


def bid_and_ask(price: Floats) -> tuple[Floats, Floats]:
    """The quote at a trade: one tick on either side of it, rounded as quoted."""
    tick = np.where(price > _TICK_FROM, 0.01, 0.0001)
    bid, ask = np.maximum(price - tick, 0.0001), price + tick
    return bid.round(4), ask.round(4)

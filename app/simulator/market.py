"""The tape: every price of the replay, and the questions that may be asked of it at a moment.

Times are whole seconds since 1970 UTC. Whatever takes `now` answers from what was complete by then and from nothing else.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from app.domain.bar import DAILY, BarSeries
from app.engine.path import MinutePath, bar_paths, on_tick, path_key
from app.runtime.calendar import Session, TradingCalendar
from app.simulator.actions import CorporateAction

_CACHED_DAYS = 512
_MINUTE = 60
_SESSIONS_BACK = 5


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
    """Where the tape comes from. daily: complete sessions by symbol. fine: intraday bars, if any, with `fine_seconds` each.

    label: for people. derived: whether minute bars are invented inside longer ones. fingerprint: equal for equal data.
    """

    label: str
    daily: Mapping[str, BarSeries]
    fine: Mapping[str, BarSeries]
    fine_seconds: int
    generated: bool
    fingerprint: str

    @property
    def derived(self) -> bool:
        """Whether minute bars are invented inside longer ones."""
        return self.fine_seconds != _MINUTE


class Market:
    """The tape of one replay: daily bars, minute paths made on demand, and the newest price at any moment."""

    def __init__(self, source: Source, calendar: TradingCalendar, sessions: list[Session], seed: int) -> None:
        self.source = source
        self.calendar = calendar
        self.seed = seed
        self.sessions = sessions
        self.symbols = tuple(sorted(source.daily))
        self.halted: set[str] = set()
        self.extended = False
        self._opens = [int(s.opens_at.timestamp()) for s in sessions]
        self._closes = [int(s.closes_at.timestamp()) for s in sessions]
        self._paths: OrderedDict[tuple[str, int], MinutePath | None] = OrderedDict()

    def started(self, now: int) -> int:
        """Number of the newest session that has opened by `now`; -1 before the first."""
        return bisect_right(self._opens, now) - 1

    def opens(self, number: int) -> int:
        """Opening second of session `number`."""
        return self._opens[number]

    def closes(self, number: int) -> int:
        """Closing second of session `number`."""
        return self._closes[number]

    def actions(self, number: int) -> list[CorporateAction]:  # noqa: ARG002 - the tape has none
        """Corporate actions that take effect at the open of session `number`."""
        return []

    def window_path(self, symbol: str, number: int, kind: str) -> MinutePath | None:  # noqa: ARG002 - the tape has none
        """Minutes before ("pre") or after ("post") session `number`, None without prices there."""
        return None

    def minutes_done(self, number: int, now: int) -> int:
        """How many minutes of session `number` are complete."""
        return max(0, min(now, self._closes[number]) - self._opens[number]) // _MINUTE

    def path(self, symbol: str, number: int) -> MinutePath | None:
        """All minutes of a session, future ones included: for matching and for answers that cut it. None without data."""
        key = (symbol, number)
        if key not in self._paths:
            self.prepare((symbol,), number)
        self._paths.move_to_end(key)
        return self._paths[key]

    def prepare(self, symbols: Iterable[str], number: int) -> None:
        """Make the paths of many symbols at once, which is faster than one by one."""
        wanted = [s for s in symbols if (s, number) not in self._paths]
        if self.source.fine:
            made: dict[str, MinutePath | None] = {s: self._fine_path(s, number) for s in wanted}
        else:
            made = self._daily_paths(wanted, number)
        for symbol in wanted:
            self._paths[symbol, number] = made.get(symbol)
        while len(self._paths) > max(_CACHED_DAYS, len(self.symbols) * 2):
            self._paths.popitem(last=False)

    def daily_known(self, symbol: str, now: int) -> int:
        """How many daily bars of `symbol` were complete at `now`."""
        return int(np.searchsorted(self.source.daily[symbol].known_at, now, side="right"))

    def last_trade(self, symbol: str, now: int) -> Price | None:
        """The newest trade known at `now`: the close of the last complete minute, else of the last complete session."""
        number = self.started(now)
        minute = self._last_minute(symbol, number, now)
        path = self.path(symbol, number) if minute is not None else None
        if minute is not None and path is not None:
            at = self._opens[number] + (minute + 1) * _MINUTE - 1
            return Price(float(path.close[minute]), float(path.volume[minute]), at)
        known = self.daily_known(symbol, now)
        if not known:
            return None
        daily = self.source.daily[symbol]
        return Price(float(daily.close[known - 1]), float(daily.volume[known - 1]), int(daily.known_at[known - 1]) - 1)

    def minute_bar(self, symbol: str, now: int) -> OneBar | None:
        """The newest complete minute with a trade, looked for in the last sessions."""
        for number in range(self.started(now), max(-1, self.started(now) - _SESSIONS_BACK), -1):
            minute = self._last_minute(symbol, number, now)
            path = self.path(symbol, number) if minute is not None else None
            if minute is not None and path is not None:
                return OneBar(self._opens[number] + minute * _MINUTE, *(float(array[minute]) for array in path))
        return None

    def daily_bar(self, symbol: str, now: int, back: int) -> OneBar | None:
        """A complete daily bar: the newest for back 0, the one before it for back 1."""
        index, bars = self.daily_known(symbol, now) - 1 - back, self.source.daily[symbol]
        if index < 0:
            return None
        values = (bars.open, bars.high, bars.low, bars.close, bars.volume)
        return OneBar(int(bars.timestamp[index]), *(float(array[index]) for array in values))

    def daily_columns(self, symbol: str, now: int) -> Columns:
        """Complete daily bars, oldest first."""
        known, bars = self.daily_known(symbol, now), self.source.daily[symbol]
        return Columns(
            bars.timestamp[:known],
            bars.open[:known],
            bars.high[:known],
            bars.low[:known],
            bars.close[:known],
            bars.volume[:known],
        )

    def session_columns(self, symbol: str, number: int, seconds: int, now: int) -> Columns | None:
        """Complete bars of `seconds` within session `number`, labelled on the round clock; None when there are none."""
        done = self.minutes_done(number, now)
        path = self.path(symbol, number) if done else None
        if path is None:
            return None
        index = np.flatnonzero(np.isfinite(path.close[:done]))
        if not index.size:
            return None
        start = self._opens[number] + index * _MINUTE
        label = start - start % seconds
        first = np.flatnonzero(np.diff(label, prepend=-1))
        o, h, lo, c, v = (array[index] for array in path)
        last = np.append(first[1:], len(index)) - 1
        made = Columns(
            label[first],
            o[first],
            np.maximum.reduceat(h, first),
            np.minimum.reduceat(lo, first),
            c[last],
            np.add.reduceat(v, first),
        )
        complete = np.minimum(made.label + seconds, self._closes[number]) <= now
        return Columns(*(column[complete] for column in made)) if complete.any() else None

    def running_day(self, symbol: str, now: int) -> OneBar | None:
        """The daily bar of the session in progress, from complete minutes so far; None outside a session."""
        number = self.started(now)
        minute = self._last_minute(symbol, number, now)
        path = self.path(symbol, number) if minute is not None and now < self._closes[number] else None
        if minute is None or path is None:
            return None
        label = self.source.daily[symbol].timestamp
        day = int(label[np.searchsorted(label, self._opens[number], side="right") - 1])
        o, h, lo, c, v = (array[: minute + 1] for array in path)
        first = float(o[0]) if o[0] == o[0] else float(o[np.isfinite(o)][0])
        return OneBar(day, first, float(np.nanmax(h)), float(np.nanmin(lo)), float(c[-1]), float(v.sum()))

    def _last_minute(self, symbol: str, number: int, now: int) -> int | None:
        """Index of the newest complete minute of session `number` that had a trade."""
        done = self.minutes_done(number, now) if number >= 0 else 0
        path = self.path(symbol, number) if done else None
        if path is None:
            return None
        if path.close[done - 1] == path.close[done - 1]:
            return done - 1
        traded = np.flatnonzero(np.isfinite(path.close[:done]))
        return int(traded[-1]) if traded.size else None

    def _daily_paths(self, symbols: list[str], number: int) -> dict[str, MinutePath | None]:
        closes, day = self._closes[number], self.sessions[number].day
        rows = []
        for symbol in symbols:
            bars = self.source.daily[symbol]
            i = int(np.searchsorted(bars.known_at, closes))
            if i < len(bars) and bars.known_at[i] == closes:
                rows.append((symbol, bars.open[i], bars.high[i], bars.low[i], bars.close[i], bars.volume[i]))
        if not rows:
            return {}
        names, *prices = zip(*rows, strict=True)
        o, h, lo, c, v = (np.array(column, dtype=np.float64) for column in prices)
        steps = (closes - self._opens[number]) // _MINUTE
        keys = [path_key(self.seed, name, day) for name in names]
        paths = bar_paths(keys, steps, open=o, high=h, low=lo, close=c, volume=v, smile=True)
        return {name: MinutePath(*(array[row].copy() for array in paths)) for row, name in enumerate(names)}

    def _fine_path(self, symbol: str, number: int) -> MinutePath | None:
        bars, opens, closes = self.source.fine[symbol], self._opens[number], self._closes[number]
        first, last = np.searchsorted(bars.known_at, opens, side="right"), np.searchsorted(bars.timestamp, closes)
        if first >= last:
            return None
        part = bars.slice(int(first), int(last))
        begin = (np.maximum(part.timestamp, opens) - opens) // _MINUTE
        width = (np.minimum(part.known_at, closes) - opens) // _MINUTE - begin
        day = np.full((5, (closes - opens) // _MINUTE), np.nan)
        day[4] = 0.0
        for steps in np.unique(width[width > 0]):
            rows = np.flatnonzero(width == steps)
            keys = [path_key(self.seed, symbol, self.sessions[number].day, int(b)) for b in begin[rows]]
            o, h, lo, c, v = (array[rows] for array in (part.open, part.high, part.low, part.close, part.volume))
            if steps == 1:
                made = MinutePath(*(x[:, None] for x in (on_tick(o), on_tick(h), on_tick(lo), on_tick(c), v)))
            else:
                made = bar_paths(keys, int(steps), open=o, high=h, low=lo, close=c, volume=v, smile=False)
            where = begin[rows][:, None] + np.arange(steps)
            for target, array in zip(day, made, strict=True):
                target[where] = array
        return MinutePath(*day)


def ticked(bars: BarSeries) -> BarSeries:
    """The same bars with prices on the tick, as the venue quotes them."""
    return BarSeries(
        symbol=bars.symbol,
        timeframe=bars.timeframe,
        timestamp=bars.timestamp,
        known_at=bars.known_at,
        open=on_tick(bars.open),
        high=on_tick(bars.high),
        low=on_tick(bars.low),
        close=on_tick(bars.close),
        volume=bars.volume,
    )


def fingerprint(bars: Mapping[str, BarSeries]) -> str:
    """Equal for equal bars, whatever file they came from."""
    digest = hashlib.blake2b(digest_size=16)
    for symbol in sorted(bars):
        part = bars[symbol]
        digest.update(f"{symbol}|{part.timeframe}|{len(part)}".encode())
        for array in (part.timestamp, part.open, part.high, part.low, part.close, part.volume):
            digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def daily_from_fine(bars: BarSeries, sessions: list[Session], label_of: Mapping[Session, int]) -> BarSeries:
    """Daily bars made of the intraday bars within each session; sessions without any have no bar."""
    opens = np.array([int(s.opens_at.timestamp()) for s in sessions], dtype=np.int64)
    closes = np.array([int(s.closes_at.timestamp()) for s in sessions], dtype=np.int64)
    number = np.searchsorted(opens, bars.known_at - 1, side="right") - 1
    inside = (number >= 0) & (bars.timestamp < closes[number])
    number = number[inside]
    first = np.flatnonzero(np.diff(number, prepend=-1))
    last = np.append(first[1:], len(number)) - 1
    days = number[first]
    return BarSeries(
        symbol=bars.symbol,
        timeframe=DAILY,
        timestamp=np.array([label_of[sessions[int(d)]] for d in days], dtype=np.int64),
        known_at=closes[days],
        open=bars.open[inside][first],
        high=np.maximum.reduceat(bars.high[inside], first) if first.size else bars.high[:0],
        low=np.minimum.reduceat(bars.low[inside], first) if first.size else bars.low[:0],
        close=bars.close[inside][last] if first.size else bars.close[:0],
        volume=np.add.reduceat(bars.volume[inside], first) if first.size else bars.volume[:0],
    )

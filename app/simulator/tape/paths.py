"""Minutes of the tape, made on demand: from intraday bars where there are any, else derived inside the daily bar.

Each session has a regular window ("day") and, where the source has prices there, one before it ("pre", from 04:00 New York
time) and one after it ("post", to 20:00, 17:00 on half days).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from datetime import UTC, datetime, time
from typing import NamedTuple

import numpy as np

from app.engine.path import MinutePath, bar_paths, on_tick, path_key
from app.runtime.calendar import NEW_YORK, Session
from app.simulator.tape.columns import MINUTE, Source
from app.simulator.tape.overnight import overnight_path

_CACHED_DAYS = 512
_PRE_OPENS, _POST_CLOSES, _POST_CLOSES_HALF_DAY = time(4), time(20), time(17)
_FULL_DAY_CLOSES = time(16)


class Window(NamedTuple):
    """Hours of one session in which there may be prices. kind: pre, day or post. begin, end: seconds since 1970 UTC."""

    kind: str
    begin: int
    end: int

    def minutes_done(self, now: int) -> int:
        """How many of its minutes are complete."""
        return max(0, min(now, self.end) - self.begin) // MINUTE


def session_windows(session: Session) -> tuple[Window, Window, Window]:
    """The three windows of a session in time order."""
    half = session.closes_at.astimezone(NEW_YORK).time() < _FULL_DAY_CLOSES
    begin, opens, closes, end = (
        int(at.timestamp())
        for at in (
            _new_york(session, _PRE_OPENS),
            session.opens_at,
            session.closes_at,
            _new_york(session, _POST_CLOSES_HALF_DAY if half else _POST_CLOSES),
        )
    )
    return Window("pre", begin, opens), Window("day", opens, closes), Window("post", closes, end)


def has_extended_hours(source: Source, sessions: list[Session]) -> bool:
    """Whether a source has prices outside regular hours."""
    if source.extended_hours:
        return True
    windows = [w for s in sessions for w in session_windows(s) if w.kind != "day"] if source.fine else []
    begin, end = (np.array([w[i] for w in windows], dtype=np.int64) for i in (1, 2))
    return any(
        bool((np.searchsorted(b.timestamp, begin) < np.searchsorted(b.known_at, end, side="right")).any())
        for b in source.fine.values()
    )


class Paths:
    """The minutes of every symbol and window; the newest asked for are kept."""

    def __init__(self, source: Source, sessions: list[Session], seed: int) -> None:
        self._source = source
        self._sessions = sessions
        self._seed = seed
        self._most = max(_CACHED_DAYS, 2 * len(source.daily))
        self._made: OrderedDict[tuple[str, int, str], MinutePath | None] = OrderedDict()
        self._windows: dict[int, tuple[Window, Window, Window]] = {}

    def windows(self, number: int) -> tuple[Window, Window, Window]:
        """The windows of session `number`."""
        if number not in self._windows:
            self._windows[number] = session_windows(self._sessions[number])
        return self._windows[number]

    def path(self, symbol: str, number: int, kind: str = "day") -> MinutePath | None:
        """All minutes of a window, future ones included: for matching and for answers that cut it. None without data."""
        key = (symbol, number, kind)
        if key not in self._made:
            if kind == "day":
                self.prepare((symbol,), number)
            else:
                self._keep(key, self._extended(symbol, number, kind))
        self._made.move_to_end(key)
        return self._made[key]

    def prepare(self, symbols: Iterable[str], number: int) -> None:
        """Make the regular sessions of many symbols at once, which is faster than one by one."""
        wanted = [s for s in symbols if (s, number, "day") not in self._made]
        fine, window = self._source.fine, self.windows(number)[1]
        made = {s: self._fine(s, number, window) for s in wanted if s in fine}
        made |= self._daily([s for s in wanted if made.get(s) is None], number)
        for symbol in wanted:
            self._keep((symbol, number, "day"), made.get(symbol))

    def _keep(self, key: tuple[str, int, str], path: MinutePath | None) -> None:
        self._made[key] = path
        while len(self._made) > self._most:
            self._made.popitem(last=False)

    def _extended(self, symbol: str, number: int, kind: str) -> MinutePath | None:
        before, _, after = self.windows(number)
        if symbol in self._source.fine:
            path = self._fine(symbol, number, before if kind == "pre" else after)
            if path is not None:
                return path
        if not self._source.extended_hours:
            return None
        first = number - 1 if kind == "pre" else number
        if not 0 <= first < len(self._sessions) - 1:
            return None
        evening, morning = self.windows(first)[2], self.windows(first + 1)[0]
        night = overnight_path(self._source.daily[symbol], evening, morning, self._seed)
        if night is None:
            return None
        steps = (evening.end - evening.begin) // MINUTE
        part = slice(0, steps) if kind == "post" else slice(steps, None)
        return MinutePath(*(array[part] for array in night))

    def _daily(self, symbols: list[str], number: int) -> dict[str, MinutePath | None]:
        window, day = self.windows(number)[1], self._sessions[number].day
        rows = []
        for symbol in symbols:
            bars = self._source.daily[symbol]
            i = int(np.searchsorted(bars.known_at, window.end))
            if i < len(bars) and bars.known_at[i] == window.end:
                rows.append((symbol, bars.open[i], bars.high[i], bars.low[i], bars.close[i], bars.volume[i]))
        if not rows:
            return {}
        names, *prices = zip(*rows, strict=True)
        o, h, lo, c, v = (np.array(column, dtype=np.float64) for column in prices)
        keys = [path_key(self._seed, name, day) for name in names]
        steps = (window.end - window.begin) // MINUTE
        paths = bar_paths(keys, steps, open=o, high=h, low=lo, close=c, volume=v, smile=True)
        return {name: MinutePath(*(array[row].copy() for array in paths)) for row, name in enumerate(names)}

    def _fine(self, symbol: str, number: int, window: Window) -> MinutePath | None:
        """The bars of one window, minute by minute. A bar that reaches over the open or the close belongs to the session."""
        bars, begins, ends = self._source.fine[symbol], window.begin, window.end
        if window.kind == "day":
            first, last = np.searchsorted(bars.known_at, begins, side="right"), np.searchsorted(bars.timestamp, ends)
        else:
            first, last = np.searchsorted(bars.timestamp, begins), np.searchsorted(bars.known_at, ends, side="right")
        if first >= last:
            return None
        part = bars.slice(int(first), int(last))
        begin = (np.maximum(part.timestamp, begins) - begins) // MINUTE
        width = (np.minimum(part.known_at, ends) - begins) // MINUTE - begin
        minutes = np.full((5, (ends - begins) // MINUTE), np.nan)
        minutes[4] = 0.0
        # Bars are numbered from the open, so that the path inside one does not depend on which window shows it.
        number_from = (begins - self.windows(number)[1].begin) // MINUTE
        for steps in np.unique(width[width > 0]):
            rows = np.flatnonzero(width == steps)
            o, h, lo, c, v = (array[rows] for array in (part.open, part.high, part.low, part.close, part.volume))
            if steps == 1:
                made = MinutePath(*(x[:, None] for x in (on_tick(o), on_tick(h), on_tick(lo), on_tick(c), v)))
            else:
                keys = [path_key(self._seed, symbol, self._sessions[number].day, int(b) + number_from) for b in begin[rows]]
                made = bar_paths(keys, int(steps), open=o, high=h, low=lo, close=c, volume=v, smile=False)
            where = begin[rows][:, None] + np.arange(steps)
            for target, array in zip(minutes, made, strict=True):
                target[where] = array
        return MinutePath(*minutes)


def _new_york(session: Session, at: time) -> datetime:
    return datetime.combine(session.day, at, NEW_YORK).astimezone(UTC)

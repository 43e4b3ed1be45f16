"""The tape: every price of the replay, and the questions that may be asked of it at a moment.

Times are whole seconds since 1970 UTC. Whatever takes `now` answers from what was complete by then and from nothing else.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator

import numpy as np

from app.engine.path import MinutePath
from app.runtime.calendar import Session, TradingCalendar
from app.simulator.tape.actions import CorporateAction
from app.simulator.tape.columns import MINUTE, Columns, OneBar, Price, Source, columns_of, grouped, joined
from app.simulator.tape.paths import Paths, Window, has_extended_hours
from app.simulator.wire import asset_id

__all__ = ["Columns", "Market", "OneBar", "Price", "Source"]

_SESSIONS_BACK = 5


class Market:
    """The tape of one replay: daily bars, minutes made on demand, and the newest price at any moment.

    symbols: those that are listed; `knows` tells of others. halted: symbols that do not trade for now. extended: whether there
    are prices before and after the sessions.
    """

    def __init__(self, source: Source, calendar: TradingCalendar, sessions: list[Session], seed: int) -> None:
        self.source = source
        self.calendar = calendar
        self.seed = seed
        self.sessions = sessions
        self.symbols = tuple(sorted(source.daily))
        self.halted: set[str] = set()
        self.extended = has_extended_hours(source, sessions)
        self._opens = [int(s.opens_at.timestamp()) for s in sessions]
        self._closes = [int(s.closes_at.timestamp()) for s in sessions]
        self._paths = Paths(source, sessions, seed)
        self._ids = {asset_id(symbol): symbol for symbol in self.symbols}
        self._actions: dict[int, list[CorporateAction]] = defaultdict(list)
        days = [session.day for session in sessions]
        for action in source.actions:
            if self.knows(action.symbol) and action.ex_date >= days[0]:
                self._actions[bisect_left(days, action.ex_date)].append(action)

    # -- symbols and sessions ----------------------------------------------------------------------------------------

    def knows(self, symbol: str) -> bool:
        """Whether `symbol` is traded here. A generated market trades any symbol, also those that it does not list."""
        known = symbol in self.source.daily
        if known:
            self._ids.setdefault(asset_id(symbol), symbol)
        return known

    def named(self, name: str) -> str | None:
        """The symbol of that name or asset id."""
        symbol = name.upper()
        return symbol if self.knows(symbol) else self._ids.get(name.lower())

    def actions(self, number: int) -> list[CorporateAction]:
        """Corporate actions that take effect at the open of session `number`."""
        return self._actions.get(number, [])

    def started(self, now: int) -> int:
        """Number of the newest session that has opened by `now`; -1 before the first."""
        return bisect_right(self._opens, now) - 1

    def opens(self, number: int) -> int:
        """Opening second of session `number`."""
        return self._opens[number]

    def closes(self, number: int) -> int:
        """Closing second of session `number`."""
        return self._closes[number]

    def minutes_done(self, number: int, now: int) -> int:
        """How many minutes of session `number` are complete."""
        return max(0, min(now, self._closes[number]) - self._opens[number]) // MINUTE

    def windows(self, number: int) -> tuple[Window, ...]:
        """The hours of session `number` in which there may be prices, in time order."""
        windows = self._paths.windows(number)
        return windows if self.extended else windows[1:2]

    def begun(self, now: int) -> int:
        """Number of the newest session of which an hour with prices has begun by `now`; -1 before the first."""
        number = self.started(now)
        following = number + 1
        return following if following < len(self.sessions) and self.windows(following)[0].begin <= now else number

    # -- minutes -----------------------------------------------------------------------------------------------------

    def path(self, symbol: str, number: int) -> MinutePath | None:
        """All minutes of a session, future ones included: for matching and for answers that cut it. None without data."""
        return self._paths.path(symbol, number)

    def window_path(self, symbol: str, number: int, kind: str) -> MinutePath | None:
        """As `path`, of the hours before ("pre") or after ("post") session `number`."""
        return self._paths.path(symbol, number, kind) if self.extended else None

    def prepare(self, symbols: Iterable[str], number: int) -> None:
        """Make the paths of many symbols at once, which is faster than one by one."""
        self._paths.prepare(symbols, number)

    def minute_columns(self, symbol: str, number: int, now: int) -> Columns | None:
        """Complete minute bars of session `number` and of the hours around it; None when there are none."""
        pieces = []
        for window in self.windows(number):
            done = window.minutes_done(now)
            path = self._paths.path(symbol, number, window.kind) if done else None
            if path is None:
                continue
            index = np.flatnonzero(np.isfinite(path.close[:done]))
            if index.size:
                arrays = (a[:done] for a in path) if index.size == done else (a[index] for a in path)
                pieces.append(Columns(window.begin + index * MINUTE, *arrays))
        return joined(pieces) if pieces else None

    def session_columns(self, symbol: str, number: int, seconds: int, now: int) -> Columns | None:
        """Complete bars of `seconds` of session `number`, labelled on the round clock; None when there are none."""
        minutes = self.minute_columns(symbol, number, now)
        if minutes is None or seconds == MINUTE:
            return minutes
        made = grouped(minutes, minutes.label - minutes.label % seconds)
        complete = np.minimum(made.label + seconds, self.windows(number)[-1].end) <= now
        return Columns(*(column[complete] for column in made)) if complete.any() else None

    def last_trade(self, symbol: str, now: int) -> Price | None:
        """The newest trade known at `now`: the close of the last complete minute, else of the last complete session."""
        begun = self.begun(now)
        for number in (begun, begun - 1) if self.extended else (begun,):
            for window, path, minute in self._newest(symbol, number, now):
                at = window.begin + (minute + 1) * MINUTE - 1
                return Price(float(path.close[minute]), float(path.volume[minute]), at)
        known = self.daily_known(symbol, now)
        if not known:
            return None
        daily = self.source.daily[symbol]
        return Price(float(daily.close[known - 1]), float(daily.volume[known - 1]), int(daily.known_at[known - 1]) - 1)

    def minute_bar(self, symbol: str, now: int) -> OneBar | None:
        """The newest complete minute with a trade, looked for in the last sessions."""
        for number in range(self.begun(now), max(-1, self.begun(now) - _SESSIONS_BACK), -1):
            for window, path, minute in self._newest(symbol, number, now):
                return OneBar(window.begin + minute * MINUTE, *(float(array[minute]) for array in path))
        return None

    def _newest(self, symbol: str, number: int, now: int) -> Iterator[tuple[Window, MinutePath, int]]:
        """The windows of session `number` that have traded by `now`, newest first, with the last complete minute that did."""
        for window in reversed(self.windows(number)) if number >= 0 else ():
            done = window.minutes_done(now)
            path = self._paths.path(symbol, number, window.kind) if done else None
            minute = None if path is None else _last_traded(path, done)
            if path is not None and minute is not None:
                yield window, path, minute

    # -- days --------------------------------------------------------------------------------------------------------

    def daily_known(self, symbol: str, now: int) -> int:
        """How many daily bars of `symbol` were complete at `now`."""
        return int(np.searchsorted(self.source.daily[symbol].known_at, now, side="right"))

    def daily_bar(self, symbol: str, now: int, back: int) -> OneBar | None:
        """A complete daily bar: the newest for back 0, the one before it for back 1."""
        index, bars = self.daily_known(symbol, now) - 1 - back, self.source.daily[symbol]
        if index < 0:
            return None
        values = (bars.open, bars.high, bars.low, bars.close, bars.volume)
        return OneBar(int(bars.timestamp[index]), *(float(array[index]) for array in values))

    def daily_columns(self, symbol: str, now: int) -> Columns:
        """Complete daily bars, oldest first."""
        return columns_of(self.source.daily[symbol], self.daily_known(symbol, now))

    def running_day(self, symbol: str, now: int) -> OneBar | None:
        """The daily bar of the session in progress, from complete minutes so far; None outside a session."""
        number = self.started(now)
        done = self.minutes_done(number, now) if number >= 0 and now < self._closes[number] else 0
        path = self.path(symbol, number) if done else None
        minute = None if path is None else _last_traded(path, done)
        if path is None or minute is None:
            return None
        label = self.source.daily[symbol].timestamp
        day = int(label[np.searchsorted(label, self._opens[number], side="right") - 1])
        o, h, lo, c, v = (array[: minute + 1] for array in path)
        first = float(o[0]) if o[0] == o[0] else float(o[np.isfinite(o)][0])
        return OneBar(day, first, float(np.nanmax(h)), float(np.nanmin(lo)), float(c[-1]), float(v.sum()))


def _last_traded(path: MinutePath, done: int) -> int | None:
    """Index of the newest of the first `done` minutes that had a trade."""
    if path.close[done - 1] == path.close[done - 1]:
        return done - 1
    traded = np.flatnonzero(np.isfinite(path.close[:done]))
    return int(traded[-1]) if traded.size else None

"""The market of a backtest on bars as they are: a decision when a bar is complete, at its close; fills in later bars.

Nothing is invented between the bars, so one source of error is absent; what a bar hides (which of two prices came first) is
read pessimistically by `app.engine.matching`. Sessions come from the calendar of the venue, or are the days of a market that
never closes. Of the completed days only those before the session count for volatility, ATR and last close, as in live trading.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from typing import Any

import numpy as np

from app.backtest.days import DayFigures, daily_of, day_figures, series_of
from app.backtest.tape import Hours
from app.domain.bar import DAILY, BarSeries, Seconds, Snapshot
from app.domain.errors import InvalidInput
from app.domain.forecast import Answer
from app.domain.panel import PRICES, Panel, align
from app.engine.decision import MarketView
from app.engine.path import MinutePath

_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class ContinuousDay:
    """A UTC day of a market that never closes."""

    day: date
    opens_at: datetime
    closes_at: datetime


def continuous_days(known_at: Seconds) -> list[ContinuousDay]:
    """The UTC days in which bars were completed; one completed at midnight belongs to the day that ended."""
    days = np.unique((known_at - 1) // 86_400)
    starts = [datetime.fromtimestamp(int(day) * 86_400, UTC) for day in days]
    return [ContinuousDay(day=start.date(), opens_at=start, closes_at=start + _DAY) for start in starts]


class BarSession:
    """One session of a `BarTape`. start, stop: its bars in the panel."""

    def __init__(self, tape: BarTape, number: int, start: int, stop: int) -> None:
        self.hours: Hours = tape.all_sessions[number]
        self._tape, self._start = tape, start
        self._panel = tape.panel.slice(start, stop)
        self._figures = tape.figures.row(number)
        self._carried = tape.carried[number]

    @property
    def steps(self) -> int:
        """Number of bars."""
        return len(self._panel)

    def steps_by(self, at: datetime) -> int:
        """How many bars were complete at `at`."""
        return int(np.searchsorted(self._panel.known_at, int(at.timestamp()), side="right"))

    def ended_at(self, step: int) -> datetime:
        """When bar `step` was complete."""
        return datetime.fromtimestamp(int(self._panel.known_at[step]), UTC)

    def decisions(self, cycle_seconds: int, *, once: bool) -> list[datetime]:  # noqa: ARG002
        """The instants at which a bar was complete, whatever the cycle."""
        return [datetime.fromtimestamp(int(second), UTC) for second in np.unique(self._panel.known_at)]

    def path(self, symbol: str) -> MinutePath | None:
        """The bars of a symbol, for matching; NaN where it has none."""
        row = self._tape.row_of.get(symbol)
        if row is None:
            return None
        bars = self._panel
        return MinutePath(bars.open[row], bars.high[row], bars.low[row], bars.close[row], bars.volume[row])

    def snapshot(self, symbol: str, at: datetime) -> Snapshot:
        """The close of the newest bar known at `at`; NaN before the first."""
        row = self._tape.row_of[symbol]
        newest = int(self._newest(self.steps_by(at))[row])
        if newest < 0:
            return Snapshot(symbol=symbol, price=float("nan"), priced_at=None)
        priced_at = datetime.fromtimestamp(int(self._tape.panel.known_at[newest]), UTC)
        return Snapshot(symbol=symbol, price=float(self._tape.panel.close[row, newest]), priced_at=priced_at)

    def history(self, symbols: Sequence[str], at: datetime) -> dict[str, BarSeries]:
        """The bars known at `at`, which forecasts are made from."""
        return {symbol: self._tape.series[symbol].known_by(at) for symbol in symbols if symbol in self._tape.series}

    def view(self, symbols: Sequence[str], at: datetime, forecasts: Mapping[str, Answer]) -> MarketView:
        """The market as known at `at`."""
        rows, panel = self._tape.rows(symbols), self._tape.panel
        newest = self._newest(self.steps_by(at))[rows]
        priced = newest >= 0
        return MarketView(
            decided_at=at,
            symbols=tuple(symbols),
            price=np.where(priced, panel.close[rows, newest], np.nan),
            age_seconds=np.where(priced, at.timestamp() - panel.known_at[newest], np.nan),
            volatility=self._figures.volatility[rows],
            tradable=np.ones(len(rows)),
            forecasts=dict(forecasts),
            last_close=self._figures.last_close[rows],
            usual_volatility=self._figures.usual_volatility[rows],
            atr=self._figures.atr[rows],
        )

    def _newest(self, steps: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        """The newest bar of each symbol after `steps` bars of the session, -1 before its first."""
        return self._filled[:, steps - 1] if steps else self._carried

    @cached_property
    def _filled(self) -> np.ndarray[tuple[int, int], np.dtype[np.int64]]:
        number = np.where(np.isfinite(self._panel.close), np.arange(self._start, self._start + self.steps), -1)
        number[:, 0] = np.maximum(number[:, 0], self._carried)
        return np.maximum.accumulate(number, axis=1)


class BarTape:
    """Sessions out of bars of any timeframe, as they are.

    bars: a panel, or series by symbol. sessions: in time order, they say which bars belong together; a bar that ends in none
    of them (before the open, after the close) is left out, one that reaches over a close is complete at the close. start:
    sessions before that date are history only. days: daily bars by symbol for volatility, ATR and last close; without them
    the days are made of the bars.
    edges: the first bar of each of `all_sessions` in `panel`, and the end of the last. closes_at: of each of them, seconds.
    """

    def __init__(
        self,
        bars: Panel | Mapping[str, BarSeries],
        sessions: Sequence[Hours],
        *,
        start: date | None = None,
        days: Mapping[str, BarSeries] | None = None,
    ) -> None:
        panel = bars if isinstance(bars, Panel) else align(bars)
        opens, closes = _seconds([s.opens_at for s in sessions]), _seconds([s.closes_at for s in sessions])
        panel, edges = _in_sessions(panel, opens, closes)
        kept = np.flatnonzero(edges[1:] > edges[:-1])
        if not len(kept):
            raise InvalidInput("no bar lies in a session; check the bars' time zone and the calendar", code="too_few_bars")
        self.panel = panel
        self.all_sessions = tuple(sessions[int(i)] for i in kept)
        self.closes_at = closes[kept]
        self._first = next((i for i, s in enumerate(self.all_sessions) if start is None or s.day >= start), None)
        if self._first is None:
            raise InvalidInput(f"the bars end on {self.all_sessions[-1].day}, before {start}", code="too_few_bars")
        self.sessions = self.all_sessions[self._first :]
        self.edges = np.append(edges[:-1][kept], edges[-1])
        self.row_of = {symbol: row for row, symbol in enumerate(panel.symbols)}
        known = days or (series_of(panel) if panel.timeframe == DAILY else daily_of(panel, self.edges, closes[kept]))
        self.figures: DayFigures = day_figures(panel.symbols, known, opens[kept])
        self._asked: tuple[Sequence[str], np.ndarray[tuple[int], np.dtype[np.int64]]] = ((), np.empty(0, dtype=np.int64))

    @property
    def symbols(self) -> tuple[str, ...]:
        """All symbols with bars."""
        return self.panel.symbols

    @property
    def first(self) -> int:
        """Number of the first traded session among all."""
        return self._first or 0

    def session(self, number: int) -> BarSession:
        """Session `number` of `sessions`."""
        at = self.first + number
        return BarSession(self, at, int(self.edges[at]), int(self.edges[at + 1]))

    def bars_of(self, number: int) -> tuple[int, int]:
        """The bars start <= i < stop of session `number` of `sessions`, in the panel."""
        at = self.first + number
        return int(self.edges[at]), int(self.edges[at + 1])

    def rows(self, symbols: Sequence[str]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        """The panel's row of each symbol."""
        if symbols is not self._asked[0]:
            missing = [symbol for symbol in symbols if symbol not in self.row_of]
            if missing:
                raise InvalidInput(f"the tape has no bars of {', '.join(missing[:8])}", code="unknown_symbol", symbols=missing)
            self._asked = (symbols, np.array([self.row_of[symbol] for symbol in symbols], dtype=np.int64))
        return self._asked[1]

    @cached_property
    def series(self) -> dict[str, BarSeries]:
        """The bars of each symbol, without its gaps."""
        return series_of(self.panel)

    @cached_property
    def carried(self) -> np.ndarray[tuple[int, int], np.dtype[np.int64]]:
        """The newest bar of each symbol before each session, -1 for none; shape (n_sessions, n_symbols)."""
        newest = np.full((len(self.all_sessions), len(self.symbols)), -1, dtype=np.int64)
        for number in range(1, len(self.all_sessions)):
            start, stop = self.edges[number - 1], self.edges[number]
            traded = np.isfinite(self.panel.close[:, start:stop])
            last = stop - 1 - np.argmax(traded[:, ::-1], axis=1)
            newest[number] = np.where(traded.any(axis=1), last, newest[number - 1])
        return newest


def _in_sessions(panel: Panel, opens: Seconds, closes: Seconds) -> tuple[Panel, Seconds]:
    """The bars that lie in a session, and the first one of each session with the end of the last behind."""
    starts, known = panel.timestamp, panel.known_at
    # A daily bar's label lies before the session it tells of: its end says where it belongs.
    number = np.searchsorted(closes, np.minimum(known, _close_after(starts, opens, closes)) if len(closes) else known)
    inside = number < len(closes)
    number = np.where(inside, number, 0)
    known = np.minimum(known, closes[number])
    inside &= known > opens[number]
    panel = panel if inside.all() else _kept(panel, inside)
    return replace(panel, known_at=known[inside]), np.searchsorted(number[inside], np.arange(len(closes) + 1))


def _close_after(starts: Seconds, opens: Seconds, closes: Seconds) -> Seconds:
    """The close of the session in which each bar started; far away for one that started in none."""
    number = np.searchsorted(opens, starts, side="right") - 1
    within = (number >= 0) & (starts < closes[number])
    return np.where(within, closes[number], np.iinfo(np.int64).max)


def _kept(panel: Panel, mask: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> Panel:
    columns: dict[str, Any] = {name: getattr(panel, name)[:, mask] for name in PRICES}
    return replace(panel, timestamp=panel.timestamp[mask], known_at=panel.known_at[mask], **columns)


def _seconds(instants: Sequence[datetime]) -> Seconds:
    return np.array([int(instant.timestamp()) for instant in instants], dtype=np.int64)

"""Bars from Parquet or CSV files in long form: one row per symbol and bar."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import numpy.typing as npt

from app.domain.bar import DAILY, BarSeries, Seconds
from app.domain.errors import InvalidInput
from app.marketdata.columns import NO_TIME, SHAPE, Rows, read_rows
from app.runtime.calendar import TradingCalendar, midnight_new_york, new_york_calendar

_DAY = 86_400
_SECONDS_OF = {60: "1Min", 300: "5Min", 900: "15Min", 1800: "30Min", 3600: "1Hour", _DAY: DAILY}
_STRAY_BARS = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class BarFile:
    """What a file held. bars: by symbol, in time order. dropped: rows left out, by reason."""

    bars: dict[str, BarSeries]
    timeframe: str
    dropped: dict[str, int]


def load_bars(
    path: Path, *, symbols: tuple[str, ...] = (), calendar: TradingCalendar | None = None, partly: bool = False
) -> BarFile:
    """Read `path` (.parquet, .csv or .csv.gz). symbols: only these, all when empty; those the file lacks are absent.

    Rows with prices that are missing, not above zero or contradictory, and rows said twice, are dropped and counted.
    Intraday timestamps are the bar's start in UTC unless they carry an offset. Raises InvalidInput when nothing usable is left;
    partly: a file that holds none of `symbols` is empty instead.
    """
    rows, dropped = _clean(read_rows(path))
    if symbols:
        usable = len(rows.seconds)
        wanted = np.array([name in set(symbols) for name in rows.names])
        rows = rows.keep(wanted[rows.symbol])
        if partly and usable and not len(rows.seconds):
            return BarFile(bars={}, timeframe="", dropped=dropped)
    if not len(rows.seconds):
        reasons = ", ".join(f"{count} {reason}" for reason, count in dropped.items()) or "no row of the wanted symbols"
        raise InvalidInput(f"{path.name} holds no usable bar ({reasons}); {SHAPE}")
    step = _step(rows)
    bars = _daily(rows, calendar or new_york_calendar()) if step == _DAY else _intraday(rows, step)
    return BarFile(bars=bars, timeframe=_SECONDS_OF[step], dropped=dropped)


def _clean(rows: Rows) -> tuple[Rows, dict[str, int]]:
    """Rows that can be traded on, in (symbol, time) order, and how many were left out and why."""
    dropped: Counter[str] = Counter()

    def drop(rows: Rows, bad: npt.NDArray[np.bool_], reason: str) -> Rows:
        count = int(bad.sum())
        if count:
            dropped[reason] += count
            rows = rows.keep(~bad)
        return rows

    rows = drop(rows, np.array([name == "" for name in rows.names])[rows.symbol], "without a symbol")
    rows = drop(rows, rows.seconds == NO_TIME, "without a readable time")
    rows = drop(rows, ~np.all(np.isfinite(rows.values), axis=0, keepdims=False), "with a missing number")
    rows = drop(
        rows, (rows.values[:4] <= 0).any(axis=0) | (rows.values[4] < 0), "with a price not above zero or a negative volume"
    )
    o, h, lo, c = rows.values[:4]
    rows = drop(rows, (h < lo) | (np.maximum(o, c) > h) | (np.minimum(o, c) < lo), "with open or close outside low..high")
    step = np.diff(rows.symbol)
    if (step < 0).any() or (np.diff(rows.seconds)[step == 0] < 0).any():
        rows = rows.keep(np.lexsort((rows.seconds, rows.symbol)))
    same = np.zeros(len(rows.seconds), dtype=bool)
    same[1:] = (rows.seconds[1:] == rows.seconds[:-1]) & (rows.symbol[1:] == rows.symbol[:-1])
    return drop(rows, same, "given twice"), dict(dropped)


def _step(rows: Rows) -> int:
    """Length of a bar: a day when labels are midnights, else the commonest distance within a symbol. Where many bars are nearer
    to each other than that (thin minute bars), the longest known length that divides all distances."""
    if not (rows.seconds % _DAY).any():
        return _DAY
    gaps = np.diff(rows.seconds)[rows.symbol[1:] == rows.symbol[:-1]]
    gaps = gaps[gaps < _DAY]
    common = int(np.bincount(gaps).argmax()) if len(gaps) else _DAY
    if common in _SECONDS_OF and np.count_nonzero(gaps < common) <= len(gaps) * _STRAY_BARS:
        return common
    fitting = [step for step in _SECONDS_OF if len(gaps) and step < _DAY and np.gcd.reduce(gaps) % step == 0]
    if fitting:
        return max(fitting)
    raise InvalidInput(f"bars are {common} seconds apart; supported are {', '.join(_SECONDS_OF.values())}")


def _daily(rows: Rows, calendar: TradingCalendar) -> dict[str, BarSeries]:
    # Midnight UTC is a label for the session of that date; other labels (04:00Z, 05:00Z) are midnights in New York.
    numbers, inverse = np.unique(rows.seconds // _DAY, return_inverse=True)
    days = [date.fromordinal(date(1970, 1, 1).toordinal() + int(n)) for n in numbers]
    label = np.array([int(midnight_new_york(day).timestamp()) for day in days], dtype=np.int64)[inverse]
    known = calendar.known_at(days)[inverse]
    return _split(rows, DAILY, label, known)


def _intraday(rows: Rows, step: int) -> dict[str, BarSeries]:
    return _split(rows, _SECONDS_OF[step], rows.seconds, rows.seconds + step)


def _split(rows: Rows, timeframe: str, label: Seconds, known: Seconds) -> dict[str, BarSeries]:
    numbers, starts = np.unique(rows.symbol, return_index=True)
    ends = np.append(starts[1:], len(rows.symbol))
    series = {}
    for number, start, end in zip(numbers, starts, ends, strict=True):
        part = slice(int(start), int(end))
        o, h, lo, c, v = (np.ascontiguousarray(column[part]) for column in rows.values)
        name = rows.names[int(number)]
        series[name] = BarSeries(
            symbol=name,
            timeframe=timeframe,
            timestamp=label[part],
            known_at=known[part],
            open=o,
            high=h,
            low=lo,
            close=c,
            volume=v,
        )
    return series

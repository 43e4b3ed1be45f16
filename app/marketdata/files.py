"""Bars from Parquet or CSV files in long form: one row per symbol and bar."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from app.domain.bar import DAILY, BarSeries, Floats, Seconds
from app.domain.errors import InvalidInput
from app.runtime.calendar import TradingCalendar, midnight_new_york, new_york_calendar

if TYPE_CHECKING:
    import pyarrow as pa

COLUMNS = ("symbol", "timestamp", "open", "high", "low", "close", "volume")
_DAY = 86_400
_SECONDS_OF = {60: "1Min", 300: "5Min", 900: "15Min", 1800: "30Min", 3600: "1Hour", _DAY: DAILY}
_STRAY_BARS = 0.01
_SHAPE = f"expected one row per symbol and bar with the columns {', '.join(COLUMNS)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class BarFile:
    """What a file held. bars: by symbol, in time order. dropped: rows left out, by reason."""

    bars: dict[str, BarSeries]
    timeframe: str
    dropped: dict[str, int]


@dataclass(frozen=True, slots=True)
class _Rows:
    """Columns of shape (n_rows,): symbol numbers into `names`, seconds, and (5, n_rows) open, high, low, close, volume."""

    names: list[str]
    symbol: npt.NDArray[np.int64]
    seconds: Seconds
    values: Floats

    def keep(self, mask: npt.NDArray[Any]) -> _Rows:
        return _Rows(self.names, self.symbol[mask], self.seconds[mask], self.values[:, mask])


def load_bars(
    path: Path, *, symbols: tuple[str, ...] = (), calendar: TradingCalendar | None = None, partly: bool = False
) -> BarFile:
    """Read `path` (.parquet, .csv or .csv.gz). symbols: only these, all when empty; those the file lacks are absent.

    Rows with prices that are missing, not above zero or contradictory, and rows said twice, are dropped and counted.
    Intraday timestamps are the bar's start in UTC unless they carry an offset. Raises InvalidInput when nothing usable is left;
    partly: a file that holds none of `symbols` is empty instead.
    """
    table = _read(path)
    rows, dropped = _clean(_columns(table, path))
    if symbols:
        usable = len(rows.seconds)
        wanted = np.array([name in set(symbols) for name in rows.names])
        rows = rows.keep(wanted[rows.symbol])
        if partly and usable and not len(rows.seconds):
            return BarFile(bars={}, timeframe="", dropped=dropped)
    if not len(rows.seconds):
        reasons = ", ".join(f"{count} {reason}" for reason, count in dropped.items()) or "no row of the wanted symbols"
        raise InvalidInput(f"{path.name} holds no usable bar ({reasons}); {_SHAPE}")
    step = _step(rows)
    bars = _daily(rows, calendar or new_york_calendar()) if step == _DAY else _intraday(rows, step)
    return BarFile(bars=bars, timeframe=_SECONDS_OF[step], dropped=dropped)


def _read(path: Path) -> pa.Table:
    import pyarrow as pa
    from pyarrow import csv, parquet

    if not path.is_file():
        raise InvalidInput(f"there is no file {path}; give the path of a Parquet or CSV file of bars")
    try:
        if path.suffix == ".parquet":
            found = set(parquet.read_schema(path).names)
            return parquet.read_table(path, columns=[c for c in COLUMNS if c in found], use_threads=False)
        if path.name.endswith((".csv", ".csv.gz")):
            # Text first: one bad cell must cost its row, not the file.
            types = dict.fromkeys(COLUMNS, pa.string())
            return csv.read_csv(path, convert_options=csv.ConvertOptions(column_types=types))
    except (pa.ArrowException, OSError, UnicodeDecodeError) as fault:
        raise InvalidInput(f"{path.name} cannot be read: {fault}") from fault
    raise InvalidInput(f"{path.name} is neither .parquet nor .csv; convert it to one of them: {_SHAPE}")


def _columns(table: pa.Table, path: Path) -> _Rows:
    missing = [name for name in COLUMNS if name not in table.column_names]
    if missing:
        raise InvalidInput(f"{path.name} lacks {', '.join(missing)}; {_SHAPE}. It has {', '.join(table.column_names)}")
    symbols = table["symbol"].combine_chunks().dictionary_encode() if table.num_rows else None
    if symbols is None:
        raise InvalidInput(f"{path.name} has no rows; {_SHAPE}")
    names = ["" if name is None else str(name).strip().upper() for name in symbols.dictionary.to_pylist()]
    codes = symbols.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    names.append("")
    unique = sorted(set(names))
    number = np.array([unique.index(name) for name in names])
    values = np.stack([_floats(table[name]) for name in COLUMNS[2:]])
    return _Rows(unique, number[codes], _seconds(table["timestamp"], path), values)


def _floats(column: pa.ChunkedArray) -> Floats:
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        text = pc.utf8_trim_whitespace(column)
        numeric = pc.match_substring_regex(text, r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$")
        column = pc.if_else(numeric, text, None)
    try:
        numbers = column.cast(pa.float64()).to_numpy()
    except pa.ArrowException as fault:
        raise InvalidInput(f"a price or volume column is of type {column.type}, not numbers: {fault}") from fault
    return np.asarray(numbers, dtype=np.float64)


_NO_TIME = np.iinfo(np.int64).min


def _seconds(column: pa.ChunkedArray, path: Path) -> Seconds:
    """Seconds since 1970 UTC; `_NO_TIME` where a cell is no time."""
    import pyarrow as pa

    kind = column.type
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        whole = column.cast(pa.timestamp("us")).cast(pa.int64()).fill_null(_NO_TIME).to_numpy()
        return np.where(whole == _NO_TIME, _NO_TIME, np.floor_divide(whole, 1_000_000)).astype(np.int64)
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        raise InvalidInput(f"{path.name}: the column timestamp is {kind}; give times such as 2024-01-02T14:30:00Z or dates")
    return np.array([_parse_time(text) for text in column.to_pylist()], dtype=np.int64)


def _parse_time(text: str | None) -> int:
    from datetime import UTC, datetime

    try:
        moment = datetime.fromisoformat((text or "").strip())
    except ValueError:
        return _NO_TIME
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())


def _clean(rows: _Rows) -> tuple[_Rows, dict[str, int]]:
    """Rows that can be traded on, in (symbol, time) order, and how many were left out and why."""
    dropped: Counter[str] = Counter()

    def drop(rows: _Rows, bad: npt.NDArray[np.bool_], reason: str) -> _Rows:
        count = int(bad.sum())
        if count:
            dropped[reason] += count
            rows = rows.keep(~bad)
        return rows

    rows = drop(rows, np.array([name == "" for name in rows.names])[rows.symbol], "without a symbol")
    rows = drop(rows, rows.seconds == _NO_TIME, "without a readable time")
    rows = drop(rows, ~np.all(np.isfinite(rows.values), axis=0, keepdims=False), "with a missing number")
    rows = drop(
        rows, (rows.values[:4] <= 0).any(axis=0) | (rows.values[4] < 0), "with a price not above zero or a negative volume"
    )
    o, h, lo, c = rows.values[:4]
    rows = drop(rows, (h < lo) | (np.maximum(o, c) > h) | (np.minimum(o, c) < lo), "with open or close outside low..high")
    rows = rows.keep(np.lexsort((rows.seconds, rows.symbol)))
    same = np.zeros(len(rows.seconds), dtype=bool)
    same[1:] = (rows.seconds[1:] == rows.seconds[:-1]) & (rows.symbol[1:] == rows.symbol[:-1])
    return drop(rows, same, "given twice"), dict(dropped)


def _step(rows: _Rows) -> int:
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


def _daily(rows: _Rows, calendar: TradingCalendar) -> dict[str, BarSeries]:
    # Midnight UTC is a label for the session of that date; other labels (04:00Z, 05:00Z) are midnights in New York.
    numbers, inverse = np.unique(rows.seconds // _DAY, return_inverse=True)
    days = [date.fromordinal(date(1970, 1, 1).toordinal() + int(n)) for n in numbers]
    label = np.array([int(midnight_new_york(day).timestamp()) for day in days], dtype=np.int64)[inverse]
    known = calendar.known_at(days)[inverse]
    return _split(rows, DAILY, label, known)


def _intraday(rows: _Rows, step: int) -> dict[str, BarSeries]:
    return _split(rows, _SECONDS_OF[step], rows.seconds, rows.seconds + step)


def _split(rows: _Rows, timeframe: str, label: Seconds, known: Seconds) -> dict[str, BarSeries]:
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

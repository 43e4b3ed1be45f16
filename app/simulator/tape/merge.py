"""Several series of one symbol as one: where they cover the same day, the finer bars count."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from app.domain.bar import BarSeries

_ARRAYS = ("timestamp", "known_at", "open", "high", "low", "close", "volume")
_DAY = 86_400


def finest(parts: Sequence[BarSeries]) -> BarSeries:
    """Intraday series as one. Of each New York trading day the finest series that has bars in it,
    among equal ones the first given."""
    if len(parts) == 1:
        return parts[0]
    ordered = sorted(parts, key=lambda part: int(part.known_at[0] - part.timestamp[0]))
    kept, covered = [ordered[0]], np.unique(_day_of(ordered[0]))
    for part in ordered[1:]:
        days = _day_of(part)
        kept.append(_pick(part, ~np.isin(days, covered)))
        covered = np.union1d(covered, days)
    return _joined(kept)


def with_daily(made: Mapping[str, BarSeries], daily: Mapping[str, BarSeries]) -> dict[str, BarSeries]:
    """Daily bars made of intraday ones, and those of a daily file for the sessions without; symbols without any are absent."""
    merged = dict(daily)
    for symbol, part in made.items():
        given = daily.get(symbol)
        if given is None:
            merged[symbol] = part
        else:
            merged[symbol] = _joined([part, _pick(given, ~np.isin(given.timestamp, part.timestamp))])
    return {symbol: part for symbol, part in merged.items() if len(part)}


def _day_of(part: BarSeries) -> np.ndarray:
    # New York's trading hours end at 01:00 UTC of the next date at the latest.
    return (part.timestamp - 3 * 3600) // _DAY


def _pick(part: BarSeries, rows: np.ndarray) -> BarSeries:
    return _rebuilt(part, {name: getattr(part, name)[rows] for name in _ARRAYS})


def _joined(parts: Sequence[BarSeries]) -> BarSeries:
    columns = {name: np.concatenate([getattr(part, name) for part in parts]) for name in _ARRAYS}
    order = np.argsort(columns["timestamp"], kind="stable")
    return _rebuilt(parts[0], {name: column[order] for name, column in columns.items()})


def _rebuilt(part: BarSeries, columns: dict[str, np.ndarray]) -> BarSeries:
    return BarSeries(symbol=part.symbol, timeframe=part.timeframe, **columns)

"""Bars and latest prices from Alpaca's market data API (or any server that speaks it)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

import numpy as np

from app.brokers.alpaca_wire import AlpacaWire, harden, instant
from app.domain.bar import DAILY, BarSeries, Snapshot
from app.domain.errors import InvalidInput
from app.runtime import metrics
from app.runtime.calendar import NEW_YORK, TradingCalendar

_MINUTES = {"1Min": 1, "5Min": 5, "15Min": 15, "30Min": 30, "1Hour": 60}
TIMEFRAMES = (*_MINUTES, DAILY)


class AlpacaData:
    """Implements `domain.ports.MarketData`."""

    def __init__(
        self,
        *,
        key: str,
        secret: str,
        url: str,
        feed: str,
        timeout_seconds: float,
        wire: AlpacaWire,
        calendar: Callable[[], TradingCalendar],
    ) -> None:
        from alpaca.data.historical import StockHistoricalDataClient

        self._client = StockHistoricalDataClient(key, secret, raw_data=True, url_override=url)
        harden(self._client, timeout_seconds)
        self._feed = feed
        self._wire = wire
        self._calendar = calendar

    def daily_bars(self, symbols: Sequence[str], *, start: datetime, end: datetime) -> dict[str, BarSeries]:
        """Daily bars from `start` that were complete by `end`, split-adjusted; symbols without data are absent."""
        rows = self._bars(list(symbols), DAILY, start=start, end=end)
        calendar = self._calendar()
        series = {symbol: _daily_series(symbol, bars, calendar) for symbol, bars in rows.items() if bars}
        return {symbol: bars.known_by(end) for symbol, bars in series.items()}

    def bars(self, symbols: Sequence[str], *, timeframe: str, start: datetime, end: datetime) -> dict[str, BarSeries]:
        """Bars of any timeframe from `start` that were complete by `end`, all in one listing; symbols without are absent."""
        if timeframe == DAILY:
            return self.daily_bars(symbols, start=start, end=end)
        rows = self._bars(list(symbols), _known(timeframe), start=start, end=end)
        return {symbol: _intraday_series(symbol, bars, timeframe).known_by(end) for symbol, bars in rows.items() if bars}

    def recent_bars(self, symbol: str, *, timeframe: str, limit: int, end: datetime) -> BarSeries:
        """The newest `limit` bars of one symbol complete by `end`."""
        minutes = _MINUTES.get(_known(timeframe), 390)
        sessions = -(-limit * minutes // 390) + 5
        start = end - timedelta(days=sessions * 7 / 5 + 7)
        rows = self._bars([symbol], timeframe, start=start, end=end).get(symbol, [])
        series = (
            _daily_series(symbol, rows, self._calendar()) if timeframe == DAILY else _intraday_series(symbol, rows, timeframe)
        )
        return series.known_by(end).last(limit)

    def snapshots(self, symbols: Sequence[str]) -> dict[str, Snapshot]:
        """Newest price per symbol in one call; symbols without data are absent."""
        from alpaca.data.requests import StockSnapshotRequest

        request = StockSnapshotRequest(symbol_or_symbols=list(symbols), feed=self._feed)
        raw: dict[str, Any] = self._wire.read("snapshots", lambda: dict(self._client.get_stock_snapshot(request)))
        return {symbol: _snapshot(symbol, row) for symbol, row in raw.items() if row}

    def _bars(self, symbols: list[str], timeframe: str, *, start: datetime, end: datetime) -> dict[str, list[dict[str, Any]]]:
        from alpaca.data.requests import StockBarsRequest
        from alpaca.data.timeframe import TimeFrame, TimeFrameUnit

        amount = TimeFrame(1, TimeFrameUnit.Day) if timeframe == DAILY else TimeFrame(_MINUTES[timeframe], TimeFrameUnit.Minute)
        if timeframe == "1Hour":
            amount = TimeFrame(1, TimeFrameUnit.Hour)
        request = StockBarsRequest(
            symbol_or_symbols=symbols, timeframe=amount, start=start, end=end, adjustment="split", feed=self._feed
        )
        answer: dict[str, list[dict[str, Any]]] = self._wire.read("bars", lambda: dict(self._client.get_stock_bars(request)))
        metrics.observe_bars(timeframe, sum(len(rows or ()) for rows in answer.values()))
        return answer


def _known(timeframe: str) -> str:
    if timeframe not in TIMEFRAMES:
        raise InvalidInput(f"timeframe must be one of {', '.join(TIMEFRAMES)}, not {timeframe}")
    return timeframe


def _daily_series(symbol: str, rows: list[dict[str, Any]], calendar: TradingCalendar) -> BarSeries:
    labels = [instant(row["t"]) for row in rows]
    known_at = calendar.known_at([label.astimezone(NEW_YORK).date() for label in labels])
    return _series(symbol, DAILY, labels, known_at, rows)


def _intraday_series(symbol: str, rows: list[dict[str, Any]], timeframe: str) -> BarSeries:
    labels = [instant(row["t"]) for row in rows]
    ends = np.array([int(label.timestamp()) + _MINUTES[timeframe] * 60 for label in labels], dtype=np.int64)
    return _series(symbol, timeframe, labels, ends, rows)


def _series(symbol: str, timeframe: str, labels: list[datetime], known_at: Any, rows: list[dict[str, Any]]) -> BarSeries:
    # In time order, and of a bar told twice the later telling.
    told = np.array([int(label.timestamp()) for label in labels], dtype=np.int64)
    timestamp, last = np.unique(told[::-1], return_index=True)
    order = len(told) - 1 - last

    def column(name: str) -> Any:
        return np.array([row[name] for row in rows], dtype=np.float64)[order]

    return BarSeries(
        symbol=symbol,
        timeframe=timeframe,
        timestamp=timestamp,
        known_at=known_at[order],
        open=column("o"),
        high=column("h"),
        low=column("l"),
        close=column("c"),
        volume=column("v"),
    )


def _snapshot(symbol: str, row: dict[str, Any]) -> Snapshot:
    trade = row.get("latestTrade") or {}
    price, at = trade.get("p"), trade.get("t")
    if not isinstance(price, (int, float)) or not isinstance(at, str):
        return Snapshot(symbol=symbol, price=float("nan"), priced_at=None)
    return Snapshot(symbol=symbol, price=float(price), priced_at=instant(at))

"""Bars and latest prices from Alpaca's market data API (or any server that speaks it)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import numpy as np

from app.brokers.alpaca_wire import AlpacaWire, harden, instant
from app.domain.bar import DAILY, BarSeries, Seconds, Snapshot, no_bars
from app.domain.errors import InvalidInput, TryAgain
from app.runtime import metrics
from app.runtime.calendar import NEW_YORK, TradingCalendar

Rows = list[dict[str, Any]]

_PAGE = 10_000
# Of the list of symbols in one address, as it is written there; common servers refuse addresses beyond eight thousand.
_LONGEST_LIST = 7_000
_SEPARATOR = "%2C"
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
        rows = self._bars(symbols, DAILY, start=start, end=end)
        calendar = self._calendar()
        times = _Times(lambda labels: calendar.known_at([label.astimezone(NEW_YORK).date() for label in labels]))
        return {symbol: _series(symbol, DAILY, bars, times).known_by(end) for symbol, bars in rows.items()}

    def bars(self, symbols: Sequence[str], *, timeframe: str, start: datetime, end: datetime) -> dict[str, BarSeries]:
        """Bars of any timeframe from `start` that were complete by `end`, all in one listing; symbols without are absent."""
        if timeframe == DAILY:
            return self.daily_bars(symbols, start=start, end=end)
        rows = self._bars(symbols, _known(timeframe), start=start, end=end)
        times = _Times(_ends(timeframe))
        return {symbol: _series(symbol, timeframe, bars, times).known_by(end) for symbol, bars in rows.items()}

    def recent_bars(self, symbol: str, *, timeframe: str, limit: int, end: datetime) -> BarSeries:
        """The newest `limit` bars of one symbol complete by `end`."""
        minutes = _MINUTES.get(_known(timeframe), 390)
        sessions = -(-limit * minutes // 390) + 5
        start = end - timedelta(days=sessions * 7 / 5 + 7)
        series = self.bars([symbol], timeframe=timeframe, start=start, end=end).get(symbol, no_bars(symbol, timeframe))
        return series.last(limit)

    def snapshots(self, symbols: Sequence[str]) -> dict[str, Snapshot]:
        """Newest price per symbol, a call for each `_LONGEST_LIST` of them; symbols without data are absent."""
        from alpaca.data.requests import StockSnapshotRequest

        found: dict[str, Snapshot] = {}
        for part in _parts(symbols):
            request = StockSnapshotRequest(symbol_or_symbols=part, feed=self._feed)
            raw = self._wire.read("snapshots", partial(self._snapshot_page, request))
            found |= {symbol: _snapshot(symbol, row) for symbol, row in raw.items() if row}
        return found

    def _bars(self, symbols: Sequence[str], timeframe: str, *, start: datetime, end: datetime) -> dict[str, Rows]:
        from alpaca.data.requests import StockBarsRequest
        from alpaca.data.timeframe import TimeFrame, TimeFrameUnit

        amount = TimeFrame(1, TimeFrameUnit.Day) if timeframe == DAILY else TimeFrame(_MINUTES[timeframe], TimeFrameUnit.Minute)
        if timeframe == "1Hour":
            amount = TimeFrame(1, TimeFrameUnit.Hour)
        found: dict[str, Rows] = {}
        for part in _parts(symbols):
            request = StockBarsRequest(
                symbol_or_symbols=part, timeframe=amount, start=start, end=end, adjustment="split", feed=self._feed
            )
            for page in self._bar_pages(request.to_request_fields() | {"limit": _PAGE}):
                for symbol, rows in page.items():
                    found.setdefault(symbol, []).extend(rows)
        metrics.observe_bars(timeframe, sum(map(len, found.values())))
        return {symbol: rows for symbol, rows in found.items() if rows}

    def _bar_pages(self, query: dict[str, Any]) -> Iterator[dict[str, Rows]]:
        """Each page a call of its own, so that all count against the request budget."""
        token: str | None = None
        while True:
            page, following = self._wire.read("bars", partial(self._bar_page, query | {"page_token": token}))
            yield page
            if following is None:
                return
            if following == token:
                raise TryAgain("the venue's pages of bars repeat", code="venue_answer_unreadable")
            token = following

    def _bar_page(self, query: dict[str, Any]) -> tuple[dict[str, Rows], str | None]:
        answer: Any = self._client.get("/stocks/bars", query)
        return dict(answer["bars"] or {}), answer.get("next_page_token") or None

    def _snapshot_page(self, request: Any) -> dict[str, Any]:
        return dict(self._client.get_stock_snapshot(request))


class _Times:
    """When bars began and were complete, read once for all symbols that have the same ones.

    ends: from the labels of bars to when they were complete, seconds since 1970 UTC."""

    def __init__(self, ends: Callable[[list[datetime]], Seconds]) -> None:
        self._ends = ends
        self._read: dict[tuple[str, ...], tuple[Seconds, Seconds, Any]] = {}

    def of(self, rows: Rows) -> tuple[Seconds, Seconds, Any]:
        """(timestamp, known_at, which rows in which order): in time order, and of a bar told twice the later telling."""
        labels = tuple([row["t"] for row in rows])
        found = self._read.get(labels)
        if found is None:
            found = self._read[labels] = self._ordered([instant(label) for label in labels])
        return found

    def _ordered(self, labels: list[datetime]) -> tuple[Seconds, Seconds, Any]:
        told = np.array([int(label.timestamp()) for label in labels], dtype=np.int64)
        timestamp, last = np.unique(told[::-1], return_index=True)
        order = len(told) - 1 - last
        return timestamp, self._ends(labels)[order], order


def _ends(timeframe: str) -> Callable[[list[datetime]], Seconds]:
    seconds = _MINUTES[timeframe] * 60
    return lambda labels: np.array([int(label.timestamp()) + seconds for label in labels], dtype=np.int64)


def _parts(symbols: Sequence[str]) -> list[list[str]]:
    """The symbols in lists short enough for one address."""
    parts: list[list[str]] = []
    length = 0
    for symbol in symbols:
        length += len(symbol) + len(_SEPARATOR)
        if not parts or length > _LONGEST_LIST:
            parts.append([])
            length = len(symbol) + len(_SEPARATOR)
        parts[-1].append(symbol)
    return parts


def _known(timeframe: str) -> str:
    if timeframe not in TIMEFRAMES:
        raise InvalidInput(f"timeframe must be one of {', '.join(TIMEFRAMES)}, not {timeframe}")
    return timeframe


def _series(symbol: str, timeframe: str, rows: Rows, times: _Times) -> BarSeries:
    timestamp, known_at, order = times.of(rows)

    def column(name: str) -> Any:
        return np.array([row[name] for row in rows], dtype=np.float64)[order]

    return BarSeries(
        symbol=symbol,
        timeframe=timeframe,
        timestamp=timestamp,
        known_at=known_at,
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

"""Bars and prices of many symbols: lists that fit into an address, and pages that are calls of their own."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from app.brokers.alpaca_data import AlpacaData
from app.brokers.alpaca_wire import AlpacaWire
from app.brokers.rate_limit import TokenBucket
from app.domain.errors import TryAgain
from app.runtime.calendar import new_york_calendar

END = datetime(2024, 3, 7, 15, tzinfo=UTC)
LABELS = ("2024-03-04T05:00:00Z", "2024-03-05T05:00:00Z", "2024-03-06T05:00:00Z", "2024-03-07T05:00:00Z")


class DataVenue:
    """Two bars a page, in the order of the symbols asked for; four days of each symbol."""

    def __init__(self) -> None:
        self.addresses: list[str] = []
        self.stuck = False
        venue = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                venue.addresses.append(self.path)
                asked = urlsplit(self.path)
                body = json.dumps(venue.answer(asked.path, {k: v[0] for k, v in parse_qs(asked.query).items()})).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def answer(self, path: str, query: dict[str, str]) -> Any:
        symbols = query["symbols"].split(",")
        if path.endswith("/snapshots"):
            return {symbol: {"latestTrade": {"t": "2024-03-07T14:59:00Z", "p": 1.0 + len(symbol)}} for symbol in symbols}
        assert query["limit"] == "10000"
        rows = [(symbol, day) for symbol in symbols for day in range(len(LABELS))]
        begin = 0 if self.stuck else int(query.get("page_token", 0))
        size = len(rows) // 3 + 1
        bars: dict[str, list[dict[str, object]]] = {}
        for symbol, day in rows[begin : begin + size]:
            close = 10.0 + day
            bars.setdefault(symbol, []).append({"t": LABELS[day], "o": 10, "h": close + 1, "l": 9, "c": close, "v": 5})
        more = begin + size < len(rows)
        return {"bars": bars, "next_page_token": str(begin + size) if more else None}


@pytest.fixture
def venue() -> Iterator[DataVenue]:
    served = DataVenue()
    yield served
    served.server.shutdown()
    served.server.server_close()


def data_of(venue: DataVenue) -> tuple[AlpacaData, AlpacaWire]:
    wire = AlpacaWire(TokenBucket(6_000))
    data = AlpacaData(key="k", secret="s", url=venue.url, feed="iex", timeout_seconds=5, wire=wire, calendar=new_york_calendar)
    return data, wire


def test_bars_of_many_symbols_come_whole_whatever_the_pages_and_lists(venue: DataVenue) -> None:
    data, wire = data_of(venue)
    symbols = [f"S{number:05d}" for number in range(1_700)]
    found = data.daily_bars(symbols, start=END - timedelta(days=7), end=END)
    assert list(found) == symbols
    for series in found.values():  # the fourth day is not over yet
        assert series.close.tolist() == [10.0, 11.0, 12.0] and series.high.tolist() == [11.0, 12.0, 13.0]
        assert [datetime.fromtimestamp(at, UTC).isoformat()[:10] for at in series.known_at] == [
            text[:10] for text in LABELS[:3]
        ]
    assert max(map(len, venue.addresses)) < 8_000  # what common servers take
    assert wire.calls == len(venue.addresses) == 9  # three lists in three pages, each within the budget


def test_prices_of_many_symbols_come_in_lists_that_fit_an_address(venue: DataVenue) -> None:
    data, wire = data_of(venue)
    symbols = [f"S{number:05d}" for number in range(1_700)]
    assert {symbol: one.price for symbol, one in data.snapshots(symbols).items()} == dict.fromkeys(symbols, 7.0)
    assert max(map(len, venue.addresses)) < 8_000 and wire.calls == len(venue.addresses) == 3
    data.snapshots(symbols[:32])
    assert wire.calls == 4


def test_pages_that_repeat_end_the_listing(venue: DataVenue) -> None:
    data, _ = data_of(venue)
    venue.stuck = True
    with pytest.raises(TryAgain, match="repeat"):
        data.daily_bars(["A", "B"], start=END - timedelta(days=7), end=END)


def test_an_answer_without_bars_is_unreadable(venue: DataVenue, monkeypatch: pytest.MonkeyPatch) -> None:
    data, _ = data_of(venue)
    monkeypatch.setattr(venue, "answer", lambda *_: {"message": "maintenance"})
    with pytest.raises(TryAgain, match="unreadable"):
        data.daily_bars(["A"], start=END - timedelta(days=7), end=END)

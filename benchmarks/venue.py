"""A venue for benchmarks: Alpaca's protocol for any number of generated symbols, every answer after a millisecond.

`python benchmarks/venue.py SYMBOLS` prints its port. Orders fill at once at their limit; bracket legs rest for ever. Bars come
in pages of at most 10,000; symbols share fifty price paths, so that a page is a matter of joining texts.
`POST /bench {"now": INSTANT}` moves the clock and answers the requests since the last time, by path.
"""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from app.runtime.calendar import midnight_new_york, new_york_calendar, session_day

ANSWER_SECONDS = 0.001
PAGE_BARS = 10_000
PATHS, DAYS, CASH = 50, 2_600, 1_000_000.0
MINUTES = {"Min": 1, "Hour": 60}


def names(symbols: int) -> list[str]:
    """Four letters each, as most listed shares have."""
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    return ["Q" + "".join(letters[i // 26**place % 26] for place in (2, 1, 0)) for i in range(symbols)]


class Venue:
    """What the venue knows."""

    def __init__(self, symbols: int) -> None:
        self.symbols = names(symbols)
        self.path_of = {symbol: number % PATHS for number, symbol in enumerate(self.symbols)}
        self.calendar = new_york_calendar()
        self.sessions = self.calendar.between(date(2012, 1, 1), date(2026, 12, 31))
        draw = np.random.default_rng(5)
        self.close = np.round(100.0 * np.exp(np.cumsum(0.012 * draw.standard_normal((PATHS, len(self.sessions))), axis=1)), 2)
        self.day_of = {session.day: number for number, session in enumerate(self.sessions)}
        self.now = self.sessions[DAYS].opens_at
        self.asked: Counter[str] = Counter()
        self.orders: list[dict[str, Any]] = []
        self.fills: list[dict[str, Any]] = []
        self.cash = CASH

    def price(self, path: int) -> float:
        """The newest one: the last close, and a cent for each minute of the hour."""
        closed = session_day(self.calendar.previous_close(self.now))
        return round(float(self.close[path, self.day_of[closed]]) + 0.01 * self.now.minute, 2)

    def held(self) -> dict[str, list[float]]:
        """Units and cost by symbol."""
        found: dict[str, list[float]] = {}
        for fill in self.fills:
            units, cost = found.setdefault(fill["symbol"], [0.0, 0.0])
            sign = 1 if fill["side"] == "buy" else -1
            found[fill["symbol"]] = [units + sign * float(fill["qty"]), cost + sign * float(fill["qty"]) * float(fill["price"])]
        return {symbol: both for symbol, both in found.items() if both[0] > 0}

    # -- answers ---------------------------------------------------------------------------------------------------------
    def clock(self, _: dict[str, str]) -> Any:
        """Time and session."""
        return {
            "timestamp": self.now.isoformat(), "is_open": self.calendar.is_open(self.now),
            "next_open": self.calendar.next_open(self.now).isoformat(),
            "next_close": self.calendar.next_close(self.now).isoformat(),
        }  # fmt: skip

    def sessions_listed(self, _: dict[str, str]) -> Any:
        """All sessions, in New York time."""
        return [{"date": one.day.isoformat(), "open": "09:30", "close": "16:00"} for one in self.sessions]

    def account(self, _: dict[str, str]) -> Any:
        """Cash and the value of what is held."""
        value = sum(units * self.price(self.path_of[symbol]) for symbol, (units, _) in self.held().items())
        return {
            "id": "bench", "cash": f"{self.cash:.2f}", "equity": f"{self.cash + value:.2f}", "last_equity": f"{CASH:.2f}",
            "buying_power": f"{self.cash:.2f}", "currency": "USD",
        }  # fmt: skip

    def positions(self, _: dict[str, str]) -> Any:
        """What is held."""
        return [
            {"symbol": symbol, "qty": f"{units:g}", "avg_entry_price": repr(round(cost / units, 6))}
            for symbol, (units, cost) in self.held().items()
        ]

    def listed(self, query: dict[str, str]) -> Any:
        """Orders by status, newest first; legs flat or nested."""
        rows = self.orders if query.get("nested") == "True" else [one for top in self.orders for one in (top, *top["legs"])]
        ended = {"open": False, "closed": True}.get(query.get("status", "open"))
        kept = [row for row in reversed(rows) if ended is None or (row["status"] == "filled") is ended]
        return kept[: int(query.get("limit", 50))]

    def executions(self, query: dict[str, str]) -> Any:
        """Fills, oldest first."""
        after, token = query.get("after", ""), query.get("page_token", "")
        since = datetime.fromisoformat(after) if after else self.sessions[0].opens_at
        rows = [row for row in self.fills if datetime.fromisoformat(row["transaction_time"]) >= since and row["id"] > token]
        return rows[: int(query.get("page_size", 100))]

    def assets(self, _: dict[str, str]) -> Any:
        """Trading rules."""
        return [{"symbol": symbol, "tradable": True, "status": "active", "fractionable": False} for symbol in self.symbols]

    def snapshots(self, query: dict[str, str]) -> bytes:
        """Newest prices."""
        at = self.now.isoformat().replace("+00:00", "Z")
        texts = [self._snapshot(at, path) for path in range(PATHS)]
        wanted = query["symbols"].split(",")
        return ("{" + ",".join(f'"{symbol}":{texts[self.path_of[symbol]]}' for symbol in wanted) + "}").encode()

    def _snapshot(self, at: str, path: int) -> str:
        price, day = self.price(path), self.day_of[session_day(self.calendar.previous_close(self.now))]
        bar = self._bar(at, path, day)
        return (
            f'{{"latestTrade":{{"t":"{at}","x":"V","p":{price},"s":100,"c":["@"],"i":5291,"z":"C"}},'
            f'"latestQuote":{{"t":"{at}","ax":"V","ap":{price},"as":2,"bx":"V","bp":{price},"bs":2,"c":["R"],"z":"C"}},'
            f'"minuteBar":{bar},"dailyBar":{bar},"prevDailyBar":{bar}}}'
        )

    def bars(self, query: dict[str, str]) -> bytes:
        """A page of whole symbols."""
        wanted, begin = query["symbols"].split(","), int(query.get("page_token") or 0)
        count, texts = self._bars(query["timeframe"], query["start"], query["end"])
        stop = min(len(wanted), begin + max(1, PAGE_BARS // max(1, count)))
        rows = ",".join(f'"{symbol}":[{texts[self.path_of[symbol]]}]' for symbol in wanted[begin:stop]) if count else ""
        token = f'"{stop}"' if count and stop < len(wanted) else "null"
        return f'{{"bars":{{{rows}}},"next_page_token":{token}}}'.encode()

    @lru_cache(maxsize=64)  # noqa: B019 - the venue lives as long as its process
    def _bars(self, timeframe: str, start: str, end: str) -> tuple[int, list[str]]:
        """(bars of a symbol, their text for each path) of those that began from `start` to `end`."""
        first, last = (datetime.fromisoformat(text).astimezone(UTC) for text in (start, end))
        told: list[tuple[str, int]] = []
        step = next(
            (timedelta(minutes=int(timeframe[: -len(unit)]) * n) for unit, n in MINUTES.items() if unit in timeframe), None
        )
        for number, session in enumerate(self.sessions):
            if session.closes_at < first or session.opens_at > last:
                continue
            at = midnight_new_york(session.day) if step is None else session.opens_at
            while at < session.closes_at and at <= last:
                if at >= first:
                    told.append((at.isoformat().replace("+00:00", "Z"), number))
                at += step or timedelta(days=1)
        return len(told), [",".join(self._bar(t, path, number) for t, number in told) for path in range(PATHS)]

    def _bar(self, at: str, path: int, number: int) -> str:
        close = float(self.close[path, number])
        high, low = round(close * 1.01, 2), round(close * 0.99, 2)
        return f'{{"t":"{at}","o":{close},"h":{high},"l":{low},"c":{close},"v":100000,"n":900,"vw":{close}}}'

    def order(self, asked: dict[str, Any]) -> Any:
        """Filled within the second."""
        number, at = len(self.fills), (self.now + timedelta(seconds=1)).isoformat()
        price = float(asked.get("limit_price") or self.price(self.path_of[asked["symbol"]]))
        common = {
            "symbol": asked["symbol"],
            "qty": str(asked["qty"]),
            "submitted_at": at,
            "limit_price": None,
            "stop_price": None,
        }
        legs = [
            common | {"id": f"v{number}-{kind}", "client_order_id": f"leg-{number}-{kind}", "side": "sell", "type": kind,
                      "status": status, "filled_qty": "0", "legs": [], f"{kind}_price": repr(level)}
            for kind, status, level in (
                ("limit", "new", asked.get("take_profit", {}).get("limit_price")),
                ("stop", "held", asked.get("stop_loss", {}).get("stop_price")),
            ) if level
        ]  # fmt: skip
        made = common | {
            "id": f"v{number}", "client_order_id": asked["client_order_id"], "side": asked["side"], "type": asked["type"],
            "status": "filled", "filled_qty": str(asked["qty"]), "filled_avg_price": repr(price), "legs": legs,
            "limit_price": repr(price) if asked["type"] == "limit" else None,
        }  # fmt: skip
        self.orders.append(made)
        self.fills.append(
            {"id": f"e{number:06d}", "activity_type": "FILL", "transaction_time": at, "type": "fill", "price": repr(price),
             "qty": str(asked["qty"]), "side": asked["side"], "symbol": asked["symbol"], "order_id": f"v{number}"}
        )  # fmt: skip
        self.cash -= (1 if asked["side"] == "buy" else -1) * float(asked["qty"]) * price
        return made


ROUTES = {
    "/v2/clock": Venue.clock,
    "/v2/calendar": Venue.sessions_listed,
    "/v2/account": Venue.account,
    "/v2/positions": Venue.positions,
    "/v2/orders": Venue.listed,
    "/v2/account/activities": Venue.executions,
    "/v2/account/activities/FILL": Venue.executions,
    "/v2/assets": Venue.assets,
    "/v2/stocks/snapshots": Venue.snapshots,
    "/v2/stocks/bars": Venue.bars,
}


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    venue: Venue

    def do_GET(self) -> None:
        """An answer of the venue."""
        asked = urlsplit(self.path)
        self.venue.asked[asked.path] += 1
        time.sleep(ANSWER_SECONDS)
        answer = ROUTES[asked.path](self.venue, {name: values[0] for name, values in parse_qs(asked.query).items()})
        self.tell(answer if isinstance(answer, bytes) else json.dumps(answer).encode())

    def do_POST(self) -> None:
        """An order, or the controls."""
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path == "/bench":
            self.venue.now = datetime.fromisoformat(body["now"])
            counts = dict(self.venue.asked)
            self.venue.asked.clear()
            self.tell(json.dumps(counts).encode())
            return
        self.venue.asked["POST " + self.path] += 1
        time.sleep(ANSWER_SECONDS)
        self.tell(json.dumps(self.venue.order(body)).encode())

    def tell(self, body: bytes) -> None:
        """Send it in one piece."""
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    def log_message(self, *_: object) -> None:
        """Nothing."""


def main() -> None:
    """Serve until the process is ended."""
    Handler.venue = Venue(int(sys.argv[1]))
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    sys.stdout.write(f"{server.server_address[1]}\n")
    sys.stdout.flush()
    server.serve_forever()


if __name__ == "__main__":
    main()

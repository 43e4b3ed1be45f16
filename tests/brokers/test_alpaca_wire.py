"""What alpaca-py does on the wire once hardened, against a server that misbehaves on purpose."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from prometheus_client import REGISTRY

from app.brokers.alpaca import AlpacaBroker
from app.brokers.alpaca_wire import AlpacaWire, instant
from app.brokers.rate_limit import TokenBucket
from app.domain.errors import OutcomeUnknown, Refused, TryAgain, VenueError
from app.domain.order import Order, OrderType, Purpose, Side, TimeInForce, ValidatedOrder


class Venue:
    """Answers every request with one prepared answer and remembers what it was asked."""

    def __init__(self) -> None:
        self.answer: tuple[int, str] = (200, "{}")
        self.hang_seconds = 0.0
        self.cut = False
        self.requests: list[tuple[str, str, Any]] = []
        venue = self

        class Handler(BaseHTTPRequestHandler):
            def _serve(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                body = self.rfile.read(length)
                venue.requests.append((self.command, self.path, json.loads(body) if body else None))
                time.sleep(venue.hang_seconds)
                if venue.cut:
                    self.connection.close()
                    return
                status, text = venue.answer
                self.send_response(status)
                self.send_header("Content-Length", str(len(text)))
                if status in {301, 307}:
                    self.send_header("Location", "http://127.0.0.1:9/elsewhere")
                self.end_headers()
                self.wfile.write(text.encode())

            do_GET = do_POST = do_DELETE = _serve

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def venue() -> Iterator[Venue]:
    served = Venue()
    yield served
    served.server.shutdown()
    served.server.server_close()


def broker(url: str) -> AlpacaBroker:
    wire = AlpacaWire(TokenBucket(6000))
    return AlpacaBroker(key="k", secret="s", url=url, paper=True, timeout_seconds=0.5, wire=wire)


def an_order() -> ValidatedOrder:
    return ValidatedOrder(
        Order(
            client_order_id="at-aapl-1",
            symbol="AAPL",
            side=Side.BUY,
            quantity=Decimal(3),
            purpose=Purpose.ENTRY,
            reason="buy_signal",
            type=OrderType.LIMIT,
            limit_price=Decimal("101.27"),
            take_profit_price=Decimal("111.40"),
            stop_loss_price=Decimal("96.21"),
        )
    )


ACCEPTED = {
    "id": "v1",
    "client_order_id": "at-aapl-1",
    "symbol": "AAPL",
    "side": "buy",
    "type": "limit",
    "qty": "3",
    "filled_qty": "0",
    "filled_avg_price": None,
    "limit_price": "101.27",
    "status": "some_word_of_the_future",
    "submitted_at": "2022-03-01T15:00:00.123456789Z",
    "legs": [
        {
            "id": "v2",
            "client_order_id": "leg",
            "symbol": "AAPL",
            "side": "sell",
            "type": "stop",
            "qty": "3",
            "status": "held",
            "stop_price": "96.21",
            "submitted_at": "2022-03-01T15:00:00Z",
        }
    ],
}


def test_an_accepted_bracket_is_sent_once_with_its_id_and_read_back_exactly(venue: Venue) -> None:
    venue.answer = (200, json.dumps(ACCEPTED))
    order = broker(venue.url).submit(an_order())
    ((method, path, body),) = venue.requests
    assert (method, path) == ("POST", "/v2/orders")
    assert body["client_order_id"] == "at-aapl-1"
    assert body["order_class"] == "bracket"
    assert (body["limit_price"], body["take_profit"]["limit_price"], body["stop_loss"]["stop_price"]) == (101.27, 111.4, 96.21)
    assert order.limit_price == Decimal("101.27")
    assert order.legs[0].parent_order_id == "v1"
    assert order.legs[0].stop_price == Decimal("96.21")


@pytest.mark.row("B02", "B03", "B10")
@pytest.mark.parametrize(
    ("answer", "reaction"),
    [
        ((504, '{"message": "gateway"}'), OutcomeUnknown),
        ((500, "oops"), OutcomeUnknown),
        ((503, "<html>busy</html>"), OutcomeUnknown),
        ((408, "{}"), OutcomeUnknown),
        ((200, "<html>surprise</html>"), OutcomeUnknown),
        ((200, ""), OutcomeUnknown),
        ((200, "[]"), OutcomeUnknown),
        ((200, '{"id": "v1"}'), OutcomeUnknown),
        ((307, ""), OutcomeUnknown),
        ((429, '{"message": "slow down"}'), TryAgain),
        ((422, '{"code": 40010001, "message": "client_order_id must be unique"}'), Refused),
        ((403, '{"code": 40310000, "message": "insufficient buying power"}'), Refused),
        ((401, "<html>no</html>"), Refused),
    ],
)
def test_every_answer_to_an_order_has_one_reaction_and_is_never_repeated(
    venue: Venue, answer: tuple[int, str], reaction: type[VenueError]
) -> None:
    venue.answer = answer
    with pytest.raises(reaction):
        broker(venue.url).submit(an_order())
    assert [method for method, *_ in venue.requests] == ["POST"]


@pytest.mark.row("B01")
def test_silence_after_an_order_is_unknown_and_bounded_in_time(venue: Venue) -> None:
    venue.hang_seconds = 3.0
    started = time.monotonic()
    with pytest.raises(OutcomeUnknown):
        broker(venue.url).submit(an_order())
    assert time.monotonic() - started < 2.0


@pytest.mark.row("B04")
def test_a_cut_connection_after_an_order_is_unknown(venue: Venue) -> None:
    venue.cut = True
    with pytest.raises(OutcomeUnknown):
        broker(venue.url).submit(an_order())


@pytest.mark.row("B12")
def test_a_venue_that_never_took_the_call_is_tried_again_later() -> None:
    with pytest.raises(TryAgain):
        broker("http://127.0.0.1:9").submit(an_order())


@pytest.mark.row("B10")
@pytest.mark.parametrize("answer", [(200, "<html>"), (200, "{}"), (500, "x"), (504, "x"), (200, "null")])
def test_failed_reads_can_be_tried_again(venue: Venue, answer: tuple[int, str]) -> None:
    venue.answer = answer
    with pytest.raises(TryAgain):
        broker(venue.url).account()


def test_an_unknown_client_order_id_is_an_answer_not_an_error(venue: Venue) -> None:
    venue.answer = (404, '{"code": 40410000, "message": "order not found"}')
    assert broker(venue.url).order_by_client_id("at-nothing") is None


@pytest.mark.row("B05")
def test_the_bucket_spends_its_burst_then_waits_then_refuses() -> None:
    now = [0.0]
    slept: list[float] = []
    bucket = TokenBucket(60, monotonic=lambda: now[0], sleep=slept.append)
    for _ in range(20):
        bucket.take()
    assert slept == []
    bucket.take()
    assert slept == [pytest.approx(1.0)]
    with pytest.raises(TryAgain):
        bucket.take(wait_seconds=1.5)
    now[0] = 100.0
    bucket.take()
    assert len(slept) == 1


@pytest.mark.parametrize(
    ("text", "iso"),
    [
        ("2022-03-01T15:00:00Z", "2022-03-01T15:00:00+00:00"),
        ("2022-03-01T15:00:00.5Z", "2022-03-01T15:00:00.500000+00:00"),
        ("2022-03-01T10:00:00.123456789-05:00", "2022-03-01T15:00:00.123456+00:00"),
    ],
)
def test_instants_are_read_to_the_microsecond(text: str, iso: str) -> None:
    assert instant(text).isoformat() == iso


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        ((200, json.dumps(ACCEPTED)), "ok"),
        ((403, '{"message": "insufficient buying power"}'), "venue_refused"),
        ((429, '{"message": "slow down"}'), "rate_limited"),
        ((200, "<html>"), "venue_answer_unreadable"),
        ((504, "x"), OutcomeUnknown.code),
    ],
)
def test_every_call_is_measured_once_by_its_outcome(venue: Venue, answer: tuple[int, str], outcome: str) -> None:
    def counted() -> tuple[float, float]:
        calls = REGISTRY.get_sample_value("alpha_trader_venue_calls_total", {"operation": "submit", "outcome": outcome})
        timed = REGISTRY.get_sample_value("alpha_trader_venue_call_seconds_count", {"operation": "submit"})
        return calls or 0.0, timed or 0.0

    calls, timed = counted()
    venue.answer = answer
    with suppress(VenueError):
        broker(venue.url).submit(an_order())
    assert counted() == (calls + 1, timed + 1)


def test_a_pair_of_exits_is_sent_as_an_oco(venue: Venue) -> None:
    venue.answer = (200, json.dumps(ACCEPTED | {"side": "sell", "limit_price": "111.4"}))
    pair = Order(
        client_order_id="at-aapl-2",
        symbol="AAPL",
        side=Side.SELL,
        quantity=Decimal(3),
        purpose=Purpose.EXIT,
        reason="protect",
        type=OrderType.LIMIT,
        time_in_force=TimeInForce.GTC,
        limit_price=Decimal("111.40"),
        take_profit_price=Decimal("111.40"),
        stop_loss_price=Decimal("96.21"),
    )
    order = broker(venue.url).submit(ValidatedOrder(pair))
    ((_, _, body),) = venue.requests
    assert (body["order_class"], body["type"], body["side"], body["time_in_force"]) == ("oco", "limit", "sell", "gtc")
    assert (body["take_profit"], body["stop_loss"]) == ({"limit_price": 111.4}, {"stop_price": 96.21})
    assert "limit_price" not in body
    assert order.legs[0].stop_price == Decimal("96.21")

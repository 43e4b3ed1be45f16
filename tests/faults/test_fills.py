"""Fills and events (rows C), where a person trades beside the system on the real exchange."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

import pytest
import requests

from tests.faults.bench import RISING, Bench

KEYS = {"APCA-API-KEY-ID": "k", "APCA-API-SECRET-KEY": "s"}  # the same account as the product


def cancelled_by_a_person(bench: Bench, symbols: Iterable[str]) -> None:
    for one in bench.at_venue("sell", resting=True):
        if one["symbol"] in set(symbols):
            requests.delete(f"{bench.exchange.url}/v2/orders/{one['id']}", headers=KEYS, timeout=10)


@pytest.mark.row("C10")
def test_c10_what_a_person_sold_is_gone_and_an_exit_sells_what_is_left(bench: Bench) -> None:
    owned = bench.holding({"AAPL": 0.03, "MSFT": 0.03})
    symbol, units = next(iter(owned.items()))
    part = units // 3 or Decimal(1)
    cancelled_by_a_person(bench, [symbol])
    assert bench.exchange.order(symbol=symbol, qty=str(part), side="sell", type="market", time_in_force="day").ok
    bench.cycle()
    bench.cycle()
    assert bench.ledger.portfolio().positions[symbol].quantity == units - part
    bench.assert_books_agree()
    bench.expect({symbol: -0.03})
    for _ in range(3):
        bench.cycle()
    (exit_order,) = [one for one in bench.ledger.orders(symbol=symbol) if one.reason == "sell_signal"]
    assert exit_order.quantity == units - part
    assert symbol not in bench.exchange.ledger()["positions"], "sold, and not short"
    bench.assert_books_agree()


@pytest.mark.row("C10")
def test_c10_what_a_person_bought_takes_its_slots(bench: Bench) -> None:
    bench.holding({"AAPL": 0.03})
    for symbol in ("JNJ", "UNH", "NFLX", "META"):
        assert bench.exchange.order(symbol=symbol, qty="2", side="buy", type="market", time_in_force="day").ok
    bench.cycle()
    bench.cycle()
    assert {"JNJ", "UNH", "NFLX", "META"} <= set(bench.ledger.portfolio().positions)
    bench.expect(RISING)
    bench.cycle()
    truth = bench.exchange.ledger()
    buying = {one["symbol"] for one in bench.at_venue("buy", resting=True)}
    assert len(set(truth["positions"]) | buying) <= 7
    bench.cycle()
    bench.assert_books_agree()

"""Every reason can be reached, and only by its own cause; each row is one world."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from app.domain.exits import ExitPolicy
from app.domain.instrument import Instrument
from app.domain.order import Purpose
from app.domain.reason import Reason
from app.domain.trading_state import TradingState
from app.engine.decision import Book
from tests.engine.worlds import LIMITS, POLICY, Quote, book_of, decided, held, open_order, orders_by_symbol, record_of, risk_of

SHARED = {Reason.SLEEVE_BUDGET, Reason.OTHER_SLEEVE}  # of accounts that strategies share: see test_sleeves.py
GOOD = Quote(expected=0.02)
HOLDING = held("A", 10, 100)


def alone(quote: Quote, book: Book | None = None) -> tuple[dict[str, Quote], Book]:
    return {"A": quote}, book or book_of()


def owning(quote: Quote, **changes: object) -> tuple[dict[str, Quote], Book]:
    quotes = {"A": quote}
    return quotes, book_of([HOLDING], quotes=quotes, cash=99_000, **changes)


def full(candidate: float, weakest: float = 0.0) -> tuple[dict[str, Quote], Book]:
    """Seven small holdings, H0 the weakest, and the candidate A."""
    quotes = {"A": Quote(expected=candidate)} | {f"H{i}": Quote(expected=weakest + i * 1e-4) for i in range(7)}
    return quotes, book_of([held(f"H{i}", 10, 100) for i in range(7)], quotes=quotes, cash=93_000)


def halted(state: TradingState) -> Book:
    return book_of(risk=risk_of(state))


ROWS = [
    (Reason.BUY_SIGNAL, alone(GOOD)),
    (Reason.SELL_SIGNAL, owning(Quote(expected=-0.02))),
    (Reason.STOP_LOSS, owning(Quote(price=95.0))),
    (Reason.TAKE_PROFIT, owning(Quote(price=110.0))),
    (Reason.FLATTEN, owning(Quote(), risk=risk_of(TradingState.FLATTENING))),
    (Reason.HOLD_BELOW_THRESHOLD, alone(Quote(expected=0.0))),
    (Reason.HOLD_LOW_CONFIDENCE, alone(Quote(expected=0.02, confidence=0.69))),
    (Reason.HOLD_POSITION, owning(Quote())),
    (Reason.SELL_WITHOUT_POSITION, alone(Quote(expected=-0.02))),
    (Reason.ORDER_PENDING, alone(GOOD, book_of(open_orders=(open_order("A"),)))),
    (Reason.EXIT_PENDING, owning(Quote(price=90.0), open_orders=(open_order("A", purpose=Purpose.EXIT),))),
    (Reason.AWAITING_SLOT, full(0.05)),
    (Reason.NO_FREE_SLOT, full(0.0069)),
    (Reason.NO_PRICE, alone(replace(GOOD, price=0.0))),
    (Reason.NO_PRICE, alone(replace(GOOD, price=-1.0))),
    (Reason.NO_PRICE, alone(replace(GOOD, price=float("nan")))),
    (Reason.NO_PRICE, alone(replace(GOOD, price=float("inf")))),
    (Reason.NO_PRICE, owning(Quote(price=float("nan")), equity=100_000)),
    (Reason.STALE_PRICE, alone(replace(GOOD, age=900.1))),
    (Reason.STALE_PRICE, alone(replace(GOOD, age=float("nan")))),
    (Reason.STALE_PRICE, owning(Quote(price=50.0, age=10_000.0))),
    (Reason.NOT_TRADABLE, alone(replace(GOOD, tradable=0.0))),
    (Reason.NOT_TRADABLE, alone(replace(GOOD, tradable=float("nan")))),
    (Reason.NOT_TRADABLE, alone(replace(GOOD, instrument=None))),
    (Reason.NOT_TRADABLE, alone(replace(GOOD, instrument=Instrument(symbol="A", tradable=False)))),
    (Reason.NOT_TRADABLE, owning(Quote(price=float("nan"), tradable=0.0), risk=risk_of(TradingState.FLATTENING))),
    (Reason.NO_FORECAST, alone(replace(GOOD, expected=None))),
    (Reason.NO_FORECAST, alone(replace(GOOD, expected=float("nan")))),
    (Reason.NO_FORECAST, alone(replace(GOOD, expected=float("inf")))),
    (Reason.NO_FORECAST, alone(replace(GOOD, confidence=float("nan")))),
    (Reason.NO_FORECAST, alone(replace(GOOD, confidence=1.01))),
    (Reason.NO_VOLATILITY, alone(replace(GOOD, volatility=float("nan")))),
    (Reason.NO_VOLATILITY, alone(replace(GOOD, volatility=0.0))),
    (Reason.STATE_REDUCING, alone(GOOD, halted(TradingState.REDUCING))),
    (Reason.STATE_HALTED, alone(GOOD, halted(TradingState.HALTED))),
    (Reason.STATE_HALTED, owning(Quote(price=50.0), risk=risk_of(TradingState.HALTED))),
    (Reason.EXPOSURE_LIMIT, None),
    (Reason.BUYING_POWER, alone(GOOD, book_of(buying_power=Decimal(50)))),
    (Reason.SIZE_BELOW_STEP, alone(replace(GOOD, price=20_000.0))),
    (Reason.TRADED_TODAY, alone(GOOD, book_of(exits_today={"A": 1}))),
    (Reason.ENTRIES_TODAY, alone(GOOD, book_of(entries_today={"A": 3}))),
    (Reason.EXACT_CHECK, None),
    (Reason.SYMBOL_DISABLED, alone(GOOD, book_of(risk=risk_of(disabled_symbols=("A",))))),
    (Reason.EXTREME_VOLATILITY, alone(replace(GOOD, volatility=0.0501, usual_volatility=0.01))),
    (Reason.EXTREME_VOLATILITY, alone(replace(GOOD, volatility=0.126))),
    (Reason.EXTREME_VOLATILITY, alone(replace(GOOD, last_close=70.0))),
    (Reason.PRICE_DOUBTED, owning(Quote(price=1.0, last_close=100.0))),
    (Reason.PRICE_DOUBTED, owning(Quote(price=1000.0, last_close=100.0))),
]


def exposed() -> tuple[dict[str, Quote], Book]:
    quotes = {"A": GOOD} | {f"H{i}": Quote() for i in range(4)}
    return quotes, book_of([held(f"H{i}", 200, 100) for i in range(4)], quotes=quotes, cash=20_000)


def short() -> tuple[dict[str, Quote], Book]:
    """A short position that a person opened: never added to, never touched."""
    quotes = {"A": GOOD}
    return quotes, book_of([held("A", -10, 100)], quotes=quotes, cash=101_000)


@pytest.mark.row("G01", "I15")
@pytest.mark.parametrize(("reason", "world"), ROWS, ids=lambda v: v.name if isinstance(v, Reason) else "")
def test_each_cause_has_its_reason(reason: Reason, world: tuple[dict[str, Quote], Book] | None) -> None:
    quotes, book = world or {Reason.EXPOSURE_LIMIT: exposed, Reason.EXACT_CHECK: short}[reason]()
    decision = decided(quotes, book)
    record = record_of(decision, "A")
    assert record.reason is reason
    assert ("A" in orders_by_symbol(decision)) is (reason <= Reason.PARTIAL_PROFIT)
    assert (record.side is not None) is (reason <= Reason.PARTIAL_PROFIT)


def test_rebalancing_sells_the_weakest_and_says_for_whom() -> None:
    quotes, book = full(0.05)
    decision = decided(quotes, book)
    assert record_of(decision, "H0").reason is Reason.REBALANCE_OUT
    assert record_of(decision, "A").detail == "replaces H0"
    assert list(orders_by_symbol(decision)) == ["H0"]


def test_a_partial_target_sells_a_part() -> None:
    quotes, book = owning(Quote(price=105.0))
    policy = POLICY._replace(exits=ExitPolicy(partial_at_r=1.0, partial_fraction=0.5))
    decision = decided(quotes, book, policy=policy)
    assert record_of(decision, "A").reason is Reason.PARTIAL_PROFIT
    assert record_of(decision, "A").quantity == 5


def test_every_reason_is_in_the_table_and_explained() -> None:
    assert {reason for reason, _ in ROWS} | {Reason.REBALANCE_OUT, Reason.PARTIAL_PROFIT} | SHARED == set(Reason)
    assert all(reason.text.endswith(".") and reason.code == reason.name.lower() for reason in Reason)


@pytest.mark.row("H05")
def test_a_forecast_that_is_no_number_never_sells_a_holding() -> None:
    for expected, confidence in ((float("-inf"), 0.9), (-0.02, float("inf")), (-0.02, 1.5), (float("nan"), 0.9)):
        quotes, book = owning(Quote(expected=expected, confidence=confidence))
        assert record_of(decided(quotes, book), "A").reason is Reason.HOLD_POSITION


@pytest.mark.parametrize("entry", ["0", "NaN", "-3", "Infinity"])
def test_an_unknown_entry_price_neither_stops_nor_takes_profit(entry: str) -> None:
    quotes = {"A": Quote(price=50.0)}
    decision = decided(quotes, book_of([held("A", 10, entry)], quotes=quotes, cash=99_500))
    assert record_of(decision, "A").reason is Reason.NO_PRICE
    assert not decision.orders


def test_the_smallest_price_is_refused_without_an_error() -> None:
    decision = decided({"A": replace(GOOD, price=0.00004)}, book_of(), limits=LIMITS)
    assert record_of(decision, "A").reason is Reason.EXACT_CHECK
    assert not decision.orders

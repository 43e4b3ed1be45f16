"""Orders that fill in pieces: brackets at the venue step by step, and whole runs under capped liquidity."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal as D

import numpy as np
import pytest

from app.backtest.driver import Plan, Run
from app.backtest.tape import MINUTE, SessionTape
from app.backtest.venue import PROFIT, STOP, BacktestVenue, leg_id
from app.domain.instrument import Instrument
from app.domain.order import Order, OrderType, Purpose, Side, TimeInForce
from app.engine.costs import FREE, Liquidity
from app.engine.ledger import Execution, book, opened
from app.engine.path import MinutePath
from tests.backtest.markets import plan_of, sessions_of, tape_of
from tests.backtest.test_driver import Diary, traded

TENTH = Liquidity(participation=D("0.1"))


class Market:
    """A venue with one stock, whose minutes are written by hand: (price, volume) or (open, high, low, close, volume)."""

    def __init__(self, liquidity: Liquidity = TENTH) -> None:
        instruments = {"ACME": Instrument(symbol="ACME")}
        self.venue = BacktestVenue(cash=D(10_000), costs=FREE, instruments=instruments, liquidity=liquidity)
        self._sessions = iter(sessions_of(5))

    def open(self, *minutes: tuple[float, ...]) -> None:
        rows = [(m[0],) * 4 + (m[1],) if len(m) == 2 else m for m in minutes]
        hours = next(self._sessions)
        rows += [rows[-1]] * (int((hours.closes_at - hours.opens_at) / MINUTE) - len(rows))
        path = MinutePath(*(np.array(column, dtype=np.float64) for column in zip(*rows, strict=True)))
        self.hours = hours
        self.venue.open_session(SessionTape(hours=hours, known={}, paths={"ACME": path}))

    def buy(self, quantity: int) -> None:
        order = Order(
            client_order_id="entry",
            symbol="ACME",
            side=Side.BUY,
            quantity=D(quantity),
            purpose=Purpose.ENTRY,
            reason="test",
            type=OrderType.LIMIT,
            time_in_force=TimeInForce.GTC,
            limit_price=D(101),
            take_profit_price=D(110),
            stop_loss_price=D(95),
        )
        assert self.venue.submit(order, self.hours.opens_at) is None

    def until(self, minute: int) -> list[tuple[str, str, D, D, int]]:
        told = self.venue.advance(self.hours.opens_at + timedelta(minutes=minute))
        return [(e.client_order_id, e.fill.execution_id, e.fill.price, e.fill.quantity, self._minute(e)) for e in told]

    def _minute(self, execution: Execution) -> int:
        return int((execution.fill.filled_at - self.hours.opens_at) / MINUTE) - 1

    def open_quantities(self) -> dict[str, D]:
        return {order.client_order_id: order.quantity for order in self.venue.open_orders()}


def test_legs_work_once_the_entry_has_filled_whole() -> None:
    market = Market()
    market.open((100, 100), (90, 0), (100, 50), (100, 1000), (111, 40), (112, 1000))
    market.buy(20)
    assert market.until(3) == [("entry", "entry-1", 100, 10, 0), ("entry", "entry-2", 100, 5, 2)]
    assert market.open_quantities() == {"entry": 5, leg_id("entry", PROFIT): 20, leg_id("entry", STOP): 20}
    assert market.venue.buying_power == 10_000 - 15 * 100 - 5 * 101
    gain = leg_id("entry", PROFIT)
    assert market.until(6) == [("entry", "entry-3", 100, 5, 3), (gain, f"{gain}-1", 111, 4, 4), (gain, f"{gain}-2", 112, 16, 5)]
    assert not market.open_quantities()
    assert not market.venue.portfolio.positions
    assert market.venue.portfolio.cash == 10_000 - 2000 + 4 * 111 + 16 * 112


def test_an_entry_that_ends_in_part_takes_its_legs_along() -> None:
    market = Market()
    market.open((100, 100), (100, 0))
    market.buy(20)
    market.until(2)
    assert market.venue.cancel("entry")
    assert not market.open_quantities()
    assert market.venue.portfolio.positions["ACME"].quantity == 10
    assert market.venue.buying_power == 9_000


def test_both_legs_go_on_with_what_is_left() -> None:
    """Ten shares at the take-profit, then the stop is reached: only the other ten are left to sell."""
    market = Market()
    market.open((100, 200), (111, 100), (94, 60), (94, 30), (94, 10))
    market.buy(20)
    gain, loss = leg_id("entry", PROFIT), leg_id("entry", STOP)
    assert market.until(2) == [("entry", "entry-1", 100, 20, 0), (gain, f"{gain}-1", 111, 10, 1)]
    assert market.open_quantities() == {gain: 10, loss: 10}
    assert market.until(5) == [(loss, f"{loss}-1", 94, 6, 2), (loss, f"{loss}-2", 94, 3, 3), (loss, f"{loss}-3", 94, 1, 4)]
    assert not market.open_quantities()


def test_a_stop_that_was_reached_stays_triggered_over_night() -> None:
    market = Market()
    market.open((100, 1000), (100, 105, 94, 100, 0), (100, 0))
    market.buy(20)
    market.until(390)
    market.venue.close_session()
    assert market.open_quantities() == {leg_id("entry", PROFIT): 20, leg_id("entry", STOP): 20}
    market.open((102, 1000))
    loss = leg_id("entry", STOP)
    assert market.until(1) == [(loss, f"{loss}-1", 102, 20, 0)]


def test_the_night_forgets_nothing_of_a_stop_that_was_not_reached() -> None:
    market = Market()
    market.open((100, 1000), (100, 0))
    market.buy(20)
    market.until(390)
    market.venue.close_session()
    market.open((102, 1000))
    assert not market.until(390)


CAPPED = Liquidity(participation=D("0.0004"), partial_probability=D("0.3"), seed=5)


@pytest.fixture(scope="module")
def capped() -> tuple[Plan, Run, Diary]:
    plan = plan_of(liquidity=CAPPED, costs=FREE)
    return plan, *traded(plan, tape_of(8))


def test_pieces_of_a_run_add_up(capped: tuple[Plan, Run, Diary]) -> None:
    plan, result, diary = capped
    ordered = {v.order.client_order_id: v.order.quantity for d in diary.decisions for v in d.orders}
    filled: dict[str, D] = {}
    for execution in diary.executions:
        name = execution.client_order_id
        filled[name] = filled.get(name, D(0)) + execution.fill.quantity
        assert execution.fill.quantity == int(execution.fill.quantity) > 0
    pieces = len(diary.executions)
    assert pieces > 2 * len(filled), "the cap bites"
    legs: dict[str, D] = {}
    for name, quantity in filled.items():
        if name in ordered:
            assert quantity <= ordered[name]
        else:
            entry = name.removesuffix(f"-{PROFIT}").removesuffix(f"-{STOP}")
            legs[entry] = legs.get(entry, D(0)) + quantity
            assert filled[entry] == ordered[entry], "legs work once the entry has filled whole"
    assert all(quantity <= ordered[entry] for entry, quantity in legs.items())
    assert len({e.fill.execution_id for e in diary.executions}) == pieces
    last = diary.inputs[-1].book
    ledger = book(opened(plan.capital), diary.executions)
    assert (ledger.portfolio.cash, dict(ledger.portfolio.positions)) == (last.cash, dict(last.positions))
    assert all(position.quantity > 0 for position in last.positions.values())
    assert all(inputs.book.cash >= 0 for inputs in diary.inputs)
    assert result.fills >= pieces


def test_no_piece_takes_more_than_its_share(capped: tuple[Plan, Run, Diary]) -> None:
    tape = tape_of(8)
    taken: dict[tuple[str, str, datetime], D] = {}
    for execution in capped[2].executions:
        fill = execution.fill
        piece = (execution.client_order_id, fill.symbol, fill.filled_at)
        assert piece not in taken
        taken[piece] = fill.quantity
    for number, hours in enumerate(tape.sessions):
        session = tape.session(number)
        for (_, symbol, at), quantity in taken.items():
            if hours.opens_at < at <= hours.closes_at:
                volume = session.paths[symbol].volume[session.steps_by(at) - 1]
                assert quantity <= D(repr(float(volume))) * D("0.0004")


def test_a_capped_run_twice_is_the_same(capped: tuple[Plan, Run, Diary]) -> None:
    plan, result, diary = capped
    again, other = traded(plan, tape_of(8))
    assert again.sessions == result.sessions
    assert other.executions == diary.executions

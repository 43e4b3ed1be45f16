"""The driver over a generated market: conservation, limits at every fill, no lookahead, determinism, parity."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal

import numpy as np
import pytest

from app.backtest.driver import Grain, Plan, Run, run, slots
from app.backtest.tape import DailyTape
from app.domain.order import Purpose, Side
from app.domain.portfolio import Portfolio
from app.engine.costs import FREE, UNLIMITED, CostModel, Liquidity
from app.engine.decision import Decision
from app.engine.ledger import Execution, book, opened
from app.engine.recording import Inputs, to_json
from tests.backtest.markets import NoisyForecaster, market, plan_of, tape_of
from tests.backtest.replay import rebuild, replay

SESSIONS = 12


class Diary:
    """Keeps what an observer is shown."""

    def __init__(self) -> None:
        self.inputs: list[Inputs] = []
        self.decisions: list[Decision] = []
        self.executions: list[Execution] = []
        self.since: list[list[Execution]] = []

    def __call__(self, inputs: Inputs, decision: Decision, executions: list[Execution]) -> None:
        self.inputs.append(inputs)
        self.decisions.append(decision)
        self.executions.extend(executions)
        self.since.append(executions)


def traded(plan: Plan, tape: DailyTape) -> tuple[Run, Diary]:
    diary = Diary()
    return run(plan, tape, NoisyForecaster(), observer=diary), diary


@pytest.fixture(scope="module")
def busy() -> tuple[Run, Diary]:
    return traded(plan_of(costs=CostModel(commission_bps=Decimal(1))), tape_of(SESSIONS))


def test_it_trades_every_way(busy: tuple[Run, Diary]) -> None:
    result, diary = busy
    assert result.decisions == SESSIONS * 38 and result.fills > 40 and not result.refused
    purposes = {(e.purpose, e.reason) for e in diary.executions}
    assert {Purpose.ENTRY, Purpose.EXIT} == {p for p, _ in purposes}
    assert {"stop_loss", "take_profit", "sell_signal", "rebalance_out"} & {r for _, r in purposes}


def test_cash_and_equity_are_the_sum_of_the_fills(busy: tuple[Run, Diary]) -> None:
    result, diary = busy
    ledger = book(opened(Decimal(100_000)), diary.executions)
    last = diary.inputs[-1].book
    assert (ledger.portfolio.cash, dict(ledger.portfolio.positions)) == (last.cash, dict(last.positions))
    flow = sum((-e.fill.side.sign * e.fill.quantity * e.fill.price - e.fill.commission for e in diary.executions), Decimal(0))
    assert last.cash == 100_000 + flow
    for trip in result.round_trips:
        assert trip.profit == (trip.exit_price - trip.entry_price) * trip.quantity - trip.commissions


def test_final_equity_is_capital_plus_what_every_holding_gained() -> None:
    bars, sessions = market(6)
    result, diary = traded(plan_of(costs=FREE), DailyTape(bars, sessions, seed=3))
    ledger = book(opened(Decimal(100_000)), [*diary.executions])
    assert not diary.executions or ledger.portfolio.positions, "the law needs something held at the end"
    marks = {symbol: Decimal(repr(float(series.close[-1]))) for symbol, series in bars.items()}
    late = result.fills - len(diary.executions)  # after the last decision; seen by the run, not by its observer
    assert late == 0
    open_gain = sum((p.unrealized(marks[s]) for s, p in ledger.portfolio.positions.items()), Decimal(0))
    realized = sum((t.profit for t in result.round_trips), Decimal(0))
    assert result.sessions[-1].equity == 100_000 + realized + open_gain
    assert realized == ledger.portfolio.realized


def test_limits_hold_at_every_decision_and_fill(busy: tuple[Run, Diary]) -> None:
    _, diary = busy
    for inputs, decision in zip(diary.inputs, diary.decisions, strict=True):
        limits, state = inputs.limits, inputs.book
        assert len(state.positions) <= limits.max_positions
        assert state.cash >= 0
        entries = [v.order for v in decision.orders if v.order.purpose is Purpose.ENTRY]
        for order in entries:
            assert order.limit_price is not None
            assert order.quantity * order.limit_price <= Decimal("0.1") * state.equity
        assert len(state.positions) + len(entries) <= limits.max_positions
    for execution in diary.executions:
        assert (execution.fill.side is Side.BUY) is (execution.purpose is Purpose.ENTRY)


def test_fills_come_strictly_after_the_decision_and_respect_the_limit(busy: tuple[Run, Diary]) -> None:
    _, diary = busy
    sent = {v.order.client_order_id: (d.decided_at, v.order) for d in diary.decisions for v in d.orders}
    for execution in diary.executions:
        if execution.client_order_id in sent:
            decided_at, order = sent[execution.client_order_id]
            assert execution.fill.filled_at > decided_at
            assert order.limit_price is None or execution.fill.price <= order.limit_price
        else:
            entry = execution.client_order_id.rsplit("-", 1)[0]
            assert entry in sent, "every other fill is a protective leg of an entry of ours"


def test_the_same_run_twice_is_the_same(busy: tuple[Run, Diary]) -> None:
    again, diary = traded(plan_of(costs=CostModel(commission_bps=Decimal(1))), tape_of(SESSIONS))
    assert again.sessions == busy[0].sessions
    assert diary.executions == busy[1].executions
    assert [d.orders for d in diary.decisions] == [d.orders for d in busy[1].decisions]


@pytest.mark.parametrize("liquidity", [UNLIMITED, Liquidity(participation=Decimal("0.0004"))], ids=["unlimited", "capped"])
@pytest.mark.parametrize("grain", Grain)
def test_the_future_changes_nothing_before_it(grain: Grain, liquidity: Liquidity) -> None:
    """Every bar from the cut on is another one; all decisions and fills before it stay the same."""
    bars, sessions = market(8)
    cut = 5
    changed = {}
    for symbol, series in bars.items():
        later = series.known_at >= int(sessions[cut].closes_at.timestamp())
        factor = np.where(later, 1.37, 1.0)
        changed[symbol] = replace(
            series,
            open=series.open * factor,
            high=series.high * factor * np.where(later, 1.02, 1.0),
            low=series.low * factor * np.where(later, 0.98, 1.0),
            close=series.close * factor,
            volume=np.floor(series.volume * factor),
        )
    plan = plan_of(grain=grain, liquidity=liquidity)
    _, one = traded(plan, DailyTape(bars, sessions, seed=3))
    _, other = traded(plan, DailyTape(changed, sessions, seed=3))
    opens = sessions[cut].opens_at
    before = [i for i, d in enumerate(one.decisions) if d.decided_at < opens]
    assert len(before) == cut * (38 if grain is Grain.CYCLE else 1)
    for i in before:
        assert to_json(one.inputs[i]) == to_json(other.inputs[i])
        assert one.decisions[i].orders == other.decisions[i].orders
        assert one.since[i] == other.since[i]
    assert to_json(one.inputs[before[-1] + 1]) != to_json(other.inputs[before[-1] + 1])


def test_replaying_the_recordings_gives_the_same_decisions(busy: tuple[Run, Diary]) -> None:
    _, diary = busy
    recordings = [json.loads(json.dumps(to_json(inputs), allow_nan=False)) for inputs in diary.inputs]
    for decided, again in zip(diary.decisions, replay(recordings), strict=True):
        assert (decided.orders, decided.cancels, decided.risk) == (again.orders, again.cancels, again.risk)
        assert [(r.symbol, r.reason, r.quantity) for r in decided.records] == [
            (r.symbol, r.reason, r.quantity) for r in again.records
        ]


def test_books_rebuilt_from_fills_are_the_recorded_ones(busy: tuple[Run, Diary]) -> None:
    _, diary = busy
    recordings = [to_json(inputs) for inputs in diary.inputs]
    rebuilt = list(rebuild(recordings, diary.executions, Portfolio(cash=Decimal(100_000))))
    assert [r.differences for r in rebuilt] == [()] * len(rebuilt)
    assert [r.decision.orders for r in rebuilt] == [d.orders for d in diary.decisions]


def test_a_fill_that_was_lost_is_seen(busy: tuple[Run, Diary]) -> None:
    _, diary = busy
    recordings = [to_json(inputs) for inputs in diary.inputs]
    rebuilt = list(rebuild(recordings, diary.executions[1:], Portfolio(cash=Decimal(100_000))))
    assert any(r.differences for r in rebuilt)


def test_slots_lie_inside_the_session() -> None:
    _, sessions = market(3)
    for hours in sessions:
        instants = list(slots(hours, Grain.CYCLE, 600))
        assert len(instants) == 38
        assert hours.opens_at < instants[0] and instants[-1] < hours.closes_at
        assert list(slots(hours, Grain.SESSION, 600)) == instants[:1]


def test_what_progress_raises_ends_the_run() -> None:
    class Enough(Exception):
        pass

    def stop(done: int, total: int, message: str) -> None:
        assert total == 5
        if done == 2:
            raise Enough

    with pytest.raises(Enough):
        run(plan_of(), tape_of(5), NoisyForecaster(), progress=stop)

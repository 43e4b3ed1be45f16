"""Parity with the simulated exchange: the same bars, seed, slots, forecasts and costs give the same decisions and fills.

The exchange is the real one, driven in process by the shortest possible trading loop.
"""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from app.backtest.driver import Grain, Plan, first_risk, run, slots
from app.backtest.tape import DailyTape
from app.domain.bar import BarSeries, Snapshot
from app.domain.exits import ExitPolicy, PositionPlan, standing
from app.domain.instrument import Instrument
from app.domain.order import Fill, Order, OrderClass, Purpose
from app.domain.reason import Reason
from app.engine.costs import UNLIMITED, CostModel, Liquidity
from app.engine.decide import decide
from app.engine.decision import Book, Context, Decision, OpenOrder
from app.engine.ledger import Execution, book, opened, parts_taken, roll
from app.engine.view import market_view
from app.risk.limits import Policy
from app.runtime.calendar import Session, new_york_calendar
from app.simulator.accounts.account import Account
from app.simulator.accounts.ledger import Ledger, SimOrder
from app.simulator.accounts.order_request import NewOrder
from app.simulator.accounts.replacement import Replacement
from app.simulator.tape.market import Market, Source
from tests.backtest.markets import NoisyForecaster, market, plan_of
from tests.backtest.test_driver import Diary

SEED = 3
COSTS = CostModel(slippage_bps=Decimal(3), impact_bps=Decimal(5), commission_bps=Decimal(1))


class Desk:
    """Trades a plan on the exchange, slot by slot."""

    def __init__(self, plan: Plan, bars: dict[str, BarSeries], sessions: list[Session]) -> None:
        source = Source(label="test", daily=bars, fine={}, fine_seconds=86_400, generated=True, fingerprint="")
        tape = Market(source, new_york_calendar(), sessions, SEED)
        ledger = Ledger(seed=SEED, cash=plan.capital)
        self.exchange = Account(
            market=tape, ledger=ledger, costs=plan.costs, now=sessions[0].opens_at, liquidity=plan.liquidity
        )
        self.plan, self.bars = plan, bars
        self.decisions: list[Decision] = []
        self._own = opened(plan.capital)
        self._booked = 0
        self._plans: dict[str, PositionPlan] = {}
        self._sent: dict[str, Order] = {}
        self._risk = first_risk(plan.capital, sessions[0])

    def trade(self, sessions: list[Session]) -> list[Fill]:
        for hours in sessions:
            for at in slots(hours, self.plan.grain, self.plan.cycle_seconds):
                self.exchange.advance(at)
                self._cycle(hours)
            self.exchange.advance(hours.closes_at)
        return self.exchange.ledger.fills

    def _cycle(self, hours: Session) -> None:
        now, exchange, plan = self.exchange.now, self.exchange, self.plan
        known = {symbol: self.bars[symbol].known_by(now) for symbol in plan.symbols}
        forecasts = NoisyForecaster().forecast(known, now)
        view = market_view(
            decided_at=now, symbols=plan.symbols, snapshots=self._snapshots(), bars=known, forecasts=forecasts, is_open=True
        )
        context = Context(
            account_id=plan.account_id,
            strategy=plan.strategy,
            cycle_id=plan.cycle_name(now),
            instruments={s: Instrument(symbol=s) for s in plan.symbols},
        )
        decision = decide(view, self._book(hours), context, plan.limits, plan.policy)
        self._risk = decision.risk
        self.decisions.append(decision)
        for client_id in decision.cancels:
            order = exchange.ledger.orders[exchange.ledger.by_client_id[client_id]]
            if order.is_open:
                exchange.cancel(order.id)
        for validated in decision.orders:
            self._sent[validated.order.client_order_id] = validated.order
            exchange.submit(new_order(validated.order))
        for move in decision.moves:
            order = exchange.ledger.orders[exchange.ledger.by_client_id[move.client_order_id]]
            if order.is_open:
                exchange.replace(order.id, Replacement(stop_price=move.stop_price))
        self._plans = dict(decision.plans)

    def _snapshots(self) -> dict[str, Snapshot]:
        trades = {s: self.exchange.market.last_trade(s, self.exchange.second) for s in self.plan.symbols}
        return {
            s: Snapshot(symbol=s, price=t.price, priced_at=datetime.fromtimestamp(t.at, UTC)) for s, t in trades.items() if t
        }

    def _book(self, hours: Session) -> Book:
        ledger = self.exchange.ledger
        for fill in ledger.fills[self._booked :]:
            order = ledger.orders[fill.venue_order_id]
            purpose = Purpose.ENTRY if order.side.sign > 0 else Purpose.EXIT
            sent = self._sent.get(order.client_order_id)
            execution = Execution(
                fill=fill, client_order_id=order.client_order_id, purpose=purpose, reason=sent.reason if sent else ""
            )
            self._plans |= parts_taken(self._plans, execution)
            self._own = book(roll(self._own, fill.filled_at.date().isoformat()), [execution])
        self._booked = len(ledger.fills)
        self._own = roll(self._own, hours.day.isoformat())
        return Book(
            session=self._own.session,
            cash=ledger.portfolio.cash,
            equity=self.exchange.equity(),
            previous_close_equity=ledger.previous_close_equity,
            buying_power=ledger.buying_power,
            positions=ledger.portfolio.positions,
            open_orders=tuple(open_order(order) for order in ledger.open_orders()),
            risk=self._risk,
            entries_today=self._own.entries_today,
            exits_today=self._own.exits_today,
            progress={s: p.progress for s, p in standing(self._plans, ledger.portfolio.positions).items()},
        )


def open_order(order: SimOrder) -> OpenOrder:
    return OpenOrder(
        client_order_id=order.client_order_id,
        symbol=order.symbol,
        side=order.side,
        purpose=Purpose.ENTRY if order.side.sign > 0 else Purpose.EXIT,
        quantity=order.left,
        price=order.limit_price if order.side.sign > 0 else None,
        protective=order.leg is not None or order.order_class is OrderClass.OCO,
        stop_price=order.stop_price,
        stale=order.side.sign > 0,
    )


def new_order(order: Order) -> NewOrder:
    return NewOrder(
        symbol=order.symbol,
        side=order.side,
        type=order.type,
        time_in_force=order.time_in_force,
        order_class=order.order_class,
        client_order_id=order.client_order_id,
        quantity=order.quantity,
        notional=None,
        limit_price=order.limit_price,
        stop_price=order.stop_price,
        take_profit_price=order.take_profit_price,
        stop_loss_price=order.stop_loss_price,
    )


def told(fill: Fill) -> tuple[Any, ...]:
    return (fill.symbol, fill.side, fill.quantity, fill.price, fill.filled_at, fill.commission)


EVERYTHING = ExitPolicy(
    atr_stop_multiple=1.5,
    break_even_at_r=0.5,
    partial_at_r=0.75,
    partial_fraction=0.4,
    trailing_fraction=0.03,
    trailing_atr_multiple=1.0,
)
CAPPED = Liquidity(participation=Decimal("0.0004"), partial_probability=Decimal("0.5"), seed=SEED)


@pytest.mark.parametrize("liquidity", [UNLIMITED, CAPPED], ids=["unlimited", "capped"])
@pytest.mark.parametrize(("grain", "count"), [(Grain.CYCLE, 8), (Grain.SESSION, 25)])
@pytest.mark.parametrize("exits", [ExitPolicy(), EVERYTHING], ids=["plain", "everything"])
def test_the_exchange_and_the_backtest_agree(grain: Grain, count: int, liquidity: Liquidity, exits: ExitPolicy) -> None:
    bars, sessions = market(count, seed=SEED)
    plan = plan_of(grain=grain, costs=COSTS, liquidity=liquidity, policy=Policy(exits=exits))
    desk, diary = Desk(plan, bars, sessions), Diary()
    fills = desk.trade(sessions)
    result = run(plan, DailyTape(bars, sessions, seed=SEED), NoisyForecaster(), observer=diary)

    assert [told(e.fill) for e in diary.executions] == [told(f) for f in fills[: len(diary.executions)]]
    assert result.fills == len(fills) > 30
    assert (len({f.venue_order_id for f in fills}) < len(fills)) is (liquidity is CAPPED)  # orders filled in pieces
    assert len(desk.decisions) == len(diary.decisions)
    for live, again in zip(desk.decisions, diary.decisions, strict=True):
        assert live.orders == again.orders
        assert [(r.symbol, r.reason, r.price, r.quantity) for r in live.records] == [
            (r.symbol, r.reason, r.price, r.quantity) for r in again.records
        ]
        assert len(live.cancels) == len(again.cancels)  # the exchange names protective legs itself
        assert live.risk == again.risk
        assert live.plans == again.plans
        assert [(m.symbol, m.stop_price) for m in live.moves] == [(m.symbol, m.stop_price) for m in again.moves]
    if exits is EVERYTHING:
        assert any(decision.moves for decision in diary.decisions)
        assert any(r.reason is Reason.PARTIAL_PROFIT for decision in diary.decisions for r in decision.records)
    assert [equity for _, equity in desk.exchange.ledger.closes] == [s.equity for s in result.sessions]

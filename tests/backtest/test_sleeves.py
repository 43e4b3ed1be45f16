"""Several strategies in one account: both loops trade the same, budgets hold, and the profits add up to the account's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal

import numpy as np
import pytest

from app.backtest.bar_tape import BarTape
from app.backtest.compiled.portfolio import Market, Portfolio, trade_portfolio, unsupported
from app.backtest.driver import Plan, Run, run
from app.domain.exits import ExitPolicy
from app.domain.order import Side
from app.engine.decision import Decision, Sleeve
from app.engine.ledger import Execution
from app.engine.recording import Inputs, from_json, to_json
from app.risk.limits import Policy, RiskLimits
from app.strategies.sleeve_forecaster import SleeveForecaster
from tests.backtest.panels import PanelForecasts, minute_panel, random_panel
from tests.backtest.test_bar_tape import plan_of
from tests.backtest.test_portfolio import BY_ATR, CALM, COSTS, LOOSE, PLAIN, TIGHT, TRAILING, Seen, assert_same

pytestmark = pytest.mark.timeout(900)  # the first run compiles the loop, which a busy machine takes minutes for


def sleeve(name: str, budget: float, threshold: float, exits: ExitPolicy) -> Sleeve:
    policy = Policy(
        buy_threshold=threshold,
        sell_threshold=-threshold,
        confidence_threshold=0.0,
        rebalance_margin_fraction=0.2,
        exits=exits,
    )
    return Sleeve(strategy=name, budget_fraction=budget, policy=policy)


TWO = (sleeve("one", 0.3, 0.6, PLAIN), sleeve("two", 0.5, 0.3, TRAILING._replace(stop_loss_fraction=0.03)))
THREE = (
    sleeve("one", 0.1, 0.3, BY_ATR),
    sleeve("two", 0.25, 0.5, PLAIN._replace(take_profit_fraction=0.04)),
    sleeve("three", 0.4, 0.2, TRAILING),
)


def both(tape: BarTape, said: np.ndarray, plan: Plan) -> tuple[Run, Seen, Portfolio]:
    """said: what each sleeve expects, shape (n_sleeves, n_symbols, n_bars)."""
    seen = Seen([], [])
    asked = {one.strategy: PanelForecasts(tape, said[k]) for k, one in enumerate(plan.sleeves)}
    driven = run(plan, tape, SleeveForecaster(asked), observer=seen)
    close = tape.panel.close
    at_close = close * (1.0 + said) / close - 1.0  # what such a forecast says at that price, to the last bit
    sure = np.where(np.isfinite(at_close), 1.0, np.nan)
    return driven, seen, trade_portfolio(plan, Market(tape, plan.symbols), at_close, sure, keep=True)


def draws(tape: BarTape, sleeves: Sequence[Sleeve], seed: int) -> np.ndarray:
    said = np.random.default_rng(seed).uniform(-1.0, 1.0, (len(sleeves), *tape.panel.close.shape))
    said[0, :, ::13] = np.nan
    return said


def assert_adds_up(ended: Run, *, exactly: bool) -> None:
    earned = sum((part.profit for part in ended.attribution), Decimal(0))
    account = ended.sessions[-1].equity - ended.plan.capital
    assert earned == account if exactly else float(earned) == pytest.approx(float(account), abs=2e-6)
    assert sum(part.fills for part in ended.attribution) == ended.fills
    assert sum(part.trades for part in ended.attribution) == len(ended.round_trips)
    assert sum(part.commissions for part in ended.attribution) == ended.commissions
    assert sum(part.traded_value for part in ended.attribution) == ended.traded_value
    for number, session in enumerate(ended.sessions):
        held = sum(part.values[number] for part in ended.attribution)
        assert float(held) == pytest.approx(float(session.positions_value), abs=1e-3)


@pytest.mark.parametrize("sleeves", [TWO, THREE], ids=["two", "three"])
@pytest.mark.parametrize("limits", [CALM, LOOSE, TIGHT], ids=["calm", "loose", "tight"])
@pytest.mark.parametrize("seed", range(2))
def test_both_loops_trade_the_same_and_profits_add_up(seed: int, limits: RiskLimits, sleeves: tuple[Sleeve, ...]) -> None:
    panel, sessions = random_panel(seed + 20, 14, 160, sigma=0.025, gaps=0.003 * seed, holes=0.01 * seed)
    tape = BarTape(panel, sessions, start=sessions[30].day)
    plan = plan_of(panel, limits=limits, sleeves=sleeves, costs=COSTS)
    driven, seen, compiled = both(tape, draws(tape, sleeves, seed), plan)
    assert all(part.fills for part in driven.attribution) or limits is TIGHT
    assert_same(driven, seen, compiled)
    again = compiled.run()
    assert_adds_up(driven, exactly=True)
    assert_adds_up(again, exactly=False)
    for one, other in zip(driven.attribution, again.attribution, strict=True):
        assert (one.cash, one.units, one.values[-1]) == (other.cash, other.units, other.values[-1])
    if limits is not TIGHT:
        assert driven.reasons["sleeve_budget"] > 0


def test_both_loops_trade_the_same_within_days() -> None:
    panel, days = minute_panel(9, 6, 40)
    tape = BarTape(panel, days, start=days[25].day)
    plan = plan_of(panel, sleeves=TWO, costs=COSTS)
    driven, seen, compiled = both(tape, draws(tape, TWO, 4), plan)
    assert driven.fills > 15
    assert_same(driven, seen, compiled)


def test_one_sleeve_with_the_whole_budget_is_the_account_without_sleeves() -> None:
    panel, sessions = random_panel(31, 10, 120)
    tape = BarTape(panel, sessions)
    alone = sleeve("one", 1.0, 0.3, TRAILING._replace(stop_loss_fraction=CALM.stop_loss_fraction))
    said = draws(tape, [alone], 5)
    plain = plan_of(panel, policy=alone.policy)
    market = Market(tape, plain.symbols)
    one = trade_portfolio(plain, market, said[0], keep=True)
    other = trade_portfolio(replace(plain, sleeves=(alone,)), market, said, keep=True)
    for name in ("fills", "curve", "said", "changes", "reasons"):
        np.testing.assert_array_equal(getattr(one.traded, name), getattr(other.traded, name))


def test_a_symbol_stays_with_the_sleeve_that_entered_it_and_budgets_hold() -> None:
    panel, sessions = random_panel(41, 12, 140)
    tape = BarTape(panel, sessions, start=sessions[30].day)
    plan = plan_of(panel, limits=LOOSE, sleeves=THREE)
    owners: dict[str, str] = {}
    told: set[int] = set()

    def watch(inputs: Inputs, decision: Decision, executions: list[Execution]) -> None:
        for execution in executions:
            symbol = execution.fill.symbol
            assert owners.setdefault(symbol, execution.strategy) == execution.strategy
            if symbol not in inputs.book.positions:
                del owners[symbol]
        prices = dict(zip(inputs.view.symbols, inputs.view.price.tolist(), strict=True))
        spoke = {record.symbol: record.strategy for record in decision.records}
        for one in THREE:
            held = sum(float(p.quantity) * prices[s] for s, p in inputs.book.positions.items() if owners[s] == one.strategy)
            entries = [v.order for v in decision.orders if v.order.side is Side.BUY and spoke[v.order.symbol] == one.strategy]
            bought = sum(float(order.quantity * (order.limit_price or 0)) for order in entries)
            assert not bought or held + bought <= one.budget_fraction * float(inputs.book.equity) * (1 + 1e-9)
        for record in decision.records:
            if record.symbol in inputs.book.positions:
                assert record.strategy == owners[record.symbol]
                told.add(record.detail.count("other_sleeve"))
        again = from_json(to_json(inputs))
        assert (again.context.sleeves, again.book.owners) == (inputs.context.sleeves, inputs.book.owners)

    said = draws(tape, THREE, 6)
    asked = {one.strategy: PanelForecasts(tape, said[k]) for k, one in enumerate(THREE)}
    ended = run(plan, tape, SleeveForecaster(asked), observer=watch)
    assert told >= {1, 2} and len({trip.strategy for trip in ended.round_trips}) == 3


def test_a_partial_exit_of_any_sleeve_is_left_to_the_driver() -> None:
    panel, sessions = random_panel(1, 2, 30)
    parts = sleeve("one", 0.5, 0.3, ExitPolicy(partial_at_r=1.0, partial_fraction=0.5))
    plan = plan_of(panel, sleeves=(TWO[0], parts))
    assert unsupported(plan, BarTape(panel, sessions)) == "the exit policy sells in parts"

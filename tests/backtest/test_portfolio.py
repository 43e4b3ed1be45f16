"""The compiled loop is the driver: every decision, every fill, the equity, for many limits, exits and costs."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from decimal import Decimal

import numpy as np
import pytest

from app.backtest.bar_tape import BarTape
from app.backtest.compiled.portfolio import Market, Portfolio, trade_portfolio, unsupported
from app.backtest.driver import Plan, Run, run
from app.domain.errors import InvalidInput
from app.domain.exits import ExitPolicy
from app.domain.instrument import Instrument
from app.engine.costs import CostModel, Liquidity
from app.engine.decision import Decision
from app.engine.ledger import Execution
from app.engine.recording import Inputs
from app.risk.limits import Policy, RiskLimits
from tests.backtest.panels import PanelForecasts, minute_panel, random_panel
from tests.backtest.test_bar_tape import plan_of

COSTS = CostModel(
    slippage_bps=Decimal(3),
    half_spread_bps=Decimal("0.7"),
    impact_bps=Decimal(20),
    commission_bps=Decimal(1),
    commission_per_share=Decimal("0.005"),
    minimum_commission=Decimal(1),
)
pytestmark = pytest.mark.timeout(900)  # the first run compiles the loop, which a busy machine takes minutes for
CALM = RiskLimits()
LOOSE = RiskLimits(
    max_positions=20, max_position_fraction=0.3, max_daily_loss_fraction=0.5, flatten_daily_loss_fraction=0.6,
    max_drawdown_fraction=0.9, target_volatility_fraction=0.01, stop_loss_fraction=0.12, take_profit_fraction=0.3,
)  # fmt: skip
TIGHT = RiskLimits(
    max_positions=3, max_exposure_fraction=0.25, max_daily_loss_fraction=0.004, flatten_daily_loss_fraction=0.006,
    max_drawdown_fraction=0.03, stop_loss_fraction=0.02, take_profit_fraction=0.03, symbol_volatility_multiple=1.2,
    market_volatility_multiple=1.05, max_entries_per_day=1, jump_multiple=2.0, largest_jump_fraction=0.06,
)  # fmt: skip
PLAIN, TRAILING = ExitPolicy(), ExitPolicy(break_even_at_r=0.5, trailing_fraction=0.03)
BY_ATR = ExitPolicy(atr_stop_multiple=1.0, break_even_at_r=1.0, trailing_atr_multiple=1.5)


@dataclass
class Seen:
    """What the driver showed: reasons by decision, orders, executions."""

    reasons: list[list[int]]
    fills: list[Execution]

    def __call__(self, inputs: Inputs, decision: Decision, executions: list[Execution]) -> None:
        self.reasons.append([int(record.reason) for record in decision.records])
        self.fills.extend(executions)


def both(tape: BarTape, expected: np.ndarray, plan: Plan) -> tuple[Run, Seen, Portfolio]:
    seen = Seen([], [])
    driven = run(plan, tape, PanelForecasts(tape, expected, confidence=1.0), observer=seen)
    # What a forecast from the last close says at that price, to the last bit.
    close = tape.panel.close
    said = close * (1.0 + expected) / close - 1.0
    sure = np.where(np.isfinite(said), 1.0, np.nan)
    return driven, seen, trade_portfolio(plan, Market(tape, plan.symbols), said, sure, keep=True)


def key(execution: Execution) -> tuple[object, ...]:
    fill = execution.fill
    return (
        fill.filled_at,
        fill.symbol,
        fill.side,
        fill.quantity,
        fill.price,
        fill.commission,
        execution.reason,
        execution.strategy,
    )


def assert_same(driven: Run, seen: Seen, compiled: Portfolio) -> None:
    start, _ = compiled.tape.bars_of(0)
    said = compiled.traded.said[start:]
    for t, reasons in enumerate(seen.reasons):
        assert said[t].tolist() == reasons, f"decision {t}"
    ours = sorted(map(key, compiled.executions()))
    last = seen.reasons and driven.fills - len(seen.fills)  # fills after the last decision were not shown
    assert Counter(map(key, seen.fills)) <= Counter(ours) and len(ours) - len(seen.fills) == last
    again = compiled.run()
    assert float(driven.slippage) == pytest.approx(float(again.slippage), rel=1e-12)  # summed in another order within a bar
    for one, other in zip(driven.sessions, again.sessions, strict=True):
        assert float(one.equity) == pytest.approx(float(other.equity), rel=1e-9)
        assert (one.closes_at, one.positions, one.trading_state) == (other.closes_at, other.positions, other.trading_state)
        assert float(one.positions_value) == pytest.approx(float(other.positions_value), abs=1e-3)
    for name in (
        "fills",
        "traded_value",
        "commissions",
        "open_positions",
        "decisions",
        "orders",
        "refused",
        "reasons",
    ):
        assert getattr(driven, name) == getattr(again, name), name
    assert sorted(driven.round_trips, key=str) == sorted(again.round_trips, key=str)
    assert driven.risk and again.risk
    assert (driven.risk.trading_state, driven.risk.cause, driven.risk.until, driven.risk.disabled_symbols) == (
        again.risk.trading_state, again.risk.cause, again.risk.until, again.risk.disabled_symbols
    )  # fmt: skip
    told = [alert for alert in driven.alerts if "Too many" not in alert]
    assert told == [alert for alert in again.alerts if "Too many" not in alert] and len(driven.alerts) == len(again.alerts)


@pytest.mark.parametrize("exits", [PLAIN, TRAILING, BY_ATR], ids=["plain", "trailing", "atr"])
@pytest.mark.parametrize("limits", [CALM, LOOSE, TIGHT], ids=["calm", "loose", "tight"])
@pytest.mark.parametrize("seed", range(3))
def test_the_compiled_loop_is_the_driver_on_daily_bars(seed: int, limits: RiskLimits, exits: ExitPolicy) -> None:
    panel, sessions = random_panel(seed, 14, 190, sigma=0.025, gaps=0.004 * seed, holes=0.01 * (seed == 2))
    tape = BarTape(panel, sessions, start=sessions[30].day)
    policy = Policy(
        buy_threshold=0.3, sell_threshold=-0.3, confidence_threshold=0.0, rebalance_margin_fraction=0.2, exits=exits
    )
    plan = plan_of(panel, limits=limits, policy=policy, costs=COSTS if seed else CostModel())
    expected = np.random.default_rng(seed).uniform(-1.0, 1.0, panel.close.shape)
    expected[:, ::17] = np.nan
    driven, seen, compiled = both(tape, expected, plan)
    assert driven.fills > 20 or limits is TIGHT
    assert_same(driven, seen, compiled)


@pytest.mark.parametrize("limits", [CALM, TIGHT], ids=["calm", "tight"])
def test_the_compiled_loop_is_the_driver_within_days(limits: RiskLimits) -> None:
    panel, days = minute_panel(7, 6, 45)
    tape = BarTape(panel, days, start=days[25].day)
    policy = Policy(buy_threshold=0.8, sell_threshold=-0.8, confidence_threshold=0.0, exits=TRAILING)
    rules = {s: Instrument(symbol=s, quantity_step=Decimal("0.001"), fraction_step=Decimal("0.001")) for s in panel.symbols}
    plan = replace(plan_of(panel, limits=limits, policy=policy, costs=COSTS), instruments=rules)
    driven, seen, compiled = both(tape, np.random.default_rng(1).uniform(-1.0, 1.0, panel.close.shape), plan)
    assert driven.fills > 15
    assert_same(driven, seen, compiled)


def test_prices_that_are_on_no_tick_are_traded_the_same() -> None:
    panel, sessions = random_panel(11, 8, 120)
    factor = 1.0 + np.arange(8)[:, None] * 0.0137
    raw = {name: getattr(panel, name) * factor * 0.02 for name in ("open", "high", "low", "close")}
    tape = BarTape(replace(panel, **raw), sessions)
    driven, seen, compiled = both(tape, np.random.default_rng(2).uniform(-1, 1, panel.close.shape), plan_of(panel))
    assert driven.fills > 20
    assert_same(driven, seen, compiled)


def test_some_of_the_symbols_in_another_order() -> None:
    panel, sessions = random_panel(12, 9, 90)
    tape = BarTape(panel, sessions)
    chosen = (panel.symbols[7], panel.symbols[2], panel.symbols[4])
    plan = plan_of(panel, symbols=chosen)
    expected = np.random.default_rng(3).uniform(-1, 1, panel.close.shape)
    driven, seen, compiled = both(tape, expected, plan)
    assert driven.fills > 10
    assert_same(driven, seen, compiled)


def test_what_the_loop_cannot_do_is_said() -> None:
    panel, sessions = random_panel(1, 2, 30)
    tape = BarTape(panel, sessions)
    plan = plan_of(panel)
    assert unsupported(plan, tape) is None
    parts = replace(plan, policy=Policy(exits=ExitPolicy(partial_at_r=1.0, partial_fraction=0.5)))
    odd = {panel.symbols[0]: Instrument(symbol=panel.symbols[0], quantity_step=Decimal("0.25"))}
    for refused in (replace(plan, liquidity=Liquidity(participation=Decimal("0.1"))), parts, replace(plan, instruments=odd)):
        assert unsupported(refused, tape)
        with pytest.raises(InvalidInput, match="cannot run this plan"):
            trade_portfolio(refused, Market(tape, refused.symbols), panel.close)

"""The kernel and the engine on bars as they are: the same trades for the same scores, where no risk rule steps in."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pytest

from app.backtest.bar_tape import BarTape
from app.backtest.compiled import instrument as research
from app.backtest.compiled.instrument import ENDINGS, Setup, instrument, votes_of
from app.backtest.driver import Plan, run
from app.domain.instrument import Instrument
from app.domain.order import Purpose, Side
from app.domain.panel import Panel
from app.engine.costs import FREE, CostModel
from app.risk.limits import Policy, RiskLimits
from tests.backtest.panels import PanelForecasts, random_panel
from tests.backtest.test_driver import Diary

BARS, UNKNOWN = 150, 30  # no entry before the volatility of a symbol is known
POLICY = Policy(buy_threshold=0.5, sell_threshold=-0.5, confidence_threshold=0.0)
COLLAR, POSITION, HEADROOM = 0.004, 0.5, 0.02
NOTHING_IN_THE_WAY = RiskLimits(
    max_exposure_fraction=1.0, max_position_fraction=POSITION, headroom_fraction=HEADROOM, price_collar_fraction=COLLAR,
    max_daily_loss_fraction=0.99, flatten_daily_loss_fraction=0.99, max_drawdown_fraction=0.99, risk_per_trade_fraction=0.99,
    target_volatility_fraction=0.99, jump_multiple=1e9, largest_jump_fraction=1e9, symbol_volatility_multiple=1e9,
)  # fmt: skip
Trip = tuple[int, int, float, float, float, str]


def plan_of(panel: Panel, setup: Setup) -> Plan:
    limits = NOTHING_IN_THE_WAY._replace(
        stop_loss_fraction=setup.stop_loss_fraction or 0.98, take_profit_fraction=setup.take_profit_fraction or 9.0
    )
    fine = Instrument(symbol=panel.symbols[0], price_ticks=((Decimal(0), Decimal("1e-9")),))
    return Plan(
        symbols=panel.symbols, capital=Decimal(100_000), limits=limits, policy=POLICY, costs=setup.costs,
        instruments={panel.symbols[0]: fine},
    )  # fmt: skip


def engine_trips(panel: Panel, tape: BarTape, score: np.ndarray, setup: Setup) -> list[Trip]:
    diary = Diary()
    run(plan_of(panel, setup), tape, PanelForecasts(tape, score), observer=diary)
    trips: list[Trip] = []
    for one in diary.executions:
        bar = int(np.searchsorted(panel.known_at, int(one.fill.filled_at.timestamp())))
        if one.fill.side is Side.BUY:
            trips.append((bar, -1, float(one.fill.quantity), float(one.fill.price), np.nan, "open"))
        else:
            assert one.purpose is Purpose.EXIT
            trips[-1] = (trips[-1][0], bar, *trips[-1][2:4], float(one.fill.price), one.reason)
    return trips


def kernel_trips(panel: Panel, score: np.ndarray, setup: Setup) -> list[Trip]:
    market = instrument(panel)
    log = research.run(market, votes_of(market, score[0], 0.5), setup).trades
    rows = zip(log.entry_bar, log.exit_bar, log.quantity, log.entry_price, log.exit_price, log.ending, strict=True)
    return [(int(a), int(b), float(q), float(p), float(x), ENDINGS[int(e)]) for a, b, q, p, x, e in rows]


def without_returns(panel: Panel, score: np.ndarray, setup: Setup) -> np.ndarray:
    """The scores less what asks for an entry in a bar with an exit: the engine does not trade a symbol twice a day."""
    score = score.copy()
    while True:
        again = [
            exit_bar for _, exit_bar, *_ in kernel_trips(panel, score, setup) if exit_bar >= 0 and score[0, exit_bar] >= 0.5
        ]
        if not again:
            return score
        score[0, again] = 0.0


def scores(panel: Panel, seed: int, setup: Setup) -> np.ndarray:
    score = np.random.default_rng(seed).choice([-1.0, -0.2, 0.0, 0.2, 1.0], size=panel.close.shape)
    score[:, :UNKNOWN] = 0.0
    return without_returns(panel, score, setup)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("stop", "target", "gaps"), [(0.0, 0.0, 0.02), (0.03, 0.05, 0.0)])
def test_the_kernel_trades_as_the_engine(seed: int, stop: float, target: float, gaps: float) -> None:
    """With protective legs only on bars that open where the one before closed, and without slippage: the engine sets the legs
    from the price of its decision, the kernel from that of the fill; and where the bar of the fill closes beyond a level, the
    engine decides to sell at the open at which the legs of the kernel fill."""
    panel, sessions = random_panel(seed, 1, BARS, gaps=gaps)
    if not gaps:
        panel.open[0, 1:] = panel.close[0, :-1]
        panel.high[:], panel.low[:] = np.maximum(panel.high, panel.open), np.minimum(panel.low, panel.open)
    setup = Setup(
        costs=FREE if stop else CostModel(slippage_bps=Decimal(3)), collar_fraction=COLLAR, fraction=POSITION * (1 - HEADROOM),
        stop_loss_fraction=stop, take_profit_fraction=target, quantity_step=1.0,
    )  # fmt: skip
    score = scores(panel, seed, setup)
    expected = engine_trips(panel, BarTape(panel, sessions), score, setup)
    found = kernel_trips(panel, score, setup)
    assert len(found) >= 5
    assert {name for *_, name in found} >= ({"stop_loss", "take_profit"} if stop else {"signal"})
    assert [one[:3] for one in found] == [one[:3] for one in expected]
    for column in (3, 4):
        assert [one[column] for one in found] == pytest.approx([one[column] for one in expected], rel=1e-8, nan_ok=True)

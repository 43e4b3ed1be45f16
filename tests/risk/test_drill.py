"""The drill fires every breaker on what a system saw, and notices one that would not."""

from __future__ import annotations

import pytest

from app.engine.drill import drill
from app.engine.recording import Inputs, from_json, to_json
from app.risk.limits import RiskLimits
from tests.engine.worlds import LIMITS, POLICY, Quote, book_of, context_of, held, view_of


def recorded(limits: RiskLimits = LIMITS, count: int = 8) -> Inputs:
    quotes = {f"S{i}": Quote(price=20.0 + 37.7 * i, volatility=0.01 + 0.005 * i) for i in range(count)}
    book = book_of([held("S1", 10, 50)], quotes=quotes, cash=54_321)
    inputs = Inputs(view=view_of(quotes), book=book, context=context_of(quotes), limits=limits, policy=POLICY)
    return from_json(to_json(inputs))


@pytest.mark.parametrize(
    "limits",
    [
        LIMITS,
        LIMITS._replace(max_daily_loss_fraction=0.01, flatten_daily_loss_fraction=0.015, max_drawdown_fraction=0.1),
        LIMITS._replace(max_position_fraction=0.2, max_positions=3, price_collar_fraction=0.02),
    ],
)
@pytest.mark.parametrize("count", [2, 8])
def test_every_breaker_fires(limits: RiskLimits, count: int) -> None:
    rows = drill(recorded(limits, count))
    assert [row for row in rows if not row.fires] == []
    assert len(rows) >= 25 - (2 if count < 5 else 0)
    assert rows[0].state.startswith("ACTIVE")


@pytest.mark.parametrize(
    ("name", "value", "breaker"),
    [
        ("corroboration_seconds", 1e9, "hard_daily_loss"),
        ("max_drawdown_fraction", 1.5, "drawdown"),
        ("equity_tolerance_fraction", 9.0, "equity_unreliable"),
        ("market_volatility_multiple", float("nan"), "extreme_volatility"),
        ("max_stale_fraction", 1.0, "stale_data"),
        ("max_positions", 10**6, None),
    ],
)
def test_a_breaker_that_is_switched_off_is_found_out(name: str, value: float, breaker: str | None) -> None:
    weak = {row.breaker for row in drill(recorded(LIMITS._replace(**{name: value}))) if not row.fires}
    assert weak == ({breaker} if breaker else set())

"""Strategies that share an account, as text: what is understood, and what is refused with its mend."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.domain.errors import InvalidInput
from app.risk.limits import Policy, RiskLimits
from app.services.strategies.shared_account import SharedAccount, choose
from app.services.strategies.strategy_service import StrategyService


@pytest.fixture
def strategies(tmp_path: Path) -> StrategyService:
    return StrategyService(tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        "sma_cross(fast=5, slow=20):0.5 rsi:0.3",
        "sma_cross( fast=5 slow=20 ) : 0.5,rsi:.3",
        "sma_cross(fast=5,slow=20):0.5, rsi:3e-1 ",
    ],
)
def test_strategies_with_their_budgets_are_read(strategies: StrategyService, text: str) -> None:
    found = choose(strategies, text, {})
    assert isinstance(found, SharedAccount)
    assert [(one.strategy.name, budget) for one, budget in found.parts] == [("sma_cross", 0.5), ("rsi", 0.3)]
    assert found.parts[0][0].values["fast"] == 5 and found.values == {}
    again = choose(strategies, found.name, {})
    assert isinstance(again, SharedAccount) and again.name == found.name and again.parts == found.parts
    assert found.memory == max(one.memory for one, _ in found.parts)


def test_each_keeps_its_thresholds_and_exits(strategies: StrategyService) -> None:
    found = choose(strategies, "scalping:0.5 sma_cross:0.5", {})
    assert isinstance(found, SharedAccount)
    scalping, cross = found.sleeves(Policy())
    assert (scalping.strategy, scalping.budget_fraction, scalping.policy.exits.stop_loss_fraction) == ("scalping", 0.5, 0.01)
    assert cross.policy.exits.stop_loss_fraction == 0.05 and cross.policy.buy_threshold == 0.5
    limits, policy = found.rules(RiskLimits(), Policy())
    assert (limits.stop_loss_fraction, limits.take_profit_fraction, policy) == (0.01, 0.10, Policy())


def test_one_strategy_has_the_whole_account(strategies: StrategyService) -> None:
    found = choose(strategies, "rsi", {"period": 10})
    assert found.name == "rsi" and found.values["period"] == 10 and found.sleeves(Policy()) == ()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("rsi:0.5 sma_crss:0.5", "did you mean sma_cross"),
        ("rsi:0.7 sma_cross:0.5", "1.2 of the equity together"),
        ("rsi:0", "above 0 to 1, not 0"),
        ("rsi:nan", "above 0 to 1, not nan"),
        ("rsi:half", "above 0 to 1, not half"),
        ("rsi:0.5 rsi:0.2", "give it once"),
        ("rsi sma_cross:0.5", "write it like"),
        ("rsi(period=10)", "write it like"),
        ("rsi(length):0.5", "length is no parameter"),
        ("rsi(length=x):0.5", "length=x is no parameter"),
        ("rsi(speed=3):0.5", "no such parameter"),
        ("ensemble:0.5 rsi:0.5", "trades with the whole account"),
        (":0.5", "write it like"),
    ],
)
def test_what_cannot_be_is_refused(strategies: StrategyService, text: str, words: str) -> None:
    with pytest.raises(InvalidInput, match=r".") as refusal:
        choose(strategies, text, {})
    assert words in refusal.value.message


def test_parameters_beside_the_text_are_refused(strategies: StrategyService) -> None:
    with pytest.raises(InvalidInput, match="stand behind their names"):
        choose(strategies, "rsi:0.5", {"period": 10})

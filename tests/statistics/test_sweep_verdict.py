"""The best of a sweep is judged among all that it was chosen from."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from itertools import pairwise

import numpy as np
import pytest

from app.backtest.compiled.evaluation import evaluate
from app.backtest.compiled.instrument import Setup, Sides
from app.domain.verdict import Level
from app.engine.costs import CostModel
from app.services.verdicts import sweep_verdict
from app.services.verdicts.sweep_verdict import stays_of, sweep_result
from app.services.verdicts.trial_ledger import TrialLedger
from app.services.verdicts.verdict_service import VerdictService
from app.strategies.sma_cross import SmaCross
from tests.databases import HandClock
from tests.statistics.generated import panel_of, with_edge, without_edge
from tests.statistics.memory import MemoryLedger

RULE = SmaCross()
SETS = [{"fast": fast, "slow": slow} for fast in (1, 2, 3) for slow in (6, 8, 10)]
SETUP = Setup(costs=CostModel(slippage_bps=Decimal(5)))


@pytest.fixture(scope="module")
def panel():
    return panel_of(*with_edge(0.008, np.random.default_rng(3)))


@pytest.fixture
def service():
    return VerdictService(MemoryLedger(), TrialLedger(MemoryLedger()), HandClock())


def levels(judged):
    return {check.name: check.level for check in judged.verdict.checks}


def test_every_set_is_evidence(panel, service):
    result = sweep_result(RULE, panel, SETS, SETS[0], SETUP)
    again = evaluate(RULE, panel, SETS, SETUP, start=0, stop=len(panel) - 1)
    assert result.returns_of_sets is not None
    np.testing.assert_array_equal(result.returns_of_sets, again.returns.T)
    np.testing.assert_array_equal(result.returns, again.returns[0])
    assert result.trades == again.trades[0]
    judged = service.judge(result)
    assert judged.strategy == "sma_cross"
    assert set(levels(judged).values()) == {Level.PASS}


def test_trades_are_told_bar_by_bar(panel):
    stays = stays_of(RULE, panel, SETS[0], SETUP)
    assert len(stays) == sweep_result(RULE, panel, SETS[:1], SETS[0], SETUP).trades
    assert all(0 <= stay.entered <= stay.left < len(panel) and stay.weight == SETUP.fraction for stay in stays)
    assert all(first.left <= second.entered for first, second in pairwise(stays))


def test_a_short_weighs_below_zero_among_the_trades(panel):
    both = replace(SETUP, sides=Sides.BOTH)
    stays = stays_of(RULE, panel, SETS[0], both)
    assert {stay.weight for stay in stays} == {SETUP.fraction, -SETUP.fraction}
    assert all(first.left <= second.entered for first, second in pairwise(stays))
    assert sweep_result(RULE, panel, SETS[:1], SETS[0], both).trades == len(stays)


def test_bars_before_the_start_only_feed_the_columns(panel):
    late = sweep_result(RULE, panel, SETS, SETS[0], SETUP, start=200)
    again = evaluate(RULE, panel, SETS, SETUP, start=200, stop=len(panel) - 1)
    np.testing.assert_array_equal(late.returns, again.returns[0])
    assert late.data_set.digest == panel.slice(200, len(panel)).digest()
    assert len(late.stays) == late.trades
    whole = {(stay.entered - 200, stay.left - 200) for stay in stays_of(RULE, panel, SETS[0], SETUP)}
    assert len({(stay.entered, stay.left) for stay in late.stays} - whole) <= 1  # one that the start cut short


def test_costs_that_are_doubled_are_paid(panel):
    result = sweep_result(RULE, panel, SETS, SETS[0], SETUP)
    assert result.rerun is not None
    own = float(np.prod(1 + result.returns) - 1)
    assert own > result.rerun(2) > result.rerun(3)
    dearer = replace(SETUP, costs=CostModel(slippage_bps=Decimal(10)))
    assert result.rerun(2) == pytest.approx(np.prod(1 + sweep_result(RULE, panel, SETS, SETS[0], dearer).returns) - 1)
    free = replace(SETUP, costs=CostModel(slippage_bps=Decimal(0)))
    assert sweep_result(RULE, panel, SETS, SETS[0], free).rerun is None


def test_one_that_was_not_among_the_sets_is_added(panel):
    result = sweep_result(RULE, panel, SETS, {"fast": 5, "slow": 20}, SETUP)
    assert len(result.sets) == result.returns_of_sets.shape[1] == len(SETS) + 1


def test_of_too_many_sets_the_tests_of_the_choice_are_left_out_and_that_is_said(panel, service, monkeypatch):
    monkeypatch.setattr(sweep_verdict, "MOST_SETS", 5)
    result = sweep_result(RULE, panel, SETS, SETS[0], SETUP)
    assert result.returns_of_sets is None


def test_progress_comes_and_may_end_the_work(panel):
    seen = []
    sweep_result(RULE, panel, SETS, SETS[0], SETUP, progress=lambda done, total, _: seen.append((done, total)))
    assert seen[-1] == (len(SETS), len(SETS))

    def stop(*_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sweep_result(RULE, panel, SETS, SETS[0], SETUP, progress=stop)


def test_luck_is_no_pass(service):
    panel = panel_of(*without_edge("fat tails", np.random.default_rng(12)))
    returns = evaluate(RULE, panel, SETS, SETUP, start=0, stop=len(panel) - 1).returns
    best = int(np.argmax(returns.mean(axis=1) / returns.std(axis=1)))
    assert service.judge(sweep_result(RULE, panel, SETS, SETS[best], SETUP)).verdict.level is not Level.PASS

"""One verdict: every check at its thresholds, and what is missing never passes."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.backtest.statistics.bootstrap import Interval, Intervals
from app.backtest.statistics.luck import Plateau, RandomEntry
from app.backtest.statistics.overfitting import Moments, Overfitting
from app.backtest.statistics.verdict import Evidence, judge
from app.domain.verdict import Check, Level, Verdict

PASS, WARN, FAIL = Level.PASS, Level.WARN, Level.FAIL


def sharpe(low: float, estimate: float) -> Intervals:
    some = Interval(low=0.1, estimate=0.2, high=0.3)
    return Intervals(
        level=0.9,
        draws=2_000,
        block=3.0,
        sharpe_ratio=Interval(low=low, estimate=estimate, high=0.3),
        total_return=some,
        max_drawdown=some,
    )


def by_random(probability: float) -> RandomEntry:
    return RandomEntry(probability=probability, own=0.5, median=0.01, draws=5_000, stays=80)


def halves(probability: float, loss: float) -> Overfitting:
    return Overfitting(probability=probability, loss=loss, splits=12_870)


GOOD = Evidence(
    returns=Moments(observations=1_260, mean=0.0016, deviation=0.01, skewness=0.0, kurtosis=3.0),
    periods_per_year=252.0,
    trades=80,
    trials=100,
    effective_trials=12.0,
    parameters=2,
    intervals=sharpe(0.05, 0.16),
    overfitting=halves(0.1, 0.0),
    superiority=0.001,
    random_entry=by_random(1e-5),
    plateau=Plateau(neighbours=8, share=1.0),
    stressed={2: 0.5, 3: 0.3},
)


def level(evidence: Evidence, name: str) -> Level:
    (check,) = [check for check in judge(evidence).checks if check.name == name]
    return check.level


def test_everything_good_passes_and_says_why():
    verdict = judge(GOOD)
    assert verdict.level is PASS
    assert len(verdict.checks) == len(verdict.reasons) == 9
    assert all(check.sentence and check.figure is not None and check.threshold is not None for check in verdict.checks)


CASES = [
    ("observations", {"returns": replace(GOOD.returns, observations=250, mean=0.01)}, PASS),
    ("observations", {"returns": replace(GOOD.returns, observations=249, mean=0.01)}, WARN),
    ("trades", {"trades": 30}, PASS),
    ("trades", {"trades": 29}, WARN),
    ("trades", {"trades": 0}, WARN),
    ("deflated_sharpe", {"returns": replace(GOOD.returns, mean=0.0008)}, WARN),
    ("deflated_sharpe", {"returns": replace(GOOD.returns, mean=0.0002)}, FAIL),
    ("deflated_sharpe", {"returns": replace(GOOD.returns, mean=-0.001)}, FAIL),
    ("deflated_sharpe", {"effective_trials": 1e6}, WARN),
    ("bootstrap_interval", {"intervals": sharpe(0.0, 0.1)}, WARN),
    ("bootstrap_interval", {"intervals": sharpe(-0.1, 0.0)}, FAIL),
    ("bootstrap_interval", {"intervals": None}, WARN),
    ("superior_ability", {"superiority": 0.05}, PASS),
    ("superior_ability", {"superiority": 0.0501}, WARN),
    ("superior_ability", {"superiority": 0.51}, FAIL),
    ("superior_ability", {"superiority": None}, WARN),
    ("superior_ability", {"superiority": None, "trials": 1, "effective_trials": 1.0}, PASS),
    ("overfitting", {"overfitting": halves(0.2, 0.9)}, PASS),
    ("overfitting", {"overfitting": halves(0.9, 0.05)}, PASS),
    ("overfitting", {"overfitting": halves(0.4, 0.3)}, WARN),
    ("overfitting", {"overfitting": halves(0.51, 0.26)}, FAIL),
    ("overfitting", {"overfitting": halves(0.51, 0.25)}, WARN),
    ("overfitting", {"overfitting": None}, WARN),
    ("overfitting", {"overfitting": None, "trials": 1, "effective_trials": 1.0}, PASS),
    ("random_entry", {"random_entry": by_random(0.004)}, PASS),
    ("random_entry", {"random_entry": by_random(0.005)}, WARN),
    ("random_entry", {"random_entry": by_random(0.05), "effective_trials": 1.0}, PASS),
    ("random_entry", {"random_entry": by_random(0.51)}, FAIL),
    ("random_entry", {"random_entry": by_random(1.0)}, FAIL),
    ("random_entry", {"random_entry": None}, WARN),
    ("parameter_plateau", {"plateau": Plateau(neighbours=8, share=0.5)}, PASS),
    ("parameter_plateau", {"plateau": Plateau(neighbours=8, share=0.49)}, WARN),
    ("parameter_plateau", {"plateau": None}, WARN),
    ("parameter_plateau", {"plateau": None, "parameters": 0}, PASS),
    ("cost_stress", {"stressed": {2: 0.1, 3: 0.0}}, WARN),
    ("cost_stress", {"stressed": {2: 0.0, 3: -0.1}}, FAIL),
    ("cost_stress", {"stressed": {2: 0.1}}, WARN),
    ("cost_stress", {"stressed": None}, WARN),
]


@pytest.mark.parametrize(("name", "changed", "expected"), CASES)
def test_each_check_turns_at_its_threshold(name, changed, expected):
    evidence = replace(GOOD, **changed)
    assert level(evidence, name) is expected
    if expected is not PASS:
        assert judge(evidence).level is not PASS
    if expected is FAIL:
        assert judge(evidence).level is FAIL


@pytest.mark.parametrize(
    "changed",
    [
        {"superiority": math.nan},
        {"random_entry": by_random(math.nan)},
        {"overfitting": halves(math.nan, math.nan)},
        {"plateau": Plateau(neighbours=3, share=math.nan)},
        {"stressed": {2: math.nan, 3: math.nan}},
        {"stressed": {2: 0.1, 3: math.nan}},
        {"intervals": sharpe(math.nan, 0.1)},
        {"returns": replace(GOOD.returns, mean=math.nan)},
    ],
)
def test_what_is_not_a_number_never_passes(changed):
    assert judge(replace(GOOD, **changed)).level is FAIL


def test_a_few_returns_or_none_cannot_pass_and_raise_nothing():
    for count in (0, 1, 2, 3):
        found = judge(replace(GOOD, returns=Moments(observations=count, mean=0.1, deviation=0.0, skewness=0.0, kurtosis=3.0)))
        assert found.level is not PASS


def test_a_failed_check_is_named_before_those_that_warn():
    verdict = judge(replace(GOOD, superiority=0.9, plateau=None))
    assert verdict.level is FAIL
    assert "Hansen" in verdict.reasons[0]
    assert "trader sweep" in verdict.reasons[1]


def test_without_checks_there_is_a_warning():
    assert Verdict(checks=()).level is WARN


@given(st.lists(st.sampled_from(list(Level)), min_size=1))
def test_a_verdict_is_as_good_as_its_worst_check(levels):
    verdict = Verdict(checks=tuple(Check(name="x", level=one, figure=1.0, threshold=1.0, sentence="s") for one in levels))
    assert verdict.level is min(levels, key=[FAIL, WARN, PASS].index)


@given(trials=st.floats(1, 1e5), more=st.floats(1, 1e5))
def test_more_trials_never_make_a_verdict_better(trials, more):
    low, high = sorted((trials, more))
    order = [FAIL, WARN, PASS]
    fewer, many = (judge(replace(GOOD, effective_trials=number)).level for number in (low, high))
    assert order.index(many) <= order.index(fewer)

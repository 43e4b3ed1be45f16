"""The ledger counts every configuration once, and forgets none."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from app.domain.errors import InvalidInput, NotFound
from app.domain.panel import Panel
from app.domain.trial import DataSet, Trial, data_set, settings_key
from app.services.verdicts.trial_ledger import TrialLedger

DAY = timedelta(days=1)
START = datetime(2020, 1, 1, tzinfo=UTC)


def some_data(digest: str = "a" * 64, symbols=("AAPL",), timeframe="1Day", days=(0, 500)) -> DataSet:
    return DataSet(
        digest=digest, symbols=tuple(symbols), timeframe=timeframe, start=START + days[0] * DAY, end=START + days[1] * DAY
    )


def trial(of: DataSet, number: float = 5, **changed) -> Trial:
    fields = {
        "dataset": of.digest,
        "strategy": "sma_cross",
        "values": {"fast": number, "slow": 50},
        "setup": {"slippage_bps": "2", "fill": "next_open"},
        "source": "sweep",
        "evaluated_at": START,
        "observations": 401,
        "mean": 0.0005,
        "deviation": 0.01,
        "skewness": 0.1,
        "kurtosis": 4.0,
        "figures": {"total_return": 0.2},
    }
    return Trial(**(fields | changed))


@pytest.fixture
def trials(ledger) -> TrialLedger:
    return TrialLedger(ledger)


def test_the_same_configuration_counts_once_however_often_it_is_recorded(trials):
    data = some_data()
    assert trials.record(data, [trial(data, n) for n in range(3, 10)]) == 7
    assert trials.record(data, [trial(data, n, source="backtest", mean=9.0) for n in range(3, 12)]) == 2
    assert trials.record(data, [trial(data, 20), trial(data, 20.0)]) == 1
    found = trials.summary(data)
    assert (found.trials, found.data_sets) == (10, 1)


def test_a_trial_comes_back_as_it_was(trials):
    data = some_data()
    kept = trial(data, 5.5, evaluated_at=START + timedelta(microseconds=7))
    trials.record(data, [kept])
    assert list(trials.of_strategy(data, "sma_cross")) == [kept]
    assert trials.data_sets() == [(data, 1)]
    assert trials.summary("aaaa").data_set == data


def test_another_strategy_value_or_setup_is_another_trial(trials):
    data = some_data()
    base = trial(data)
    others = [
        replace(base, strategy="rsi"),
        replace(base, values={"fast": 5, "slow": 51}),
        replace(base, setup={"slippage_bps": "4", "fill": "next_open"}),
    ]
    assert trials.record(data, [base, *others]) == 4


def test_data_that_overlaps_belongs_to_the_count_and_a_configuration_counts_once_in_it(trials):
    first, longer = some_data("a" * 64), some_data("b" * 64, days=(0, 501))
    trials.record(first, [trial(first, n) for n in range(10)])
    # One bar more: the same ten and a new one.
    trials.record(longer, [trial(longer, n) for n in range(11)])
    assert trials.summary(longer).trials == 11
    assert trials.summary(first).trials == 11
    assert trials.summary(first).data_sets == 2
    # A new data set that nobody has tried anything on begins with what was tried on its relatives.
    assert trials.summary(some_data("e" * 64, symbols=("MSFT", "AAPL"), days=(300, 900))).trials == 11


@pytest.mark.parametrize(
    "changed", [{"symbols": ("MSFT",)}, {"timeframe": "1Min"}, {"days": (501, 600)}], ids=["symbol", "timeframe", "later"]
)
def test_other_symbols_timeframes_and_times_have_a_count_of_their_own(trials, changed):
    first, other = some_data("a" * 64), some_data("c" * 64, **changed)
    trials.record(first, [trial(first, n) for n in range(10)])
    trials.record(other, [trial(other, 3)])
    assert trials.summary(other).trials == 1


def test_the_same_configuration_on_other_symbols_of_the_family_is_another_trial(trials):
    one, both = some_data("a" * 64), some_data("b" * 64, symbols=("AAPL", "MSFT"))
    trials.record(one, [trial(one)])
    trials.record(both, [trial(both)])
    assert trials.summary(one).trials == 2


def test_the_summary_tells_mean_and_deviation_of_the_sharpe_ratios(trials):
    data = some_data()
    means = [0.0001 * n for n in range(-20, 30)]
    trials.record(data, [trial(data, n, mean=mean) for n, mean in enumerate(means)])
    found = trials.summary(data)
    ratios = np.array(means) / 0.01
    assert found.sharpe_mean == pytest.approx(ratios.mean(), abs=1e-12)
    assert found.sharpe_deviation == pytest.approx(ratios.std(ddof=1), rel=1e-9)
    correlation = max(1 - (ratios * math.sqrt(400)).var(ddof=1), 0)
    assert found.effective_trials == pytest.approx(correlation + (1 - correlation) * 50)


def test_trials_that_are_all_alike_amount_to_one(trials):
    data = some_data()
    trials.record(data, [trial(data, n) for n in range(100)])
    assert trials.summary(data).effective_trials == pytest.approx(1.0)


def test_a_trial_of_other_data_or_without_numbers_is_refused_and_none_of_its_company_is_kept(trials):
    data = some_data()
    for wrong in (trial(some_data("f" * 64)), trial(data, 7, mean=math.nan), trial(data, 7, kurtosis=math.inf)):
        with pytest.raises(InvalidInput):
            trials.record(data, [trial(data, 1), wrong])
    assert trials.summary(data).trials == 0


def test_what_never_traded_counts_too(trials):
    data = some_data()
    idle = trial(data, mean=0.0, deviation=0.0, skewness=math.nan, kurtosis=math.nan)
    assert trials.record(data, [idle]) == 1
    (kept,) = trials.of_strategy(data, "sma_cross")
    assert (kept.sharpe_ratio, kept.skewness, kept.kurtosis) == (0.0, 0.0, 3.0)


def test_a_large_sweep_is_recorded_in_one_go(trials):
    data = some_data()
    assert trials.record(data, (trial(data, n / 7) for n in range(6_000))) == 6_000
    assert trials.record(data, (trial(data, n / 7) for n in range(6_001))) == 1


def test_an_unknown_or_ambiguous_digest_is_told(trials):
    with pytest.raises(NotFound):
        trials.summary("1234")
    for digest in ("ab" * 32, "ac" * 32):
        data = some_data(digest)
        trials.record(data, [trial(data)])
    with pytest.raises(InvalidInput, match="more of the digest"):
        trials.summary("a")


def test_a_panel_is_named_by_its_bars():
    prices = np.ones((2, 3))
    stamps = np.array([0, 86_400, 172_800])
    panel = Panel(
        symbols=("A", "B"),
        timeframe="1Day",
        timestamp=stamps,
        known_at=stamps + 60,
        open=prices,
        high=prices,
        low=prices,
        close=prices,
        volume=prices,
    )
    found = data_set(panel)
    assert (found.symbols, found.timeframe, found.digest) == (("A", "B"), "1Day", panel.digest())
    assert (found.start, found.end) == (datetime(1970, 1, 1, tzinfo=UTC), datetime(1970, 1, 3, 0, 1, tzinfo=UTC))


def test_settings_are_the_same_whole_or_not():
    assert settings_key("sma_cross", {"a": 5, "b": 2.0}) == settings_key("sma_cross", {"b": 2, "a": 5.0})
    assert settings_key("sma_cross", {"a": 5}) != settings_key("rsi", {"a": 5})

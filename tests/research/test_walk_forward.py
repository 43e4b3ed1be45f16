"""Walk-forward: each window chooses on its own past, the account trades all of them, and a killed run goes on."""

from __future__ import annotations

import signal
import time
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal

import numpy as np
import pytest

from app.backtest.compiled.evaluation import evaluate, figures
from app.backtest.walk_forward import Chosen, StitchedForecaster, rescaled
from app.domain.errors import InvalidInput
from app.domain.exits import ExitPolicy
from app.domain.forecast import Forecast, NoForecast
from app.domain.panel import align
from app.domain.research import RunState
from app.engine.costs import CostModel
from app.risk.limits import Policy, RiskLimits
from app.runtime.calendar import new_york_calendar
from app.services.research.bench import grid_sets, setup_of
from app.services.research.request import WalkForwardRequest
from app.services.research.retrained_models import WalkForward, walk_forward
from app.services.research.walk_forward import _kept, _restored
from app.services.research.window_account import Account
from app.storage.param_files import ParamFiles
from app.strategies.catalog import find
from app.strategies.columns import VOTE
from app.strategies.forecaster import TapedForecaster
from tests.research import bench
from tests.research.bench import BARS
from tests.research.test_searches import start

ASKED = {"strategy": "sma_cross", "grid": {"fast": [3, 5, 8], "slow": [13, 21, 34]}, "train_bars": 200, "test_bars": 110}
PANEL = align(BARS)
ON_SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)  # the databases are compared in test_runs.py


@pytest.fixture
def service(database_url, tmp_path):
    service, database = bench.made(database_url, tmp_path)
    database.save_bars(BARS)
    service.database = database
    yield service
    database.close()


def windows(result):
    return [
        {name: value for name, value in row.items() if name != "account_return"} for row in result["walk_forward"]["windows"]
    ]


@ON_SQLITE
def test_each_window_chooses_on_its_own_past(service):
    run = service.work(service.start("walk_forward", ASKED))
    assert run.state is RunState.DONE
    rows, strategy = windows(run.result), find("sma_cross")
    sets, setup = grid_sets(strategy, ASKED["grid"], {}), setup_of(WalkForwardRequest(**ASKED))
    starts = list(range(200, len(PANEL) - 1, 110))
    assert len(rows) == len(starts) == 5
    for row, begin in zip(rows, starts, strict=True):
        # Nothing behind the first test bar, at whose end the first decision falls, can have been looked at.
        known = PANEL.slice(0, begin + 1)
        evaluation = evaluate(strategy, known, sets, setup, start=begin - 200, stop=begin)
        sharpes = [figures(evaluation, i).sharpe for i in range(len(sets))]
        assert row["values"] == sets[int(np.argmax(sharpes))]
        assert row["in_sample"]["sharpe"] == max(sharpes)
        assert datetime.fromisoformat(row["test"]["start"]).timestamp() == PANEL.known_at[begin]
    stored = service.database.backtest(run.run_id)
    assert stored.performance["total_return"] == run.result["performance"]["total_return"]
    assert stored.result["verdict"] == run.result["verdict"]
    assert stored.result["equity_curve"][0]["at"] == rows[0]["test"]["start"]
    assert service.database.verdict_of(run.run_id).judged.values == rows[-1]["values"]


def account(bars, **terms):
    panel = align(bars)
    return Account(
        panel=panel,
        bars=bars,
        start=200,
        capital=Decimal(100_000),
        costs=CostModel(slippage_bps=Decimal(3), commission_bps=Decimal(1)),
        limits=RiskLimits(max_positions=2, stop_loss_fraction=0.03),
        policy=Policy(buy_threshold=VOTE, sell_threshold=-VOTE, confidence_threshold=0.3)._replace(**terms),
        calendar=new_york_calendar(),
    )


def with_gaps(bars, seed):
    """Some bars of each symbol left out."""
    random, out = np.random.default_rng(seed), {}
    for symbol, series in bars.items():
        kept = np.flatnonzero(random.random(len(series)) > 0.03)
        arrays = ("timestamp", "known_at", "open", "high", "low", "close", "volume")
        out[symbol] = replace(series, **{name: getattr(series, name)[kept] for name in arrays})
    return out


def forecasts(bars, seed):
    """Made-up forecasts of models, some missing."""
    random = np.random.default_rng(seed)
    return WalkForward(
        {
            symbol: {
                int(known): Forecast(
                    symbol=symbol,
                    daily_return=float(random.uniform(-1.0, 1.0)) * 2 * VOTE,
                    confidence=float(random.random()),
                    members=(0.0,),
                    last_close=float(close),
                    last_close_at=datetime.fromtimestamp(int(known), UTC),
                    model="made up",
                )
                for known, close in zip(series.known_at, series.close, strict=True)
                if random.random() < 0.9
            }
            for symbol, series in bars.items()
        }
    )


@pytest.mark.parametrize("kind", ["rules", "models"])
@pytest.mark.parametrize("seed", [1, 2])
def test_the_account_trades_the_same_in_the_compiled_loop_and_in_the_driver(kind, seed, monkeypatch):
    bars = with_gaps(BARS, seed) if seed == 2 else BARS
    one, panel = account(bars), align(bars)
    values = [{"fast": 3.0, "slow": 13.0}, {"fast": 5.0, "slow": 34.0}]
    chosen = [Chosen(start=200, stop=420, values=values[0]), Chosen(start=420, stop=len(panel) - 1, values=values[1])]
    said = StitchedForecaster(find("sma_cross"), panel, chosen) if kind == "rules" else forecasts(bars, seed)
    assert one.engine == "compiled"
    compiled = one.trade(said, lambda *_: None, cost_multiple=2)
    monkeypatch.setattr("app.services.research.window_account.unsupported", lambda *_: "driven for the comparison")
    driven = one.trade(said, lambda *_: None, cost_multiple=2)
    assert driven.fills > 40
    assert sorted(driven.round_trips, key=str) == sorted(compiled.round_trips, key=str)
    for name in ("fills", "commissions", "orders", "refused", "decisions", "reasons", "open_positions"):
        assert getattr(driven, name) == getattr(compiled, name), name
    for left, right in zip(driven.sessions, compiled.sessions, strict=True):
        assert float(left.equity) == pytest.approx(float(right.equity), rel=1e-9)


def test_what_the_compiled_loop_cannot_do_goes_to_the_driver():
    exits = ExitPolicy(partial_at_r=1.0, partial_fraction=0.5)
    assert account(BARS, exits=exits).engine == "driver"


@ON_SQLITE
def test_the_neighbours_of_every_choice_make_the_plateau(service):
    run = service.work(service.start("walk_forward", ASKED))
    check = next(check for check in run.result["verdict"]["checks"] if check["name"] == "parameter_plateau")
    near = [row["plateau"] for row in windows(run.result) if row["plateau"]]
    neighbours = sum(one["neighbours"] for one in near)
    assert 3 * len(near) <= neighbours <= 8 * len(near)
    assert check["figure"] == pytest.approx(sum(one["share"] * one["neighbours"] for one in near) / neighbours)
    assert f"of {neighbours} neighbouring" in check["sentence"]


@ON_SQLITE
def test_the_result_holds_the_stitched_equity(service):
    run = service.work(service.start("walk_forward", ASKED))
    curve = service.run(run.run_id).result["equity_curve"]
    assert curve[-1]["equity"] == pytest.approx(100_000 * (1 + run.result["performance"]["total_return"]), abs=0.01)
    assert [curve[0]["at"], len(curve)] == [run.result["walk_forward"]["windows"][0]["test"]["start"], len(PANEL) - 200]


@ON_SQLITE
def test_later_bars_change_no_earlier_window(service):
    whole = service.work(service.start("walk_forward", ASKED))
    end = date.fromisoformat(windows(whole.result)[2]["test"]["end"][:10])
    short = service.work(service.start("walk_forward", ASKED | {"end": end.isoformat()}))
    assert windows(short.result)[:3] == windows(whole.result)[:3]
    curve = whole.result["walk_forward"]["windows"][:2]
    assert [row["account_return"] for row in short.result["walk_forward"]["windows"][:2]] == [
        row["account_return"] for row in curve
    ]


def test_the_stitched_scores_are_those_of_each_windows_values():
    strategy = find("weighted_ensemble")
    values = [{"threshold": 0.2, "weight_day": 0.0}, {"threshold": 0.6}]
    complete = [grid_sets(strategy, {}, one)[0] for one in values]
    chosen = [Chosen(start=60, stop=200, values=complete[0]), Chosen(start=200, stop=400, values=complete[1])]
    stitched = StitchedForecaster(strategy, PANEL, chosen)
    for window, given in zip(chosen, values, strict=True):
        plain = TapedForecaster(strategy, given, PANEL).score[:, window.start : window.stop]
        mine = stitched.score[:, window.start : window.stop]
        assert np.array_equal(mine >= VOTE, plain >= given["threshold"])
        assert np.array_equal(mine <= -VOTE, plain <= -given["threshold"])
        assert np.array_equal(np.sign(mine), np.sign(plain))
    assert np.isnan(stitched.score[:, :60]).all() and np.isnan(stitched.score[:, 400:]).all()
    at = datetime.fromtimestamp(int(PANEL.known_at[10]), tz=None).astimezone()
    assert all(isinstance(answer, NoForecast) for answer in stitched.forecast(BARS, at).values())


@pytest.mark.parametrize("threshold", [0.1, 0.5, 0.9, 1.0])
def test_rescaled_scores_keep_order_and_dead_zone(threshold):
    score = np.linspace(-1.0, 1.0, 2001)
    scaled = rescaled(score, threshold)
    assert (np.diff(scaled) >= 0.0).all()
    assert np.abs(scaled).max() <= 1.0
    assert np.array_equal(np.abs(scaled) >= VOTE, np.abs(score) >= threshold)


@ON_SQLITE
def test_models_are_those_that_a_backtest_trains(service, tmp_path):
    asked = {"strategy": "ensemble", "symbols": ["AAA", "BBB"], "train_bars": 450, "test_bars": 125}
    run = service.work(service.start("walk_forward", asked))
    assert run.state is RunState.DONE
    assert len(run.result["walk_forward"]["windows"]) == 2
    kept = service.database.chunk_results(run.run_id)
    sessions = [s for s in new_york_calendar().between(date(2015, 1, 2), date(2020, 1, 1)) if _second(s) > PANEL.known_at[450]]
    sessions = [s for s in sessions if _second(s) <= PANEL.known_at[-1]]
    bars = {symbol: BARS[symbol] for symbol in ("AAA", "BBB")}
    expected = walk_forward(
        bars, sessions, ParamFiles(tmp_path / "none"), progress=lambda *_: None, window=125, workers=1
    ).answers
    for row in kept:
        told = {int(at): _restored(row["symbol"], int(at), one) for at, one in row["answers"].items()}
        assert told == expected[row["symbol"]]
        assert {at: _restored(row["symbol"], at, _kept(answer)) for at, answer in told.items()} == told


def _second(session):
    return int(session.opens_at.timestamp())


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"strategy": "ensemble"}, "leave grid and values out"),
        ({"fill": "close"}, "next open"),
        ({"sides": "both"}, "long only"),
        ({"train_bars": 2000}, "too few"),
        ({"grid": {"fast": [-1]}}, "is not among"),
    ],
)
@ON_SQLITE
def test_what_cannot_be_walked_is_refused_with_the_reason(service, change, says):
    with pytest.raises(InvalidInput, match=says):
        service.start("walk_forward", ASKED | change)


@pytest.mark.processes
@ON_SQLITE
def test_a_killed_walk_forward_goes_on_and_comes_to_what_an_unbroken_one_does(service, database_url, tmp_path):
    asked = ASKED | {"test_bars": 60}
    run_id = service.start("walk_forward", asked)
    worker = start(database_url, tmp_path, run_id)
    deadline = time.monotonic() + 90
    while service.run(run_id).done < 2:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    worker.send_signal(signal.SIGKILL)
    worker.wait()
    assert service.run(run_id).state is RunState.OPEN
    broken = service.work(run_id)
    again = service.work(service.start("walk_forward", asked))
    assert windows(broken.result) == windows(again.result)
    assert broken.result["performance"] == again.result["performance"]
    assert broken.result["trials"] == again.result["trials"]  # not one more for being done twice
    assert [row.backtest_id for row in service.database.backtests()] == [again.run_id, run_id]

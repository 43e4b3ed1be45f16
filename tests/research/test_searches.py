"""Sweeps and searches: every set counted once, what is chosen is chosen on bars the search did not see, killed runs go on."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from app.backtest.compiled.evaluation import Figures, _evaluated, evaluate, figures, observed
from app.domain.errors import InvalidInput, NotFound
from app.domain.panel import align
from app.domain.research import RunState
from app.domain.trial import data_set
from app.services.research.bench import grid_sets, setup_of
from app.services.research.request import OptimizeRequest, SweepRequest
from app.services.research.search import neighbours
from app.services.research.selection import parts_of
from app.strategies.catalog import find
from tests.research import bench
from tests.research.bench import BARS

SWEEP = {"strategy": "sma_cross", "grid": {"fast": [3, 5, 8, 13], "slow": [8, 13, 21, 34, 55]}, "top": 5}
SEARCH = {"strategy": "sma_cross", "bounds": {"fast": [2, 20], "slow": [10, 60]}, "trials": 14, "top": 4}
PANEL = align(BARS)
ON_SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)  # the databases are compared in test_runs.py


@pytest.fixture
def service(database_url, tmp_path):
    service, database = bench.made(database_url, tmp_path)
    database.save_bars(BARS)
    service.database = database
    yield service
    database.close()


def counted(database, request):
    """Trials by the part of the bars they were counted on."""
    spans = parts_of(PANEL, request)
    parts = {name: data_set(PANEL.slice(span.start, span.stop + 1)).digest for name, span in spans.items()}
    return {name: len(database.trials_of(digest, request.strategy)) for name, digest in parts.items()}


def test_a_sweep_tries_each_set_once_and_chooses_on_bars_it_did_not_see(service):
    run = service.work(service.start("sweep", SWEEP))
    assert run.state is RunState.DONE
    request, strategy = SweepRequest(**SWEEP), find("sma_cross")
    sets = grid_sets(strategy, request.grid, {})
    assert len(sets) == 4 * 5 - 3  # fast must lie below slow
    assert counted(service.database, request) == {"train": len(sets), "validation": 5, "holdout": 1}
    assert run.result["trials"] == {"evaluated": len(sets), "counted_on_these_bars": len(sets)}
    kept = service.database.verdict_of(run.run_id).judged
    assert run.result["verdict"]["level"] == kept.verdict.level.value
    assert (kept.trials, kept.values) == (len(sets), run.result["best"]["values"])

    spans, best = parts_of(PANEL, request), run.result["best"]
    by = {}
    for part, span in spans.items():
        evaluation = evaluate(strategy, PANEL, sets, setup_of(request), start=span.start, stop=span.stop)
        by[part] = [figures(evaluation, number) for number in range(len(sets))]
    finalists = sorted(range(len(sets)), key=lambda i: by["train"][i].sharpe, reverse=True)[:5]
    chosen = max(finalists, key=lambda i: by["validation"][i].sharpe)
    assert best["values"] == sets[chosen]
    assert Figures(**best["holdout"]) == pytest.approx(by["holdout"][chosen], nan_ok=True)
    assert [row for row in run.result["table"] if "holdout" in row] == [best]

    heat = run.result["heat_map"]
    assert (heat["x"], heat["y"], heat["best_over"]) == ("fast", "slow", [])
    at = {(values["fast"], values["slow"]): found.sharpe for values, found in zip(sets, by["train"], strict=True)}
    cells = [[at.get((fast, slow)) for fast in heat["x_values"]] for slow in heat["y_values"]]
    assert [[cell is None for cell in row] for row in heat["figures"]["sharpe"]] == [
        [cell is None for cell in row] for row in cells
    ]
    for row, wanted in zip(heat["figures"]["sharpe"], cells, strict=True):
        assert [cell for cell in row if cell is not None] == pytest.approx([cell for cell in wanted if cell is not None], 1e-5)

    curve, whole = run.result["equity_curve"], evaluate(strategy, PANEL, [best["values"]], setup_of(request), start=0, stop=699)
    assert curve[-1]["equity"] == pytest.approx(request.capital * float(np.prod(1.0 + whole.returns[0])), abs=0.01)
    assert curve[0]["buy_and_hold"] and max(row["drawdown"] for row in curve) == pytest.approx(figures(whole, 0).max_drawdown)

    rows = service.results()
    assert [row.rank for row in rows] == [1, 2, 3, 4, 5]
    assert [row.is_best for row in rows] == [True, False, False, False, False]
    assert (rows[0].parameters, rows[0].sharpe) == (best["values"], best["validation"]["sharpe"])
    assert service.results(only_best=True) == rows[:1]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize(("kind", "asked"), [("sweep", SWEEP), ("optimize", SEARCH)])
def test_shorts_are_told_in_the_result_and_open_no_gate(service, kind, asked):
    run = service.work(service.start(kind, asked | {"sides": "both", "borrow_rate": 0.05}))
    assert "short" in run.result["assumptions"]["sides"] and "5.00%" in run.result["assumptions"]["sides"]
    assert run.result["verdict"]["sides"] == run.result["assumptions"]["sides"]
    with pytest.raises(NotFound):  # no gate opens for an account that is long only
        service.database.verdict_of(run.run_id)
    long = service.work(service.start("sweep", SWEEP))
    assert long.result["assumptions"]["sides"] == "long only"
    trials = service.database.trials_of(service.database.verdict_of(long.run_id).judged.dataset, "sma_cross")
    assert {(trial.setup.get("sides"), trial.setup.get("borrow_rate")) for trial in trials} <= {(None, None), ("both", 0.05)}


def test_the_same_sweep_counts_no_trial_again(service):
    service.work(service.start("sweep", SWEEP))
    again = service.work(service.start("sweep", SWEEP))
    assert again.result["trials"]["counted_on_these_bars"] == 17
    assert counted(service.database, SweepRequest(**SWEEP))["train"] == 17


def test_spans_that_follow_each_other_share_no_bar_and_leave_none_out():
    """The parts' returns are those of each part traded alone; bars behind a part change nothing in it."""
    strategy, request = find("sma_cross"), SweepRequest(**SWEEP)
    values = [{"fast": 5, "slow": 21}]
    spans = list(parts_of(PANEL, request).values())
    for span in spans:
        whole = evaluate(strategy, PANEL, values, setup_of(request), start=span.start, stop=span.stop)
        cut = evaluate(strategy, PANEL.slice(0, span.stop + 1), values, setup_of(request), start=span.start, stop=span.stop)
        assert np.array_equal(whole.returns, cut.returns)
        assert whole.known_at[0] == PANEL.known_at[span.start + 1]
        assert whole.known_at[-1] == PANEL.known_at[span.stop]
    assert [span.start for span in spans[1:]] == [span.stop for span in spans[:-1]]


@pytest.mark.parametrize("sides", ["long", "both"])
@pytest.mark.parametrize("name", ["sma_cross", "rsi", "weighted_ensemble", "donchian_breakout"])
def test_a_sweep_of_one_symbol_is_its_sets_one_by_one(name, sides):
    strategy, panel = find(name), align({"AAA": BARS["AAA"]})
    varied = {parameter.name: [parameter.default] for parameter in strategy.parameters}
    first = strategy.parameters[0]
    varied[first.name] = [first.default, first.default + 1 if first.is_whole else 0.9]
    sets, setup = grid_sets(strategy, varied, {}), setup_of(SweepRequest(**SWEEP, sides=sides))
    quick = evaluate(strategy, panel, sets, setup, start=0, stop=500, threads=2)
    returns, trades, wins = _evaluated(strategy, panel, sets, setup, 0, observed(panel, 0, 500))
    assert np.array_equal(quick.returns, returns)
    assert np.array_equal(quick.trades, trades)
    assert np.array_equal(quick.wins, wins)
    assert trades.sum() > 0


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"grid": {"fast": [0]}}, "fast: 0 is not among its whole numbers 1 to"),
        ({"grid": {"fast": [2.5]}}, "whole numbers"),
        ({"grid": {"quick": [1]}}, "no such parameter; it has fast, slow"),
        ({"grid": {"fast": [50], "slow": [20]}}, "accepts none"),
        ({"values": {"fast": 5}}, "either varied or held"),
        ({"axes": ["fast", "fast"]}, "two different"),
        ({"symbols": ["NONE"]}, "no 1Day bars of NONE"),
        ({"train_fraction": 0.9, "validation_fraction": 0.1}, "nothing to hold out"),
        ({"start": "2017-09-25"}, "choose a longer span"),
        ({"strategy": "confirmed_forecast", "grid": {"fast": [5]}}, "asks the models"),
        ({"strategy": "sma_crss"}, "did you mean sma_cross"),
        ({"slippage_bps": float("nan")}, "slippage_bps"),
        ({"sides": "short"}, "sides"),
        ({"borrow_rate": -0.1}, "borrow_rate"),
        ({"colour": 1}, "colour"),
    ],
)
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_what_cannot_be_swept_is_refused_with_the_reason(service, change, says):
    with pytest.raises(InvalidInput, match=says):
        service.start("sweep", SWEEP | change)
    assert service.runs() == []


def test_a_search_counts_each_trial_and_chooses_like_a_sweep(service):
    run = service.work(service.start("optimize", SEARCH))
    assert run.state is RunState.DONE
    evaluated = run.result["trials"]["evaluated"]
    request = OptimizeRequest(**SEARCH)
    tried = counted(service.database, request)
    near = tried["holdout"] - evaluated  # neighbours of the chosen set that had not been tried by chance
    assert tried == {"train": evaluated, "validation": 4, "holdout": evaluated + near}
    assert 0 < near <= 4
    assert evaluated + run.result["trials"]["refused_or_repeated"] == 14
    assert len(service.results()) == 4


@ON_SQLITE
def test_the_verdict_on_a_search_is_on_bars_that_chose_nothing_with_all_its_trials(service):
    run = service.work(service.start("optimize", SEARCH))
    kept, holdout = service.database.verdict_of(run.run_id).judged, parts_of(PANEL, OptimizeRequest(**SEARCH))["holdout"]
    assert kept.values == run.result["best"]["values"]
    assert kept.dataset == data_set(PANEL.slice(holdout.start, len(PANEL))).digest
    assert kept.trials == run.result["trials"]["counted_on_these_bars"] > run.result["trials"]["evaluated"]
    checks = {check["name"]: check for check in run.result["verdict"]["checks"]}
    assert run.result["verdict"]["level"] == kept.verdict.level.value
    assert checks["observations"]["figure"] == len(PANEL) - 1 - holdout.start
    assert checks["superior_ability"]["figure"] is not None
    assert checks["overfitting"]["figure"] is not None
    again = service.work(service.start("optimize", SEARCH | {"trials": 15}))
    assert again.result["trials"]["evaluated"] >= run.result["trials"]["evaluated"]


def test_neighbours_lie_a_step_beside_the_chosen_set_within_the_bounds():
    strategy = find("sma_cross")
    near = neighbours(strategy, {"fast": 2.0, "slow": 21.0}, {"fast": (2.0, 20.0), "slow": (10.0, 60.0)})
    assert near == [{"fast": 3.0, "slow": 21.0}, {"fast": 2.0, "slow": 19.0}, {"fast": 2.0, "slow": 23.0}]
    # A fast mean that is not below the slow one is refused.
    assert neighbours(strategy, {"fast": 9.0, "slow": 10.0}, {"fast": (2.0, 20.0)}) == [{"fast": 8.0, "slow": 10.0}]


def test_a_search_without_time_says_so(service):
    with pytest.raises(InvalidInput, match="more seconds"):
        service.work(service.start("optimize", SEARCH | {"seconds": 1e-6}))


def start(url, directory, run_id):
    command = (sys.executable, "-m", "tests.research.bench", url, str(directory), run_id)
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout.readline().strip() == "ready"
    return process


@pytest.mark.processes
@pytest.mark.parametrize(("kind", "database_url"), [("sweep", "sqlite"), ("optimize", "postgresql")], indirect=["database_url"])
def test_a_killed_search_goes_on_and_comes_to_what_an_unbroken_one_does(service, database_url, tmp_path, kind):
    asked = {
        "sweep": SWEEP | {"grid": {"fast": list(range(2, 40)), "slow": list(range(40, 60))}},
        "optimize": SEARCH | {"trials": 40},
    }[kind]
    run_id = service.start(kind, asked)
    workers = [start(database_url, tmp_path, run_id) for _ in range(2)]
    deadline = time.monotonic() + 90
    while service.run(run_id).done < 2:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    for worker in workers:
        worker.send_signal(signal.SIGKILL)
        worker.wait()
    left = service.run(run_id)
    assert left.state is RunState.OPEN
    run = service.work(run_id)
    assert run.state is RunState.DONE
    number = run.result["trials"]["evaluated"]
    request = (SweepRequest if kind == "sweep" else OptimizeRequest)(**asked)
    assert counted(service.database, request)["train"] == number
    if kind == "sweep":
        assert number == 38 * 20
        assert service.work(service.start(kind, asked)).result["table"] == run.result["table"]
    else:
        assert number + run.result["trials"]["refused_or_repeated"] == 40


@pytest.mark.processes
@ON_SQLITE
def test_a_search_that_one_process_began_and_another_ended_finds_what_an_unbroken_one_does(service, database_url, tmp_path):
    run_id = service.start("optimize", SEARCH)
    worker = start(database_url, tmp_path, run_id)
    deadline = time.monotonic() + 90
    while service.run(run_id).done < 3:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    worker.send_signal(signal.SIGKILL)
    worker.wait()
    assert service.run(run_id).state is RunState.OPEN
    broken, again = service.work(run_id), service.work(service.start("optimize", SEARCH))
    assert broken.result == again.result  # the trials counted are the same too: not one more for being done twice

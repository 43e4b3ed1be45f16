"""Combinatorial splits: chosen on what a split is not judged on, traded along every path, counted once, resumed when killed."""

from __future__ import annotations

import signal
import time
from dataclasses import replace
from datetime import UTC, datetime
from itertools import combinations
from math import comb
from types import SimpleNamespace

import numpy as np
import pytest

from app.backtest.compiled.evaluation import evaluate
from app.backtest.statistics.overfitting import overfitting_of_choices, sharpe_of_groups
from app.commands.research_paths import histogram
from app.domain.errors import InvalidInput
from app.domain.panel import align
from app.domain.research import RunState
from app.learning.ensemble import MEMBERS
from app.learning.labels import examples
from app.learning.parameters import EnsembleParams
from app.services.research import retrained_models
from app.services.research.bench import grid_sets, setup_of
from app.services.research.request import WalkForwardRequest
from app.services.research.retrained_models import split_forecasts
from app.strategies.catalog import find
from tests.research import bench
from tests.research.bench import BARS, walk
from tests.research.test_searches import start

ASKED = {
    "strategy": "sma_cross",
    "grid": {"fast": [3, 5, 8], "slow": [13, 21, 34]},
    "splits": "combinatorial",
    "groups": 5,
    "tested": 2,
    "embargo_bars": 34,
}
PANEL = align(BARS)
ON_SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.fixture
def service(database_url, tmp_path):
    service, database = bench.made(database_url, tmp_path)
    database.save_bars(BARS)
    service.database = database
    yield service
    database.close()


def edges(rows, groups):
    return [round(float(part[0])) for part in np.array_split(np.arange(rows), groups)] + [rows]


def ratios_of(returns):
    return returns.mean(axis=1) / returns.std(axis=1, ddof=1)


@ON_SQLITE
def test_each_split_chooses_on_the_groups_it_is_not_judged_on(service):
    run = service.work(service.start("walk_forward", ASKED))
    assert run.state is RunState.DONE
    told, strategy = run.result["combinatorial"], find("sma_cross")
    sets, setup = grid_sets(strategy, ASKED["grid"], {}), setup_of(WalkForwardRequest(**ASKED))
    at = edges(len(PANEL) - 1, 5)
    assert [row["bars"] for row in told["groups"]] == np.diff(at).tolist()
    assert [tuple(row["groups"]) for row in told["splits"]] == list(combinations(range(5), 2))
    ranks = []
    for row in told["splits"]:
        clear = np.ones(len(PANEL) - 1, dtype=bool)
        for group in row["groups"]:
            clear[max(0, at[group] - 34) : at[group + 1] + 34] = False
        bars = np.flatnonzero(clear)
        runs = np.split(bars, np.flatnonzero(np.diff(bars) > 1) + 1)
        found = [evaluate(strategy, PANEL, sets, setup, start=int(one[0]), stop=int(one[-1]) + 1).returns for one in runs]
        ratios = np.sqrt(252) * ratios_of(np.concatenate(found, axis=1))
        assert row["values"] == sets[int(np.argmax(ratios))]
        assert row["sharpe_in_sample"] == pytest.approx(ratios.max(), rel=1e-9)
        unseen = [evaluate(strategy, PANEL, sets, setup, start=at[g], stop=at[g + 1]).returns for g in row["groups"]]
        judged = ratios_of(np.concatenate(unseen, axis=1))
        own = judged[int(np.argmax(ratios))] * np.sqrt(252)
        assert row["sharpe_out_of_sample"] == pytest.approx(own, rel=1e-9)
        ranks.append(((judged < judged[int(np.argmax(ratios))]).sum() + 1) / (len(sets) + 1))
    assert told["overfitting"]["probability"] == pytest.approx(np.mean(np.array(ranks) <= 0.5))
    ratios = [row["sharpe_ratio"] for row in told["paths"]]
    assert len(ratios) == comb(4, 1) == len(told["equity"]["paths"])
    assert told["distribution"]["median"] == pytest.approx(np.median(ratios))
    assert told["distribution"]["below_zero"] == np.mean(np.array(ratios) < 0)
    for row, curve in zip(told["paths"], told["equity"]["paths"], strict=True):
        assert curve[-1] == pytest.approx(100_000 * (1 + row["total_return"]), abs=0.01)
        assert [told["splits"][split]["groups"].count(group) for group, split in enumerate(row["splits"])] == [1] * 5


@ON_SQLITE
def test_what_a_split_is_judged_on_changes_nothing_in_its_choice(service):
    before = service.work(service.start("walk_forward", ASKED)).result["combinatorial"]["splits"]
    at, random = edges(len(PANEL) - 1, 5), np.random.default_rng(9)
    tampered = {}
    for symbol, bars in BARS.items():
        factor = np.ones(len(bars))
        factor[at[2] : at[3]] = np.exp(random.normal(0.0, 0.3, at[3] - at[2]))
        changed = {name: getattr(bars, name) * factor for name in ("open", "high", "low", "close")}
        tampered[symbol] = replace(bars, **changed)
    service.database.save_bars(tampered)
    after = service.work(service.start("walk_forward", ASKED)).result["combinatorial"]["splits"]
    kept = [2 in row["groups"] for row in before]
    assert sum(kept) == 4

    def chosen(rows):
        return [(row["values"], row["sharpe_in_sample"]) for row, judged in zip(rows, kept, strict=True) if judged]

    assert chosen(before) == chosen(after)
    assert before != after


@ON_SQLITE
def test_every_set_is_counted_once_whatever_number_of_splits_it_is_tried_on(service):
    asked = service.start("walk_forward", ASKED)
    assert service.work(asked).result["trials"] == {"counted_on_these_bars": 9}
    other = service.work(service.start("walk_forward", ASKED | {"groups": 4}))
    assert other.result["trials"] == {"counted_on_these_bars": 9}
    (counted,) = [number for _, number in service.database.data_sets()]
    assert counted == 9


@ON_SQLITE
def test_with_one_set_all_paths_are_the_same_and_nothing_was_chosen(service):
    told = service.work(service.start("walk_forward", ASKED | {"grid": {}})).result["combinatorial"]
    assert told["overfitting"] is None
    assert len({row["total_return"] for row in told["paths"]}) == 1
    assert told["distribution"]["deviation"] == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"tested": 5}, "leave some to choose on"),
        ({"groups": 30, "tested": 15}, "splits are too many"),
        ({"groups": 30, "tested": 29}, "leaves no row to fit on|leaves nothing to choose on"),
        ({"splits": "shuffled"}, "splits"),
        ({"strategy": "ensemble"}, "leave grid and values out"),
    ],
)
@ON_SQLITE
def test_what_cannot_be_split_is_refused_with_the_reason(service, change, says):
    with pytest.raises(InvalidInput, match=says):
        service.work(service.start("walk_forward", ASKED | change))


def test_models_are_fitted_on_rows_clear_of_the_tested_groups(monkeypatch):
    bars, embargo = walk("AAA", 3, count=900), 5
    rows, fitted = examples(bars), []

    def fit(features, label, params, *, seed):
        fitted.append(features)
        return SimpleNamespace()

    monkeypatch.setattr(retrained_models, "fit", fit)
    monkeypatch.setattr(retrained_models, "predict", lambda _, wanted: np.full((len(wanted), len(MEMBERS)), 0.01))
    params = SimpleNamespace(choose=lambda _symbol, at: SimpleNamespace(params=EnsembleParams()))
    at = [0, 300, 600, 899]
    tested = [(0,), (1,), (2,)]
    answers = split_forecasts(bars, bars.known_at, at, tested, params, embargo_bars=embargo)
    assert len(fitted) == 3
    bar_of = {
        row.tobytes(): int(np.searchsorted(bars.known_at, when))
        for row, when in zip(rows.features, rows.decided_at, strict=True)
    }
    for features, (group,), said in zip(fitted, tested, answers, strict=True):
        learnt = np.array([bar_of[row.tobytes()] for row in features])
        first, stop = at[group], at[group + 1]
        assert ((learnt + 1 <= first - embargo) | (learnt >= stop + embargo)).all()
        usable = np.array(sorted(bar_of.values()))
        expected = usable[((usable + 1 <= first - embargo) | (usable >= stop + embargo)) & (usable < 899)]
        assert learnt.tolist() == expected.tolist()
        assert set(said) == set(bars.known_at[first:stop].tolist())


@ON_SQLITE
def test_the_models_walk_along_paths_too(service):
    asked = {"strategy": "ensemble", "symbols": ["AAA"], "splits": "combinatorial", "groups": 3, "tested": 1}
    run = service.work(service.start("walk_forward", asked))
    told = run.result["combinatorial"]
    assert len(told["paths"]) == 1
    assert told["paths"][0]["splits"] == [0, 1, 2]
    assert run.result["trials"] == {"counted_on_these_bars": 1}
    kept = service.database.chunk_results(run.run_id)[0]["splits"]
    said = [datetime.fromtimestamp(at, UTC) for split in kept for at in split["at"]]
    assert len(said) == len(set(said)) > 500


def test_choices_are_ranked_among_all_sets_where_they_are_judged():
    random = np.random.default_rng(4)
    returns = [random.normal(0.0, 0.01, (50 + group, 6)) for group in range(4)]
    counts = np.array([len(part) for part in returns])
    sums, squares = (np.array([(part**power).sum(axis=0) for part in returns]) for power in (1, 2))
    tested = list(combinations(range(4), 2))
    joined = [np.concatenate([returns[group] for group in groups]) for groups in tested]
    ratios = [part.mean(axis=0) / part.std(axis=0, ddof=1) for part in joined]
    best, worst = [int(np.argmax(one)) for one in ratios], [int(np.argmin(one)) for one in ratios]
    unseen = sharpe_of_groups(counts, sums, squares, tested)
    assert unseen == pytest.approx(np.array(ratios), rel=1e-9)
    assert overfitting_of_choices(unseen, best).probability == 0.0
    assert overfitting_of_choices(unseen, worst).probability == 1.0
    found = overfitting_of_choices(unseen, [2] * 6)
    assert found.loss == np.mean([one[2] <= 0.0 for one in ratios])
    assert found.probability == np.mean([((one < one[2]).sum() + 1) / 7 <= 0.5 for one in ratios])
    with pytest.raises(InvalidInput, match="two sets"):
        overfitting_of_choices(unseen[:, :1], [0] * 6)


def test_the_picture_holds_every_path():
    lines = histogram([-0.4, 0.0, 0.12, 0.8], bins=4)
    assert [int(line.split()[-1]) for line in lines] == [1, 2, 0, 1]
    assert len(histogram([0.5, 0.5])) == 1


@pytest.mark.processes
@ON_SQLITE
def test_a_killed_run_over_splits_goes_on_and_comes_to_what_an_unbroken_one_does(service, database_url, tmp_path):
    asked = ASKED | {"groups": 6}
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
    assert broken.result == again.result
    assert broken.result["trials"] == {"counted_on_these_bars": 9}

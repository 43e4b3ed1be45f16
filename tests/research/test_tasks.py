"""Research on the queue: slices, the nightly search, and what the schedule sends."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

from app.celery_config import CeleryTaskQueue, make_celery
from app.config import Settings
from app.domain.errors import TryAgain
from app.domain.research import RunState
from app.local.broker_server import free_port
from app.services.research.ensemble_grid import grid_request
from app.tasks import process, research
from tests.logs import logged
from tests.research import bench, toy
from tests.research.bench import BARS

NIGHT = datetime(2017, 9, 26, 1, 0, tzinfo=UTC)


def deliver(task, **kwargs):
    task.push_request(id="m", retries=0, called_directly=False, is_eager=True, args=(), kwargs=kwargs)
    try:
        task.run(**kwargs)
    finally:
        task.pop_request()


@pytest.fixture
def rung(monkeypatch):
    rung = []
    monkeypatch.setattr(research, "_ring", lambda task, run_id: rung.append(run_id))
    yield rung
    process.close()


def install(service):
    process.close()
    process.install(lambda: service)


def test_a_slice_ends_between_two_chunks_and_rings_for_the_next(database_url, rung, monkeypatch):
    service, database = toy.service(database_url)
    install(SimpleNamespace(research=service, close=database.close))
    monkeypatch.setattr(research, "SLICE_SECONDS", 0.0)
    run_id = service.start("toy", {"chunks": 2})
    for slices in (1, 2, 3):
        deliver(research.work_on_research, run_id=run_id)
        assert rung == [run_id] * slices
    assert service.run(run_id).state is RunState.DONE
    deliver(research.work_on_research, run_id=run_id)  # over: nothing is rung for any more
    assert len(rung) == 3
    with logged() as logs:
        deliver(research.work_on_research, run_id="unknown")
    assert [line["event"] for line in logs] == ["research_failed"]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_the_nightly_search_fills_the_table_of_results_once_a_night(database_url, rung, monkeypatch, tmp_path):
    service, database = bench.made(database_url, tmp_path)
    settings = Settings(_env_file=None, watchlist="AAA BBB CCC", opt_thresholds="0.2,0.5", opt_window=30, opt_months=6)
    fetched = []
    monkeypatch.setattr(research, "venue_now", lambda: NIGHT)
    alpaca = SimpleNamespace(training_bars=lambda symbols: fetched.append(symbols) or database.save_bars(BARS))
    install(SimpleNamespace(research=service, settings=settings, alpaca=alpaca, close=database.close))
    with logged() as logs:
        deliver(research.optimize_ensemble)
        deliver(research.optimize_ensemble)
    assert [line["event"] for line in logs].count("optimization done") == 2  # the second tells what the first found
    (run,) = service.runs()
    run = service.run(run.run_id)
    assert (run.run_id, run.state) == ("ensemble-2017-09-26", RunState.DONE)
    assert fetched == [settings.watchlist]
    assert run.request["warmup_bars"] == 30
    assert run.request["capital"] == settings.opt_initial_cash == 1_000_000
    assert run.result["trials"]["evaluated"] == 2 * 2**6
    assert run.result["parts"]["train"]["start"][:10] == "2017-03-27"  # six months before the night
    best = service.results(only_best=True)
    assert [row.parameters for row in best] == [run.result["best"]["values"]]


def test_the_grid_is_that_of_the_settings():
    settings = Settings(_env_file=None)
    asked = grid_request(
        symbols=settings.watchlist,
        thresholds=settings.opt_thresholds,
        window=settings.opt_window,
        cash=settings.opt_initial_cash,
        months=settings.opt_months,
        today=NIGHT.date(),
    )
    assert asked["grid"]["threshold"] == [0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5]
    assert [name for name in asked["grid"] if name.startswith("weight_")] == [
        f"weight_{name}" for name in ("trend", "momentum", "swing", "scalping", "day", "price_action")
    ]
    assert (asked["start"], asked["end"], asked["warmup_bars"]) == ("2017-06-26", "2017-09-26", 200)


@pytest.mark.parametrize("wrong", ["", "0", "2", "x", "nan"])
def test_thresholds_that_cannot_be_are_refused(wrong):
    with pytest.raises(ValueError, match="threshold"):
        Settings(_env_file=None, opt_thresholds=wrong)


def test_without_a_broker_the_run_stays_and_the_caller_is_told():
    gone = make_celery(Settings(_env_file=None, celery_broker_url=f"redis://127.0.0.1:{free_port()}/0"))
    with pytest.raises(TryAgain):
        CeleryTaskQueue(gone, None).ring_research("r")

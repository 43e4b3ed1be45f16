"""Durable records around learning tasks, and the order of a night: tuning, then training, each once."""

from __future__ import annotations

import itertools

import pytest
from celery.exceptions import Retry
from prometheus_client import REGISTRY

from app.domain.errors import InvalidInput
from app.domain.forecast import NoForecast
from app.tasks import process
from app.tasks.learning import NightStep, night_of, night_step, optimize_hyperparameters_for_watchlist, train_models_batch
from app.tasks.recorded import plain, run_recorded
from tests.tasks.fakes import AT, Record, fake_services


@pytest.fixture
def services():
    made = fake_services()
    _install(made)
    yield made
    process.close()


def _install(made) -> None:
    process.close()
    process.install(lambda: made)


def _deliver(task, message_id: str, **kwargs) -> None:
    task.push_request(id=message_id, retries=0, called_directly=False, is_eager=True, args=(), kwargs=kwargs)
    try:
        task.run(**kwargs)
    except Retry:
        pass
    finally:
        task.pop_request()


def states(services, kind):
    return [record.state for record in services.database.records.values() if record.kind == kind]


@pytest.mark.parametrize("order", list(itertools.permutations(["tune", "train", "tune again", "train again"])))
def test_whatever_message_comes_first_a_night_is_tuned_once_then_trained_once(services, order):
    done = []
    services.optimizer.tune = lambda *a, **k: done.append("tuned") or []
    services.ai.train_batch = lambda *a, **k: done.append("trained") or []

    def ring(name: str) -> None:  # also what a second beat would send
        if name.startswith("tune"):
            _deliver(optimize_hyperparameters_for_watchlist, name)
        else:
            _deliver(train_models_batch, name, nightly=True)
        for record in list(services.database.records.values()):  # what tuning handed on
            if record.state == "queued":
                _deliver(train_models_batch, record.task_id)

    for name in order:
        ring(name)
    assert done == ["tuned", "trained"]


def test_a_failed_tuning_still_hands_on_to_training(services):
    def broken(*_, **__):
        raise ZeroDivisionError("x")

    services.optimizer.tune = broken
    _deliver(optimize_hyperparameters_for_watchlist, "m1")
    assert states(services, "tune") == ["failed"]
    assert states(services, "train") == ["queued"]


@pytest.mark.row("D11")
def test_a_message_delivered_twice_works_once(services):
    calls = []
    services.ai.train_batch = lambda *a, **k: calls.append(1) or []
    task_id = services.tasks.enqueue("train", {})
    for _ in range(5):
        _deliver(train_models_batch, task_id)
    assert calls == [1]
    assert states(services, "train") == ["done"]


def test_work_whose_process_died_fails_and_is_not_repeated(services):
    task_id = services.tasks.enqueue("train", {})
    services.database.start_task(task_id)  # and then its process was killed; the broker delivers again
    _deliver(train_models_batch, task_id)
    assert services.database.task(task_id).state == "failed"
    assert "died" in services.database.task(task_id).error


def test_only_symbols_without_a_usable_model_are_trained_when_asked_so(services):
    trained = []
    services.ai.forecast = lambda bars, at: {
        "AAPL": object(),
        "MSFT": NoForecast(symbol="MSFT", code="model_missing", detail=""),
    }
    services.ai.train_batch = lambda bars, at, progress: trained.extend(bars) or []
    _deliver(train_models_batch, services.tasks.enqueue("train", {"only_unusable": True}))
    assert trained == ["MSFT"]


def test_a_refusal_is_told_in_the_record(services):
    def refuse(*_, **__):
        raise InvalidInput("no bars for that")

    services.ai.train_batch = refuse
    task_id = services.tasks.enqueue("train", {"symbols": ["AAPL"]})
    _deliver(train_models_batch, task_id)
    assert services.database.task(task_id).error == "no bars for that"


def test_progress_is_told_and_the_last_step_always(services):
    def work(_services, _params, progress):
        for done in range(1, 101):
            progress(done, 100, f"S{done}")
        return {}

    record = run_recorded("m1", "train", work, scheduled={})
    assert record is not None
    assert record.progress == (100, 100, "S100")


@pytest.mark.parametrize(
    ("tunings", "trainings", "looks", "step"),
    [
        ([], [], 0, NightStep.WAIT),
        ([], [], 6, NightStep.TRAIN),  # tuning never came
        (["queued"], [], 0, NightStep.WAIT),
        (["running"], [], 20, NightStep.WAIT),
        (["running"], [], 60, NightStep.TRAIN),
        (["done"], [], 0, NightStep.WAIT),  # about to hand on
        (["done"], [], 1, NightStep.TRAIN),  # it did not
        (["failed"], [], 3, NightStep.TRAIN),
        (["done"], ["queued"], 0, NightStep.NOTHING),
        (["done"], ["done"], 5, NightStep.NOTHING),
        ([], ["running"], 0, NightStep.NOTHING),
    ],
)
def test_what_the_nightly_training_message_does(tunings, trainings, looks, step):
    def records(kind, states):
        return [Record(str(i), kind, {}, state) for i, state in enumerate(states)]

    assert night_step(records("tune", tunings), records("train", trainings), looks=looks) is step


def test_a_night_begins_at_23_utc_and_lasts_a_day():
    assert night_of(AT).isoformat() == "2024-01-03"
    assert night_of(AT.replace(hour=22, minute=59)).isoformat() == "2024-01-02"


def test_plain_is_json():
    assert plain({"a": float("nan"), "b": AT, "c": (1, 2.5), "d": NightStep.TRAIN}) == {
        "a": None,
        "b": "2024-01-03T23:00:00Z",
        "c": [1, 2.5],
        "d": "train",
    }


@pytest.mark.parametrize(
    ("work", "ended"),
    [(lambda *_: {}, "done"), (lambda *_: {}[0], "failed"), (lambda *_: (_ for _ in ()).throw(InvalidInput("x")), "failed")],
)
def test_a_task_counts_once_per_state_and_is_timed(services, work, ended):
    def counted():
        values = {
            state: REGISTRY.get_sample_value("alpha_trader_tasks_total", {"kind": "backtest", "state": state}) or 0
            for state in ("running", "done", "failed")
        }
        return values, REGISTRY.get_sample_value("alpha_trader_task_seconds_count", {"kind": "backtest"}) or 0

    before, timed = counted()
    run_recorded(services.tasks.enqueue("backtest", {}), "backtest", work, scheduled={})
    assert counted() == (before | {"running": before["running"] + 1, ended: before[ended] + 1}, timed + 1)

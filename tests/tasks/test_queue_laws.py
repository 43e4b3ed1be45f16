"""Operations are code: every queue is consumed, every task named, routed and limited, no message outlives its sense."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from celery import Celery

import app.local.installation as installation
from app.celery_config import KINDS, LONGEST_TASK_SECONDS, QUEUES, TASKS, beat_schedule, make_celery
from app.config import Settings


@pytest.fixture(scope="module")
def celery_app() -> Celery:
    made = make_celery(Settings(_env_file=None))
    made.loader.import_default_modules()
    made.finalize()
    return made


def _ours(celery_app: Celery) -> dict[str, object]:
    return {name: task for name, task in celery_app.tasks.items() if not name.startswith("celery.")}


def test_required_names_exist():
    assert {
        "app.tasks.smart_trading_pipeline",
        "app.tasks.train_models_batch",
        "app.tasks.optimize_hyperparameters_for_watchlist",
    } <= set(TASKS)


def test_every_task_is_in_the_table_and_the_other_way_round(celery_app):
    assert set(_ours(celery_app)) == set(TASKS)
    assert set(KINDS.values()) <= set(TASKS)


def test_every_task_is_routed_to_a_known_queue_and_limited(celery_app):
    for name, task in _ours(celery_app).items():
        assert celery_app.conf.task_routes[name]["queue"] in QUEUES
        assert 0 < task.soft_time_limit < task.time_limit <= LONGEST_TASK_SECONDS
        assert task.acks_late and task.reject_on_worker_lost and task.ignore_result


@pytest.mark.row("D11")
def test_no_task_outlives_the_visibility_timeout(celery_app):
    visible = celery_app.conf.broker_transport_options["visibility_timeout"]
    assert visible > max(rule.hard_seconds for rule in TASKS.values())


def test_every_queue_is_consumed_by_exactly_one_role():
    source = Path(installation.__file__).read_text()
    consumed = [name for group in re.findall(r'"-Q", "([a-z,]+)"', source) for name in group.split(",")]
    assert sorted(consumed) == sorted(QUEUES)


def test_beat_sends_known_tasks_only_and_each_message_expires():
    for entry in beat_schedule(Settings(_env_file=None)).values():
        assert entry["task"] in TASKS
        assert entry["options"]["expires"] > 0


@pytest.mark.parametrize(("mode", "seconds"), [("paper", 600), ("paper", 60), ("simulated", 600)])
def test_a_tick_expires_before_the_next(mode, seconds):
    extra = (
        {}
        if mode == "simulated"
        else {
            "secret_key": "7b1f0c92e4a85d36b0e97a14c853f26d",
            "admin_password": "four-Blue-kettles",
            "alpaca_api_key": "key",
            "alpaca_api_secret": "own",
        }
    )
    chosen = Settings(_env_file=None, trading_mode=mode, trading_cycle_seconds=seconds, **extra)
    assert beat_schedule(chosen)["smart-trading-pipeline"]["options"]["expires"] < seconds


@pytest.mark.row("D18")
def test_no_pickle_in_the_queue_and_no_result_backend(celery_app):
    assert celery_app.conf.accept_content == ["json"]
    assert celery_app.conf.task_ignore_result
    assert celery_app.conf.result_backend is None


def test_nightly_entries_are_absent_when_switched_off():
    names = set(beat_schedule(Settings(_env_file=None, nightly_learning=False)))
    assert names == {"smart-trading-pipeline", "reconcile-books", "compare-with-backtest", "deliver-outbox"}
    assert set(beat_schedule(Settings(_env_file=None))) - names == {
        "optimize-hyperparameters",
        "daily-model-finetuning",
        "optimize-ensemble",
    }

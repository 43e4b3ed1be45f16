"""What is kept beside the order path: tasks, messages, model runs, backtests."""

from __future__ import annotations

from datetime import timedelta

import pytest

from app.domain.errors import Conflict, NotFound
from app.domain.records import TaskState
from app.storage.outbox import MAX_ATTEMPTS


def test_the_life_of_a_task(ledger, hand_clock):
    name = ledger.create_task("train", {"symbols": ["AAPL"]})
    assert ledger.task(name).state is TaskState.QUEUED
    hand_clock.forward(1)
    ledger.start_task(name)
    ledger.progress_task(name, 3, 32, "KO")
    ledger.start_task(name)
    running = ledger.task(name)
    assert (running.state, running.done, running.total, running.message) == (TaskState.RUNNING, 3, 32, "KO")
    ledger.finish_task(name, {"trained": 32, "loss": float("nan")})
    done = ledger.task(name)
    assert (done.state, done.result, done.params) == (TaskState.DONE, {"trained": 32, "loss": None}, {"symbols": ["AAPL"]})
    for late in (
        lambda: ledger.start_task(name),
        lambda: ledger.fail_task(name, "x"),
        lambda: ledger.progress_task(name, 1, 1),
    ):
        with pytest.raises(Conflict):
            late()
    hand_clock.forward(1)
    other = ledger.create_task("tune", {}, task_id="given")
    ledger.fail_task(other, "no bars\0")
    assert [(task.task_id, task.error) for task in ledger.tasks()] == [("given", "no bars\ufffd"), (name, None)]
    assert [task.task_id for task in ledger.tasks(kind="train")] == [name]


def test_unknown_ids_are_named_so(ledger):
    for call in (
        lambda: ledger.task("x"),
        lambda: ledger.start_task("x"),
        lambda: ledger.finish_task("x", {}),
        lambda: ledger.backtest("x"),
        lambda: ledger.outbox_sent(7),
        lambda: ledger.outbox_failed(7, "x"),
    ):
        with pytest.raises(NotFound):
            call()


def test_messages_are_delivered_in_order_until_given_up(ledger):
    for word in ("one", "two"):
        ledger.enqueue_alert("halt", word, {"word": word})
    first, second = ledger.outbox_pending()
    assert (first.message, first.payload, second.message) == ("one", {"word": "one"}, "two")
    assert ledger.outbox_pending(limit=1) == [first]
    ledger.outbox_sent(first.id)
    for attempt in range(1, MAX_ATTEMPTS):
        ledger.outbox_failed(second.id, "unreachable")
        assert ledger.outbox_pending()[0].attempts == attempt
    ledger.outbox_failed(second.id, "unreachable")
    assert ledger.outbox_pending() == []


def test_backtests(ledger, hand_clock):
    name = ledger.save_backtest({"days": 90}, {"sharpe_ratio": float("nan")}, {"equity": [1.0, 2.0]})
    whole = ledger.backtest(name)
    assert (whole.created_at, whole.params, whole.performance) == (hand_clock.now(), {"days": 90}, {"sharpe_ratio": None})
    assert whole.result == {"equity": [1.0, 2.0]}
    assert [(one.backtest_id, one.result) for one in ledger.backtests()] == [(name, None)]
    assert ledger.backtests(before=whole.created_at) == []
    assert len(ledger.backtests(before=whole.created_at + timedelta(microseconds=1))) == 1

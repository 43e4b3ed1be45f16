"""Runs of research: chunks are done once, whoever dies, and by any number of processes."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections import Counter
from datetime import timedelta

import pytest

from app.domain.errors import InvalidInput, NotFound
from app.domain.research import RunState
from tests.research import toy


@pytest.fixture
def made(database_url):
    made, database = toy.service(database_url)
    made.url = database_url
    made.alerts = lambda: Counter(message.message for message in database.outbox_pending(10_000))
    yield made
    database.close()


def test_a_run_is_worked_off_and_put_together(made):
    run_id = made.start("toy", {"chunks": 4})
    seen = []
    run = made.work(run_id, lambda *call: seen.append(call))
    assert run.state is RunState.DONE
    assert run.result == {"sum": 14}
    assert (run.done, run.chunks) == (4, 4)
    assert run.finished_at is not None
    assert made.alerts() == {"0": 1, "1": 1, "2": 1, "3": 1, "finish": 1}
    assert seen[-1][:2] == (4, 4)
    assert made.work(run_id).result == run.result  # over: nothing more is done
    assert made.alerts()["finish"] == 1
    assert [row.run_id for row in made.runs()] == [run_id]


def test_the_same_run_is_noted_once(made):
    assert made.start("toy", {"chunks": 2}, run_id="n") == made.start("toy", {"chunks": 3}, run_id="n")
    assert made.run("n").chunks == 2


def test_what_a_chunk_refuses_ends_the_run_with_the_reason(made):
    run_id = made.start("toy", {"chunks": 3, "bad": 1})
    with pytest.raises(InvalidInput, match="cannot be done"):
        made.work(run_id)
    run = made.run(run_id)
    assert (run.state, run.error, run.done) == (RunState.FAILED, "this one cannot be done", 1)


def test_other_bars_than_the_run_began_with_are_refused(made):
    run_id = made.start("toy", {"chunks": 3})
    kinds = made._kinds
    made._kinds = {"toy": lambda request: kinds["toy"]({**request, "dataset": "other"})}
    with pytest.raises(InvalidInput, match="start a new run"):
        made.work(run_id)


def test_a_cancelled_run_is_left_alone_and_says_so(made):
    run_id = made.start("toy", {"chunks": 3})
    assert made.cancel(run_id).state is RunState.CANCELLED
    assert made.work(run_id).state is RunState.CANCELLED
    assert made.alerts() == {}
    for call in (made.cancel, made.work, made.run):
        with pytest.raises(NotFound):
            call("unknown")
    with pytest.raises(InvalidInput, match="toy"):
        made.start("unknown", {})


def test_a_chunk_in_work_stops_when_the_run_is_cancelled(made, monkeypatch):
    monkeypatch.setattr("app.services.research.runs.RENEW_SECONDS", 0.0)
    run_id = made.start("toy", {"chunks": 3})
    run = made.work(run_id, lambda done, _total, _message: made.cancel(run_id) if done == 1 else None)
    assert (run.state, run.done) == (RunState.CANCELLED, 1)


def test_whoever_watches_may_stop_this_process_and_the_run_goes_on(made):
    class Enough(Exception):
        pass

    def stop(done, _total, message):
        if done == 1 and message:
            raise Enough

    run_id = made.start("toy", {"chunks": 3})
    with pytest.raises(Enough):
        made.work(run_id, stop)
    assert (made.run(run_id).state, made.run(run_id).done) == (RunState.OPEN, 1)
    assert made.work(run_id).state is RunState.DONE


def test_a_process_of_another_host_that_fell_silent_is_taken_over_and_harmless_when_it_speaks_again(made, database_url):
    _, database = toy.service(database_url, owner="elsewhere:1:1")
    run_id = made.start("toy", {"chunks": 2})
    patience = {"patience": timedelta(0), "is_alive": lambda _: True}
    late = database.lease_chunk(run_id, owner="elsewhere:1:1", **patience)
    assert late.number == 0
    assert database.lease_chunk(run_id, owner="here", **patience).number == 0
    assert not database.renew_chunk(run_id, 0, owner="elsewhere:1:1")
    assert database.keep_chunk(run_id, 0, {"square": 0})
    assert not database.keep_chunk(run_id, 0, {"square": 99})
    assert made.work(run_id).result == {"sum": 1}
    database.close()


def test_a_chunk_that_killed_three_processes_fails_the_run(made, database_url):
    run_id = made.start("toy", {"chunks": 3})
    _, database = toy.service(database_url)
    for number in range(3):
        dead = f"host:{number}:1"
        assert database.lease_chunk(run_id, owner=dead, patience=timedelta(1), is_alive=lambda _: False).attempts == number + 1
    made._is_alive = lambda _: False
    run = made.work(run_id)
    assert run.state is RunState.FAILED
    assert "kills the process" in run.error
    database.close()


def start(url, run_id):
    command = (sys.executable, "-m", "tests.research.toy", url, run_id)
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout.readline().strip() == "ready"
    return process


@pytest.mark.processes
def test_two_workers_share_a_run_and_a_killed_one_loses_nothing(made, database_url):
    run_id = made.start("toy", {"chunks": 12, "seconds": 0.15})
    first, second = start(database_url, run_id), start(database_url, run_id)
    deadline = time.monotonic() + 60
    while made.run(run_id).done < 3:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    first.send_signal(signal.SIGKILL)
    first.wait()
    second.wait(60)
    run = made.run(run_id)
    assert run.state is RunState.DONE
    assert run.result == {"sum": sum(value**2 for value in range(12))}
    alerts = made.alerts()
    assert set(alerts) == {"finish", *map(str, range(12))}
    assert alerts["finish"] == 1
    assert sum(alerts.values()) - 13 <= 1  # killed between its work and keeping that: done again, by the other

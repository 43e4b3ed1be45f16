"""Supervised processes, for real: started again after a kill, all gone after a stop and after a kill of the parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from app.local.processes import Role, RoleFailed, Supervisor

pytestmark = pytest.mark.processes


@pytest.fixture
def parent(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.local.supervised", str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    yield process
    process.kill()
    process.wait()


def _line(process, word):
    for line in process.stdout:
        if line.startswith(word):
            return line
    raise AssertionError(f"no line {word}")


def _pids(process, word):
    return [int(text) for text in _line(process, word).split()[1:]]


def _all_gone(pids, seconds):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        alive = [p for p in pids if psutil.pid_exists(p) and psutil.Process(p).status() != psutil.STATUS_ZOMBIE]
        if not alive:
            return True
        time.sleep(0.05)
    return False


def test_a_killed_process_comes_back_and_a_stop_leaves_nothing_even_of_the_stubborn(parent):
    pids = _pids(parent, "pids")
    assert len(pids) == 6
    os.kill(pids[0], signal.SIGKILL)
    again = _pids(parent, "again")
    assert _all_gone([pids[0], pids[3]], 2.0)  # the grandchild of the killed one too
    began = time.monotonic()
    parent.send_signal(signal.SIGTERM)
    _line(parent, "stopped")
    assert time.monotonic() - began < 5.0
    assert _all_gone([*pids, *again], 2.0)


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's parent-death signal is Linux")
def test_a_killed_parent_takes_its_children_with_it(parent):
    pids = _pids(parent, "pids")
    parent.kill()
    assert _all_gone(pids[:3], 2.0)
    for pid in pids[3:]:  # grandchildren of a foreign program are not ours to reach; our workers bind theirs
        os.kill(pid, signal.SIGKILL)


def test_a_role_that_always_dies_is_given_up_with_the_end_of_its_log(tmp_path):
    said = []
    (tmp_path / "exchange.log").write_text("of another day\n")
    supervisor = Supervisor(tmp_path, say=said.append, backoff=(0.01, 0.02, 0.05))
    command = (sys.executable, "-S", "-c", "print('no such file: bars.parquet'); raise SystemExit(3)")
    supervisor.start(Role(name="exchange", command=command, environment={}, is_healthy=lambda _: False, start_seconds=60))

    def pause(seconds):
        time.sleep(seconds)
        supervisor.tend()

    with pytest.raises(RoleFailed, match="exchange ends each time it is started") as failed:
        supervisor.await_health("exchange", pause)
    assert failed.value.message.count("no such file: bars.parquet") == 1
    assert "of another day" not in failed.value.message
    assert "ended with code 3" in said[0]
    supervisor.stop()


def test_a_role_that_never_answers_is_reported_in_time(tmp_path):
    supervisor = Supervisor(tmp_path, say=print)
    supervisor.start(Role(name="api", command=("sleep", "60"), environment={}, is_healthy=lambda _: False, start_seconds=0.3))
    with pytest.raises(RoleFailed, match="did not come up"):
        supervisor.await_health("api", time.sleep)
    pids = list(supervisor.pids().values())
    supervisor.stop(seconds=2.0)
    assert _all_gone(pids, 1.0)

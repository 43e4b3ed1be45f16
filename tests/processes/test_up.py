"""`trader up` as its user runs it: started, killed at, stopped, started again."""

from __future__ import annotations

import signal
import time
from collections import Counter
from pathlib import Path

import psutil
import pytest

from tests.processes.installation import SYMBOLS, Installation, installed

pytestmark = [pytest.mark.processes, pytest.mark.timeout(240)]

TURNING = {symbol: (-1) ** i * 0.012 for i, symbol in enumerate(SYMBOLS.split())}


def assert_no_order_twice(here: Installation) -> None:
    """The exchange's own file against our ledger: each intent at most one order, nothing at the venue unknown to us."""
    entries = [order for order in here.exchange("orders") if order.get("parent_id") is None]
    sent = Counter(order["client_order_id"] for order in entries)
    assert entries
    assert set(sent.values()) == {1}
    known = {row[0] for row in here.ledger("SELECT client_order_id FROM intents")}
    assert set(sent) <= known
    per_slot = Counter(here.ledger("SELECT cycle_id, symbol FROM intents WHERE origin = 'decision'"))
    assert set(per_slot.values()) == {1}
    booked = {row[0] for row in here.ledger("SELECT execution_id FROM fills")}
    assert booked <= {fill["execution_id"] for fill in here.exchange("fills")}


def assert_nobody_left(pids: list[int]) -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        left = [pid for pid in pids if psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE]
        if not left:
            return
        time.sleep(0.1)
    raise AssertionError(f"still running: {left}")


@pytest.mark.row("A13")
def test_workers_beat_and_api_killed_in_the_middle_and_the_run_goes_on(tmp_path: Path) -> None:
    with installed(tmp_path, "--cycles", "45", "--speed", "3000", forecasts=TURNING) as here:
        for role, at in (("worker-trading", 3), ("beat", 12), ("api", 20), ("worker-trading", 28)):
            here.wait_until(lambda at=at: here.cycles() >= at)
            here.kill(role)
        here.wait_until(here.answers)
        everyone = here.everyone()
        assert here.process.wait(150) == 0, here.output()
        assert_nobody_left(everyone)
        assert_no_order_twice(here)
        equity = here.ledger("SELECT equity, venue_equity FROM equity_curve")
        assert all(round(float(ours), 2) == round(float(theirs), 2) for ours, theirs in equity)
        assert "45 cycles are done" in here.output()
        assert here.cycles() >= 43  # each of the two killed workers may have taken one cycle with it


def test_killed_as_a_whole_it_leaves_nothing_and_goes_on_where_it_was(tmp_path: Path) -> None:
    with installed(tmp_path, "--speed", "3000", forecasts=TURNING) as here:
        here.wait_until(lambda: here.cycles() >= 5)
        everyone = here.everyone()
        here.process.kill()
        here.process.wait()
        assert_nobody_left(everyone)
        done = here.cycles()
    with installed(tmp_path, "--cycles", "4", "--speed", "3000", forecasts=TURNING) as here:
        assert here.process.wait(120) == 0, here.output()
        assert done + 3 <= here.cycles() <= done + 5  # the kill may have taken a cycle with it
        assert_no_order_twice(here)
        slots = [row[0] for row in here.ledger("SELECT slot FROM cycles WHERE outcome = 'completed'")]
        assert len(slots) == len(set(slots))


def test_a_termination_stops_everything_within_ten_seconds(tmp_path: Path) -> None:
    with installed(tmp_path, forecasts=TURNING) as here:
        here.wait_until(lambda: here.cycles() >= 1)
        everyone = here.everyone()
        started = time.monotonic()
        here.process.send_signal(signal.SIGTERM)
        assert here.process.wait(15) == 0, here.output()
        assert time.monotonic() - started < 10
        assert_nobody_left(everyone)


def test_a_taken_port_is_told_before_anything_starts(tmp_path: Path) -> None:
    with installed(tmp_path / "first", forecasts=TURNING) as first:
        first.wait_until(lambda: "ready  api" in first.output())
        with installed(tmp_path / "second", "--port", str(first.port), forecasts=TURNING) as second:
            assert second.process.wait(30) != 0
            assert "choose another" in second.output()

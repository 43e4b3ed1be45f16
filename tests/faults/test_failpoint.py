"""Failpoints: nothing unless asked for, and never asked for where money is real."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from pydantic import ValidationError

from app.config import Settings, TradingMode
from app.runtime import failpoint

ROOT = Path(__file__).parents[2]
VISITOR = """
import sys
from pathlib import Path
from app.runtime.failpoint import arm, reach
arm(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
for visit in range(1, 4):
    reach("after_post")
    reach("in_cancel")
    print(visit, flush=True)
"""


def visitor(directory: Path, *, crash_at: str = "", hold_at: str = "") -> subprocess.Popen[str]:
    command = [sys.executable, "-c", VISITOR, crash_at, hold_at, str(directory)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def test_every_point_is_reached_somewhere_and_no_other() -> None:
    calls = [name for file in (ROOT / "app").rglob("*.py") for name in re.findall(r'\breach\("([a-z_]+)"\)', file.read_text())]
    assert set(calls) == set(failpoint.POINTS)


@pytest.mark.parametrize(("crash_at", "visits"), [("", 3), ("in_cancel", 0), ("after_post:3", 2), ("in_cancel:4", 3)])
def test_it_dies_at_the_visit_asked_for(tmp_path: Path, crash_at: str, visits: int) -> None:
    process = visitor(tmp_path, crash_at=crash_at)
    out, _ = process.communicate(timeout=30)
    assert len(out.split()) == visits
    assert process.returncode == (0 if visits == 3 else -signal.SIGKILL)


def test_it_stands_still_until_the_file_is_gone(tmp_path: Path) -> None:
    process = visitor(tmp_path, hold_at="after_post:2", crash_at="in_cancel:2")
    held = failpoint.held_file(tmp_path, "after_post")
    deadline = time.monotonic() + 30
    while not held.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert process.poll() is None
    held.unlink()
    out, _ = process.communicate(timeout=30)
    assert (out.split(), process.returncode) == (["1"], -signal.SIGKILL)


@pytest.mark.parametrize("text", ["after_posting", "after_post:0", "after_post:", "after_post:-1", "after_post:x", ":1"])
def test_a_place_that_is_not_there_is_a_fault_of_the_settings(text: str) -> None:
    with pytest.raises(ValidationError, match="CRASH_AT must be name or name:visit"):
        Settings(_env_file=None, crash_at=text)


@pytest.mark.parametrize("mode", [TradingMode.PAPER, TradingMode.LIVE])
def test_refused_wherever_an_order_can_reach_a_real_venue(mode: TradingMode) -> None:
    safe = {
        "trading_mode": mode,
        "alpaca_paper": mode is TradingMode.PAPER,
        "secret_key": "7b1f0c92e4a85d36b0e97a14c853f26d",
        "admin_password": "a long enough one",
        "alpaca_api_key": "someone's",
        "alpaca_api_secret": "own",
        "alpaca_account_id": "PA1",
        "live_confirmation": "real money on PA1",
        "database_url": "postgresql+psycopg://localhost/ledger",
    }
    Settings(_env_file=None, **safe)
    for name in ("crash_at", "hold_at"):
        with pytest.raises(ValidationError, match=f"{name.upper()} is for drills and is refused in {mode} mode"):
            Settings(_env_file=None, **safe, **{name: "after_post"})

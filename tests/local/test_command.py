"""The `trader` command with wrong arguments: one line that says what to do, a code that is not 0, nothing half done."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HEADER = "symbol,timestamp,open,high,low,close,volume\n"
pytestmark = pytest.mark.processes


def _trader(directory: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        (sys.executable, "-m", "app.cli", *arguments),
        cwd=directory,
        env=os.environ | {"PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    ("arguments", "file", "said"),
    [
        (("--data", "none.csv"), None, "no such file: none.csv"),
        (("--start", "2024-02-30"), None, "not a date: 2024-02-30"),
        (("--data", "bars.csv"), "symbol,timestamp,open,high,low,close\nAAPL,2024-01-02,1,1,1,1\n", "bars.csv lacks volume"),
        (("--data", "bars.csv", "--symbols", "ZZZZ"), HEADER + "AAPL,2024-01-02,1,1,1,1,1\n", "no row of the wanted symbols"),
        (("--data", "bars.csv", "--start", "1990-01-02"), HEADER + "AAPL,2024-01-02,1,1,1,1,1\n", "is outside it"),
    ],
)
def test_wrong_data_is_one_line_and_begins_no_run(tmp_path, arguments, file, said):
    if file:
        (tmp_path / "bars.csv").write_text(file)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    ended = _trader(tmp_path, "up", "--port", port, *arguments)
    assert ended.returncode == 1
    assert said in ended.stderr
    assert len(ended.stderr.splitlines()) == 1
    assert not (tmp_path / "database" / "simulated").exists()


@pytest.mark.row("J05")
def test_wrong_settings_stop_a_worker_without_a_traceback(tmp_path):
    ended = subprocess.run(
        (sys.executable, "-m", "celery", "-A", "app.worker", "beat"),
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT), "TRADING_MODE": "live"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode != 0
    assert "ALPACA_PAPER=False" in ended.stderr
    assert "Traceback" not in ended.stderr

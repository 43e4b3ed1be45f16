"""`trader check` as a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from app.marketdata.generator import generate_daily
from app.runtime.calendar import new_york_calendar

HEADER = "symbol,timestamp,open,high,low,close,volume\n"


def trader(*words: str, directory: Path) -> tuple[int, str]:
    environment = os.environ | {
        "STATE_DIR": str(directory),
        "LOGS_DIR": str(directory / "logs"),
        "DATABASE_URL": f"sqlite:///{directory / 'ledger.db'}",
        "REDIS_URL": "redis://127.0.0.1:1/0",
        "COLUMNS": "200",
    }
    command = [sys.executable, "-m", "app.cli", "check", *words]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=200, check=False)
    return done.returncode, " ".join((done.stdout + done.stderr).split())


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """A file of bars, and the same with one close restated."""
    series = generate_daily(3, ("SPY",), new_york_calendar().between(date(2022, 1, 3), date(2023, 6, 30)))["SPY"]
    rows = [
        f"SPY,{datetime.fromtimestamp(int(at), UTC).date()},{o},{max(h, c + 1)},{lo},{c + (0.5 if number == 99 else 0)},{v}\n"
        for number, (at, o, h, lo, c, v) in enumerate(
            zip(series.timestamp, series.open, series.high, series.low, series.close, series.volume, strict=True)
        )
    ]
    honest = [row.replace(f",{series.close[99] + 0.5},", f",{series.close[99]},") for row in rows]
    paths = tmp_path / "earlier.csv", tmp_path / "later.csv"
    for path, told in zip(paths, (honest, rows), strict=True):
        path.write_text(HEADER + "".join(told))
    return paths


@pytest.mark.processes
def test_the_command_tells_and_exits(files: tuple[Path, Path], tmp_path: Path) -> None:
    earlier, later = map(str, files)
    code, said = trader("lookahead", "rsi", "--data", earlier, "--set", "period=7", directory=tmp_path)
    assert (code, "nothing differs" in said) == (0, True), said
    code, said = trader("warmup", "sma_cross", "--data", earlier, directory=tmp_path)
    assert (code, "declared memory: 31 bars" in said) == (0, True), said
    code, said = trader("data", earlier, later, directory=tmp_path)
    assert (code, "1 values were restated" in said) == (1, True), said
    code, said = trader("data", earlier, earlier, directory=tmp_path)
    assert (code, "no bar of the first file was restated" in said) == (0, True), said
    code, said = trader("override", "model", "--actor", "ada", "--reason", "new machine", directory=tmp_path)
    assert (code, "ada lets model trade real money since" in said) == (0, True), said
    code, said = trader("lookahead", "sma_crosss", directory=tmp_path)
    assert (code, "did you mean sma_cross?" in said) == (1, True), said

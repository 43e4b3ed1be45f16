"""Messages leave a whole installation, and a channel that hangs costs the trading nothing."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import requests

from tests.processes.installation import ROOT, SYMBOLS, Installation, installed
from tests.processes.webhook import discord

pytestmark = [pytest.mark.processes, pytest.mark.timeout(240)]

TURNING = {symbol: (-1) ** i * 0.012 for i, symbol in enumerate(SYMBOLS.split())}


def seconds_of_cycles(here: Installation) -> list[float]:
    rows = here.ledger("SELECT timings FROM cycles WHERE outcome = 'completed' ORDER BY slot")
    return [json.loads(timings)["total"] for (timings,) in rows]


def halt(here: Installation) -> None:
    address = f"http://127.0.0.1:{here.port}/api"
    login = requests.post(f"{address}/auth/login", json={"username": "admin", "password": "password"}, timeout=10).json()
    headers = {"Authorization": f"Bearer {login['access_token']}"}
    requests.post(f"{address}/risk/halt", headers=headers, timeout=10).raise_for_status()


def assert_every_panel_has_data(here: Installation) -> None:
    page = requests.get(f"http://127.0.0.1:{here.port}/metrics", timeout=10).text
    told = set(re.findall(r"(?m)^((?:alpha_trader|flask)\w+)(?:\{.*\})? ", page))
    board = json.loads((ROOT / "grafana/dashboards/overview.json").read_text())
    asked = {
        name
        for panel in board["panels"]
        for target in panel["targets"]
        for name in re.findall(r"(?:alpha_trader|flask)_\w+", target["expr"])
    }
    assert asked <= told, sorted(asked - told)


def test_fills_and_halts_arrive_and_every_metric_has_readings(tmp_path: Path) -> None:
    with discord(tmp_path) as channel:
        arguments = ("--cycles", "60", "--speed", "1200")
        with installed(tmp_path, *arguments, forecasts=TURNING, environment=channel.environment) as here:
            here.wait_until(lambda: here.answers() and here.cycles() >= 8)
            assert_every_panel_has_data(here)
            halt(here)
            here.wait_until(lambda: "halted" in channel.text().lower())
            fills = [text for (text,) in here.ledger("SELECT message FROM outbox WHERE kind = 'fill'")]
            assert fills
            here.wait_until(lambda: all(text in channel.text() for text in fills))
            assert "[simulated]" in channel.text()


@pytest.mark.row("J01")
def test_a_channel_that_hangs_delays_no_cycle(tmp_path: Path) -> None:
    with discord(tmp_path, silent=True) as channel:
        arguments = ("--cycles", "20", "--speed", "3000")
        with installed(tmp_path, *arguments, forecasts=TURNING, environment=channel.environment) as here:
            assert here.process.wait(150) == 0, here.output()
            assert "20 completed" in here.output()
            assert max(seconds_of_cycles(here)) < 4, "shorter than any patience with the channel"
        assert channel.posts, "somebody did try"

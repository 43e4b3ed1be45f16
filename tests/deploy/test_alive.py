"""What a container's health check says."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from app.runtime import alive

NOW = 1_000_000.0
TURN = 'alpha_trader_turn_timestamp_seconds{role="guard"}'


class Served(ThreadingHTTPServer):
    body = ""
    status = 200


@pytest.fixture
def served() -> Iterator[Served]:
    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            assert isinstance(self.server, Served)
            self.send_response(self.server.status)
            self.end_headers()
            self.wfile.write(self.server.body.encode())

        def log_message(self, *_: object) -> None:
            pass

    server = Served(("127.0.0.1", 0), Answer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("page", "fault"),
    [
        (f"{TURN} {NOW - 5}\n", None),
        (f"{TURN} {NOW - alive.PATIENCE_SECONDS}\n", None),
        (f"{TURN} {NOW - 61}\n", "guard took its last turn 61 s ago"),
        (f"# HELP x\nother 1\n{TURN} {NOW - 300}\n{TURN} {NOW - 2}\n", None),
        ("other 1\n", "guard has not taken a turn yet"),
    ],
)
def test_a_process_is_well_while_it_goes_round(served: Served, page: str, fault: str | None) -> None:
    served.body = page
    assert alive.fault({"ALPHA_TRADER_ROLE": "guard", "METRICS_PORT": str(served.server_port)}, NOW) == fault


def test_the_api_is_well_while_it_answers(served: Served) -> None:
    environment = {"API_PORT": str(served.server_port)}
    assert alive.fault(environment, NOW) is None
    served.status = 500
    assert "api does not answer" in str(alive.fault(environment, NOW))


@pytest.mark.parametrize("role", ["api", "guard"])
def test_nobody_there(role: str) -> None:
    environment = {"ALPHA_TRADER_ROLE": role, "API_PORT": "1", "METRICS_PORT": "1"}
    assert f"{role} does not answer" in str(alive.fault(environment, NOW))


def test_beat_is_well_while_it_writes_its_schedule(tmp_path: Path) -> None:
    environment = {"ALPHA_TRADER_ROLE": "beat", "STATE_DIR": str(tmp_path)}
    assert "no beat-schedule" in str(alive.fault(environment, NOW))
    for name, age in (("beat-schedule", 500), ("beat-schedule.dat", 3)):
        (tmp_path / name).write_text("")
        os.utime(tmp_path / name, (NOW - age, NOW - age))
    assert alive.fault(environment, NOW) is None
    assert alive.fault(environment, NOW + 100) == "beat last wrote its schedule 103 s ago"


def test_as_a_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "app.runtime.alive"],
        cwd=Path(__file__).parents[2],
        env=os.environ | {"ALPHA_TRADER_ROLE": "guard", "METRICS_PORT": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("guard does not answer")
    assert done.stderr.count("\n") == 1

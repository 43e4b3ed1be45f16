"""The exchange as a process: its options, its logs, its end."""

import json
import os
import signal
import socket
import subprocess
import sys
import time

import pytest
import requests
from websockets.sync.client import connect

from app.local.broker_server import free_port

from .serving import Client

ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
ALICE = {"APCA-API-KEY-ID": "alice-key", "APCA-API-SECRET-KEY": "alice-secret"}


def start(*options):
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "app.cli", "simulator", "--port", str(port), *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=ENVIRONMENT,
    )
    x = Client(f"http://127.0.0.1:{port}")
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        try:
            x.get("/sim/state", timeout=2)
            break
        except requests.RequestException:
            time.sleep(0.05)
    return process, x


@pytest.mark.processes
def test_a_termination_is_prompt_and_clean_whatever_is_held_or_open(tmp_path):
    process, x = start(
        *("--symbols", "ACME", "--key", "alice-key:alice-secret", "--keys-required"),
        *("--rate-limit", "500", "--state", str(tmp_path / "state.db")),
    )
    try:
        assert x.get("/v2/account", headers=ALICE).headers["X-RateLimit-Limit"] == "500"
        assert x.get("/v2/account").status_code == 401
        x.sim("POST", "/sim/faults", {"what": "hang", "path": "/v2/clock", "seconds": 600}, status=201)
        x.sim("POST", "/sim/barriers", {"path": "/v2/orders", "method": "POST"}, status=201)
        waiting = x.sim("POST", "/sim/barriers", {"path": "/v2/never"}, status=201)["id"]
        order = {"symbol": "ACME", "side": "buy", "type": "market", "qty": 1, "time_in_force": "day"}
        held = [
            x.open_socket("POST", "/v2/orders", order, headers=ALICE),
            x.open_socket("GET", "/v2/clock", headers=ALICE),
            x.open_socket("GET", f"/sim/barriers/{waiting}?wait=60", headers=ALICE),
            socket.create_connection(("127.0.0.1", x.port)),
        ]
        held[-1].sendall(b"POST /v2/orders HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
        idle = requests.Session()
        idle.get(f"{x.url}/sim/state", timeout=5)
        with connect(f"ws://127.0.0.1:{x.port}/stream") as stream:
            stream.send(json.dumps({"action": "auth", "key": "alice-key", "secret": "alice-secret"}))
            stream.recv(10)
            x.sim("GET", "/sim/barriers/1?wait=10")
            process.send_signal(signal.SIGTERM)
            log = process.communicate(timeout=30)[0].decode()
            assert process.returncode == 0
        for connection in held:
            connection.close()
        assert "alice" not in log
        assert "Traceback" not in log
    finally:
        process.kill()
        process.wait(10)


@pytest.mark.parametrize("option", [("--key", "nosecret"), ("--rate-limit", "0"), ("--speed", "fast")])
def test_wrong_options_are_refused_in_one_line(option):
    from typer.testing import CliRunner

    from app.cli import cli

    result = CliRunner().invoke(cli, ["simulator", *option])
    assert result.exit_code != 0

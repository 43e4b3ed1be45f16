"""The API as it is really served."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
import requests

from app.web.errors import ErrorAnswer

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.processes


@dataclass
class Server:
    process: subprocess.Popen[bytes]
    url: str
    log: Path
    home: Path


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    home = tmp_path_factory.mktemp("home")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = home / "log"
    environment = os.environ | {
        "HOME": str(home),
        "COMPILED_CACHE_DIR": str(Path(os.environ["NUMBA_CACHE_DIR"]).parent),
        "XDG_RUNTIME_DIR": str(home),
        "API_PORT": str(port),
        "GUNICORN_RECEIVE_SECONDS": "1",
        "PROMETHEUS_MULTIPROC_DIR": str(home / "metrics"),
        "PYTHONPATH": str(ROOT),
    }
    command = [sys.executable, "-m", "gunicorn", "-c", "gunicorn_config.py", "--pythonpath", "tests", "web.served:app"]
    with log.open("wb") as out:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=out, stderr=subprocess.STDOUT)
    started = Server(process, f"http://127.0.0.1:{port}", log, home)
    try:
        _wait_for(started)
        yield started
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()


def _wait_for(server: Server) -> None:
    for _ in range(150):
        assert server.process.poll() is None, server.log.read_text()
        try:
            if requests.get(f"{server.url}/api/health", timeout=2).ok:
                return
        except (requests.ConnectionError, requests.Timeout):
            time.sleep(0.1)
    pytest.fail(server.log.read_text())


def test_curl_lines_work(server: Server) -> None:
    login = requests.post(f"{server.url}/api/auth/login", json={"username": "admin", "password": "password"}, timeout=5)
    header = {"Authorization": f"Bearer {login.json()['access_token']}"}
    assert requests.get(f"{server.url}/api/account/info", headers=header, timeout=5).json()["account_id"] == "PA1"
    body = {"symbols": ["AAPL"], "days": 90, "initial_capital": 100000}
    assert requests.post(f"{server.url}/api/backtest/run", json=body, headers=header, timeout=5).status_code == 202


def test_one_metrics_page_for_all_processes(server: Server) -> None:
    for _ in range(40):
        requests.get(f"{server.url}/nope", timeout=5)
    page = requests.get(f"{server.url}/metrics", timeout=5).text
    counted = [line for line in page.splitlines() if line.startswith("flask_http_request_total") and '"404"' in line]
    assert sum(float(line.split()[-1]) for line in counted) >= 40


def test_stalled_requests_do_not_block_others_for_long(server: Server) -> None:
    port = int(server.url.rsplit(":", 1)[1])
    stalled = [socket.create_connection(("127.0.0.1", port)) for _ in range(40)]
    head = b"POST /api/auth/login HTTP/1.1\r\n"
    body = head + b"Host: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
    try:
        for connection in stalled[:20]:
            connection.sendall(head)
        for connection in stalled[20:]:
            connection.sendall(body)
        time.sleep(0.2)
        assert requests.get(f"{server.url}/api/health", timeout=12).ok
    finally:
        for connection in stalled:
            connection.close()


def test_a_large_body_of_undeclared_length_is_refused(server: Server) -> None:
    chunks = (b" " * 65_536 for _ in range(40))
    kind = {"Content-Type": "application/json"}
    response = requests.post(f"{server.url}/api/auth/login", data=chunks, headers=kind, timeout=5)
    assert response.status_code == 413
    assert response.json()["error"]["code"] == "body_too_large"


def test_oversized_headers_are_refused(server: Server) -> None:
    many = {f"X-{number}": "1" for number in range(90)}
    for path, headers in (("", {"X-Long": "x" * 65_536}), ("", many), ("?" + "x" * 8_000, {})):
        response = requests.get(f"{server.url}/api/health{path}", headers=headers, timeout=5)
        assert 400 <= response.status_code < 500
        ErrorAnswer.model_validate(response.json())


def test_a_killed_worker_is_replaced(server: Server) -> None:
    master = psutil.Process(server.process.pid)
    (victim,) = master.children()
    victim.send_signal(signal.SIGKILL)
    victim.wait(5)
    _wait_for(server)
    (successor,) = master.children()
    assert successor.pid != victim.pid


def test_the_log_is_json_lines_and_the_home_stays_clean(server: Server) -> None:
    requests.get(f"{server.url}/api/positions", timeout=5)
    deadline = time.monotonic() + 10
    while '"request"' not in server.log.read_text() and time.monotonic() < deadline:
        time.sleep(0.05)
    lines = [json.loads(line) for line in server.log.read_text().splitlines()]
    assert {"request"} <= {line["event"] for line in lines}
    assert any(line["logger"] == "gunicorn.error" for line in lines)
    assert {path.name for path in server.home.iterdir()} <= {"log", "metrics"}

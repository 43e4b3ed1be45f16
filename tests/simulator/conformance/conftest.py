"""An exchange on a socket whose every answer is judged by Alpaca's OpenAPI files, whoever asks."""

import contextlib
import threading
import time

import pytest
import requests
import uvicorn

from app.simulator.server import SimulatorOptions, build_app
from tests.simulator.conformance.openapi import Judge
from tests.simulator.conftest import KEYS


class Exchange:
    """A running exchange. url: its address; ws: the same for WebSockets."""

    def __init__(self, port, judge):
        self.url, self.ws = f"http://127.0.0.1:{port}", f"ws://127.0.0.1:{port}"
        self.judge = judge

    def sim(self, path, **body):
        answer = requests.post(f"{self.url}/sim/{path}", json=body, timeout=30)
        answer.raise_for_status()
        return answer.json()

    def call(self, method, path, *, params=None, json=None, status=200):
        answer = requests.request(method, self.url + path, params=params, json=json, headers=KEYS, timeout=30)
        assert answer.status_code == status, (method, path, answer.status_code, answer.text)
        return answer.json() if answer.content else None

    def verdict(self):
        """Everything that was wrong since the last verdict, one line for each kind."""
        wrong, self.judge.wrong = sorted(set(self.judge.wrong)), []
        return wrong


@contextlib.contextmanager
def served(options):
    judge = Judge(build_app(options))
    config = uvicorn.Config(judge, host="127.0.0.1", port=0, log_config=None, access_log=False, lifespan="on")
    running = uvicorn.Server(config)
    thread = threading.Thread(target=running.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 60
    while not running.started and time.monotonic() < deadline:
        time.sleep(0.01)
    yield Exchange(running.servers[0].sockets[0].getsockname()[1], judge)
    running.should_exit = True
    thread.join(10)


@pytest.fixture(scope="package")
def running():
    with served(SimulatorOptions(seed=7, symbols=("AAPL", "MSFT", "SPY", "TSLA"))) as exchange:
        yield exchange


@pytest.fixture
def exchange(running):
    """The exchange at the start of a fresh run; after the test, no answer may have been unlike the documentation."""
    running.sim("reset")
    yield running
    wrong = running.verdict()
    if wrong:
        pytest.fail("not as Alpaca documents it:\n" + "\n".join(wrong), pytrace=False)

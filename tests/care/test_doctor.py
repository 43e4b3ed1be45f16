"""What `trader doctor` finds: each fault made for real, seen, and told with its mend."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from redis import Redis

from app.celery_config import QUEUES
from app.config import Settings
from app.domain.errors import TryAgain
from app.local.broker_server import BrokerServer
from app.local.checks import machine, stores, trading
from app.local.checks.finding import Finding, Level, examine, ok
from app.services.database_service import DatabaseService
from app.services.guard.watchdog import LEASE as WATCHDOG
from app.storage.database import Database
from tests.databases import HandClock
from tests.trading.conftest import exchange, ledger_database, served
from tests.trading.exchange import Exchange, build_system, scripted

__all__ = ["exchange", "ledger_database", "served"]
NOW = datetime(2024, 3, 1, 15, 0, tzinfo=UTC)


def told(findings: Iterator[Finding]) -> dict[str, Level]:
    """The gravest level of each subject; every finding that asks for something says what."""
    worst: dict[str, Level] = {}
    for one in findings:
        assert one.said and (one.mend or one.level is Level.OK)
        worst[one.subject] = max(worst.get(one.subject, Level.OK), one.level, key=list(Level).index)
    return worst


def test_a_check_that_breaks_keeps_no_other_from_being_made() -> None:
    def unreachable() -> Iterator[Finding]:
        raise TryAgain("the venue does not answer")

    def broken() -> Iterator[Finding]:
        yield ok("c", "first half")
        raise ZeroDivisionError("oh")

    found = list(examine({"a": unreachable, "b": lambda: [ok("b", "fine")], "c": broken}))
    assert [(one.subject, one.level.value) for one in found] == [("a", "fail"), ("b", "ok"), ("c", "ok"), ("c", "fail")]
    assert found[0].said == "the venue does not answer" and "ZeroDivisionError" in found[-1].said


@pytest.mark.parametrize(("mode", "level"), [(0o600, Level.OK), (0o400, Level.OK), (0o640, Level.FAIL), (0o604, Level.FAIL)])
def test_secrets_that_others_can_read(tmp_path: Path, mode: int, level: Level) -> None:
    (tmp_path / ".env").write_text("SECRET_KEY=x")
    (tmp_path / ".env").chmod(mode)
    assert told(machine.secrets(tmp_path)) == {"secrets": level}


def test_the_schema_and_a_damaged_file(tmp_path: Path) -> None:
    chosen = Settings(_env_file=None, database_url=f"sqlite:///{tmp_path / 'a.db'}")
    assert told(stores.schema(chosen)) == {"database": Level.WARN}
    with closing(Database(chosen.database_url)) as database:
        DatabaseService(database, HandClock()).migrate()
    assert told(stores.schema(chosen)) == {"database": Level.OK}
    with closing(Database(chosen.database_url)) as database:
        database.write(lambda c: c.exec_driver_sql("UPDATE alembic_version SET version_num = 'leases'"))
    assert told(stores.schema(chosen)) == {"database": Level.FAIL}
    content = bytearray((tmp_path / "a.db").read_bytes())
    content[len(content) // 2 :] = os.urandom(len(content) - len(content) // 2)
    (tmp_path / "a.db").write_bytes(content)
    (tmp_path / "a.db-wal").unlink(missing_ok=True)
    assert next(iter(examine({"database": lambda: stores.schema(chosen)}))).level is Level.FAIL


def test_a_queue_that_may_lose_messages_or_grows(tmp_path: Path) -> None:
    server = BrokerServer(tmp_path / "broker")
    server.prepare()
    process = subprocess.Popen(server.command, stdout=subprocess.DEVNULL)
    try:
        chosen = Settings(_env_file=None, redis_url=server.url)
        with Redis.from_url(server.url, socket_connect_timeout=5) as client:
            while not server.is_healthy():
                assert process.poll() is None
            assert told(stores.redis(chosen)) == {"queue": Level.OK}
            client.config_set("maxmemory-policy", "allkeys-lru")
            assert told(stores.redis(chosen)) == {"queue": Level.FAIL}
            client.config_set("maxmemory-policy", "noeviction")
            client.rpush(QUEUES[1], *range(101))
            assert told(stores.redis(chosen)) == {"queue": Level.WARN}
    finally:
        process.terminate()
        process.wait(10)
    assert told(stores.redis(chosen)) == {"queue": Level.FAIL}


def test_messages_that_nobody_gets(ledger: DatabaseService, hand_clock: HandClock) -> None:
    assert told(stores.outbox(ledger, hand_clock, has_channel=True)) == {"alerts": Level.OK}
    assert told(stores.outbox(ledger, hand_clock, has_channel=False)) == {"alerts": Level.WARN}
    ledger.enqueue_alert("risk", "look")
    assert told(stores.outbox(ledger, hand_clock, has_channel=True)) == {"alerts": Level.OK}
    hand_clock.forward(601)
    assert told(stores.outbox(ledger, hand_clock, has_channel=True)) == {"alerts": Level.WARN}


def test_processes_that_went_silent(ledger: DatabaseService, hand_clock: HandClock) -> None:
    assert told(trading.listeners(ledger, hand_clock.now()))[WATCHDOG] is Level.WARN
    ledger.take_lease(WATCHDOG, owner="me", patience=timedelta(seconds=60), is_alive=lambda _: True)
    assert told(trading.listeners(ledger, hand_clock.now()))[WATCHDOG] is Level.OK
    assert told(trading.listeners(ledger, hand_clock.forward(121)))[WATCHDOG] is Level.WARN


def test_backups_that_stopped(tmp_path: Path) -> None:
    assert told(trading.backups(tmp_path, NOW, needed=False)) == {}
    assert told(trading.backups(tmp_path, NOW, needed=True)) == {"backup": Level.WARN}
    path = tmp_path / "alpha-trader-20240229T000000Z.backup"
    path.write_text("")
    os.utime(path, (NOW.timestamp(), NOW.timestamp()))
    assert told(trading.backups(tmp_path, NOW + timedelta(days=1), needed=True)) == {"backup": Level.OK}
    assert told(trading.backups(tmp_path, NOW + timedelta(days=3), needed=True)) == {"backup": Level.WARN}


@pytest.mark.timeout(300)
def test_trading_as_it_goes(exchange: Exchange, ledger_database: DatabaseService, tmp_path: Path) -> None:
    system = build_system(exchange, ledger_database, tmp_path, forecaster=scripted(tmp_path, {"AAPL": 0.03}))
    paper = Settings(
        _env_file=None,
        trading_mode="paper",
        secret_key="8f0c1d7e52b94a6f93a1c5d2e7b40f68",
        admin_password="seven green otters",
        alpaca_api_key="k",
        alpaca_api_secret="s",
        redis_url="redis://:otters7-green9@127.0.0.1:1/0",
    )
    assert told(trading.cycles(ledger_database, system.venue)) == {"cycles": Level.WARN}
    system.cycles(1)
    now = system.venue.clock().now
    assert told(trading.venue(paper, system.venue, now)) == {"venue": Level.OK, "clock": Level.OK}
    assert told(trading.venue(paper, system.venue, now + timedelta(seconds=5)))["clock"] is Level.WARN
    assert told(trading.venue(paper, system.venue, now - timedelta(seconds=60)))["clock"] is Level.FAIL
    assert told(trading.cycles(ledger_database, system.venue)) == {"cycles": Level.OK}
    assert told(trading.feed(system.venue, 900.0)) == {"feed": Level.OK}
    assert told(trading.feed(system.venue, -1.0)) == {"feed": Level.FAIL}
    assert told(trading.state(system.risk, ledger_database)) == {"trading state": Level.OK}
    assert told(stores.audit(ledger_database)) == {"audit log": Level.OK}
    exchange.step(1_800)
    assert told(trading.cycles(ledger_database, system.venue)) == {"cycles": Level.FAIL}
    system.risk.kill_file.write("a drill")
    assert told(trading.state(system.risk, ledger_database)) == {"trading state": Level.WARN}


def test_the_command_on_a_machine_where_nothing_runs(tmp_path: Path) -> None:
    environment = os.environ | {
        "STATE_DIR": str(tmp_path / "state"),
        "LOGS_DIR": str(tmp_path / "logs"),
        "DATABASE_URL": f"sqlite:///{tmp_path / 'state' / 'a.db'}",
        "REDIS_URL": "redis://127.0.0.1:1/0",
        "ALPACA_TRADING_URL": "http://127.0.0.1:1",
        "ALPACA_DATA_URL": "http://127.0.0.1:1",
    }
    command = [sys.executable, "-m", "app.cli", "doctor", "--json"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    failed = {one["subject"] for one in found if one["level"] == "fail"}
    assert {"queue", "workers", "venue", "feed", "models"} <= failed
    assert all(one["mend"] for one in found if one["level"] != "ok")

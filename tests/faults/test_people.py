"""Alerts, deployment, people (rows J)."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import structlog
from pydantic import ValidationError

from app.config import DEFAULT_ADMIN_PASSWORD, DEFAULT_SECRET_KEY, Settings
from app.domain.errors import ConfigurationError, TryAgain
from app.notify.notifier import Notifier
from app.runtime.log import configure
from app.services.database_service import DatabaseService
from app.services.guard.kill_switch import KillSwitch
from tests.databases import HandClock
from tests.faults.bench import RISING, Bench

SECRET, WEBHOOK = "7b1f0c92e4a85d36b0e97a14c853f26d", "https://discord.com/api/webhooks/123456789012345678/" + "Abc-def_" * 8
REAL = {
    "trading_mode": "paper", "alpaca_api_key": "real", "alpaca_api_secret": "real", "secret_key": SECRET,
    "admin_password": "long enough here",
}  # fmt: skip


def silent_settings(**changes: Any) -> Settings:
    return Settings(_env_file=None, **({"discord_webhook_url": WEBHOOK} | changes))


@pytest.mark.row("J01")
@pytest.mark.parametrize("fails", ["429", "500", "drip"])
def test_j01_a_channel_in_trouble_holds_no_liquidation_up_and_gets_everything_once(
    bench: Bench, webhook: Any, fails: str
) -> None:
    held = bench.holding({"AAPL": 0.03, "MSFT": 0.03})
    webhook.behaviour = fails
    clock = HandClock()
    notifier = Notifier(silent_settings(), clock)
    stop = threading.Event()

    def deliver() -> None:
        while not stop.is_set():
            notifier.deliver(bench.ledger)
            stop.wait(0.05)

    other = threading.Thread(target=deliver)
    other.start()
    bench.expect(dict.fromkeys(held, -0.03))
    assert bench.cycle().orders == 2
    stop.set()
    other.join(60)
    bench.cycle()
    assert bench.ledger.portfolio().positions == {}
    waiting = bench.alerts()
    assert waiting, "kept until the channel takes them"
    webhook.behaviour = "ok"
    for _ in range(40):
        clock.forward(3600)
        notifier.deliver(bench.ledger)
    assert bench.alerts() == []
    told = "\n".join(post["content"] if "content" in post else str(post) for post in webhook.posts)
    for message in waiting:
        assert told.count(message.split("\n")[0][:60]) >= 1


@pytest.mark.row("J02")
def test_j02_with_the_channel_down_from_the_start_trading_starts_and_messages_wait(bench: Bench, webhook: Any) -> None:
    webhook.behaviour = "500"
    notifier = Notifier(silent_settings(), HandClock())
    notifier.deliver(bench.ledger)
    bench.start()
    assert bench.cycle().orders == 7
    bench.ledger.enqueue_alert("risk", "something happened")
    notifier.deliver(bench.ledger)
    (waiting,) = [m for m in bench.ledger.outbox_pending() if m.message == "something happened"]
    assert waiting.attempts == 1 and waiting.error, "the fault is kept with the message"


@pytest.fixture
def own_log() -> Iterator[None]:
    """What a test sets up of the log ends with it."""
    before, root = structlog.get_config(), logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    structlog.configure(**before)
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.mark.row("J04")
def test_j04_a_secret_in_the_text_of_a_fault_stays_hidden(
    bench: Bench, webhook: Any, own_log: None, capsys: Any, tmp_path: Path
) -> None:
    class Talks:
        def __init__(self, broker: Any) -> None:
            self._broker = broker

        def __getattr__(self, name: str) -> Any:
            return getattr(self._broker, name)

        def account(self) -> Any:
            raise TryAgain(f"GET https://user:{SECRET}@example.com failed; key {SECRET}")

    chosen = silent_settings(**{**REAL, "alpaca_api_key": SECRET, "logs_dir": tmp_path / "logs"})
    configure(chosen, "test")
    bench.start(wrap=Talks)
    assert bench.cycle().outcome == "failed"
    Notifier(chosen, HandClock()).deliver(bench.ledger)
    assert webhook.posts and SECRET not in str(webhook.posts)
    written = capsys.readouterr().out + "".join(path.read_text() for path in tmp_path.rglob("*.log*"))
    assert "cycle_failed" in written
    assert SECRET not in written


@pytest.mark.row("J05")
@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"secret_key": DEFAULT_SECRET_KEY}, "SECRET_KEY"),
        ({"secret_key": ""}, "SECRET_KEY"),
        ({"secret_key": "a" * 31}, "SECRET_KEY"),
        ({"admin_password": DEFAULT_ADMIN_PASSWORD}, "ADMIN_PASSWORD"),
        ({"admin_password": "admin"}, "ADMIN_PASSWORD"),
        ({"alpaca_api_key": "simulated"}, "ALPACA_API_KEY"),
        ({"trading_mode": "lvie"}, "trading_mode"),
        ({"risk_max_position_size": "ten"}, "risk_max_position_size"),
        ({"trading_mode": "simulated", "api_host": "0.0.0.0", "secret_key": DEFAULT_SECRET_KEY}, "SECRET_KEY"),
    ],
)
def test_j05_wrong_or_default_settings_are_named_and_never_shown(changes: dict[str, str], named: str) -> None:
    with pytest.raises(ValidationError) as refused:
        Settings(_env_file=None, **{**REAL, **changes})
    said = "\n".join(f"{error['loc']} {error['msg']}" for error in refused.value.errors(include_input=False))
    assert named in said
    assert SECRET not in said and "long enough here" not in said


@pytest.mark.row("J05", "I10")
@pytest.mark.parametrize("value", ["nan", "inf", "-0.1", "5", "0"])
@pytest.mark.parametrize(
    "name", ["risk_max_portfolio_exposure", "risk_max_position_size", "risk_per_trade", "risk_max_drawdown"]
)
def test_i10_a_limit_that_is_no_limit_is_refused(name: str, value: str) -> None:
    with pytest.raises(ValidationError):
        Settings(_env_file=None, **{name: value})


@pytest.mark.row("J06")
def test_j06_the_older_of_two_versions_stops_as_soon_as_the_newer_has_begun(bench: Bench) -> None:
    ledger = bench.ledger
    ledger.enter_build("1.9.0")
    ledger.enter_build("1.9.0")
    older = bench.start(version="1.9.0")
    assert bench.cycle().outcome == "completed"
    ledger.enter_build("1.10.0")
    before = bench.posts()
    with pytest.raises(ConfigurationError, match=r"1\.10\.0"):
        older.trading.run_cycle()
    assert bench.posts() == before
    with pytest.raises(ConfigurationError):
        ledger.enter_build("1.9.0")
    bench.start(version="1.10.0")
    assert bench.cycle().outcome == "completed"
    ledger.enter_build("1.9.0", accepted=True)
    assert older.trading.run_cycle().outcome == "completed", "a person went back on purpose"


@pytest.mark.row("J06")
def test_j06_of_two_that_start_together_the_newer_stays(ledger: DatabaseService) -> None:
    with ThreadPoolExecutor(4) as pool:
        tried = [pool.submit(ledger.enter_build, f"0.{i}.0") for i in (3, 1, 4, 2)]
    assert ledger.build() == "0.4.0"
    for one, version in zip(tried, (3, 1, 4, 2), strict=True):
        fault = one.exception()
        assert fault is None or (isinstance(fault, ConfigurationError) and version < 4)


@pytest.mark.row("J10")
def test_j10_twenty_clicks_have_one_effect(bench: Bench) -> None:
    bench.start()
    bench.cycle()
    events = len(bench.ledger.risk_events(1000))
    with ThreadPoolExecutor(20) as pool:
        halted = [one.result() for one in [pool.submit(bench.system.risk.halt, "ann", "enough") for _ in range(20)]]
    assert len(bench.ledger.risk_events(1000)) == events + 1
    assert len({state.epoch for state in halted}) == 1
    assert len(bench.alerts("enough")) == 1
    bench.system.risk.resume("ann", "again")
    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(bench.system.trading.run_cycle, "manual", "7f3a") for _ in range(8)]
    assert sum(one.result().outcome == "completed" for one in asked) == 1


@pytest.mark.row("J09")
def test_j09_nothing_leaves_after_the_kill_switch_and_entries_are_gone_in_time(bench: Bench) -> None:
    bench.start(RISING)
    assert bench.system.trading.run_cycle().orders == 7
    started = time.monotonic()
    report = KillSwitch(risk=bench.system.risk, venue=bench.system.venue, sleep=lambda _: None).engage("ann", "fire")
    assert time.monotonic() - started < 10
    assert len(report.cancelled) == 7
    assert bench.at_venue("buy", resting=True) == []
    posts = bench.posts()
    bench.exchange.step()
    bench.start(RISING)
    bench.cycle()
    assert bench.posts() == posts, "also after a restart"

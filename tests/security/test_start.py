"""What no process starts with (P07): each fault is refused with its mend, all faults at once, in every entry point."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from app.config import DEFAULT_ADMIN_PASSWORD, DEFAULT_SECRET_KEY, settings
from app.domain.errors import ConfigurationError

ROOT = Path(__file__).parents[2]
GOOD = {
    "TRADING_MODE": "paper",
    "ALPACA_API_KEY": "own-key",
    "ALPACA_API_SECRET": "own-secret",
    "SECRET_KEY": "7b1f0c92e4a85d36b0e97a14c853f26d",
    "ADMIN_PASSWORD": "four-Blue-kettles",
    "REDIS_URL": "redis://:9f31c7a2e8d04b65@queue.example:6379/0",
    "DATABASE_URL": "postgresql+psycopg://trader:9f31c7a2e8d04b65@db.example/ledger",
}
LIVE = GOOD | {
    "TRADING_MODE": "live",
    "ALPACA_PAPER": "False",
    "ALPACA_ACCOUNT_ID": "PA77",
    "LIVE_CONFIRMATION": "real money on PA77",
}
OPEN = {name: GOOD[name] for name in ("SECRET_KEY", "ADMIN_PASSWORD")} | {"API_HOST": "0.0.0.0"}
BARE = {"API_HOST": "0.0.0.0"}

# name: what is right otherwise, what is wrong, words that must be said
CASES: dict[str, tuple[dict[str, str], dict[str, str], tuple[str, ...]]] = {
    "default key": (GOOD, {"SECRET_KEY": DEFAULT_SECRET_KEY}, ("SECRET_KEY", "openssl rand")),
    "no key": (GOOD, {"SECRET_KEY": ""}, ("SECRET_KEY", "openssl rand")),
    "key of the manual": (GOOD, {"SECRET_KEY": "your-very-secure-secret-key"}, ("SECRET_KEY", "openssl rand")),
    "changeme": (GOOD, {"SECRET_KEY": "changeme"}, ("SECRET_KEY",)),
    "secret": (GOOD, {"SECRET_KEY": "secret"}, ("SECRET_KEY",)),
    "super-secret": (GOOD, {"SECRET_KEY": "super-secret"}, ("SECRET_KEY",)),
    "somethingrandom": (GOOD, {"SECRET_KEY": "somethingrandom"}, ("SECRET_KEY",)),
    "changeme, long": (GOOD, {"SECRET_KEY": "changeme-changeme-please-changeme-now"}, ("SECRET_KEY",)),
    "31 bytes": (GOOD, {"SECRET_KEY": GOOD["SECRET_KEY"][:-1]}, ("SECRET_KEY", "32 bytes")),
    "one letter": (GOOD, {"SECRET_KEY": "a" * 40}, ("SECRET_KEY", "repeats")),
    "two letters": (GOOD, {"SECRET_KEY": "ab" * 20}, ("SECRET_KEY", "repeats")),
    "digits in a row": (GOOD, {"SECRET_KEY": "01234567890123456789012345678901"}, ("SECRET_KEY",)),
    "the alphabet": (GOOD, {"SECRET_KEY": "abcdefghijklmnopqrstuvwxyz0123456789"}, ("SECRET_KEY", "sequences")),
    "weak key before": (GOOD, {"SECRET_KEY_PREVIOUS": "secret" * 6}, ("SECRET_KEY_PREVIOUS",)),
    "default password": (GOOD, {"ADMIN_PASSWORD": DEFAULT_ADMIN_PASSWORD}, ("ADMIN_PASSWORD", "default")),
    "admin": (GOOD, {"ADMIN_PASSWORD": "admin"}, ("ADMIN_PASSWORD", "12 characters")),
    "eleven characters": (GOOD, {"ADMIN_PASSWORD": "k3ttL9_wXq7"}, ("ADMIN_PASSWORD", "12 characters")),
    "password twice": (GOOD, {"ADMIN_PASSWORD": "passwordpassword"}, ("ADMIN_PASSWORD",)),
    "admin and digits": (GOOD, {"ADMIN_PASSWORD": "admin1234567"}, ("ADMIN_PASSWORD",)),
    "in disguise": (GOOD, {"ADMIN_PASSWORD": "P@ssw0rd1234"}, ("ADMIN_PASSWORD",)),
    "of the name": (GOOD, {"ADMIN_USERNAME": "rosalind", "ADMIN_PASSWORD": "rosalind1234"}, ("ADMIN_PASSWORD",)),
    "endless password": (GOOD, {"ADMIN_PASSWORD": "9f31c7a2e8d04b65" * 20}, ("ADMIN_PASSWORD", "256")),
    "password is the key": (GOOD, {"ADMIN_PASSWORD": GOOD["SECRET_KEY"]}, ("ADMIN_PASSWORD", "same")),
    "open, default key": (OPEN, {"SECRET_KEY": DEFAULT_SECRET_KEY}, ("SECRET_KEY",)),
    "open, default password": (OPEN, {"ADMIN_PASSWORD": "password"}, ("ADMIN_PASSWORD",)),
    "open, nothing set": ({}, BARE, ("SECRET_KEY", "ADMIN_PASSWORD")),
    "open on IPv6": ({}, {"API_HOST": "::"}, ("SECRET_KEY", "ADMIN_PASSWORD")),
    "open past API_HOST": ({}, {"GUNICORN_BIND": "0.0.0.0:5000"}, ("SECRET_KEY", "ADMIN_PASSWORD")),
    "open as well": ({}, {"GUNICORN_BIND": "127.0.0.1:5000,192.168.1.2:5000"}, ("SECRET_KEY", "ADMIN_PASSWORD")),
    "open behind a proxy": ({}, {"TRUSTED_PROXIES": "127.0.0.1"}, ("SECRET_KEY", "ADMIN_PASSWORD")),
    "queue without password": (GOOD, {"REDIS_URL": "redis://queue:6379/0"}, ("REDIS_URL", "requirepass")),
    "queue without password here": (GOOD, {"REDIS_URL": "redis://127.0.0.1:6379/0"}, ("REDIS_URL", "requirepass")),
    "queue with that of the manual": (GOOD, {"REDIS_URL": "redis://:changeme@queue:6379/0"}, ("REDIS_URL", "guess")),
    "other queue without": (GOOD, {"CELERY_BROKER_URL": "rediss://queue/1"}, ("CELERY_BROKER_URL", "password")),
    "guest of RabbitMQ": (GOOD, {"CELERY_BROKER_URL": "amqp://guest:guest@queue//"}, ("CELERY_BROKER_URL", "guest")),
    "journal without": (GOOD, {"OPT_JOURNAL": "redis://queue/2"}, ("OPT_JOURNAL", "password")),
    "database without password": (GOOD, {"DATABASE_URL": "postgresql+psycopg://trader@db/x"}, ("DATABASE_URL", "password")),
    "postgres, postgres": (GOOD, {"DATABASE_URL": "postgresql+psycopg://postgres:postgres@db/x"}, ("DATABASE_URL", "guess")),
    "trader, trader": (GOOD, {"DATABASE_URL": "postgresql+psycopg://trader:trader@db/x"}, ("DATABASE_URL", "guess")),
    "debug": (GOOD, {"FLASK_DEBUG": "1"}, ("FLASK_DEBUG", "unset")),
    "debug in words": (OPEN, {"FLASK_DEBUG": "True"}, ("FLASK_DEBUG", "unset")),
    "testing": (GOOD, {"TESTING": "true"}, ("TESTING", "unset")),
    "development": (GOOD, {"FLASK_ENV": "development"}, ("FLASK_ENV", "unset")),
    "live and paper": (LIVE, {"ALPACA_PAPER": "True"}, ("ALPACA_PAPER=False", "disagree")),
    "real money in paper mode": (GOOD, {"ALPACA_PAPER": "False"}, ("TRADING_MODE=live",)),
    "live, not confirmed": (LIVE, {"LIVE_CONFIRMATION": ""}, ("LIVE_CONFIRMATION", "real money on")),
    "live, confirmed by yes": (LIVE, {"LIVE_CONFIRMATION": "yes"}, ("LIVE_CONFIRMATION",)),
    "live, another account confirmed": (LIVE, {"LIVE_CONFIRMATION": "real money on PA78"}, ("LIVE_CONFIRMATION",)),
    "live, no account": (LIVE, {"ALPACA_ACCOUNT_ID": ""}, ("ALPACA_ACCOUNT_ID",)),
    "live at the paper address": (LIVE, {"ALPACA_TRADING_URL": "https://paper-api.alpaca.markets"}, ("ALPACA_TRADING_URL",)),
    "paper at the live address": (GOOD, {"ALPACA_TRADING_URL": "https://api.alpaca.markets"}, ("ALPACA_TRADING_URL",)),
    "live with made-up forecasts": (LIVE, {"FORECASTS_FILE": "drill.json"}, ("FORECASTS_FILE", "unset")),
    "live with a failpoint": (LIVE, {"CRASH_AT": "after_post"}, ("CRASH_AT", "unset")),
    "no keys": (GOOD, {"ALPACA_API_KEY": ""}, ("ALPACA_API_KEY", "not set")),
    "no secret to the key": (GOOD, {"ALPACA_API_SECRET": ""}, ("ALPACA_API_SECRET", "not set")),
    "keys as clear text": (GOOD, {"ALPACA_TRADING_URL": "http://venue.example"}, ("ALPACA_TRADING_URL", "https://")),
    "keys as clear text, streamed": (GOOD, {"ALPACA_DATA_STREAM_URL": "ws://venue.example/x"}, ("ALPACA_DATA_STREAM_URL", "wss://")),
    "everybody is a proxy": (OPEN, {"TRUSTED_PROXIES": "0.0.0.0/0"}, ("TRUSTED_PROXIES", "everybody")),
    "no proxy at all": (OPEN, {"TRUSTED_PROXIES": "nginx"}, ("TRUSTED_PROXIES", "not an address")),
}  # fmt: skip
ENTRIES: dict[str, tuple[str, ...]] = {
    "api": ("-m", "gunicorn", "-c", str(ROOT / "gunicorn_config.py"), "app.wsgi:app"),
    "worker": ("-m", "celery", "-A", "app.worker", "worker", "-Q", "trading", "-c", "1"),
    "beat": ("-m", "celery", "-A", "app.worker", "beat"),
    "stream": ("-m", "app.stream"),
    "guard": ("-m", "app.guard"),
    "watchdog": ("-m", "app.watchdog"),
    "cli": ("-m", "app.cli", "user", "list"),
    "up": ("-m", "app.cli", "up", "--cycles", "1"),
}


@pytest.fixture
def refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """What is said with these settings in the environment, None if nothing is wrong."""

    def said(environment: dict[str, str]) -> str | None:
        monkeypatch.chdir(tmp_path)
        for name in {*LIVE, *(name for _, wrong, _ in CASES.values() for name in wrong)}:
            monkeypatch.delenv(name, raising=False)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        settings.cache_clear()
        try:
            settings()
        except ConfigurationError as fault:
            return fault.message
        finally:
            settings.cache_clear()
        return None

    return said


@pytest.mark.parametrize("name", CASES)
def test_refused_with_its_mend_and_without_its_value(refused: Any, name: str) -> None:
    right, wrong, words = CASES[name]
    message = refused({**right, **wrong})
    assert message is not None
    assert all(word in message for word in words), message
    for setting, value in {**right, **wrong}.items():
        if len(value) > 9 and any(part in setting for part in ("KEY", "PASSWORD", "SECRET")):
            assert value not in message
    assert "9f31c7a2e8d04b65" not in message


@pytest.mark.parametrize(
    "right", [{}, GOOD, LIVE, OPEN, {"REDIS_URL": "redis://127.0.0.1:6379/0"}, {"GUNICORN_BIND": "unix:x"}]
)
def test_what_is_right_is_not_refused(refused: Any, right: dict[str, str]) -> None:
    """Or all of the above would prove nothing."""
    assert refused(right) is None


def test_all_faults_are_told_at_once(refused: Any) -> None:
    wrong = LIVE | {
        "SECRET_KEY": "secret", "ADMIN_PASSWORD": "admin", "LIVE_CONFIRMATION": "", "REDIS_URL": "redis://queue/0",
        "FLASK_DEBUG": "1", "RISK_MAX_POSITIONS": "many", "ALPACA_TRADING_URL": "https://paper-api.alpaca.markets",
    }  # fmt: skip
    message = refused(wrong)
    for name in ("SECRET_KEY", "ADMIN_PASSWORD", "LIVE_CONFIRMATION", "REDIS_URL", "FLASK_DEBUG", "RISK_MAX_POSITIONS",
                 "ALPACA_TRADING_URL"):  # fmt: skip
        assert len([line for line in message.splitlines() if name in line.split(";")[0]]) == 1, (name, message)


@pytest.mark.parametrize("file", [".env", "database/ledger.db", "database/ledger.db-wal", "secrets/secret_key"])
@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o620])
def test_files_that_others_may_read_are_refused(refused: Any, tmp_path: Path, file: str, mode: int) -> None:
    path = tmp_path / file
    path.parent.mkdir(exist_ok=True)
    path.touch()
    path.chmod(mode)
    own = GOOD | {"DATABASE_URL": "sqlite:///database/ledger.db", "SECRETS_DIR": "secrets"}
    message = refused(own)
    assert message is not None and f"chmod 600 {file}" in message
    path.chmod(0o600)
    assert refused(own) is None
    path.chmod(mode)
    assert refused({"SECRETS_DIR": "secrets", "DATABASE_URL": own["DATABASE_URL"]}) is None, "simulated, on this machine alone"


@pytest.mark.processes
@pytest.mark.parametrize("entry", ENTRIES if os.environ.get("SECURITY") == "long" else ("api", "worker", "guard", "cli"))
def test_no_entry_point_starts(tmp_path: Path, entry: str) -> None:
    clean = {name: value for name, value in os.environ.items() if name not in LIVE}
    wrong = {"API_HOST": "0.0.0.0", "FLASK_DEBUG": "1", "ADMIN_PASSWORD": "hidden-pass"}
    before = _cpu_seconds()
    ended = subprocess.run(
        (sys.executable, *ENTRIES[entry]),
        cwd=tmp_path,
        env=clean | wrong | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert _cpu_seconds() - before < 5
    assert ended.returncode not in {0, None}
    said = ended.stderr + ended.stdout
    for name in ("SECRET_KEY", "ADMIN_PASSWORD", "FLASK_DEBUG"):
        assert name in said
    assert "Traceback" not in said and "hidden-pass" not in said
    assert not list(tmp_path.rglob("*.db")), "nothing was begun"


@pytest.mark.processes
@pytest.mark.skipif(os.environ.get("SECURITY") != "long", reason="starts the whole API; make test-security runs it")
def test_the_api_does_not_start_over_an_account_with_a_weak_password(tmp_path: Path) -> None:
    clean = {name: value for name, value in os.environ.items() if name not in LIVE} | {"PYTHONPATH": str(ROOT)}
    command = (sys.executable, "-m", "app.cli", "user", "passwd", "admin", "--password-stdin")
    subprocess.run(command, cwd=tmp_path, env=clean, input=b"password2", timeout=120, check=True)
    exposed = clean | OPEN | {"API_PORT": "50999", "DATABASE_URL": "sqlite:///database/alpha_trader.db"}
    ended = subprocess.run(
        (sys.executable, *ENTRIES["api"]), cwd=tmp_path, env=exposed, capture_output=True, text=True, timeout=120, check=False
    )
    assert ended.returncode == 3
    assert "trader user passwd admin" in ended.stderr and "Traceback" not in ended.stderr and "password2" not in ended.stderr


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime

"""`trader user`: the way in for whoever may run commands on the machine."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pyotp
import pytest
from typer.testing import CliRunner

from app.commands import console
from app.commands.user import user
from app.config import settings
from app.domain.errors import AlphaTraderError, Conflict, InvalidInput, NotFound
from app.services.accounts import accounts as accounts_module


@pytest.fixture
def trader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs a sub-command on an installation of its own; what it printed, or the error it raised."""
    monkeypatch.chdir(tmp_path)
    for name in ("DATABASE_URL", "STATE_DIR", "TRADING_MODE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(console.out, "_width", 300)
    settings.cache_clear()

    def run(*words: str, typed: str | None = None) -> str:
        result = CliRunner().invoke(user, words, input=typed)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result.output

    yield run
    settings.cache_clear()


def test_a_person_from_the_first_day_to_the_last(trader: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert re.search(r"admin +admin +enabled +no +of the settings", trader("list"))
    assert "added anna, operator" in trader(
        "add", "anna", "--role", "operator", "--password-stdin", typed="seven green otters\n"
    )
    with pytest.raises(Conflict):
        trader("add", "anna", "--generate")
    text = trader("tokens", "add", "anna", "board", "--scope", "read", "--scope", "run", "--days", "3")
    token = re.search(r"at_([0-9a-f]{12})_[A-Za-z0-9_-]{43}", text)
    assert token is not None
    assert "read run" in trader("tokens", "list", "anna") and token[0] not in trader("tokens", "list", "anna")
    trader("tokens", "revoke", "anna", token[1])
    with pytest.raises(InvalidInput, match="halt, read, run"):
        trader("tokens", "add", "anna", "board", "--scope", "resume")
    trader("role", "anna", "admin")
    trader("disable", "admin")
    with pytest.raises(Conflict, match="last enabled admin"):
        trader("disable", "anna")
    trader("enable", "admin")
    assert "changed" in trader("passwd", "anna", "--password-stdin", typed="six red otters\n")
    shown = trader("passwd", "anna", "--generate")
    assert len(shown.split("shown this once:")[1].split()[0]) == 20
    assert "0 sessions" in trader("sessions", "end", "anna")
    assert trader("sessions", "list", "anna") == ""
    listed = trader("list")
    assert re.search(r"anna +admin +enabled +no +own", listed)


def test_an_authenticator_is_enrolled_with_its_code(trader: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    begin = accounts_module.Accounts.begin_totp
    made: list[str] = []

    def begun(*words: Any, **more: Any) -> tuple[str, str]:
        secret, uri = begin(*words, **more)
        made.append(secret)
        return secret, uri

    monkeypatch.setattr(accounts_module.Accounts, "begin_totp", begun)
    monkeypatch.setattr("typer.prompt", lambda *_, **__: pyotp.TOTP(made[-1]).now())
    assert "asked for from now on" in trader("totp", "admin")
    assert re.search(r"admin +admin +enabled +yes", trader("list"))
    assert "password alone" in trader("totp", "admin", "--off")
    assert re.search(r"admin +admin +enabled +no", trader("list"))


@pytest.mark.parametrize(
    "words",
    [("passwd", "nobody", "--generate"), ("role", "nobody", "admin"), ("totp", "nobody"), ("sessions", "list", "nobody")],
)
def test_who_is_not_there_is_told(trader: Any, words: tuple[str, ...]) -> None:
    with pytest.raises(NotFound, match="trader user list"):
        trader(*words)


def test_a_password_is_never_asked_for_where_nobody_can_answer(trader: Any) -> None:
    with pytest.raises(AlphaTraderError, match="--password-stdin or --generate"):
        trader("add", "anna")


def test_the_accounts_are_those_of_the_saved_run(trader: Any, tmp_path: Path) -> None:
    (tmp_path / "database" / "simulated").mkdir(parents=True)
    trader("list")
    assert [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.db")] == ["database/simulated/alpha_trader.db"]

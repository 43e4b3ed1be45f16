"""Accounts for tests."""

from __future__ import annotations

from typing import Any

from app.config import Settings, TradingMode
from app.domain.account import Proof, Role, Scope, User
from app.domain.errors import Busy, Unauthorized
from app.services.accounts.accounts import Accounts
from app.services.accounts.building import make_accounts
from app.services.accounts.logins import Pair
from app.services.accounts.passwords import Passwords
from app.services.database_service import DatabaseService
from tests.databases import HandClock

PASSWORD = "seven green otters"
SETTINGS = Settings(_env_file=None)
REAL = SETTINGS.model_copy(update={"trading_mode": TradingMode.LIVE})


def accounts_of(ledger: DatabaseService, clock: HandClock, settings: Settings = SETTINGS) -> Accounts:
    """Accounts on this ledger, as another process would have them; with a cheap hash."""
    return make_accounts(settings, ledger, clock, Passwords(rounds=1, memory_kib=8))


def enter(
    accounts: Accounts, user: str = "anna", password: str = PASSWORD, code: str | None = None, address: str = "10.0.0.1"
) -> Pair:
    """A login."""
    return accounts.logins.login(user, password, code, address=address, agent="test")


def wrong(accounts: Accounts, user: str, address: str) -> str:
    """What is said to a wrong password."""
    try:
        enter(accounts, user, "no", address=address)
    except (Unauthorized, Busy) as fault:
        return fault.code
    raise AssertionError("a wrong password was right")


def person(accounts: Accounts, role: Role, name: str | None = None) -> User:
    """An account of this role, made once."""
    username = name or f"a-{role.value}"
    return accounts.database.user(username) or accounts.add(username, PASSWORD, role, actor="test")


def logged_in(accounts: Accounts, user: User, by: Proof = Proof.PASSWORD) -> dict[str, str]:
    """The header of a new session of it."""
    pair = accounts.logins.begin(user, by, address="127.0.0.1", agent="test")
    return {"Authorization": f"Bearer {pair.access_token}"}


def script(accounts: Accounts, user: User, *scopes: str) -> dict[str, str]:
    """The header of a new token of it."""
    _, text = accounts.add_token(user, name="test", scopes=frozenset(map(Scope, scopes)), days=1, actor="test")
    return {"Authorization": f"Bearer {text}"}


def login(client: Any, username: str, password: str = PASSWORD, **more: Any) -> Any:
    return client.post("/api/auth/login", json={"username": username, "password": password, **more})

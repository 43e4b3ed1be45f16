"""What a login and a check cost, measured; only in the long form (P06 and the price of revocation)."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable

import pytest

from app.domain.account import Role
from app.domain.errors import Unauthorized
from app.services.accounts.accounts import Accounts
from app.services.accounts.passwords import Passwords
from app.services.database_service import DatabaseService
from tests.databases import HandClock

from .people import accounts_of, enter, person

LOGINS = int(os.environ.get("LOGINS", "0"))
pytestmark = pytest.mark.skipif(not LOGINS, reason="measures time; make test-security runs it")


def _cpu(work: Callable[[], object]) -> float:
    before = time.thread_time()
    work()
    return time.thread_time() - before


def test_an_unknown_name_takes_as_long_as_a_wrong_password(ledger: DatabaseService, hand_clock: HandClock) -> None:
    accounts = accounts_of(ledger, hand_clock)
    full = Accounts(
        database=ledger,
        clock=hand_clock,
        passwords=Passwords(),
        gate=accounts.gate,
        logins=type(accounts.logins)(
            **{name: getattr(accounts.logins, name) for name in accounts.logins.__slots__} | {"passwords": Passwords()}
        ),
        local=True,
    )
    person(full, Role.VIEWER, "anna")
    taken: dict[str, list[float]] = {"anna": [], "nobody": []}

    def attempt(name: str) -> None:
        with pytest.raises(Unauthorized):
            enter(full, name, "no")

    attempt("nobody")  # makes the hash that stands for nobody's
    for _ in range(LOGINS):
        hand_clock.forward(901)
        for name, seconds in taken.items():
            seconds.append(_cpu(lambda name=name: attempt(name)))
    known, unknown = (statistics.median(seconds) for seconds in taken.values())
    print(f"\nCPU of a refused login, median of {LOGINS}: known {known * 1e3:.1f} ms, unknown {unknown * 1e3:.1f} ms")
    assert abs(known / unknown - 1) < 0.10


def test_what_checking_a_token_costs(accounts: Accounts, hand_clock: HandClock) -> None:
    person(accounts, Role.VIEWER, "anna")
    token = enter(accounts).access_token
    accounts.gate.caller(token)
    remembered = [_cpu(lambda: accounts.gate.caller(token)) for _ in range(2000)]
    asked = [_cpu(lambda: accounts.gate.caller(token, fresh=True)) for _ in range(500)]
    signature = [_cpu(lambda: accounts.logins.signer.read("access", token, hand_clock.now())) for _ in range(2000)]
    told = [f"{statistics.median(one) * 1e6:.0f} us" for one in (remembered, signature, asked)]
    print(f"\nCPU of a check, median: remembered {told[0]}, signature alone {told[1]}, with the database {told[2]}")
    assert statistics.median(remembered) < 1e-3

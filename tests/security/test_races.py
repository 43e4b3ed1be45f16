"""What must hold between processes, on both databases."""

from __future__ import annotations

import threading

import pytest

from app.domain.account import Role
from app.domain.errors import Unauthorized
from app.services.accounts.accounts import Accounts
from app.services.accounts.login_limits import TRIES_OF_STRANGERS

from .people import enter, person, wrong


def test_a_refresh_token_is_good_once_and_its_second_use_ends_the_session(accounts: Accounts) -> None:
    person(accounts, Role.VIEWER, "anna")
    first = enter(accounts)
    second = accounts.logins.refresh(first.refresh_token)
    assert accounts.gate.caller(second.access_token).username == "anna"
    other = enter(accounts)
    with pytest.raises(Unauthorized):
        accounts.logins.refresh(first.refresh_token)
    for pair in (first, second):
        with pytest.raises(Unauthorized):
            accounts.gate.caller(pair.access_token)
        with pytest.raises(Unauthorized):
            accounts.logins.refresh(pair.refresh_token)
    assert accounts.gate.caller(other.access_token).username == "anna", "other logins are not concerned"


def test_two_who_refresh_at_once_do_not_both_get_on(accounts: Accounts) -> None:
    person(accounts, Role.VIEWER, "anna")
    pair = enter(accounts)
    outcomes: list[str] = []

    def refresh() -> None:
        try:
            accounts.logins.refresh(pair.refresh_token)
            outcomes.append("on")
        except Unauthorized:
            outcomes.append("out")

    both = [threading.Thread(target=refresh) for _ in range(4)]
    for one in both:
        one.start()
    for one in both:
        one.join()
    assert sorted(outcomes) == ["on", "out", "out", "out"]


def test_many_at_once_get_no_more_tries(accounts: Accounts) -> None:
    person(accounts, Role.VIEWER, "anna")
    outcomes: list[str] = []
    crowd = [threading.Thread(target=lambda: outcomes.append(wrong(accounts, "anna", "10.0.0.3"))) for _ in range(16)]
    for one in crowd:
        one.start()
    for one in crowd:
        one.join()
    assert outcomes.count("wrong_credentials") == TRIES_OF_STRANGERS

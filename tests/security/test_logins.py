"""Sessions, tokens, limits, codes, with a clock moved by hand. What must hold between processes: test_races.py."""

from __future__ import annotations

import base64
import os
import random
from collections import Counter
from datetime import timedelta
from typing import Any

import pyotp
import pytest

from app.config import Settings
from app.domain.account import Proof, Role, Scope, User
from app.domain.errors import (
    AlphaTraderError,
    Busy,
    ConfigurationError,
    Conflict,
    Forbidden,
    InvalidInput,
    NotFound,
    Unauthorized,
)
from app.services.accounts import totp
from app.services.accounts.accounts import Accounts
from app.services.accounts.gate import BELIEVED_FOR
from app.services.accounts.login_limits import TRIES_OF_ADDRESS, TRIES_OF_STRANGERS, WINDOW
from app.services.accounts.passwords import Passwords
from app.services.database_service import DatabaseService
from tests.databases import HandClock

from .people import PASSWORD, REAL, SETTINGS, accounts_of, enter, person, wrong

GUESSES = int(os.environ.get("GUESSES", "200"))


def code_of(accounts: Accounts, user: User, clock: HandClock) -> str:
    found = accounts.named(user.username)
    return pyotp.TOTP(totp.secret(SETTINGS.secret_key.get_secret_value(), found.user_id, str(found.totp_nonce))).at(clock.now())


@pytest.mark.parametrize("way", ["logout", "password", "disable", "everywhere", "time"])
def test_what_ends_a_session_ends_its_tokens_in_every_process(
    ledger: DatabaseService, hand_clock: HandClock, accounts: Accounts, way: str
) -> None:
    user = person(accounts, Role.VIEWER, "anna")
    elsewhere = accounts_of(ledger, hand_clock)
    pair = enter(accounts)
    caller = accounts.gate.caller(pair.access_token)
    assert elsewhere.gate.caller(pair.access_token) == caller
    {
        "logout": lambda: accounts.logins.logout(caller),
        "password": lambda: accounts.set_password(user, PASSWORD + "!", actor="test"),
        "disable": lambda: accounts.disable(user, actor="test"),
        "everywhere": lambda: accounts.logins.end(user, actor="test", why="test"),
        "time": lambda: hand_clock.forward(SETTINGS.access_token_seconds),
    }[way]()
    with pytest.raises(Unauthorized):
        accounts.gate.caller(pair.access_token)
    hand_clock.forward(BELIEVED_FOR.total_seconds())
    with pytest.raises(Unauthorized):
        elsewhere.gate.caller(pair.access_token)
    if way != "time":
        with pytest.raises(Unauthorized):
            elsewhere.logins.refresh(pair.refresh_token)


def test_a_change_of_the_own_password_keeps_the_session_it_came_with(accounts: Accounts) -> None:
    person(accounts, Role.VIEWER, "anna")
    mine, other = enter(accounts), enter(accounts)
    accounts.change_own_password(accounts.gate.caller(mine.access_token), "seven red otters")
    assert accounts.gate.caller(mine.access_token).username == "anna"
    with pytest.raises(Unauthorized):
        accounts.gate.caller(other.access_token)
    with pytest.raises(Unauthorized):
        enter(accounts)
    assert enter(accounts, password="seven red otters")


def test_a_role_counts_from_the_next_request_on(accounts: Accounts) -> None:
    user = person(accounts, Role.ADMIN, "anna")
    pair = enter(accounts)
    _, text = accounts.add_token(user, name="x", scopes=frozenset({Scope.READ, Scope.RUN}), days=1, actor="test")
    accounts.set_role(user, Role.VIEWER, actor="test")
    assert accounts.gate.caller(pair.access_token).scopes == {Scope.READ}
    assert accounts.gate.caller(text).scopes == {Scope.READ}


@pytest.mark.parametrize("user", ["anna", "nobody"])
def test_strangers_get_ten_tries_together_and_lock_nobody_out(accounts: Accounts, hand_clock: HandClock, user: str) -> None:
    person(accounts, Role.VIEWER, "anna")
    enter(accounts, address="10.9.9.9")
    outcomes = [wrong(accounts, user, f"10.0.{n}.1") for n in range(15)]
    assert outcomes == ["wrong_credentials"] * TRIES_OF_STRANGERS + ["too_many_logins"] * 5
    if user == "anna":
        with pytest.raises(Busy) as told:
            enter(accounts, address="10.7.7.7")  # the right password from a place that is new does not tell
        assert told.value.details["retry_after_seconds"] == WINDOW.total_seconds()
        assert [m.message for m in accounts.database.outbox_pending() if "anna" in m.message], "people get to know"
    assert enter(accounts, address="10.9.9.9").user.username == "anna"
    hand_clock.forward(WINDOW.total_seconds())
    assert enter(accounts, address="10.7.7.7")


def test_guesses_of_many_from_many_stay_few(accounts: Accounts) -> None:
    """P05: in one window at most ten tries at an account and thirty from an address pass, and the owner still gets in."""
    person(accounts, Role.VIEWER, "anna")
    enter(accounts, address="10.9.9.9")
    dice = random.Random(GUESSES)
    passed: Counter[str] = Counter()
    for _ in range(GUESSES):
        name, place = dice.choice(["anna", "anna", "admin", f"user{dice.randrange(50)}"]), f"10.0.{dice.randrange(60)}.1"
        if wrong(accounts, name, place) == "wrong_credentials":
            passed.update([name, place])
    assert passed["anna"] == passed["admin"] == TRIES_OF_STRANGERS
    assert max(passed.values()) <= TRIES_OF_ADDRESS
    assert enter(accounts, address="10.9.9.9")


def test_unknown_names_block_no_known_account(accounts: Accounts) -> None:
    person(accounts, Role.VIEWER, "anna")
    for n in range(20):
        wrong(accounts, f"nobody{n}", f"10.1.{n}.1")
    assert enter(accounts, address="10.7.7.7")


def test_an_address_gets_thirty_tries_whatever_the_names(accounts: Accounts) -> None:
    outcomes = [wrong(accounts, f"user{n}", "2001:db8::" + format(n, "x")) for n in range(TRIES_OF_ADDRESS + 3)]
    assert outcomes.count("wrong_credentials") == TRIES_OF_ADDRESS, "a /64 is one address"
    assert outcomes[-3:] == ["too_many_logins"] * 3


def test_logins_that_succeed_do_not_count(accounts: Accounts) -> None:
    person(accounts, Role.VIEWER, "anna")
    for _ in range(TRIES_OF_ADDRESS + 5):
        enter(accounts)


def test_the_same_work_is_done_for_whoever_is_not_there(accounts: Accounts, monkeypatch: pytest.MonkeyPatch) -> None:
    user = person(accounts, Role.VIEWER, "anna")
    accounts.disable(person(accounts, Role.VIEWER, "gone"), actor="test")
    seen: list[bool] = []
    fits = Passwords.fits
    monkeypatch.setattr(Passwords, "fits", lambda self, stored, given: seen.append(stored is None) or fits(self, stored, given))
    words = set()
    for name in (user.username, "nobody", "gone"):
        with pytest.raises(Unauthorized) as told:
            enter(accounts, name, PASSWORD if name == "gone" else "no")
        words.add((told.value.message, told.value.code, str(told.value.details)))
    assert seen == [False, True, False] and len(words) == 1


def test_codes_are_those_of_the_standard() -> None:
    """RFC 6238, appendix B, SHA-1; the last six of its eight digits."""
    secret = base64.b32encode(b"12345678901234567890").decode()
    golden = {59: "287082", 1111111109: "081804", 1111111111: "050471", 1234567890: "005924", 2000000000: "279037"}
    assert {at: pyotp.TOTP(secret).at(at) for at in golden} == golden


def test_a_code_counts_once_and_only_around_its_time(accounts: Accounts, hand_clock: HandClock) -> None:
    user = person(accounts, Role.ADMIN, "anna")
    secret, uri = accounts.begin_totp(user, actor="test")
    assert uri.startswith("otpauth://totp/") and secret in uri
    assert enter(accounts), "not asked for before it is confirmed"
    with pytest.raises(InvalidInput):
        accounts.confirm_totp(accounts.named("anna"), "000000", actor="test")
    accounts.confirm_totp(accounts.named("anna"), pyotp.TOTP(secret).at(hand_clock.now()), actor="test")
    with pytest.raises(Unauthorized, match="used before"):
        enter(accounts, code=pyotp.TOTP(secret).at(hand_clock.now()))
    with pytest.raises(Unauthorized) as told:
        enter(accounts)
    assert told.value.code == "code_needed"
    with pytest.raises(Unauthorized) as told:
        enter(accounts, password="no")
    assert told.value.code == "wrong_credentials", "whether there is a second factor is told to who has the first"
    hand_clock.forward(30)
    code = code_of(accounts, user, hand_clock)
    assert enter(accounts, code=code)
    with pytest.raises(Unauthorized):
        enter(accounts, code=code)
    hand_clock.forward(90)
    for seconds, fits in ((-60, False), (60, False), (-30, True), (30, True)):
        there = HandClock(hand_clock.now() + timedelta(seconds=seconds))
        given = code_of(accounts, user, there)
        assert (totp.step_of(given, accounts.logins.signer.keys, accounts.named("anna"), hand_clock.now()) is not None) is fits


def test_codes_and_tokens_outlive_a_change_of_the_key_while_the_old_one_is_named(
    ledger: DatabaseService, hand_clock: HandClock, accounts: Accounts
) -> None:
    user = person(accounts, Role.ADMIN, "anna")
    secret, _ = accounts.begin_totp(user, actor="test")
    accounts.confirm_totp(accounts.named("anna"), pyotp.TOTP(secret).at(hand_clock.now()), actor="test")
    hand_clock.forward(30)
    pair = enter(accounts, code=pyotp.TOTP(secret).at(hand_clock.now()))
    hand_clock.forward(30)
    key = "7b1f0c92e4a85d36b0e97a14c853f26d"
    both = Settings(_env_file=None, secret_key=key, secret_key_previous=SETTINGS.secret_key)
    overlapping = accounts_of(ledger, hand_clock, both)
    after = accounts_of(ledger, hand_clock, Settings(_env_file=None, secret_key=key))
    assert overlapping.gate.caller(pair.access_token).username == "anna"
    assert enter(overlapping, code=pyotp.TOTP(secret).at(hand_clock.now()))
    with pytest.raises(Unauthorized):
        after.gate.caller(pair.access_token)


@pytest.mark.parametrize("real", [False, True])
def test_a_proof_counts_for_five_minutes_and_with_real_money_is_a_code(
    ledger: DatabaseService, hand_clock: HandClock, accounts: Accounts, real: bool
) -> None:
    held = accounts_of(ledger, hand_clock, REAL if real else SETTINGS)
    user = person(accounts, Role.ADMIN, "anna")

    def verdict(pair: Any, *, risk: bool) -> str:
        try:
            held.logins.demand_proof(held.gate.caller(pair.access_token, fresh=True), risk=risk)
        except Forbidden as fault:
            return fault.code
        return "granted"

    pair = enter(held)
    assert verdict(pair, risk=False) == "granted"
    assert verdict(pair, risk=True) == ("totp_needed" if real else "granted")
    hand_clock.forward(301)
    assert verdict(pair, risk=False) == "step_up_needed"
    caller = held.gate.caller(pair.access_token)
    with pytest.raises(Unauthorized):
        held.logins.prove(caller, password="no", code=None, address="10.0.0.1")
    assert verdict(pair, risk=False) == "step_up_needed"
    held.logins.prove(caller, password=PASSWORD, code=None, address="10.0.0.1")
    assert verdict(pair, risk=False) == "granted"

    secret, _ = held.begin_totp(user, actor="test")
    held.confirm_totp(held.named("anna"), pyotp.TOTP(secret).at(hand_clock.now()), actor="test")
    assert verdict(pair, risk=True) == "totp_needed", "the password is no proof any more"
    hand_clock.forward(30)
    with pytest.raises(Unauthorized):
        held.logins.prove(caller, password=PASSWORD, code=None, address="10.0.0.1")
    caller = held.gate.caller(pair.access_token, fresh=True)
    held.logins.prove(caller, password=None, code=pyotp.TOTP(secret).at(hand_clock.now()), address="10.0.0.1")
    assert verdict(pair, risk=True) == "granted"
    assert held.gate.caller(pair.access_token, fresh=True).proved_by is Proof.TOTP


def test_a_scripts_token_ends_by_time_by_hand_and_with_its_owner(accounts: Accounts, hand_clock: HandClock) -> None:
    user = person(accounts, Role.OPERATOR, "anna")

    def made() -> tuple[str, str]:
        token, text = accounts.add_token(user, name="x", scopes=frozenset({Scope.READ}), days=1, actor="test")
        return token.token_id, text

    (_, timed), (number, revoked), (_, owned) = made(), made(), made()
    assert accounts.gate.caller(timed).actor.startswith("anna (token ")
    (row, *_) = [one for one in accounts.database.api_tokens(user) if one.used_at is not None]
    assert row.used_at == hand_clock.now() and row.digest not in timed
    accounts.revoke_token(user, number, actor="test")
    with pytest.raises(NotFound):
        accounts.revoke_token(accounts.named("admin"), number, actor="test")
    accounts.gate.caller(owned)
    accounts.disable(user, actor="test")
    for text in (revoked, owned, revoked[:-1] + ("A" if revoked[-1] != "A" else "B")):
        with pytest.raises(Unauthorized):
            accounts.gate.caller(text)
    accounts.enable(user, actor="test")
    assert accounts.gate.caller(timed)
    hand_clock.forward(86_400)
    with pytest.raises(Unauthorized):
        accounts.gate.caller(timed)
    for scopes in ({Scope.RESUME}, set(), {Scope.READ, Scope.RESUME}):
        with pytest.raises(InvalidInput):
            accounts.add_token(user, name="x", scopes=frozenset(scopes), days=1, actor="test")


def test_the_last_admin_stays(accounts: Accounts) -> None:
    admin = accounts.named("admin")
    other = person(accounts, Role.OPERATOR, "anna")
    for change in (lambda: accounts.disable(admin, actor="x"), lambda: accounts.set_role(admin, Role.VIEWER, actor="x")):
        with pytest.raises(Conflict, match="last enabled admin"):
            change()
    accounts.set_role(other, Role.ADMIN, actor="x")
    accounts.disable(admin, actor="x")
    with pytest.raises(Conflict):
        accounts.disable(other, actor="x")


def test_the_account_of_the_settings_follows_them_until_a_person_changes_it(accounts: Accounts) -> None:
    accounts.seed("admin", "another one for now")
    assert enter(accounts, "admin", "another one for now")
    accounts.set_password(accounts.named("admin"), PASSWORD, actor="test")
    accounts.seed("admin", "password")
    assert enter(accounts, "admin")
    assert [one.username for one in accounts.database.users()] == ["admin"]


def test_weak_passwords_are_for_this_machine_alone(ledger: DatabaseService, hand_clock: HandClock, accounts: Accounts) -> None:
    exposed = accounts_of(ledger, hand_clock, REAL)
    with pytest.raises(ConfigurationError, match="trader user passwd admin"):
        exposed.demand_strength()
    for weak in ("password", "short", "passwordpassword", "admin1234567", "x" * 257):
        with pytest.raises(InvalidInput):
            exposed.set_password(exposed.named("admin"), weak, actor="test")
    exposed.set_password(exposed.named("admin"), PASSWORD, actor="test")
    exposed.demand_strength()


@pytest.mark.parametrize("password", ["pä ss", " leading", "trailing ", "e\u0301", "\u00e9", "nul\0nul", "0" * 256])
def test_a_password_is_compared_exactly_as_set(accounts: Accounts, password: str) -> None:
    accounts.set_password(person(accounts, Role.VIEWER, "anna"), password, actor="test")
    assert enter(accounts, password=password)
    for other in (password.strip(), password + "\0", password.replace("\u00e9", "e\u0301"), password[:-1] or "x"):
        if other != password:
            with pytest.raises(Unauthorized):
                enter(accounts, password=other)


def test_the_kill_switch_is_open_to_a_signature_when_the_database_is_silent(
    accounts: Accounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = person(accounts, Role.OPERATOR, "anna")
    pair, over = enter(accounts), enter(accounts)
    _, text = accounts.add_token(user, name="x", scopes=frozenset({Scope.HALT}), days=1, actor="test")
    accounts.logins.logout(accounts.gate.caller(over.access_token))
    with pytest.raises(Unauthorized):
        accounts.gate.caller_in_need(over.access_token)
    assert accounts.gate.caller_in_need(pair.access_token).scopes == Role.OPERATOR.scopes
    accounts.gate.forget()

    def silent(*_: object) -> None:
        raise AlphaTraderError("the database does not answer", code="database_unavailable")

    monkeypatch.setattr(DatabaseService, "session", silent)
    monkeypatch.setattr(DatabaseService, "api_token", silent)
    assert accounts.gate.caller_in_need(pair.access_token).username == "anna"
    for carried in (text, "x", pair.refresh_token):
        with pytest.raises(Unauthorized):
            accounts.gate.caller_in_need(carried)
    with pytest.raises(AlphaTraderError, match="does not answer"):
        accounts.gate.caller(pair.access_token)


def test_every_change_is_in_the_audit_log_and_no_secret_is(accounts: Accounts, hand_clock: HandClock) -> None:
    user = person(accounts, Role.ADMIN, "anna")
    pair = enter(accounts)
    token, text = accounts.add_token(user, name="x", scopes=frozenset({Scope.READ}), days=1, actor="anna")
    secret, _ = accounts.begin_totp(user, actor="anna")
    accounts.confirm_totp(accounts.named("anna"), pyotp.TOTP(secret).at(hand_clock.now()), actor="anna")
    accounts.remove_totp(accounts.named("anna"), actor="anna")
    accounts.set_password(user, PASSWORD + "?", actor="anna")
    accounts.set_role(user, Role.VIEWER, actor="admin")
    accounts.revoke_token(user, token.token_id, actor="anna")
    accounts.disable(user, actor="admin")
    accounts.enable(user, actor="admin")
    _, head, broken = accounts.database.check_audit()
    events = accounts.database.audit_events(range(1, head.seq + 1))
    told = [event.payload["action"] for event in sorted(events, key=lambda one: one.seq) if event.kind == "account"]
    assert broken is None
    assert [word for word in told if word != "sessions_ended"] == [
        "added", "added", "logged_in", "token_added", "totp_begun", "totp_confirmed", "totp_removed", "password_changed",
        "role_changed", "token_revoked", "disabled", "enabled",
    ]  # fmt: skip
    everything = str([event.payload for event in events])
    for hidden in (PASSWORD, text, token.digest, secret, pair.refresh_token, "argon2"):
        assert hidden not in everything

"""Which passwords and keys are too easy to guess, and how they are stored."""

from __future__ import annotations

import secrets

import pytest
from argon2 import extract_parameters
from hypothesis import given, settings
from hypothesis import strategies as st

from app.domain.password import guessable, password_fault, secret_fault
from app.services.accounts.passwords import Passwords

WEAK = [
    "passwordpassword", "password1234", "Password123!", "administrator", "admin1234567", "qwertyuiop123", "123456789012",
    "aaaaaaaaaaaa", "abababababab", "correcthorsebatterystaple", "changeme-changeme", "P@ssw0rd1234", "adminadmin2024",
    "alpha-trader-2026", "letmein12345", "iloveyou1234", "abcdefghijkl", "1qaz2wsx3edc", "Sommer2026!!", "1q2w3e4r5t6y",
    "trader-trader1", "welcome2welcome", "zyxwvutsrqpo", "not-the-default",
]  # fmt: skip
STRONG = ["four-Blue-kettles", "seven green otters", "tiny-Otter-93-lamp", "xK9#mQ2$vL7pw", "ein Klavier im Regen 8"]


@pytest.mark.parametrize("password", WEAK)
def test_weak_ones_are_told(password: str) -> None:
    assert password_fault(password)


@pytest.mark.parametrize("password", STRONG)
def test_others_are_not(password: str) -> None:
    assert password_fault(password) is None


def test_made_by_chance_they_are_good() -> None:
    bad = [one for one in (secrets.token_urlsafe(15) for _ in range(2000)) if password_fault(one)]
    bad += [one for one in (secrets.token_hex(32) for _ in range(500)) if secret_fault(one)]
    assert bad == []


@settings(max_examples=200, deadline=None)
@given(st.text(min_size=1, max_size=6), st.integers(3, 40))
def test_nothing_repeated_is_good(piece: str, times: int) -> None:
    assert guessable(piece * times) is not None


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=300))
def test_any_text_is_judged(text: str) -> None:
    assert password_fault(text) is None or text not in str(password_fault(text)) or len(text) < 30


def test_what_is_stored_is_slow_salted_and_of_one_password() -> None:
    passwords = Passwords()
    one, two = passwords.hash("four-Blue-kettles"), passwords.hash("four-Blue-kettles")
    assert one != two
    found = extract_parameters(one)
    assert (found.type.name, found.memory_cost, found.time_cost, found.parallelism) == ("ID", 65_536, 2, 1)
    assert passwords.fits(one, "four-Blue-kettles") and not passwords.fits(one, "four-blue-kettles")
    assert not passwords.fits(None, "no account has this password")
    assert not passwords.fits("", "") and not passwords.fits("not a hash", "x")

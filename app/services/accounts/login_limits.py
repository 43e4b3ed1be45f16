"""How often a login may be tried, so that nobody guesses a password and no stranger locks an owner out."""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from app.domain.account import User
from app.domain.errors import Busy
from app.domain.ports import Clock
from app.services.database_service import DatabaseService

WINDOW = timedelta(minutes=15)
TRIES_OF_PAIR = 10  # of an account from one address
TRIES_OF_STRANGERS = 10  # of an account from all addresses it was never logged in from
TRIES_OF_ADDRESS = 30
KNOWN_FOR = timedelta(days=30)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """A login that is being tried. limits: tries in a window, by key."""

    limits: Mapping[str, int]
    by_stranger: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginLimits:
    """Counts attempts in the database, for all processes together. Accounts are never locked: strangers use up the attempts
    of strangers, an address that has logged in to the account lately has its own."""

    database: DatabaseService
    clock: Clock

    def begin(self, username: str, user: User | None, address: str) -> Attempt:
        """Counts an attempt before the password is looked at. Busy: there were too many; the words are the same whether or not
        there is such an account."""
        network = _network(address)
        known = user is not None and self.database.knows_address(user, address, KNOWN_FOR)
        limits = {_key("pair", username, network): TRIES_OF_PAIR, _key("address", network): TRIES_OF_ADDRESS}
        if not known:
            limits[_key("strangers", username)] = TRIES_OF_STRANGERS
        # A flood of refused attempts writes nothing.
        until = self.database.login_refused_until(limits, WINDOW) or self.database.count_login(limits, WINDOW)
        if until is not None:
            raise Busy("too many logins were tried", code="too_many_logins", retry_after_seconds=self._seconds(until))
        return Attempt(limits=limits, by_stranger=not known)

    def succeeded(self, attempt: Attempt) -> None:
        """It does not count."""
        self.database.forgive_login(list(attempt.limits))

    def failed(self, attempt: Attempt, user: User | None, address: str) -> None:
        """The last attempt of strangers at an account is told to people, once in a window."""
        if user is None or self.database.login_refused_until(attempt.limits, WINDOW) is None:
            return
        who = "strangers" if attempt.by_stranger else "an address known to it"
        text = f"Account {user.username}: too many wrong passwords by {who}, the last from {address}; it is not locked."
        self.database.tell_login_limit(user, address, text)

    def _seconds(self, until: datetime) -> int:
        return max(1, round((until - self.clock.now()).total_seconds()))


def _network(address: str) -> str:
    """The address; of IPv6 its /64, as whoever has one has them all."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    return str(ipaddress.ip_network(f"{found}/64", strict=False)) if found.version == 6 else str(found)


def _key(*parts: str) -> str:
    """Not the name itself: people type passwords into the wrong field."""
    return hashlib.blake2b("\0".join(parts).encode("utf-8", "replace"), digest_size=16).hexdigest()

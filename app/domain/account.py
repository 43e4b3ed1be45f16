"""Who may do what: roles and the scopes they hold, accounts, their sessions and the tokens of their scripts."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Scope(StrEnum):
    """A kind of thing that a request does.

    read: look at anything but accounts. run: start cycles, trainings, searches and backtests. halt: stop taking risk.
    resume: take risk again, or more of it.
    """

    READ = "read"
    RUN = "run"
    HALT = "halt"
    RESUME = "resume"


class Role(StrEnum):
    """What an account is for; each role holds the scopes of those before it."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMIN = "admin"

    @property
    def scopes(self) -> frozenset[Scope]:
        """All that it may do."""
        return _HELD[self]


_HELD = {
    Role.VIEWER: frozenset({Scope.READ}),
    Role.OPERATOR: frozenset({Scope.READ, Scope.RUN, Scope.HALT}),
    Role.ADMIN: frozenset(Scope),
}
# A script cannot prove that a person is there, so no token takes on risk.
SCOPES_OF_SCRIPTS = frozenset({Scope.READ, Scope.RUN, Scope.HALT})


class Proof(StrEnum):
    """By what a person showed to be there."""

    PASSWORD = "password"  # noqa: S105 - a word
    TOTP = "totp"


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """An account. password_by_settings: it is the one of the settings until a person changes it. password_weak: it was taken
    where nobody else can reach the API, and nowhere else. totp_nonce: what the secret of its authenticator is derived from,
    None: it has none; totp_confirmed: a code of it has been seen. totp_step: the newest time step whose code was used."""

    user_id: str
    username: str
    password_hash: str
    password_by_settings: bool
    password_weak: bool
    role: Role
    created_at: datetime
    disabled_at: datetime | None
    totp_nonce: str | None
    totp_confirmed: bool
    totp_step: int

    @property
    def has_totp(self) -> bool:
        """Whether codes are asked for."""
        return self.totp_nonce is not None and self.totp_confirmed


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A login and all tokens that came of it. refresh_id: of the one refresh token that is still good. proved_at: when a
    person last showed to be there, and by what. ended_why: None while it stands."""

    session_id: str
    user_id: str
    created_at: datetime
    used_at: datetime
    expires_at: datetime
    address: str
    agent: str
    refresh_id: str
    proved_at: datetime
    proved_by: Proof
    ended_at: datetime | None
    ended_why: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiToken:
    """A script's credential; only the digest of its secret is kept."""

    token_id: str
    user_id: str
    name: str
    digest: str
    scopes: frozenset[Scope]
    created_at: datetime
    expires_at: datetime
    used_at: datetime | None
    revoked_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who sends a request. session_id or token_id, whichever it came with. proved_at, proved_by: as of its session."""

    user_id: str
    username: str
    role: Role
    scopes: frozenset[Scope]
    has_totp: bool
    session_id: str | None = None
    token_id: str | None = None
    proved_at: datetime | None = None
    proved_by: Proof | None = None

    @property
    def actor(self) -> str:
        """The name under which what it does is recorded."""
        return self.username if self.token_id is None else f"{self.username} (token {self.token_id})"


class Rotation(StrEnum):
    """What became of a refresh token that was handed in. reused: it had been used before, so its session is over."""

    ROTATED = "rotated"
    REUSED = "reused"
    GONE = "gone"

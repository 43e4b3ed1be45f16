"""Sessions of people: logging in, going on, showing again to be there, and ending it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import structlog

from app.domain.account import Caller, Proof, Rotation, Session, User
from app.domain.errors import Forbidden, NotFound, Unauthorized
from app.domain.ports import Clock
from app.services.accounts import totp
from app.services.accounts.gate import Gate
from app.services.accounts.login_limits import LoginLimits
from app.services.accounts.passwords import Passwords
from app.services.accounts.tokens import ACCESS, REFRESH, NotOurs, Signer, new_id
from app.services.database_service import DatabaseService

SESSION_DAYS = 7
PROOF_MINUTES = 5

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """What a login or a refresh gives. Seconds from now on."""

    user: User
    access_token: str
    expires_in: int
    refresh_token: str
    refresh_expires_in: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Logins:
    """Raises Unauthorized in the same words, and after the same time, whatever is wrong; Busy after too many attempts.

    totp_keys: SECRET_KEY and the one before. demands_totp: with real money a password is no proof for what takes on risk."""

    database: DatabaseService
    clock: Clock
    passwords: Passwords
    signer: Signer
    limits: LoginLimits
    gate: Gate
    access_seconds: int
    demands_totp: bool

    def login(self, username: str, password: str, code: str | None, *, address: str, agent: str) -> Pair:
        """A new session."""
        user = self.database.user(username)
        attempt = self.limits.begin(username, user, address)
        fits = self.passwords.fits(user.password_hash if user else None, password)
        if user is None or not fits or user.disabled_at is not None:
            self.limits.failed(attempt, user, address)
            log.warning("login_refused", address=address, known=user is not None)
            raise _wrong()
        if user.has_totp and not self._code_fits(user, code):
            self.limits.failed(attempt, user, address)
            raise _code_wanted(given=code is not None)
        self.limits.succeeded(attempt)
        return self.begin(user, Proof.TOTP if user.has_totp else Proof.PASSWORD, address=address, agent=agent)

    def begin(self, user: User, proven_by: Proof, *, address: str, agent: str) -> Pair:
        """A new session of somebody who has shown who it is."""
        now = self.clock.now()
        session = Session(
            session_id=new_id(),
            user_id=user.user_id,
            created_at=now,
            used_at=now,
            expires_at=now + timedelta(days=SESSION_DAYS),
            address=address,
            agent=agent[:200],
            refresh_id=new_id(),
            proved_at=now,
            proved_by=proven_by,
            ended_at=None,
            ended_why=None,
        )
        self.database.open_session(session, user.username)
        return self._pair(session, user, now)

    def refresh(self, token: str) -> Pair:
        """The next pair of tokens; the refresh token handed in is used up. Used a second time it ends its session."""
        now = self.clock.now()
        try:
            signed = self.signer.read(REFRESH, token, now)
        except NotOurs:
            raise _refresh_refused() from None
        found = self.database.session(signed.session_id)
        if found is None or found[1].disabled_at is not None or found[1].user_id != signed.user_id:
            raise _refresh_refused()
        following = new_id()
        rotation = self.database.rotate_refresh(signed.session_id, signed.token_id, following)
        if rotation is Rotation.REUSED:
            self.gate.forget()
            log.warning("refresh_token_reused", username=found[1].username)
        if rotation is not Rotation.ROTATED:
            raise _refresh_refused()
        session, user = found
        return self._pair(replace(session, refresh_id=following), user, now)

    def prove(self, caller: Caller, *, password: str | None, code: str | None, address: str) -> datetime:
        """A person shows again to be there: with a code where the account has an authenticator, else with its password.
        Until when that counts."""
        if caller.session_id is None:
            raise Forbidden("a script cannot show that a person is there", code="step_up_impossible")
        user = self.owner(caller)
        attempt = self.limits.begin(user.username, user, address)
        proven = (
            self._code_fits(user, code)
            if user.has_totp
            else password is not None and self.passwords.fits(user.password_hash, password)
        )
        if not proven:
            self.limits.failed(attempt, user, address)
            raise _code_wanted(given=code is not None) if user.has_totp else _wrong()
        self.limits.succeeded(attempt)
        by = Proof.TOTP if user.has_totp else Proof.PASSWORD
        self.database.prove_session(caller.session_id, by, user.username)
        self.gate.forget()
        return self.clock.now() + timedelta(minutes=PROOF_MINUTES)

    def demand_proof(self, caller: Caller, *, risk: bool) -> None:
        """Forbidden unless a person has shown to be there lately. risk: it is about taking on risk, so that with real money it
        takes a code."""
        age = self.clock.now() - caller.proved_at if caller.proved_at is not None else None
        if age is None or not timedelta(0) <= age <= timedelta(minutes=PROOF_MINUTES):
            raise Forbidden(
                f"show again that you are there: POST /api/auth/step-up, then repeat this within {PROOF_MINUTES} minutes",
                code="step_up_needed",
                wanted="code" if caller.has_totp else "password",
            )
        if (caller.has_totp or (risk and self.demands_totp)) and caller.proved_by is not Proof.TOTP:
            way = "POST /api/auth/step-up with a code" if caller.has_totp else "enrol one with POST /api/auth/totp/begin"
            raise Forbidden(f"this takes a code of an authenticator app: {way}", code="totp_needed", wanted="code")

    def sessions(self, caller: Caller) -> list[Session]:
        """The caller's own that stand, newest first."""
        return self.database.sessions(self.owner(caller))

    def logout(self, caller: Caller) -> int:
        """Ends the session the request came with."""
        return (
            self.end(self.owner(caller), actor=caller.actor, why="logged out", only=caller.session_id)
            if caller.session_id
            else 0
        )

    def end_own(self, caller: Caller, session_id: str) -> int:
        """Ends a session of the caller's. NotFound: it has none of this id."""
        count = self.end(self.owner(caller), actor=caller.actor, why="ended by its owner", only=session_id)
        if not count:
            raise NotFound(f"no session {session_id}")
        return count

    def end(self, user: User, *, actor: str, why: str, only: str | None = None) -> int:
        """Ends all sessions of an account, or one; how many."""
        count = self.database.end_sessions(user, why=why, actor=actor, only=only)
        self.gate.forget()
        return count

    def owner(self, caller: Caller) -> User:
        """The caller's account as it stands."""
        user = self.database.user(caller.username)
        if user is None or user.user_id != caller.user_id:
            raise _wrong()
        return user

    def _code_fits(self, user: User, code: str | None) -> bool:
        step = None if code is None else totp.step_of(code, self.signer.keys, user, self.clock.now())
        return step is not None and self.database.use_totp_step(user, step)

    def _pair(self, session: Session, user: User, now: datetime) -> Pair:
        def issue(kind: str, token_id: str, until: datetime) -> str:
            return self.signer.issue(kind, user, token_id=token_id, session_id=session.session_id, at=now, until=until)

        until = min(now + timedelta(seconds=self.access_seconds), session.expires_at)
        return Pair(
            user=user,
            access_token=issue(ACCESS, new_id(), until),
            expires_in=int((until - now).total_seconds()),
            refresh_token=issue(REFRESH, session.refresh_id, session.expires_at),
            refresh_expires_in=int((session.expires_at - now).total_seconds()),
        )


def _wrong() -> Unauthorized:
    return Unauthorized("user name or password is wrong", code="wrong_credentials")


def _code_wanted(*, given: bool) -> Unauthorized:
    words = "the code is wrong or was used before" if given else "the account asks for a code of its authenticator app as well"
    return Unauthorized(words, code="wrong_code" if given else "code_needed")


def _refresh_refused() -> Unauthorized:
    return Unauthorized("the refresh token is not valid; log in again", code="refresh_refused")

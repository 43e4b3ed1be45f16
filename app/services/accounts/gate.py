"""Who sends a request: what it carries, checked against the database, at most half a second ago."""

from __future__ import annotations

import hmac
import threading
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as TooLate
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import structlog

from app.domain.account import SCOPES_OF_SCRIPTS, Caller
from app.domain.errors import AlphaTraderError, Unauthorized
from app.domain.ports import Clock
from app.services.accounts.tokens import ACCESS, NotOurs, Signed, Signer, read_script_token
from app.services.database_service import DatabaseService

BELIEVED_FOR = timedelta(seconds=0.5)  # so long a logout in another process may go unnoticed
_PATIENCE_SECONDS = 1.0
_REMEMBERED = 4096
_USE_NOTED_EVERY = timedelta(minutes=1)
_NO_DIGEST = "0" * 64

log = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class Gate:
    """Tells callers by what they carry. Raises Unauthorized, always in the same words."""

    database: DatabaseService
    clock: Clock
    signer: Signer
    _known: dict[str, tuple[Caller, datetime]] = field(default_factory=dict)
    _pool: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(2, "gate"))
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def caller(self, carried: str, *, fresh: bool = False) -> Caller:
        """Who carries this. fresh: as of now, whatever was known half a second ago."""
        now = self.clock.now()
        if not fresh:
            caller, at = self._known.get(carried, (None, now))
            if caller is not None and abs(now - at) < BELIEVED_FOR:
                return caller
        script = read_script_token(carried)
        caller = self._of_script(*script) if script else self._of_session(self._signed(carried, now))
        with self._lock:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            self._known[carried] = (caller, now)
        return caller

    def caller_in_need(self, carried: str) -> Caller:
        """As `caller`, for the kill switch: a database that does not answer within a second is done without, and the
        signature alone believed."""
        signed = None if read_script_token(carried) else self._signed(carried, self.clock.now())
        try:
            return self._pool.submit(self.caller, carried).result(timeout=_PATIENCE_SECONDS)
        except Unauthorized:
            raise
        except (AlphaTraderError, TooLate) as fault:
            if signed is None:
                raise Unauthorized("this token cannot be checked now", code="token_unchecked") from None
            log.warning("believed_without_database", username=signed.username, error=str(fault))
            return Caller(
                user_id=signed.user_id,
                username=signed.username,
                role=signed.role,
                scopes=signed.role.scopes,
                has_totp=False,
                session_id=signed.session_id,
            )

    def forget(self) -> None:
        """Something about an account changed in this process: ask the database again."""
        with self._lock:
            self._known.clear()

    def _signed(self, carried: str, now: datetime) -> Signed:
        try:
            return self.signer.read(ACCESS, carried, now)
        except NotOurs as fault:
            raise _expired() if fault.expired else _refused() from None

    def _of_session(self, signed: Signed) -> Caller:
        found = self.database.session(signed.session_id)
        if found is None:
            raise _refused()
        session, user = found
        over = session.ended_at is not None or session.expires_at <= self.clock.now()
        if over or user.disabled_at is not None or user.user_id != signed.user_id:
            raise _refused()
        return Caller(
            user_id=user.user_id,
            username=user.username,
            role=user.role,
            scopes=user.role.scopes,
            has_totp=user.has_totp,
            session_id=session.session_id,
            proved_at=session.proved_at,
            proved_by=session.proved_by,
        )

    def _of_script(self, token_id: str, own: str) -> Caller:
        found = self.database.api_token(token_id)
        # Compared in any case, so that the time taken does not tell which ids exist.
        fits = hmac.compare_digest(found[0].digest if found else _NO_DIGEST, own)
        if found is None or not fits:
            raise _refused()
        token, user = found
        now = self.clock.now()
        if token.revoked_at is not None or token.expires_at <= now or user.disabled_at is not None:
            raise _refused()
        if token.used_at is None or now - token.used_at >= _USE_NOTED_EVERY:
            with suppress(AlphaTraderError):  # a note for people; the next request notes it too
                self.database.api_token_used(token_id)
        return Caller(
            user_id=user.user_id,
            username=user.username,
            role=user.role,
            scopes=token.scopes & user.role.scopes & SCOPES_OF_SCRIPTS,
            has_totp=user.has_totp,
            token_id=token_id,
        )


def _refused() -> Unauthorized:
    return Unauthorized("the access token is not valid", code="token_invalid")


def _expired() -> Unauthorized:
    return Unauthorized("the access token has expired", code="token_expired")

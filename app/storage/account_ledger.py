"""Accounts, sessions, tokens of scripts, tried logins. Each method is one transaction."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection

from app.domain.account import ApiToken, Proof, Rotation, Session, User
from app.domain.audit import Kind
from app.domain.ports import Clock
from app.storage import api_tokens, audit, login_attempts, outbox, users
from app.storage.database import Database


class AccountLedger:
    """The part of the ledger that knows who may do what. `actor`: who asked for a change, as the audit log tells it."""

    _db: Database
    _clock: Clock

    def add_user(self, user: User, *, actor: str) -> None:
        """A new account. Conflict: the name is taken."""
        self._db.write(lambda c: users.add(c, user, actor=actor))

    def user(self, username: str) -> User | None:
        """The account of exactly this name."""
        return self._db.read(lambda c: users.named(c, username))

    def users(self) -> list[User]:
        """All accounts, by name."""
        return self._db.read(users.listing)

    def change_user(
        self,
        user: User,
        values: Mapping[str, Any],
        *,
        action: str,
        actor: str,
        end_sessions: bool = False,
        but: str | None = None,
        **told: Any,
    ) -> User:
        """The account after the change. end_sessions: all of them, or all but one. Conflict: no enabled admin would be left."""
        now = self._clock.now()

        def work(connection: Connection) -> User:
            after = users.change(connection, user.user_id, values, action=action, actor=actor, **told)
            if end_sessions:
                users.end_sessions(connection, after, why=action, actor=actor, now=now, but=but)
            return after

        return self._db.write(work)

    def use_totp_step(self, user: User, step: int) -> bool:
        """Whether the code of this time step is used for the first time."""
        return self._db.write(lambda c: users.use_step(c, user.user_id, step))

    def open_session(self, session: Session, username: str) -> None:
        """A login that succeeded."""
        self._db.write(lambda c: users.open_session(c, session, username))

    def session(self, session_id: str) -> tuple[Session, User] | None:
        """A session, ended ones too, with its account."""
        return self._db.read(lambda c: users.session(c, session_id))

    def sessions(self, user: User) -> list[Session]:
        """Those that stand, newest first."""
        return self._db.read(lambda c: users.sessions(c, user.user_id, self._clock.now()))

    def rotate_refresh(self, session_id: str, presented: str, following: str) -> Rotation:
        """The next refresh token in the place of the one presented; one that was used before ends the session."""
        return self._db.write(lambda c: users.rotate(c, session_id, presented, following, self._clock.now()))

    def prove_session(self, session_id: str, by: Proof, username: str) -> None:
        """A person has shown again to be there."""
        self._db.write(lambda c: users.prove(c, session_id, at=self._clock.now(), by=by, username=username))

    def end_sessions(self, user: User, *, why: str, actor: str, only: str | None = None) -> int:
        """Ends the sessions of an account, or one of them; how many."""
        now = self._clock.now()
        return self._db.write(lambda c: users.end_sessions(c, user, why=why, actor=actor, now=now, only=only))

    def add_api_token(self, token: ApiToken, *, username: str, actor: str) -> None:
        """A new token of a script."""
        self._db.write(lambda c: api_tokens.add(c, token, username=username, actor=actor))

    def api_token(self, token_id: str) -> tuple[ApiToken, User] | None:
        """A token, dead ones too, with its account."""
        return self._db.read(lambda c: api_tokens.one(c, token_id))

    def api_tokens(self, user: User) -> list[ApiToken]:
        """All of an account, newest first."""
        return self._db.read(lambda c: api_tokens.listing(c, user.user_id))

    def api_token_used(self, token_id: str) -> None:
        """It was used just now."""
        self._db.write(lambda c: api_tokens.used(c, token_id, self._clock.now()))

    def revoke_api_token(self, user: User, token_id: str, *, actor: str) -> None:
        """It is worth nothing any more. NotFound: the account has no such token."""
        self._db.write(lambda c: api_tokens.revoke(c, user, token_id, actor=actor, at=self._clock.now()))

    def knows_address(self, user: User, address: str, within: timedelta) -> bool:
        """Whether somebody has logged in to the account from this address lately."""
        return self._db.read(lambda c: users.has_known(c, user.user_id, address, self._clock.now() - within))

    def login_refused_until(self, limits: Mapping[str, int], window: timedelta) -> datetime | None:
        """When the next attempt may be made, None: now."""
        return self._db.read(lambda c: login_attempts.refused_until(c, limits, self._clock.now(), window))

    def count_login(self, limits: Mapping[str, int], window: timedelta) -> datetime | None:
        """Counts an attempt under every key before it is made, or refuses it until the time returned."""
        return self._db.write(lambda c: login_attempts.count(c, limits, self._clock.now(), window))

    def forgive_login(self, keys: list[str]) -> None:
        """The attempt was a success: it does not count."""
        self._db.write(lambda c: login_attempts.forgive(c, keys))

    def tell_login_limit(self, user: User, address: str, text: str) -> None:
        """Strangers have used up their attempts at an account: the log and people get to know."""

        def work(connection: Connection) -> None:
            users.tell(connection, "login_limited", user.username, "system", address=address)
            outbox.enqueue(connection, "alert", text, {"account": user.username}, self._clock.now())

        self._db.write(work)

    def note_request(self, actor: str, told: Mapping[str, Any]) -> None:
        """What somebody had done over the API, where nothing else tells it."""
        self._db.write(lambda c: audit.record(c, Kind.REQUESTED, {"actor": actor, **told}))

"""Accounts and their sessions on disk. Every change is told in the audit log, by whom and in which request."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, delete, insert, select, update

from app.domain.account import Proof, Role, Rotation, Session, User
from app.domain.audit import Kind
from app.domain.errors import Conflict, NotFound
from app.storage import audit
from app.storage.tables import SESSIONS, USERS

_KEPT_FOR = timedelta(days=90)
_LIVE = SESSIONS.c.ended_at.is_(None)


def tell(connection: Connection, action: str, username: str, actor: str, **told: Any) -> None:
    """Notes in the audit log what was done to an account, or by whoever is logged in to it."""
    audit.record(connection, Kind.ACCOUNT, {"action": action, "account": username, "actor": actor, **told})


def add(connection: Connection, user: User, *, actor: str) -> None:
    """A new account. Conflict: the name is taken."""
    if named(connection, user.username) is not None:
        raise Conflict(f"there is an account {user.username} already")
    values = {column.name: getattr(user, column.name) for column in USERS.c}
    connection.execute(insert(USERS).values(**values))
    tell(connection, "added", user.username, actor, role=user.role)


def named(connection: Connection, username: str) -> User | None:
    """The account of exactly this name."""
    return _user(connection.execute(select(USERS).where(USERS.c.username == username)).one_or_none())


def listing(connection: Connection) -> list[User]:
    """All accounts, by name."""
    rows = connection.execute(select(USERS).order_by(USERS.c.username))
    return [User(**row._mapping) for row in rows]


def change(connection: Connection, user_id: str, values: Mapping[str, Any], *, action: str, actor: str, **told: Any) -> User:
    """The account after the change. NotFound; Conflict: no enabled admin would be left."""
    before = connection.execute(select(USERS).where(USERS.c.user_id == user_id).with_for_update()).one_or_none()
    if before is None:
        raise NotFound("no such account")
    connection.execute(update(USERS).where(USERS.c.user_id == user_id).values(**values))
    if _governs(before) and not any(map(_governs, connection.execute(select(USERS)))):
        raise Conflict(f"{before.username} is the last enabled admin; make another one first")
    tell(connection, action, before.username, actor, **told)
    return User(**{**before._mapping, **values})


def use_step(connection: Connection, user_id: str, step: int) -> bool:
    """Whether the code of this time step is used for the first time."""
    fresh = update(USERS).where(USERS.c.user_id == user_id, USERS.c.totp_step < step).values(totp_step=step)
    return connection.execute(fresh).rowcount == 1


def open_session(connection: Connection, session: Session, username: str) -> None:
    """A login that succeeded. Sessions long over are cleared away."""
    connection.execute(delete(SESSIONS).where(SESSIONS.c.expires_at < session.created_at - _KEPT_FOR))
    values = {column.name: getattr(session, column.name) for column in SESSIONS.c}
    connection.execute(insert(SESSIONS).values(**values))
    tell(connection, "logged_in", username, username, session_id=session.session_id, address=session.address)


def session(connection: Connection, session_id: str) -> tuple[Session, User] | None:
    """A session, ended ones too, with its account."""
    found = connection.execute(select(SESSIONS).where(SESSIONS.c.session_id == session_id)).one_or_none()
    if found is None:
        return None
    owner = connection.execute(select(USERS).where(USERS.c.user_id == found.user_id)).one()
    return Session(**found._mapping), User(**owner._mapping)


def sessions(connection: Connection, user_id: str, now: datetime) -> list[Session]:
    """Those that stand, newest first."""
    query = select(SESSIONS).where(SESSIONS.c.user_id == user_id, _LIVE, SESSIONS.c.expires_at > now)
    return [Session(**row._mapping) for row in connection.execute(query.order_by(SESSIONS.c.created_at.desc()))]


def rotate(connection: Connection, session_id: str, presented: str, following: str, now: datetime) -> Rotation:
    """The next refresh token in the place of the one presented. One that was used before ends the session: two parties hold
    it, and which of them is the thief cannot be told."""
    stands = update(SESSIONS).where(SESSIONS.c.session_id == session_id, _LIVE, SESSIONS.c.expires_at > now)
    if connection.execute(stands.where(SESSIONS.c.refresh_id == presented).values(refresh_id=following, used_at=now)).rowcount:
        return Rotation.ROTATED
    if not connection.execute(stands.values(ended_at=now, ended_why="refresh token used twice")).rowcount:
        return Rotation.GONE
    owner = session(connection, session_id)
    if owner is not None:
        tell(connection, "refresh_token_reused", owner[1].username, "system", session_id=session_id)
    return Rotation.REUSED


def prove(connection: Connection, session_id: str, *, at: datetime, by: Proof, username: str) -> None:
    """A person has shown again to be there."""
    connection.execute(update(SESSIONS).where(SESSIONS.c.session_id == session_id).values(proved_at=at, proved_by=by))
    tell(connection, "proved", username, username, session_id=session_id, by=by)


def end_sessions(
    connection: Connection, user: User, *, why: str, actor: str, now: datetime, only: str | None = None, but: str | None = None
) -> int:
    """Ends the sessions of an account, or only one of them, or all but one; how many."""
    over = update(SESSIONS).where(SESSIONS.c.user_id == user.user_id, _LIVE)
    if only is not None:
        over = over.where(SESSIONS.c.session_id == only)
    if but is not None:
        over = over.where(SESSIONS.c.session_id != but)
    count = connection.execute(over.values(ended_at=now, ended_why=why)).rowcount
    if count:
        tell(connection, "sessions_ended", user.username, actor, why=why, count=count, session_id=only)
    return count


def has_known(connection: Connection, user_id: str, address: str, since: datetime) -> bool:
    """Whether somebody has logged in to the account from this address since then."""
    query = select(SESSIONS.c.session_id).where(
        SESSIONS.c.user_id == user_id, SESSIONS.c.address == address, SESSIONS.c.created_at >= since
    )
    return connection.execute(query.limit(1)).first() is not None


def _governs(row: Row[Any]) -> bool:
    return row.role == Role.ADMIN and row.disabled_at is None


def _user(row: Row[Any] | None) -> User | None:
    return None if row is None else User(**row._mapping)

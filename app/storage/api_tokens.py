"""Tokens of scripts on disk: digests, never the tokens."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, insert, select, update

from app.domain.account import ApiToken, Scope, User
from app.domain.errors import NotFound
from app.storage.tables import API_TOKENS, USERS
from app.storage.users import tell


def add(connection: Connection, token: ApiToken, *, username: str, actor: str) -> None:
    """A new token."""
    values = {column.name: getattr(token, column.name) for column in API_TOKENS.c}
    connection.execute(insert(API_TOKENS).values(**values | {"scopes": " ".join(sorted(token.scopes))}))
    told = {"token_id": token.token_id, "name": token.name, "scopes": sorted(token.scopes), "until": token.expires_at}
    tell(connection, "token_added", username, actor, **told)


def one(connection: Connection, token_id: str) -> tuple[ApiToken, User] | None:
    """A token, dead ones too, with its account."""
    row = connection.execute(select(API_TOKENS).where(API_TOKENS.c.token_id == token_id)).one_or_none()
    if row is None:
        return None
    owner = connection.execute(select(USERS).where(USERS.c.user_id == row.user_id)).one()
    return _token(row), User(**owner._mapping)


def listing(connection: Connection, user_id: str) -> list[ApiToken]:
    """All of an account, newest first."""
    query = select(API_TOKENS).where(API_TOKENS.c.user_id == user_id).order_by(API_TOKENS.c.created_at.desc())
    return [_token(row) for row in connection.execute(query)]


def used(connection: Connection, token_id: str, at: datetime) -> None:
    """It was used just now."""
    connection.execute(update(API_TOKENS).where(API_TOKENS.c.token_id == token_id).values(used_at=at))


def revoke(connection: Connection, user: User, token_id: str, *, actor: str, at: datetime) -> None:
    """It is worth nothing any more; repeating it changes nothing. NotFound: the account has no such token."""
    own = (API_TOKENS.c.token_id == token_id) & (API_TOKENS.c.user_id == user.user_id)
    if connection.execute(select(API_TOKENS.c.token_id).where(own)).first() is None:
        raise NotFound(f"no token {token_id}")
    if connection.execute(update(API_TOKENS).where(own, API_TOKENS.c.revoked_at.is_(None)).values(revoked_at=at)).rowcount:
        tell(connection, "token_revoked", user.username, actor, token_id=token_id)


def _token(row: Row[Any]) -> ApiToken:
    return ApiToken(**{**row._mapping, "scopes": frozenset(map(Scope, row.scopes.split()))})

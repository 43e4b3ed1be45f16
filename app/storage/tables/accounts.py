"""People who may log in, their sessions, and the tokens of scripts."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, ForeignKey, Integer, Table

from app.domain.account import Proof, Role
from app.storage.columns import Instant, Word, Words
from app.storage.tables.metadata import METADATA

# See `app.domain.account`. password_hash: argon2id. totp_nonce: not the secret, which is derived from it and SECRET_KEY.
USERS = Table(
    "users",
    METADATA,
    Column("user_id", Words, primary_key=True),
    Column("username", Words, nullable=False, unique=True),
    Column("password_hash", Words, nullable=False),
    Column("password_by_settings", Boolean, nullable=False),
    Column("password_weak", Boolean, nullable=False),
    Column("role", Word(Role), nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("disabled_at", Instant),
    Column("totp_nonce", Words),
    Column("totp_confirmed", Boolean, nullable=False),
    Column("totp_step", BigInteger, nullable=False),
)

SESSIONS = Table(
    "sessions",
    METADATA,
    Column("session_id", Words, primary_key=True),
    Column("user_id", Words, ForeignKey("users.user_id"), nullable=False, index=True),
    Column("created_at", Instant, nullable=False),
    Column("used_at", Instant, nullable=False),
    Column("expires_at", Instant, nullable=False),
    Column("address", Words, nullable=False),
    Column("agent", Words, nullable=False),
    Column("refresh_id", Words, nullable=False),
    Column("proved_at", Instant, nullable=False),
    Column("proved_by", Word(Proof), nullable=False),
    Column("ended_at", Instant),
    Column("ended_why", Words),
)

# digest: of the secret. scopes: words, apart by blanks.
API_TOKENS = Table(
    "api_tokens",
    METADATA,
    Column("token_id", Words, primary_key=True),
    Column("user_id", Words, ForeignKey("users.user_id"), nullable=False, index=True),
    Column("name", Words, nullable=False),
    Column("digest", Words, nullable=False),
    Column("scopes", Words, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("expires_at", Instant, nullable=False),
    Column("used_at", Instant),
    Column("revoked_at", Instant),
)

# Logins tried since began_at under a key: the digest of an account's name, an address, or both.
LOGIN_ATTEMPTS = Table(
    "login_attempts",
    METADATA,
    Column("key", Words, primary_key=True),
    Column("tried", Integer, nullable=False),
    Column("began_at", Instant, nullable=False, index=True),
)

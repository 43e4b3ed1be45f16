"""Accounts, sessions, tokens of scripts, tried logins.

Revision: accounts
"""

import sqlalchemy as sa
from alembic import op

from app.domain.account import Proof, Role
from app.storage.columns import Instant, Word, Words

revision = "accounts"
down_revision = "lookahead_checks"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds the four tables."""
    op.create_table(
        "users",
        sa.Column("user_id", Words(), nullable=False),
        sa.Column("username", Words(), nullable=False),
        sa.Column("password_hash", Words(), nullable=False),
        sa.Column("password_by_settings", sa.Boolean(), nullable=False),
        sa.Column("password_weak", sa.Boolean(), nullable=False),
        sa.Column("role", Word(Role), nullable=False),
        sa.Column("created_at", Instant(), nullable=False),
        sa.Column("disabled_at", Instant()),
        sa.Column("totp_nonce", Words()),
        sa.Column("totp_confirmed", sa.Boolean(), nullable=False),
        sa.Column("totp_step", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("user_id", name=op.f("pk_users")),
        sa.UniqueConstraint("username", name=op.f("uq_users_username")),
    )
    op.create_table(
        "sessions",
        sa.Column("session_id", Words(), nullable=False),
        sa.Column("user_id", Words(), nullable=False),
        sa.Column("created_at", Instant(), nullable=False),
        sa.Column("used_at", Instant(), nullable=False),
        sa.Column("expires_at", Instant(), nullable=False),
        sa.Column("address", Words(), nullable=False),
        sa.Column("agent", Words(), nullable=False),
        sa.Column("refresh_id", Words(), nullable=False),
        sa.Column("proved_at", Instant(), nullable=False),
        sa.Column("proved_by", Word(Proof), nullable=False),
        sa.Column("ended_at", Instant()),
        sa.Column("ended_why", Words()),
        sa.ForeignKeyConstraint(["user_id"], ["users.user_id"], name=op.f("fk_sessions_user_id")),
        sa.PrimaryKeyConstraint("session_id", name=op.f("pk_sessions")),
    )
    op.create_index(op.f("ix_sessions_user_id"), "sessions", ["user_id"])
    op.create_table(
        "api_tokens",
        sa.Column("token_id", Words(), nullable=False),
        sa.Column("user_id", Words(), nullable=False),
        sa.Column("name", Words(), nullable=False),
        sa.Column("digest", Words(), nullable=False),
        sa.Column("scopes", Words(), nullable=False),
        sa.Column("created_at", Instant(), nullable=False),
        sa.Column("expires_at", Instant(), nullable=False),
        sa.Column("used_at", Instant()),
        sa.Column("revoked_at", Instant()),
        sa.ForeignKeyConstraint(["user_id"], ["users.user_id"], name=op.f("fk_api_tokens_user_id")),
        sa.PrimaryKeyConstraint("token_id", name=op.f("pk_api_tokens")),
    )
    op.create_index(op.f("ix_api_tokens_user_id"), "api_tokens", ["user_id"])
    op.create_table(
        "login_attempts",
        sa.Column("key", Words(), nullable=False),
        sa.Column("tried", sa.Integer(), nullable=False),
        sa.Column("began_at", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_login_attempts")),
    )
    op.create_index(op.f("ix_login_attempts_began_at"), "login_attempts", ["began_at"])


def downgrade() -> None:
    """Takes them away."""
    for table in ("login_attempts", "api_tokens", "sessions", "users"):
        op.drop_table(table)

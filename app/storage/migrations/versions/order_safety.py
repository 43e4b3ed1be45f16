"""What an order has reserved, was asked about and is also known as; executions that take others back.

Revision: order_safety
"""

from decimal import Decimal
from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.types import TypeEngine

from app.storage.columns import ExactDecimal, Instant, Words

revision = "order_safety"
down_revision = "risk_breakers"
branch_labels = None
depends_on = None

_ADDED: dict[str, TypeEngine[Any]] = {
    "source": Words(),
    "missed_at": Instant(),
    "pending_since": Instant(),
    "told_at": Instant(),
}


def upgrade() -> None:
    """Adds them, and derives from what is booked what can be derived. Nothing is rebuilt: other tables point at intents."""
    for name, kind in _ADDED.items():
        op.add_column("intents", sa.Column(name, kind, nullable=True))
    op.add_column("intents", sa.Column("booked_quantity", ExactDecimal(), nullable=False, server_default="0"))
    op.add_column("fills", sa.Column("reverses", Words(), nullable=True))
    op.create_index(op.f("ix_fills_reverses"), "fills", ["reverses"], unique=True)
    op.add_column("account", sa.Column("fills_listed_at", Instant(), nullable=True))
    op.create_table(
        "venue_order_ids",
        sa.Column("venue_order_id", Words(), nullable=False),
        sa.Column("client_order_id", Words(), nullable=False),
        sa.ForeignKeyConstraint(
            ["client_order_id"], ["intents.client_order_id"], name=op.f("fk_venue_order_ids_client_order_id")
        ),
        sa.PrimaryKeyConstraint("venue_order_id", name=op.f("pk_venue_order_ids")),
    )
    op.create_index(op.f("ix_venue_order_ids_client_order_id"), "venue_order_ids", ["client_order_id"])
    _derive(op.get_bind())


def downgrade() -> None:
    """Takes them away again; orders changed at the venue then count as two."""
    op.drop_table("venue_order_ids")
    op.drop_column("account", "fills_listed_at")
    op.drop_index(op.f("ix_fills_reverses"), "fills")
    op.drop_column("fills", "reverses")
    for name in ("booked_quantity", *_ADDED):
        op.drop_column("intents", name)


def _derive(connection: sa.Connection) -> None:
    intents = sa.table(
        "intents", sa.column("client_order_id"), sa.column("venue_order_id"), sa.column("booked_quantity", ExactDecimal())
    )
    fills = sa.table("fills", sa.column("venue_order_id"), sa.column("quantity", ExactDecimal()))
    ids = sa.table("venue_order_ids", sa.column("venue_order_id"), sa.column("client_order_id"))
    named = sa.select(intents.c.venue_order_id, intents.c.client_order_id).where(intents.c.venue_order_id.is_not(None))
    connection.execute(ids.insert().from_select(["venue_order_id", "client_order_id"], named))
    booked: dict[str, Decimal] = {}
    for venue_order_id, quantity in connection.execute(sa.select(fills.c.venue_order_id, fills.c.quantity)):
        booked[venue_order_id] = booked.get(venue_order_id, Decimal(0)) + quantity
    for venue_order_id, quantity in booked.items():
        change = intents.update().where(intents.c.venue_order_id == venue_order_id)
        connection.execute(change.values(booked_quantity=quantity))

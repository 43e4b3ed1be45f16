"""The audit log, its head, and the triggers that refuse any change of what stands.

Revision: audit
"""

import sqlalchemy as sa
from alembic import op

revision = "audit"
down_revision = "leases"
branch_labels = None
depends_on = None

_FIELDS = (
    "at", "recorded_at", "kind", "cycle_id", "client_order_id", "venue_order_id", "execution_id", "symbol",
    "correlation_id", "causation_id", "payload", "code_version", "config_digest",
)  # fmt: skip
_REFUSED = "the audit log is append-only"


def upgrade() -> None:
    """Begins an empty log."""
    op.create_table(
        "audit_log",
        sa.Column("seq", sa.Integer(), autoincrement=False, nullable=False),
        *(sa.Column(name, sa.Text(), nullable=False) for name in (*_FIELDS, "previous", "hash")),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_audit_log")),
    )
    for name in ("cycle_id", "client_order_id", "venue_order_id"):
        op.create_index(op.f(f"ix_audit_log_{name}"), "audit_log", [name])
    head = op.create_table(
        "audit_head",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("seq", sa.Integer(), nullable=False),
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("hash", "at", "origin")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_head")),
    )
    op.bulk_insert(head, [{"id": 1, "seq": 0, "hash": "0" * 64, "at": "", "origin": ""}])
    if op.get_bind().dialect.name == "sqlite":
        _guard_sqlite()
    else:
        _guard_postgresql()


def downgrade() -> None:
    """Drops the log, and with it all proof of the past."""
    op.drop_table("audit_head")
    op.drop_table("audit_log")
    if op.get_bind().dialect.name != "sqlite":
        op.execute("DROP FUNCTION audit_refuse()")
        op.execute("DROP FUNCTION audit_forward()")


def _guard_sqlite() -> None:
    refuse = f"BEGIN SELECT RAISE(ABORT, '{_REFUSED}'); END"
    for name, when in (
        ("log_update", "UPDATE ON audit_log"),
        ("log_delete", "DELETE ON audit_log"),
        ("head_delete", "DELETE ON audit_head"),
        # INSERT OR REPLACE would delete the old row without asking the trigger above.
        ("log_insert", "INSERT ON audit_log WHEN NEW.seq <= (SELECT max(seq) FROM audit_log)"),
        ("head_insert", "INSERT ON audit_head WHEN EXISTS (SELECT 1 FROM audit_head)"),
        ("head_update", "UPDATE ON audit_head WHEN NEW.seq <= OLD.seq OR NEW.id <> OLD.id"),
    ):
        op.execute(f"CREATE TRIGGER audit_{name} BEFORE {when} {refuse}")


def _guard_postgresql() -> None:
    op.execute(
        f"CREATE FUNCTION audit_refuse() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN RAISE EXCEPTION '{_REFUSED}' USING ERRCODE = 'integrity_constraint_violation'; END $$"
    )
    op.execute(
        f"CREATE FUNCTION audit_forward() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        f"IF NEW.seq <= OLD.seq OR NEW.id <> OLD.id THEN "
        f"RAISE EXCEPTION '{_REFUSED}' USING ERRCODE = 'integrity_constraint_violation'; END IF; RETURN NEW; END $$"
    )
    for table, event in (("audit_log", "UPDATE OR DELETE"), ("audit_head", "DELETE")):
        op.execute(f"CREATE TRIGGER {table}_change BEFORE {event} ON {table} FOR EACH ROW EXECUTE FUNCTION audit_refuse()")
        op.execute(f"CREATE TRIGGER {table}_truncate BEFORE TRUNCATE ON {table} EXECUTE FUNCTION audit_refuse()")
    op.execute("CREATE TRIGGER audit_head_update BEFORE UPDATE ON audit_head FOR EACH ROW EXECUTE FUNCTION audit_forward()")

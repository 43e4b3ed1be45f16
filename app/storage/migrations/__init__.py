"""The schema's history. `migrate` brings a database to the newest revision in one transaction: all of it or nothing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, text

from app.domain.errors import ConfigurationError
from app.storage.database import Database

if TYPE_CHECKING:
    from alembic.config import Config

_LOCK = 7_215_043_811  # any fixed number: the advisory lock that lets one process migrate at a time


def migrate(database: Database) -> None:
    """Creates or updates the schema. Safe when several processes start together: one works, the others wait and find
    it done. Raises ConfigurationError when the database was written by a newer version of the product."""
    if database.is_sqlite:
        database.write(_upgrade)
        return
    # READ COMMITTED, so that what is read after the wait for the lock is what the other process left.
    with database.engine.connect().execution_options(isolation_level="READ COMMITTED") as connection, connection.begin():
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
        _upgrade(connection)


def revision(connection: Connection) -> str | None:
    """The schema's revision, None for an empty database."""
    from alembic.runtime.migration import MigrationContext

    return MigrationContext.configure(connection).get_current_revision()


def head() -> str | None:
    """The revision that this version needs."""
    from alembic.script import ScriptDirectory

    return ScriptDirectory.from_config(_config()).get_current_head()


def _config() -> Config:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    return config


def _upgrade(connection: Connection) -> None:
    from alembic import command
    from alembic.script import ScriptDirectory

    config = _config()
    scripts = ScriptDirectory.from_config(config)
    present = revision(connection)
    if present is not None and present == scripts.get_current_head():
        return
    if present is not None and present not in {script.revision for script in scripts.walk_revisions()}:
        raise ConfigurationError(
            f"the database has schema {present}, which this version does not know: it was written by a newer version. "
            "Install that version, or set DATABASE_URL to another database."
        )
    config.attributes["connection"] = connection
    command.upgrade(config, "head")

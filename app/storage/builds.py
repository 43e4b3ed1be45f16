"""Which version of the product works on this database. One row; an older version than it says may not trade."""

from __future__ import annotations

import re
from datetime import datetime

from sqlalchemy import Connection, insert, select, update

from app.domain.errors import ConfigurationError
from app.storage.tables import BUILD

_ONE = 1


def newest(connection: Connection) -> str | None:
    """The newest version that has worked here, None before the first."""
    version: str | None = connection.execute(select(BUILD.c.version).where(BUILD.c.id == _ONE)).scalar_one_or_none()
    return version


def require(connection: Connection, version: str) -> None:
    """Raises ConfigurationError when a newer version than `version` has worked here."""
    known = newest(connection)
    if known is not None and _order(version) < _order(known):
        raise ConfigurationError(
            f"version {known} has worked on this database and this is {version}: stop this process and install {known}, or go "
            "back to this version on purpose with `trader build accept`",
            code="build_outdated",
        )


def enter(connection: Connection, version: str, *, at: datetime, accepted: bool) -> None:
    """Notes that `version` works here from now on. Raises ConfigurationError as `require`, unless a person accepted it."""
    if not accepted:
        require(connection, version)
    known = newest(connection)
    if known is None:
        connection.execute(insert(BUILD).values(id=_ONE, version=version, since=at))
    elif known != version:
        connection.execute(update(BUILD).where(BUILD.c.id == _ONE).values(version=version, since=at))


def _order(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version))

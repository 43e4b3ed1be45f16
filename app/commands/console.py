"""What every sub-command needs: the screen, the services, and who asks."""

from __future__ import annotations

import getpass
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from app.config import Settings
    from app.wiring import Services

out = Console(highlight=False)
errors = Console(stderr=True, highlight=False)


def chosen_settings() -> Settings:
    """The settings of the installation that runs here, else one's own."""
    from app.config import settings
    from app.local.installation import running
    from app.local.up import log_to

    known = running(settings().state_dir)
    if known:
        os.environ.update(known["environment"])
        settings.cache_clear()
    log_to(settings().logs_dir / "trader.log")
    return settings()


@contextmanager
def services() -> Iterator[Services]:
    """All services, on the venue of the installation that runs here, else on that of the settings."""
    from app.wiring import build

    built = build(chosen_settings())
    try:
        yield built
    finally:
        built.close()


def actor() -> str:
    """The name under which what a person does here is recorded."""
    try:
        return f"{getpass.getuser()} (command line)"
    except (OSError, KeyError):  # a user without a name
        return f"user {os.getuid()} (command line)"


def print_rows(rows: Iterable[Mapping[str, object]]) -> None:
    """A table; its columns are those that say something in any row."""
    kept = list(rows)
    if not kept:
        return
    columns = [name for name in (kept[0] if kept else ()) if any(row[name] != "" for row in kept)]
    table = Table(*columns, box=None)
    for row in kept:
        table.add_row(*(escape(str(row[name])) for name in columns))
    out.print(table)

"""`trader build`: which version of the product works on the database, and the way back to an older one."""

from __future__ import annotations

import typer

from app import __version__
from app.commands.console import chosen_settings, out

build = typer.Typer(name="build", help="The version that works on the database.", no_args_is_help=True)


@build.command()
def status() -> None:
    """This version, and the newest that has worked on the database."""
    from app.wiring import open_without_migrating

    known = open_without_migrating(chosen_settings()).build()
    out.print(f"this is {__version__}; the newest that has worked on the database is {known or 'none'}")


@build.command()
def accept() -> None:
    """Let this version work on the database although a newer one has. Stop the newer one first; its schema must be ours."""
    from app.wiring import open_without_migrating

    open_without_migrating(chosen_settings()).enter_build(__version__, accepted=True)
    out.print(f"the database is for version {__version__} from now on")

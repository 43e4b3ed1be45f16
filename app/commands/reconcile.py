"""`trader reconcile`: our books beside the venue's."""

from __future__ import annotations

from typing import Annotated

import typer

from app.commands.console import actor, out, print_rows, services
from app.domain.errors import InvalidInput

DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what would be booked and what differs; write nothing.")]
Accept = Annotated[
    str | None,
    typer.Option("--accept", metavar="REASON", help="Book what nothing explains as it stands at the venue, on your word."),
]


def reconcile(dry_run: DryRun = False, accept: Accept = None) -> None:
    """Compare orders, fills, holdings, cash and the account statement with the venue's and take over what it explains.
    Exit code 1 when something differs that nothing explains: look at it, then either mend it at the venue or --accept it."""
    if accept is not None and (dry_run or not accept.strip()):
        raise InvalidInput("--accept books something: give it a reason, and leave --dry-run away")
    with services() as held:
        if accept is not None:
            books = held.trading.accept_books(actor=actor(), reason=accept.strip())
        else:
            books = held.trading.preview_reconciliation() if dry_run else held.trading.reconcile()
    out.print(f"fills {'to be booked' if dry_run else 'booked'}: {books.fills}")
    print_rows(one.row() for one in books.adopted)
    print_rows({"activity": one.activity_id, "what": str(one)} for one in books.explained)
    if books.had_past:
        out.print("[bold red]these books begin with a past that they do not know: a person must resume trading[/]")
    if not books.unexplained:
        out.print("the books agree")
        return
    out.print("[bold red]not explained[/]")
    print_rows(one.row() for one in books.unexplained)
    raise typer.Exit(1)

"""`trader reconcile`: our books beside the venue's."""

from __future__ import annotations

from typing import Annotated

import typer

from app.commands.console import out, print_rows, services

DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what would be booked and what differs; write nothing.")]


def reconcile(dry_run: DryRun = False) -> None:
    """Compare orders, fills, holdings, cash and the account statement with the venue's and take over what it explains.
    Exit code 1 when something differs that nothing explains."""
    with services() as held:
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

"""`trader audit`: is the log whole, how did an order come about, what did the books hold."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from rich.markup import escape

from app.commands.console import chosen_settings, out, print_rows
from app.domain.errors import InvalidInput
from app.services.audit.audit_service import AuditService, Story
from app.storage.columns import plain

audit = typer.Typer(name="audit", help="The hash-chained log of everything that was done.", no_args_is_help=True)

AsJson = Annotated[bool, typer.Option("--json", help="As JSON.")]


@audit.command()
def verify(
    first: Annotated[int | None, typer.Option("--from", min=1, help="Number of the first event to check.")] = None,
    last: Annotated[int | None, typer.Option("--to", min=1, help="Number of the last event to check.")] = None,
    as_json: AsJson = False,
) -> None:
    """Check every link of the chain. Exit code 1 and the first broken link where it does not hold."""
    with _service() as service:
        found = service.verify(first=first, last=last)
    if as_json:
        _print_json(found)
    elif found.broken is None:
        rate = found.events / found.seconds if found.seconds > 0 else 0.0
        out.print(f"{found.events} events hold, {rate:,.0f} a second; the last is {found.head.seq} with {found.head.hash}")
    else:
        out.print(f"[bold red]broken at event {found.broken.seq}[/]: {escape(found.broken.what)}", soft_wrap=True)
    if found.broken is not None:
        raise typer.Exit(1)


@audit.command(epilog="Example: trader audit explain at-aapl-5d0c6c8b4b9e6c3f2a1d0e9f")
def explain(order: str, as_json: AsJson = False) -> None:
    """The story of an order: what was seen, decided, checked, sent, answered, filled. ORDER: our id or the venue's."""
    with _service() as service:
        story = service.explain(order)
    if as_json:
        _print_json(story)
    else:
        _print_story(story)


@audit.command(epilog="Example: trader audit book --at 2022-03-01T15:40:00Z")
def book(
    at: Annotated[str | None, typer.Option(metavar="TIME", help="Venue time, UTC unless it says; default: now.")] = None,
    as_json: AsJson = False,
) -> None:
    """Cash, holdings and open orders from the log alone. Exit code 1 where the log and the ledger disagree."""
    with _service() as service:
        found = service.book(_instant(at))
    told = found.book
    if as_json:
        _print_json({**plain(told), "orders": told.open_orders(), "differences": found.differences})
    else:
        out.print(f"after event {told.seq}, venue time {told.at or 'unknown'}")
        out.print(f"cash {told.cash}, realized {told.realized}")
        print_rows(
            {"symbol": name, **{key: row[key] for key in row if key != "symbol"}} for name, row in told.positions.items()
        )
        columns = ("side", "quantity", "filled_quantity", "limit_price", "stop_price", "state")
        print_rows(
            {"order": name, "symbol": row["symbol"], **{key: row.get(key) or "" for key in columns}}
            for name, row in told.open_orders().items()
        )
        out.print("the log and the ledger agree" if not found.differences else "[bold red]the log and the ledger disagree[/]")
        for sentence in found.differences:
            out.print(f"  {escape(sentence)}", soft_wrap=True)
    if found.differences:
        raise typer.Exit(1)


@contextmanager
def _service() -> Iterator[AuditService]:
    from app.wiring import open_without_migrating

    database = open_without_migrating(chosen_settings())
    try:
        yield AuditService(database)
    finally:
        database.close()


def _print_story(story: Story) -> None:
    out.print(f"[bold]{escape(story.client_order_id)}[/]: {story.origin}, {story.state}")
    for leg in story.legs:
        out.print(f"  leg {escape(leg)}")
    for line in story.lines:
        at = f"{line.at:%Y-%m-%d %H:%M:%S}" if line.at else "?" * 19
        out.print(f"{line.seq:>7}  {at}  {line.kind:<12} {escape(line.text)}", soft_wrap=True)


def _print_json(value: Any) -> None:
    typer.echo(json.dumps(plain(value), indent=2))


def _instant(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidInput(f"not a time: {text}; write it as 2022-03-01T15:40:00Z") from None
    return at if at.tzinfo is not None else at.replace(tzinfo=UTC)

"""`trader risk`: what the limits say, a person's hand on them, and the proof that they work."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any

import typer
from rich.markup import escape

from app.commands.console import actor, chosen_settings, out, print_rows, services
from app.domain.errors import Conflict, InvalidInput

risk = typer.Typer(name="risk", help="Trading state, limits, kill switch, drill.", no_args_is_help=True)

Why = Annotated[str, typer.Option("--reason", "-r", help="Kept in the history of the risk state.")]


@risk.command()
def status() -> None:
    """The trading state with its cause, each limit with the distance to it, each breaker with its reading."""
    with services() as held:
        found, exits = held.risk.status(), held.policy.exits._asdict()
    _print_state(found)
    out.print("exits: " + ", ".join(f"{name} {value:g}" for name, value in exits.items() if value), soft_wrap=True)
    print_rows(
        {
            "breaker": row["breaker"],
            "reading": "" if row["reading"] is None else f"{row['reading']:.4g}",
            "limit": f"{row['limit']:g}",
            "state": "TRIPPED" if row["tripped"] else "ok",
        }
        for row in found.get("breakers", ())
    )


@risk.command()
def halt(reason: Why = "") -> None:
    """Send nothing new until a person resumes; protective orders stay at the venue."""
    with services() as held:
        held.risk.halt(actor(), reason)
        _print_state(held.risk.status())


@risk.command()
def resume(
    reason: Why = "",
    accept_losses: Annotated[
        bool, typer.Option("--accept-losses", help="Count losses from the newest equity on, where a loss limit still holds.")
    ] = False,
) -> None:
    """Trade again. Refused while a loss limit is exceeded; after the kill switch it asks for a reason."""
    with services() as held:
        held.risk.resume(actor(), reason, accept_losses=accept_losses)
        _print_state(held.risk.status())


@risk.command()
def enable(symbol: str, reason: Why = "") -> None:
    """Allow entries in a symbol that was disabled for too many of them in one day."""
    with services() as held:
        held.risk.enable(symbol.upper(), actor(), reason)
        _print_state(held.risk.status())


@risk.command()
def kill(reason: Why = "no reason given") -> None:
    """The kill switch: no new risk at once, resting entries cancelled, protective exits kept. Ends with resume --reason."""
    from app.wiring import build_kill_switch

    report = build_kill_switch(chosen_settings()).engage(actor(), reason)
    out.print(f"kill file: {'written' if report.file_written else '[bold red]NOT WRITTEN[/]'}")
    out.print(f"database: {'halted' if report.recorded else 'not yet; the next cycle writes it'}")
    out.print(f"entries cancelled: {len(report.cancelled)}")
    for fault in report.faults:
        out.print(f"[bold red]{escape(fault)}[/]", soft_wrap=True)
    if not report.file_written and not report.recorded:
        raise typer.Exit(1)


@risk.command()
def drill() -> None:
    """Prove on the last recorded inputs that every breaker would fire. Nothing is written, nothing is sent."""
    from app.engine.drill import drill as run
    from app.engine.recording import from_json
    from app.wiring import open_without_migrating, rules_in_force

    chosen = chosen_settings()
    database = open_without_migrating(chosen)
    decided = next((cycle.cycle_id for cycle in database.cycles(1000) if cycle.decided_at is not None), None)
    if decided is None:
        raise Conflict("no cycle has decided anything yet; run one first")
    recorded = database.cycle(decided).inputs
    database.close()
    if recorded is None:
        raise InvalidInput(f"cycle {decided} has no recorded inputs")
    writable = os.access(chosen.state_dir, os.W_OK)
    rows = run(replace(from_json(dict(recorded)), limits=rules_in_force(chosen)[0]))
    out.print(f"on the inputs of cycle {decided}, with the limits in force; nothing was written or sent")
    print_rows(
        {
            "breaker": row.breaker,
            "injected": row.injected,
            "state": row.state,
            "orders it would have sent": ", ".join(row.orders) or "none",
            "fires": "yes" if row.fires else "NO",
        }
        for row in rows
    )
    out.print(f"kill file: its directory is {'writable' if writable else 'NOT WRITABLE'}")
    if not writable or not all(row.fires for row in rows):
        raise typer.Exit(1)


def _print_state(found: Mapping[str, Any]) -> None:
    out.print(f"[bold]{found['trading_state']}[/] ({escape(str(found['cause']))})")
    for name in ("actor", "since", "until", "kill_file"):
        if found.get(name):
            out.print(f"  {name.replace('_', ' ')}: {escape(str(found[name]))}")
    if found.get("disabled_symbols"):
        out.print(f"  disabled symbols: {' '.join(found['disabled_symbols'])}")
    for name, left in (found.get("left") or {}).items():
        out.print(f"  left of {name.replace('_', ' ')}: {left:.4g}")

"""`trader doctor`: everything the installation rests on, looked at once, each fault with its mend."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from app.commands.console import chosen_settings, errors, out
from app.domain.errors import AlphaTraderError

if TYPE_CHECKING:
    from app.config import Settings
    from app.local.checks.finding import Check, Finding
    from app.wiring import Services

_COLOURS = {"ok": "green", "warn": "yellow", "fail": "bold red"}


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a finding.")] = False,
) -> None:
    """Look at everything this installation rests on: machine, database, queue, workers, venue, feed, models, cycles,
    protection, alerts, backups. Changes nothing. Exit code 1 when something has failed."""
    from app.local.checks.finding import Level, examine

    chosen, failed = chosen_settings(), 0
    for finding in examine(_apart_from_services(chosen)):
        failed += _show(finding, as_json=as_json) is Level.FAIL
    for finding in _with_services(chosen):
        failed += _show(finding, as_json=as_json) is Level.FAIL
    if failed:
        if not as_json:
            errors.print(f"[bold red]{failed} failed[/]")
        raise typer.Exit(1)


def _apart_from_services(chosen: Settings) -> Mapping[str, Check]:
    from app.celery_config import make_celery
    from app.local.checks import machine, stores

    return {
        "version": partial(machine.product, chosen),
        "directories": partial(machine.directories, chosen),
        "secrets": partial(machine.secrets, Path()),
        "database": partial(stores.schema, chosen),
        "queue": partial(stores.redis, chosen),
        "workers": partial(stores.workers, make_celery(chosen)),
    }


def _with_services(chosen: Settings) -> Iterator[Finding]:
    from app.local.checks.finding import examine, fail
    from app.wiring import build

    try:
        built = build(chosen)
    except AlphaTraderError as fault:
        yield fail("services", fault.message, "mend what it says, then look again")
        return
    try:
        yield from examine(_of_services(chosen, built))
    finally:
        built.close()


def _of_services(chosen: Settings, held: Services) -> Mapping[str, Check]:
    from app.local.checks import stores, trading
    from app.wiring import uses_models

    now = held.clock.now()
    checks: dict[str, Check] = {
        "venue": partial(trading.venue, chosen, held.alpaca, now),
        "feed": partial(trading.feed, held.alpaca, chosen.limits.max_price_age_seconds),
        "cycles": partial(trading.cycles, held.database, held.alpaca),
        "trading state": partial(trading.state, held.risk, held.database),
        "protection": partial(trading.protection, held.protection),
        "processes": partial(trading.listeners, held.database, now),
        "audit log": partial(stores.audit, held.database),
        "alerts": partial(stores.outbox, held.database, held.clock, has_channel=chosen.discord_webhook_url is not None),
        "backup": partial(trading.backups, chosen.backup_dir, now, needed=held.database.newest_slot_done() is not None),
    }
    if uses_models(chosen) and chosen.forecasts_file is None:
        checks["models"] = lambda: trading.models(held.ai, chosen.watchlist, held.alpaca.clock().now)
    return checks


def _show(finding: Finding, *, as_json: bool) -> str:
    if as_json:
        typer.echo(json.dumps(asdict(finding)))
        return finding.level
    colour = _COLOURS[finding.level]
    out.print(f"[{colour}]{finding.level:4}[/] [bold]{finding.subject:14}[/] {escape(finding.said)}", soft_wrap=True)
    if finding.mend:
        out.print(f"{'':20}{escape(finding.mend)}", soft_wrap=True)
    return finding.level

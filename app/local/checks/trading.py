"""Venue, feed, models, cycles, protection, backups: everything that trading rests on."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from app.config import Settings, TradingMode
from app.domain.trading_state import TradingState
from app.local.checks.finding import Finding, fail, ok, warn
from app.services.ai_service import AIService
from app.services.alpaca_service import AlpacaService
from app.services.database_service import DatabaseService
from app.services.guard.protection import ProtectionService
from app.services.guard.watchdog import LEASE as WATCHDOG
from app.services.risk_manager import RiskManager
from app.services.trading.trade_updates import LEASE as TRADE_UPDATES

_SKEW_WARN, _SKEW_FAIL = timedelta(seconds=2), timedelta(seconds=30)
_STALE = timedelta(minutes=20)
_OLD_MODEL = timedelta(days=7)
_SILENT = timedelta(minutes=2)
_OLD_BACKUP = timedelta(days=2)


def venue(chosen: Settings, alpaca: AlpacaService, at: datetime) -> Iterator[Finding]:
    """Keys, account and clock. at: our own time."""
    account = alpaca.account()
    said = f"account {account.account_id}, equity {account.equity:,.2f} {account.currency}"
    if account.trading_blocked:
        yield fail("venue", f"{said}: the venue has blocked trading", "ask the venue; nothing is sent meanwhile")
    else:
        yield ok("venue", said)
    if chosen.trading_mode is TradingMode.SIMULATED:
        return  # its clock is its own
    clock = alpaca.clock()
    skew = abs(clock.now - at)
    told = f"{skew.total_seconds():.1f} s apart from the venue's"
    if skew > _SKEW_FAIL:
        yield fail("clock", told, "synchronise this machine's clock (chrony, systemd-timesyncd); no entries until then")
    elif skew > _SKEW_WARN:
        yield warn("clock", told, "synchronise this machine's clock (chrony, systemd-timesyncd)")
    else:
        yield ok("clock", told)


def feed(alpaca: AlpacaService, oldest_seconds: float) -> Iterator[Finding]:
    """Whether prices are fresh while the venue is open."""
    clock = alpaca.clock()
    if not clock.is_open:
        yield ok("feed", f"the venue is closed until {clock.next_open:%Y-%m-%d %H:%M} UTC")
        return
    found = alpaca.snapshots()
    limit = timedelta(seconds=oldest_seconds)
    stale = [one.symbol for one in found.values() if one.priced_at is None or clock.now - one.priced_at > limit]
    if stale and len(stale) == len(found):
        yield fail("feed", f"no price of {len(found)} symbols is fresh", "does ALPACA_DATA_FEED fit your subscription?")
    elif stale:
        yield warn("feed", f"stale: {' '.join(stale[:10])}", "these are not traded; are they halted, or not in the feed?")
    else:
        yield ok("feed", f"{len(found)} symbols fresh")


def models(ai: AIService, watchlist: tuple[str, ...], at: datetime) -> Iterator[Finding]:
    """Whether every symbol of the watch list has a model that would be loaded, and how old they are. at: venue time."""
    known = {one.symbol: one for one in ai.status()}
    missing = [symbol for symbol in watchlist if symbol not in known or not known[symbol].usable]
    if missing:
        first = known.get(missing[0])
        why = f" ({first.detail})" if first is not None and first.detail else ""
        yield fail(
            "models", f"{len(missing)} of {len(watchlist)} unusable: {' '.join(missing[:8])}{why}", "train: `trader train`"
        )
        return
    ages = [at - one.trained_at for symbol in watchlist if (one := known[symbol]).trained_at is not None]
    oldest = max(ages, default=timedelta(0))
    said = f"{len(watchlist)} usable, the oldest trained {oldest.days} days ago"
    if oldest > _OLD_MODEL:
        yield warn("models", said, "is the nightly training (23:00 UTC) running? NIGHTLY_LEARNING, the learning worker, beat")
    else:
        yield ok("models", said)


def cycles(database: DatabaseService, alpaca: AlpacaService) -> Iterator[Finding]:
    """Whether decisions are made."""
    clock, done = alpaca.clock(), database.newest_slot_done()
    if done is None:
        yield warn("cycles", "none has run yet", "start the product: `make up`")
    elif clock.is_open and clock.now - done > _STALE:
        minutes = (clock.now - done).total_seconds() / 60
        yield fail("cycles", f"none for {minutes:.0f} minutes while the venue is open", "do beat and the trading worker run?")
    else:
        yield ok("cycles", f"the last was that of {done:%Y-%m-%d %H:%M} UTC")


def state(risk: RiskManager, database: DatabaseService) -> Iterator[Finding]:
    """Whether trading is allowed."""
    killed, current = risk.kill_file.reason(), database.risk_state()
    resume = "`trader risk status` tells why; `trader risk resume --reason ...` when it is mended"
    if killed is not None:
        yield warn("trading state", f"the kill switch is engaged: {killed}", resume)
    elif current is not None and current.trading_state is not TradingState.ACTIVE:
        yield warn("trading state", f"{current.trading_state.name} ({current.cause})", resume)
    else:
        yield ok("trading state", "ACTIVE" if current is not None else "no cycle has run yet")


def protection(service: ProtectionService) -> Iterator[Finding]:
    """Whether every holding is protected."""
    status = service.status()
    bare = [f"{one.symbol} ({one.why or 'nobody protects it'})" for one in status.positions if one.unprotected_quantity > 0]
    if bare:
        yield fail("protection", f"unprotected: {', '.join(bare)}", "start the exit monitor (`python -m app.guard`), or sell")
    elif not status.guard_alive and status.positions:
        yield warn("protection", "the exit monitor is not running; only orders at the venue protect", "`python -m app.guard`")
    else:
        yield ok("protection", f"{len(status.positions)} holdings, all protected")


def listeners(database: DatabaseService, at: datetime) -> Iterator[Finding]:
    """Whether the processes that stand apart have told of themselves lately. at: our own time."""
    for name, command in ((TRADE_UPDATES, "python -m app.stream"), (WATCHDOG, "python -m app.watchdog")):
        lease = database.lease(name)
        if lease is None or not lease.owner or at - lease.renewed_at > _SILENT:
            yield warn(name, "not running" if lease is None or not lease.owner else "silent", f"start it: `{command}`")
        else:
            yield ok(name, "running")


def backups(directory: Path, at: datetime, *, needed: bool) -> Iterator[Finding]:
    """Whether there is a backup of these days. needed: there is something that could be lost."""
    found = sorted(directory.glob("alpha-trader-*.backup"))
    if not found:
        if needed:
            yield warn("backup", "there is none", "call `trader backup make` every night (docs/operations.md)")
        return
    age = at - datetime.fromtimestamp(found[-1].stat().st_mtime, UTC)
    if age > _OLD_BACKUP:
        yield warn("backup", f"the newest is {age.days} days old", "why does `trader backup make` no longer run?")
    else:
        yield ok("backup", f"{found[-1].name}")

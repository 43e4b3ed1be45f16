"""Keeper of the risk state: the database is the record, `risk_state.json` a mirror a person can read (decision 18).

Nothing here ever clears a halt or forgets a peak by itself: what is lost is rebuilt from the history, or trading starts
halted; of two records the more cautious wins.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import structlog

from app.domain.errors import AlphaTraderError, Conflict
from app.domain.ports import Account, Clock
from app.domain.trading_state import Cause, RiskState, TradingState, VenueHealth, more_cautious
from app.risk.health import venue_trouble
from app.risk.limits import RiskLimits
from app.runtime.calendar import session_day
from app.runtime.kill_file import KillFile
from app.services.database_service import DatabaseService
from app.services.risk.mirror import RiskMirror, parse
from app.services.risk.status import risk_status

log = structlog.get_logger()

MIRROR = "risk_state.json"


class RiskManager:
    """Live limits (S0-36): reads and keeps the state; the rules themselves are in `app.risk`.

    state_dir: where the mirror and the kill file are. health: how this process's calls to the venue fared lately."""

    def __init__(
        self,
        *,
        database: DatabaseService,
        limits: RiskLimits,
        state_dir: Path,
        clock: Clock,
        health: Callable[[], VenueHealth] = VenueHealth,
    ) -> None:
        self._database = database
        self._limits = limits
        self._mirror = RiskMirror(state_dir / MIRROR)
        self._clock = clock
        self._health = health
        self.kill_file = KillFile(state_dir)

    def peek(self, account: Account, session: str, now: datetime) -> RiskState:
        """The state of record, or the one a first cycle would begin with; nothing is written."""
        return self._database.risk_state() or _first_state(account, session, now)

    def current(self, account: Account, session: str, now: datetime, *, adopted: bool = False) -> RiskState:
        """The state to decide under, in force in database and mirror when it returns.

        It begins ACTIVE only where nothing is known of a past: no record, no history, no mirror, and a venue without
        positions or orders (adopted: it had some that our books did not know). Raises ConfigurationError when a newer
        version of the product has written the mirror.
        """
        mirrored = self._mirror.read()
        stored = self._database.risk_state()
        if stored is None:
            state, why = self._rebuilt(mirrored.state, bool(mirrored.fault), _first_state(account, session, now))
        else:
            state, why = _cross_checked(stored, mirrored.state, now)
        if adopted:
            state, why = _halted(state, Cause.BOOKS_LOST, now), "our books were empty and the venue was not"
        reason = self.kill_file.reason()
        if reason is not None and state.trading_state < TradingState.HALTED:
            state, why = _halted(state, Cause.KILLED, now), reason
        if state != stored:
            self._database.save_risk_state(state, detail=why)
            if stored is not None or why:
                self._database.enqueue_alert("risk", f"Trading is {state.trading_state.name} ({state.cause}): {why}")
        if mirrored.fault and stored is not None:
            self._database.enqueue_alert("risk", f"{MIRROR} is written anew from the database: {mirrored.fault}")
        if mirrored.state != state:
            self._mirror.tidy(self._clock.now())
            self._mirror.write(state)
        return state

    def mirror(self, state: RiskState) -> None:
        """Write the mirror: whole or not at all."""
        self._mirror.write(state)

    def entries_forbidden(self) -> str | None:
        """Why no order may take on risk at this instant, None when it may. Asked right before each such order is sent: the
        kill file last, because it alone can have changed since. What cannot be read forbids."""
        try:
            state = self._database.risk_state()
        except AlphaTraderError as fault:
            return f"the risk state cannot be read: {fault.message}"
        if state is None or state.trading_state is not TradingState.ACTIVE:
            return f"trading is {state.trading_state.name} ({state.cause})" if state else "there is no risk state"
        trouble = venue_trouble(self._health(), self._limits)
        if trouble:
            return "the venue fails: " + ", ".join(sorted(cause.code for cause in trouble))
        killed = self.kill_file.reason()
        return None if killed is None else f"the kill switch is engaged: {killed}"

    def halt(self, actor: str, reason: str = "") -> RiskState:
        """Stop everything until a person resumes; protective orders stay at the venue."""
        return self._change(actor, reason, trading_state=TradingState.HALTED, cause=Cause.OPERATOR.code)

    def kill(self, actor: str, reason: str) -> RiskState | None:
        """Record that the kill switch was used; a sale of everything under way goes on. None before the first cycle."""
        state = self._database.risk_state()
        if state is None or state.trading_state is TradingState.FLATTENING:
            return state
        return self._change(actor, reason, trading_state=TradingState.HALTED, cause=Cause.KILLED.code)

    def resume(self, actor: str, reason: str = "", *, accept_losses: bool = False) -> RiskState:
        """Trade again, kill switch included, which asks for a reason. Conflict while a loss limit is still exceeded, unless
        accept_losses: then losses count from the newest equity on. What else persists stops it in the next cycle."""
        state = self._database.risk_state()
        if state is None:
            raise Conflict("no cycle has run yet, so there is nothing to halt or resume; start the system first")
        killed = self.kill_file.reason() is not None or state.cause == Cause.KILLED.code
        if state.trading_state is TradingState.ACTIVE and not killed:
            return state
        if killed and not reason.strip():
            raise Conflict("the kill switch is engaged: say why trading may go on", code="reason_required")
        changes: dict[str, Any] = {"trading_state": TradingState.ACTIVE, "cause": Cause.OPERATOR.code}
        latest = self._database.equity_curve(limit=1)
        if latest and accept_losses and latest[0].equity > 0:
            changes |= {"baseline_equity": latest[0].equity, "high_water_equity": latest[0].equity}
        elif latest:
            self._refuse_while_lost(state, latest[0].equity)
        resumed = self._change(actor, reason, **changes)
        self.kill_file.remove()
        return resumed

    def enable(self, symbol: str, actor: str, reason: str = "") -> RiskState:
        """Allow entries in a disabled symbol again. Conflict if it is not disabled."""
        state = self._database.risk_state()
        if state is None or symbol not in state.disabled_symbols:
            raise Conflict(f"{symbol} is not disabled")
        left = tuple(name for name in state.disabled_symbols if name != symbol)
        return self._change(actor, f"enabled {symbol}. {reason}".strip(), disabled_symbols=left)

    def venue_lost(self, detail: str) -> None:
        """A cycle could not read the venue: no entries until one can."""
        state = self._database.risk_state()
        if state is not None and state.trading_state is TradingState.ACTIVE:
            lost = {"trading_state": TradingState.REDUCING, "cause": Cause.CONNECTIVITY.code}
            self._change("system", detail, based_on=state, **lost)

    def locked_out(self, detail: str) -> None:
        """The venue refused our keys: a person has to look at them before anything is sent again."""
        state = self._database.risk_state()
        if state is not None and state.trading_state < TradingState.HALTED:
            halted = {"trading_state": TradingState.HALTED, "cause": Cause.UNAUTHORIZED.code}
            self._change("system", detail, based_on=state, **halted)

    def books_differ(self, state: RiskState, detail: str) -> RiskState:
        """Our books and the venue's differ and nothing explains it: no entries until they agree again. state: the one in
        force; the one in force then is returned."""
        if state.trading_state is not TradingState.ACTIVE:
            return state
        reducing = {"trading_state": TradingState.REDUCING, "cause": Cause.BOOKS_DIFFER.code, "steady_readings": 0}
        return self._change("system", detail, based_on=state, **reducing)

    def status(self) -> dict[str, Any]:
        """The state, the limits, what the last cycle's equity leaves of each, the breakers with what they last read, and
        the kill file."""
        return risk_status(self._database, self._limits) | {"kill_file": self.kill_file.reason()}

    def _rebuilt(self, mirrored: RiskState | None, damaged: bool, first: RiskState) -> tuple[RiskState, str]:
        """The state where the database has none."""
        (event, *_) = self._database.risk_events(1) or (None,)
        curve = [point.equity for point in self._database.equity_curve()]
        peak = max([first.high_water_equity, *curve])
        recorded = parse(event.state) if event else None
        if recorded is not None:
            known = more_cautious(recorded, mirrored) if mirrored else recorded
            return (
                replace(known, high_water_equity=max(known.high_water_equity, peak), epoch=known.epoch + 1),
                "the risk state was lost and is rebuilt from its history",
            )
        if event is None and mirrored is None and not damaged and not curve:
            return first, ""
        base = mirrored or replace(first, epoch=event.epoch if event else 0)
        base = replace(base, high_water_equity=max(base.high_water_equity, peak))
        return _halted(base, Cause.STATE_LOST, first.since), "the database has no risk state, but there was one"

    def _refuse_while_lost(self, state: RiskState, equity: Decimal) -> None:
        limits = self._limits
        if equity <= state.high_water_equity * _left_after(limits.max_drawdown_fraction):
            raise Conflict(
                f"the equity of {equity} is still {limits.max_drawdown_fraction:.0%} or more below its peak of "
                f"{state.high_water_equity}; accept the losses to count from here",
                code="limit_holds",
            )
        # A new day takes its own baseline with the next cycle, which judges by it.
        same_day = state.baseline_session == session_day(self._clock.now()).isoformat()
        if same_day and equity <= state.baseline_equity * _left_after(limits.max_daily_loss_fraction):
            raise Conflict(
                f"the equity of {equity} is still {limits.max_daily_loss_fraction:.0%} or more below today's baseline of "
                f"{state.baseline_equity}; accept the losses to count from here",
                code="limit_holds",
            )

    def _change(self, actor: str, detail: str, *, based_on: RiskState | None = None, **changes: Any) -> RiskState:
        """based_on: give up, without a word, when another state came into force since."""
        for _ in range(5):
            state = self._database.risk_state()
            if state is None:
                raise Conflict("no cycle has run yet, so there is nothing to halt or resume; start the system first")
            nothing_new = all(getattr(state, name) == value for name, value in changes.items() if name != "cause")
            if nothing_new or (based_on is not None and state != based_on):
                return state
            by_whom = {"actor": actor, "since": self._clock.now(), "until": None, "suspected_at": None}
            dated = changes | by_whom if "trading_state" in changes else changes
            changed = replace(state, **dated, epoch=state.epoch + 1)
            with contextlib.suppress(Conflict):  # a cycle changed the state in between: read it again
                self._database.save_risk_state(changed, at=self._clock.now(), actor=actor, detail=detail)
                self._mirror.write(changed)
                said = f"{actor} set trading to {changed.trading_state.name} ({changed.cause})"
                self._database.enqueue_alert("risk", f"{said}: {detail}" if detail else said)
                return changed
        raise Conflict("the risk state keeps changing; try again")


def _cross_checked(stored: RiskState, mirrored: RiskState | None, now: datetime) -> tuple[RiskState, str]:
    """The database's state beside the mirror's: an older mirror tells nothing, a newer one an older database."""
    if mirrored is None or mirrored.epoch < stored.epoch:
        return stored, ""
    if mirrored.epoch > stored.epoch:
        merged = _halted(more_cautious(stored, mirrored), Cause.STATE_LOST, now)
        return merged, f"the database is older than {MIRROR} (epoch {stored.epoch} and {mirrored.epoch}): was it restored?"
    merged = more_cautious(stored, mirrored)
    return merged, f"{MIRROR} says {mirrored.trading_state.name}, the database {stored.trading_state.name}; caution wins"


def _halted(state: RiskState, cause: Cause, now: datetime) -> RiskState:
    """At least HALTED, with an epoch of its own."""
    if state.trading_state >= TradingState.HALTED:
        return replace(state, epoch=state.epoch + 1)
    return replace(
        state,
        trading_state=TradingState.HALTED,
        cause=cause.code,
        actor="system",
        since=now,
        until=None,
        suspected_at=None,
        epoch=state.epoch + 1,
    )


def _left_after(fraction: float) -> Decimal:
    return 1 - Decimal(repr(fraction))


def _first_state(account: Account, session: str, now: datetime) -> RiskState:
    baseline = account.previous_close_equity if account.previous_close_equity > Decimal(0) else account.equity
    return RiskState(
        trading_state=TradingState.ACTIVE,
        cause=Cause.STARTED.code,
        actor="system",
        since=now,
        baseline_equity=baseline,
        baseline_session=session,
        high_water_equity=account.equity,
    )

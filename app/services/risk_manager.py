"""Keeper of the risk state: the database is the record, `risk_state.json` a mirror a person can read (decision 18)."""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import asdict, replace
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import structlog
from pydantic import TypeAdapter, ValidationError

from app.domain.errors import Conflict
from app.domain.ports import Account, Clock
from app.domain.records import EquityPoint
from app.domain.trading_state import Cause, RiskState, TradingState
from app.risk.limits import RiskLimits
from app.services.database_service import DatabaseService

log = structlog.get_logger()
_STATE: TypeAdapter[RiskState] = TypeAdapter(RiskState)


class RiskManager:
    """Live limits (S0-36): reads and keeps the state; the rules themselves are in `app.risk`."""

    def __init__(self, *, database: DatabaseService, limits: RiskLimits, mirror: Path, clock: Clock) -> None:
        self._database = database
        self._limits = limits
        self._mirror = mirror
        self._clock = clock

    def peek(self, account: Account, session: str, now: datetime) -> RiskState:
        """The state of record, or the one a first cycle would begin with; nothing is written."""
        return self._database.risk_state() or _first_state(account, session, now)

    def current(self, account: Account, session: str, now: datetime) -> RiskState:
        """The state of record; on the very first call it begins ACTIVE at the account's equity. The mirror is compared:
        where it is more cautious it wins, with an alert."""
        state = self._database.risk_state()
        if state is None:
            state = _first_state(account, session, now)
            self._database.save_risk_state(state)
        mirrored = self._read_mirror()
        if mirrored is not None and mirrored.epoch >= state.epoch and mirrored.trading_state > state.trading_state:
            self._database.enqueue_alert(
                "risk",
                f"risk_state.json says {mirrored.trading_state.name}, the database {state.trading_state.name}; caution wins",
            )
            state = replace(state, trading_state=mirrored.trading_state, cause=mirrored.cause, epoch=mirrored.epoch + 1)
            self._database.save_risk_state(state)
        if mirrored != state:
            self.mirror(state)
        return state

    def mirror(self, state: RiskState) -> None:
        """Write the mirror: whole or not at all."""
        self._mirror.parent.mkdir(parents=True, exist_ok=True)
        draft = self._mirror.with_name(f".{self._mirror.name}.{os.getpid()}")
        with draft.open("wb") as file:
            file.write(_STATE.dump_json(state, indent=2))
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self._mirror)

    def halt(self, actor: str) -> RiskState:
        """Stop everything until a person resumes; protective orders stay at the venue."""
        return self._change(TradingState.HALTED, actor)

    def resume(self, actor: str) -> RiskState:
        """Trade again. While a limit is still exceeded the next cycle stops it again."""
        return self._change(TradingState.ACTIVE, actor)

    def status(self) -> dict[str, Any]:
        """The state, the limits, and what the last cycle's equity leaves of each."""
        state = self._database.risk_state()
        if state is None:
            return {"trading_state": "NOT_STARTED", "cause": "no cycle has run yet", "limits": self._limits._asdict()}
        answer = {**asdict(state), "trading_state": state.trading_state.name, "limits": self._limits._asdict()}
        latest = self._database.equity_curve(limit=1)
        return answer | (self._used(state, latest[-1]) if latest else {})

    def _used(self, state: RiskState, point: EquityPoint) -> dict[str, Any]:
        """Fractions of equity in use, and how far each is from its limit."""
        limits, equity = self._limits, point.equity
        if equity <= 0 or state.baseline_equity <= 0:
            return {"equity_at": point.at, "equity": equity}
        daily = float(equity / state.baseline_equity - 1)
        drawdown = float(1 - equity / max(equity, state.high_water_equity))
        exposure = float(point.positions_value / equity)
        positions = len(self._database.portfolio().positions)
        return {
            "equity_at": point.at,
            "equity": equity,
            "daily_return": daily,
            "drawdown": drawdown,
            "exposure": exposure,
            "positions_used": positions,
            "left": {
                "daily_loss": limits.max_daily_loss_fraction + daily,
                "drawdown": limits.max_drawdown_fraction - drawdown,
                "exposure": limits.max_exposure_fraction - exposure,
                "positions": limits.max_positions - positions,
            },
        }

    def _change(self, trading_state: TradingState, actor: str) -> RiskState:
        for _ in range(5):
            state = self._database.risk_state()
            if state is None:
                raise Conflict("no cycle has run yet, so there is nothing to halt or resume; start the system first")
            if state.trading_state is trading_state:
                return state
            changed = replace(
                state,
                trading_state=trading_state,
                cause=Cause.OPERATOR.code,
                actor=actor,
                since=self._clock.now(),
                until=None,
                suspected_at=None,
                epoch=state.epoch + 1,
            )
            with contextlib.suppress(Conflict):  # a cycle changed the state in between: read it again
                self._database.save_risk_state(changed)
                self.mirror(changed)
                self._database.enqueue_alert("risk", f"{actor} set trading to {trading_state.name}")
                return changed
        raise Conflict("the risk state keeps changing; try again")

    def _read_mirror(self) -> RiskState | None:
        try:
            return _STATE.validate_json(self._mirror.read_bytes())
        except FileNotFoundError:
            return None
        except (ValidationError, json.JSONDecodeError, OSError) as error:
            log.warning("risk_mirror_unreadable", path=str(self._mirror), error=str(error)[:200])
            return None


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

"""The risk state as it is shown: limits with the distance to each, breakers with what they last read."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from app.domain.records import EquityPoint
from app.domain.trading_state import Doubt, RiskState
from app.risk.limits import RiskLimits
from app.services.database_service import DatabaseService

READINGS = "readings"  # beside the recorded inputs of a cycle


def risk_status(database: DatabaseService, limits: RiskLimits) -> dict[str, Any]:
    """Plain values; before the first cycle only the limits."""
    state = database.risk_state()
    if state is None:
        return {"trading_state": "NOT_STARTED", "cause": "no cycle has run yet", "limits": limits._asdict()}
    answer = {**asdict(state), "trading_state": state.trading_state.name, "limits": limits._asdict()}
    latest = database.equity_curve(limit=1)
    used = _used(database, state, latest[-1], limits) if latest else {}
    return answer | used | {"breakers": breakers(_last_readings(database), limits)}


def breakers(readings: Mapping[str, Any], limits: RiskLimits) -> list[dict[str, Any]]:
    """Each breaker with its reading, its limit and whether it is tripped; null where nothing was read."""
    equity, baseline, marked = (_number(readings, name) for name in ("equity", "baseline", "marked"))
    calls, errors = _number(readings, "calls"), _number(readings, "errors")
    lost = 1.0 - equity / baseline if baseline > 0 else math.nan
    rate = errors / calls if calls >= limits.min_calls else 0.0 if calls >= 0 else math.nan
    rows = (
        ("daily_loss", lost, limits.max_daily_loss_fraction, lost >= limits.max_daily_loss_fraction - 1e-12),
        ("hard_daily_loss", lost, limits.flatten_daily_loss_fraction, lost >= limits.flatten_daily_loss_fraction - 1e-12),
        ("equity_unreliable", abs(equity / marked - 1.0) if marked > 0 else math.nan, limits.equity_tolerance_fraction, None),
        ("connectivity", _number(readings, "silent_seconds"), limits.max_silence_seconds, None),
        ("venue_errors", rate, limits.max_error_fraction, None),
        ("clock_skew", _number(readings, "clock_skew_seconds"), limits.max_clock_skew_seconds, None),
        ("stale_data", _number(readings, "stale_fraction"), limits.max_stale_fraction, None),
        ("extreme_volatility", _number(readings, "stress"), limits.market_volatility_multiple, None),
    )
    doubt = Doubt(int(_number(readings, "doubt"))) if "doubt" in readings else None
    shown = [
        {
            "breaker": name,
            "reading": None if math.isnan(reading) else reading,
            "limit": limit,
            "tripped": reading > limit if tripped is None else tripped,
        }
        for name, reading, limit, tripped in rows
    ]
    return [_doubted(row, doubt) if row["breaker"] == "equity_unreliable" and doubt is not None else row for row in shown]


def _doubted(row: dict[str, Any], doubt: Doubt) -> dict[str, Any]:
    return row | {"tripped": doubt is not Doubt.NONE, "doubt": doubt.text}


def _number(readings: Mapping[str, Any], name: str) -> float:
    value = readings.get(name)
    return math.nan if value is None else float(value)


def _last_readings(database: DatabaseService) -> Mapping[str, Any]:
    decided = next((cycle for cycle in database.cycles(20) if cycle.decided_at is not None), None)
    inputs = database.cycle(decided.cycle_id).inputs if decided else None
    found: Mapping[str, Any] = (inputs or {}).get(READINGS) or {}
    return found


def _used(database: DatabaseService, state: RiskState, point: EquityPoint, limits: RiskLimits) -> dict[str, Any]:
    """Fractions of equity in use, and how far each is from its limit."""
    equity = point.equity
    if equity <= 0 or state.baseline_equity <= 0:
        return {"equity_at": point.at, "equity": equity}
    daily = float(equity / state.baseline_equity - 1)
    drawdown = float(1 - equity / max(equity, state.high_water_equity))
    exposure = float(point.positions_value / equity)
    positions = len(database.portfolio().positions)
    return {
        "equity_at": point.at,
        "equity": equity,
        "daily_return": daily,
        "drawdown": drawdown,
        "exposure": exposure,
        "positions_used": positions,
        "left": {
            "daily_loss": limits.max_daily_loss_fraction + daily,
            "hard_daily_loss": limits.flatten_daily_loss_fraction + daily,
            "drawdown": limits.max_drawdown_fraction - drawdown,
            "exposure": limits.max_exposure_fraction - exposure,
            "positions": limits.max_positions - positions,
        },
    }

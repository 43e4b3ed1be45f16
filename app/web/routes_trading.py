"""Decisions, and what became of them; starting a cycle by hand."""

from __future__ import annotations

from typing import Any

from flask import Response, jsonify, request
from werkzeug.exceptions import MethodNotAllowed

from app.engine.decision import SymbolRecord
from app.risk.limits import Policy
from app.web import wire
from app.web.acceptance import accept
from app.web.answers import Accepted, Cycles, Decisions, Equity, Fills, Orders, Signal
from app.web.blueprint import blueprint, services
from app.web.schemas import DecisionsQuery, EmptyBody, EquityQuery, HistoryQuery, IdempotencyHeader, LimitQuery, SymbolPath, utc

api = blueprint("trading", "Decisions, orders, fills")


@api.get("/api/trading/signal/<path:symbol>", summary="Signal", responses={200: Signal})
def signal(path: SymbolPath) -> dict[str, Any]:
    """What the system would do with a symbol now, and why. Nothing is sent."""
    record = services().trading.signal(path.symbol)
    return wire.decision(record) | {"signal": signal_word(record, _policy_of(record))}


@api.post("/api/trading/auto/start", summary="Run a trading cycle now", responses={202: Accepted})
def start_cycle(body: EmptyBody, header: IdempotencyHeader) -> Response:  # noqa: ARG001 - refuses unexpected fields
    """Run one cycle by hand, beside the scheduled one of the present slot. Whoever got no answer repeats the request with the
    same Idempotency-Key: it is one cycle, however often it is asked for."""
    return accept("trading_cycle", {"trigger": "manual"}, key=header.key)


@api.get("/api/trading/auto/start", summary="Run a trading cycle now", responses={202: Accepted}, deprecated=True)
def start_cycle_by_get() -> Response:
    """As POST on the same path, which is the one to use: a GET should change nothing."""
    if request.method == "HEAD":  # answered by every GET route; asking about a page must not trade
        raise MethodNotAllowed(["GET", "POST"])
    response = accept("trading_cycle", {"trigger": "manual"})
    response.headers["Deprecation"] = "@1767225600"
    response.headers["Link"] = '</api/trading/auto/start>; rel="successor-version"'
    return response


@api.get("/api/decisions", summary="Decisions", responses={200: Decisions})
def decisions(query: DecisionsQuery) -> Response:
    """Why each symbol was or was not traded, newest first."""
    rows = services().database.decisions(symbol=query.symbol, cycle_id=query.cycle, limit=query.limit, before=utc(query.before))
    return jsonify({"decisions": [wire.decision(row) for row in rows]})


@api.get("/api/cycles", summary="Trading cycles", responses={200: Cycles})
def cycles(query: LimitQuery) -> Response:
    """Trading cycles with outcome and timings, newest first."""
    return jsonify({"cycles": [wire.fields(row) for row in services().database.cycles(query.limit)]})


@api.get("/api/orders", summary="Orders", responses={200: Orders})
def orders(query: HistoryQuery) -> Response:
    """Orders and their state, newest first."""
    rows = services().database.orders(limit=query.limit, symbol=query.symbol)
    return jsonify({"orders": [wire.fields(row) for row in rows]})


@api.get("/api/fills", summary="Fills", responses={200: Fills})
def fills(query: HistoryQuery) -> Response:
    """Fills as booked, newest first."""
    rows = services().database.fills(limit=query.limit, symbol=query.symbol)
    return jsonify({"fills": [wire.fill(row) for row in rows]})


@api.get("/api/equity", summary="Equity curve", responses={200: Equity})
def equity(query: EquityQuery) -> Response:
    """Cash, holdings and equity after each cycle."""
    rows = services().database.equity_curve(since=utc(query.since), limit=query.limit)
    return jsonify({"equity": [wire.fields(row) for row in rows]})


def _policy_of(record: SymbolRecord) -> Policy:
    """That of the strategy whose word it was, where several share the account."""
    held = services()
    return next((one.policy for one in held.sleeves if one.strategy == record.strategy), held.policy)


def signal_word(record: SymbolRecord, policy: Policy) -> str:
    """BUY, SELL or HOLD by thresholds alone; anything unknown is HOLD."""
    if not record.confidence >= policy.confidence_threshold:
        return "HOLD"
    if record.expected_return >= policy.buy_threshold:
        return "BUY"
    return "SELL" if record.expected_return <= policy.sell_threshold else "HOLD"

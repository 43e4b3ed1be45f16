"""All tables, by what they are about. Money, prices and quantities of orders are exact decimals; bars are binary floats."""

from __future__ import annotations

from app.storage.tables.accounts import API_TOKENS, LOGIN_ATTEMPTS, SESSIONS, USERS
from app.storage.tables.audit import AUDIT_HEAD, AUDIT_LOG
from app.storage.tables.books import (
    ACCOUNT,
    ADOPTIONS,
    CASH_ENTRIES,
    EQUITY_CURVE,
    POSITION_PLANS,
    POSITIONS,
    RECONCILIATIONS,
    RISK_EVENTS,
    RISK_STATE,
)
from app.storage.tables.market import BAR_BLOCKS, BARS
from app.storage.tables.metadata import METADATA
from app.storage.tables.operations import BUILD, LEASES, OUTBOX, REDELIVERIES, TASKS
from app.storage.tables.research import (
    BACKTESTS,
    DATA_SETS,
    LOOKAHEAD_CHECKS,
    OPTIMIZER_RESULTS,
    RESEARCH_CHUNKS,
    RESEARCH_RUNS,
    TRIALS,
    VERDICT_OVERRIDES,
    VERDICTS,
)
from app.storage.tables.trading import CYCLES, DECISIONS, FILLS, INTENTS, VENUE_ORDER_IDS

__all__ = [
    "ACCOUNT",
    "ADOPTIONS",
    "API_TOKENS",
    "AUDIT_HEAD",
    "AUDIT_LOG",
    "BACKTESTS",
    "BARS",
    "BAR_BLOCKS",
    "BUILD",
    "CASH_ENTRIES",
    "CYCLES",
    "DATA_SETS",
    "DECISIONS",
    "EQUITY_CURVE",
    "FILLS",
    "INTENTS",
    "LEASES",
    "LOGIN_ATTEMPTS",
    "LOOKAHEAD_CHECKS",
    "METADATA",
    "OPTIMIZER_RESULTS",
    "OUTBOX",
    "POSITIONS",
    "POSITION_PLANS",
    "RECONCILIATIONS",
    "REDELIVERIES",
    "RESEARCH_CHUNKS",
    "RESEARCH_RUNS",
    "RISK_EVENTS",
    "RISK_STATE",
    "SESSIONS",
    "TASKS",
    "TRIALS",
    "USERS",
    "VENUE_ORDER_IDS",
    "VERDICTS",
    "VERDICT_OVERRIDES",
]

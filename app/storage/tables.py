"""All tables. Money, prices and quantities of orders are exact decimals; bars are binary floats, as arrays want them."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    false,
)

from app.domain.account import Proof, Role
from app.domain.activity import ActivityKind
from app.domain.audit import FIELDS
from app.domain.order import OrderType, Purpose, Side, TimeInForce
from app.domain.order_state import OrderState
from app.domain.records import CycleState, IntentOrigin, TaskState
from app.domain.research import ChunkState, RunState
from app.domain.verdict import Level
from app.storage.columns import ExactDecimal, Instant, Json, Word, Words

METADATA = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    }
)

# timestamp, known_at: seconds since 1970 UTC, as in `BarSeries`. NULL prices are NaN.
BARS = Table(
    "bars",
    METADATA,
    Column("symbol", Words, primary_key=True),
    Column("timeframe", Words, primary_key=True),
    Column("timestamp", BigInteger, primary_key=True, autoincrement=False),
    Column("known_at", BigInteger, nullable=False),
    Column("open", Double),
    Column("high", Double),
    Column("low", Double),
    Column("close", Double),
    Column("volume", Double),
    sqlite_with_rowid=False,
)

# Copies of rows of BARS, see `app.storage.bar_blocks`. first, last: timestamps.
BAR_BLOCKS = Table(
    "bar_blocks",
    METADATA,
    Column("symbol", Words, primary_key=True),
    Column("timeframe", Words, primary_key=True),
    Column("first", BigInteger, primary_key=True, autoincrement=False),
    Column("last", BigInteger, nullable=False),
    Column("data", LargeBinary, nullable=False),
)

CYCLES = Table(
    "cycles",
    METADATA,
    Column("cycle_id", Words, primary_key=True),
    Column("slot", Instant, nullable=False, index=True),
    Column("state", Word(CycleState), nullable=False, index=True),
    Column("trigger", Words, nullable=False),
    Column("owner", Words, nullable=False),
    Column("started_at", Instant, nullable=False, index=True),
    Column("finished_at", Instant),
    Column("decided_at", Instant),
    Column("outcome", Words),
    Column("detail", Words, nullable=False),
    Column("timings", Json, nullable=False),
    Column("inputs", Json),
)

DECISIONS = Table(
    "decisions",
    METADATA,
    Column("cycle_id", Words, ForeignKey("cycles.cycle_id"), primary_key=True),
    Column("symbol", Words, primary_key=True),
    Column("decided_at", Instant, nullable=False, index=True),
    Column("reason", Words, nullable=False),
    Column("side", Word(Side)),
    Column("quantity", ExactDecimal),
    Column("held_quantity", ExactDecimal, nullable=False),
    Column("price", Double),
    Column("expected_return", Double),
    Column("confidence", Double),
    Column("volatility", Double),
    Column("members", Json, nullable=False),
    Column("sizing", Json, nullable=False),
    Column("sizing_bound", Words),
    Column("detail", Words, nullable=False),
    Index(None, "symbol", "decided_at"),
)

INTENTS = Table(
    "intents",
    METADATA,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("client_order_id", Words, nullable=False, unique=True),
    Column("cycle_id", Words, ForeignKey("cycles.cycle_id"), index=True),
    Column("origin", Word(IntentOrigin), nullable=False),
    Column("state", Word(OrderState), nullable=False, index=True),
    Column("symbol", Words, nullable=False, index=True),
    Column("side", Word(Side), nullable=False),
    Column("quantity", ExactDecimal, nullable=False),
    Column("purpose", Word(Purpose), nullable=False),
    Column("reason", Words, nullable=False),
    Column("type", Word(OrderType), nullable=False),
    Column("time_in_force", Word(TimeInForce), nullable=False),
    Column("limit_price", ExactDecimal),
    Column("stop_price", ExactDecimal),
    Column("take_profit_price", ExactDecimal),
    Column("stop_loss_price", ExactDecimal),
    Column("expires_at", Instant),
    Column("attempt", Integer, nullable=False),
    Column("venue_order_id", Words, unique=True),
    Column("parent_id", Words, ForeignKey("intents.client_order_id"), index=True),
    Column("filled_quantity", ExactDecimal, nullable=False),
    Column("filled_average_price", ExactDecimal),
    Column("created_at", Instant, nullable=False),
    Column("sent_at", Instant),
    Column("updated_at", Instant, nullable=False),
    Column("error", Words),
    Column("source", Words),
    Column("booked_quantity", ExactDecimal, nullable=False),
    Column("missed_at", Instant),
    Column("pending_since", Instant),
    Column("told_at", Instant),
)

# Every id the venue ever knew an order by: one whose terms were changed there gets a new one.
VENUE_ORDER_IDS = Table(
    "venue_order_ids",
    METADATA,
    Column("venue_order_id", Words, primary_key=True),
    Column("client_order_id", Words, ForeignKey("intents.client_order_id"), nullable=False, index=True),
)

FILLS = Table(
    "fills",
    METADATA,
    Column("execution_id", Words, primary_key=True),
    Column("venue_order_id", Words, nullable=False, index=True),
    Column("symbol", Words, nullable=False),
    Column("side", Word(Side), nullable=False),
    Column("quantity", ExactDecimal, nullable=False),
    Column("price", ExactDecimal, nullable=False),
    Column("commission", ExactDecimal, nullable=False),
    Column("filled_at", Instant, nullable=False),
    Column("booked_at", Instant, nullable=False),
    Column("reverses", Words, index=True, unique=True),
    Index(None, "filled_at", "execution_id"),
    Index(None, "symbol", "filled_at"),
)

# The one account: its opening, and the fold of cash_entries and fills since (cash, realized; `positions`).
ACCOUNT = Table(
    "account",
    METADATA,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("account_id", Words, nullable=False),
    Column("opened_at", Instant, nullable=False),
    Column("opening_cash", ExactDecimal, nullable=False),
    Column("cash", ExactDecimal, nullable=False),
    Column("realized", ExactDecimal, nullable=False),
    Column("fills_listed_at", Instant),  # venue time by which every execution was asked for
    Column("had_past", Boolean, nullable=False, server_default=false()),  # not empty when these books began
)

# What else moved money or shares, by the venue's id. effective_at: when it counts; NULL: part of the opening.
CASH_ENTRIES = Table(
    "cash_entries",
    METADATA,
    Column("activity_id", Words, primary_key=True),
    Column("kind", Word(ActivityKind), nullable=False),
    Column("word", Words, nullable=False),
    Column("at", Instant, nullable=False, index=True),
    Column("effective_at", Instant, index=True),
    Column("amount", ExactDecimal, nullable=False),
    Column("symbol", Words),
    Column("quantity", ExactDecimal, nullable=False),
    Column("price", ExactDecimal),
    Column("description", Words, nullable=False),
    Column("booked_at", Instant, nullable=False),
)

# How each comparison of our books with the venue's ended.
RECONCILIATIONS = Table(
    "reconciliations",
    METADATA,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("at", Instant, nullable=False),
    Column("recorded_at", Instant, nullable=False),
    Column("trigger", Words, nullable=False),
    Column("fills", Integer, nullable=False),
    Column("adopted", Json, nullable=False),
    Column("explained", Json, nullable=False),
    Column("unexplained", Json, nullable=False),
)

POSITIONS = Table(
    "positions",
    METADATA,
    Column("symbol", Words, primary_key=True),
    Column("quantity", ExactDecimal, nullable=False),
    Column("average_entry_price", ExactDecimal, nullable=False),
    Column("opened_at", Instant),
)

# Holdings taken over from the venue as they stood at `at`, without the fills that made them.
ADOPTIONS = Table(
    "adoptions",
    METADATA,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("at", Instant, nullable=False),
    Column("symbol", Words, nullable=False),
    Column("quantity", ExactDecimal, nullable=False),
    Column("average_entry_price", ExactDecimal, nullable=False),
    Column("opened_at", Instant),
)

EQUITY_CURVE = Table(
    "equity_curve",
    METADATA,
    Column("cycle_id", Words, ForeignKey("cycles.cycle_id"), primary_key=True),
    Column("at", Instant, nullable=False, index=True),
    Column("cash", ExactDecimal, nullable=False),
    Column("positions_value", ExactDecimal, nullable=False),
    Column("equity", ExactDecimal, nullable=False),
    Column("venue_equity", ExactDecimal),
)

# How each holding is going to be left. stop, best, ...: as in `Progress`; the prices are its levels, NULL for none.
POSITION_PLANS = Table(
    "position_plans",
    METADATA,
    Column("symbol", Words, primary_key=True),
    Column("opened_at", Instant),
    Column("updated_at", Instant, nullable=False),
    Column("initial_stop", Double, nullable=False),
    Column("best", Double, nullable=False),
    Column("stop", Double, nullable=False),
    Column("partial_taken", Double, nullable=False),
    Column("stop_price", ExactDecimal),
    Column("target_price", ExactDecimal),
    Column("partial_price", ExactDecimal),
)

RISK_STATE = Table(
    "risk_state",
    METADATA,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("epoch", Integer, nullable=False),
    Column("trading_state", Words, nullable=False),
    Column("cause", Words, nullable=False),
    Column("actor", Words, nullable=False),
    Column("since", Instant, nullable=False),
    Column("until", Instant),
    Column("baseline_equity", ExactDecimal, nullable=False),
    Column("baseline_session", Words, nullable=False),
    Column("high_water_equity", ExactDecimal, nullable=False),
    Column("suspected_at", Instant),
    Column("steady_readings", Integer, nullable=False, server_default="3"),
    Column("doubted_equity", ExactDecimal),
    Column("disabled_symbols", Words, nullable=False, server_default=""),  # apart by spaces
)

RISK_EVENTS = Table(
    "risk_events",
    METADATA,
    Column("epoch", Integer, primary_key=True, autoincrement=False),
    Column("at", Instant, nullable=False, index=True),
    Column("trading_state", Words, nullable=False),
    Column("previous_state", Words),
    Column("cause", Words, nullable=False),
    Column("actor", Words, nullable=False),
    Column("detail", Words, nullable=False),
    Column("state", Json, nullable=False),
)

# The one row: the newest version of the product that has worked here.
BUILD = Table(
    "build",
    METADATA,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("version", Words, nullable=False),
    Column("since", Instant, nullable=False),
)

TASKS = Table(
    "tasks",
    METADATA,
    Column("task_id", Words, primary_key=True),
    Column("kind", Words, nullable=False),
    Column("state", Word(TaskState), nullable=False),
    Column("params", Json, nullable=False),
    Column("done", Integer, nullable=False),
    Column("total", Integer, nullable=False),
    Column("message", Words, nullable=False),
    Column("result", Json),
    Column("error", Words),
    Column("created_at", Instant, nullable=False, index=True),
    Column("started_at", Instant),
    Column("finished_at", Instant),
)

OUTBOX = Table(
    "outbox",
    METADATA,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("kind", Words, nullable=False),
    Column("message", Words, nullable=False),
    Column("payload", Json, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("sent_at", Instant, index=True),
    Column("attempts", Integer, nullable=False),
    Column("error", Words),
)

BACKTESTS = Table(
    "backtests",
    METADATA,
    Column("backtest_id", Words, primary_key=True),
    Column("created_at", Instant, nullable=False, index=True),
    Column("params", Json, nullable=False),
    Column("performance", Json, nullable=False),
    Column("result", Json, nullable=False),
)

# chunks: how many there are before the last one, which puts them together.
RESEARCH_RUNS = Table(
    "research_runs",
    METADATA,
    Column("run_id", Words, primary_key=True),
    Column("kind", Words, nullable=False),
    Column("state", Word(RunState), nullable=False),
    Column("request", Json, nullable=False),
    Column("dataset", Words, nullable=False),
    Column("chunks", Integer, nullable=False),
    Column("result", Json),
    Column("error", Words),
    Column("created_at", Instant, nullable=False, index=True),
    Column("finished_at", Instant),
)

# owner: a process, as `app.runtime.owner` names it. renewed_at: its newest sign of life over this chunk.
RESEARCH_CHUNKS = Table(
    "research_chunks",
    METADATA,
    Column("run_id", Words, ForeignKey("research_runs.run_id"), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("state", Word(ChunkState), nullable=False),
    Column("params", Json, nullable=False),
    Column("owner", Words, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("renewed_at", Instant),
    Column("result", Json),
)

# The best parameter sets of each search. figures: of each part of the data, by its name.
OPTIMIZER_RESULTS = Table(
    "optimizer_results",
    METADATA,
    Column("run_id", Words, primary_key=True),
    Column("rank", Integer, primary_key=True, autoincrement=False),
    Column("created_at", Instant, nullable=False, index=True),
    Column("strategy", Words, nullable=False),
    Column("parameters", Json, nullable=False),
    Column("total_return", Double),
    Column("max_drawdown", Double),
    Column("sharpe", Double),
    Column("win_rate", Double),
    Column("is_best", Boolean, nullable=False),
    Column("figures", Json, nullable=False),
)

# symbols: apart by spaces. start: the first bar's label; end: when the last was known.
DATA_SETS = Table(
    "data_sets",
    METADATA,
    Column("digest", Words, primary_key=True),
    Column("symbols", Words, nullable=False),
    Column("timeframe", Words, nullable=False, index=True),
    Column("start", Instant, nullable=False),
    Column("end", Instant, nullable=False),
)

# Every configuration evaluated on a data set, as `app.domain.trial.Trial` names it.
TRIALS = Table(
    "trials",
    METADATA,
    Column("trial_id", Words, primary_key=True),
    Column("dataset", Words, ForeignKey("data_sets.digest"), nullable=False),
    Column("configuration", Words, nullable=False),
    Column("strategy", Words, nullable=False),
    Column("values", Json, nullable=False),
    Column("setup", Json, nullable=False),
    Column("source", Words, nullable=False),
    Column("evaluated_at", Instant, nullable=False),
    Column("observations", Integer, nullable=False),
    Column("mean", Double, nullable=False),
    Column("deviation", Double, nullable=False),
    Column("skewness", Double, nullable=False),
    Column("kurtosis", Double, nullable=False),
    Column("sharpe_ratio", Double, nullable=False),
    Column("t_statistic", Double, nullable=False),
    Column("figures", Json, nullable=False),
    Index("ix_trials_dataset_strategy", "dataset", "strategy"),
)

# settings: `app.domain.trial.settings_key` of strategy and values.
VERDICTS = Table(
    "verdicts",
    METADATA,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("at", Instant, nullable=False),
    Column("settings", Words, nullable=False, index=True),
    Column("strategy", Words, nullable=False),
    Column("values", Json, nullable=False),
    Column("dataset", Words, nullable=False),
    Column("backtest_id", Words, index=True),
    Column("trials", Integer, nullable=False),
    Column("level", Word(Level), nullable=False),
    Column("checks", Json, nullable=False),
)

VERDICT_OVERRIDES = Table(
    "verdict_overrides",
    METADATA,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("at", Instant, nullable=False),
    Column("settings", Words, nullable=False, index=True),
    Column("strategy", Words, nullable=False),
    Column("values", Json, nullable=False),
    Column("last_verdict", Integer, nullable=False),
    Column("actor", Words, nullable=False),
    Column("reason", Words, nullable=False),
)

# owner: a process, as `app.runtime.owner` names it; empty when given back. status: what the owner tells about its work.
LEASES = Table(
    "leases",
    METADATA,
    Column("name", Words, primary_key=True),
    Column("owner", Words, nullable=False),
    Column("fence", Integer, nullable=False),
    Column("taken_at", Instant, nullable=False),
    Column("renewed_at", Instant, nullable=False),
    Column("status", Json, nullable=False),
)

# Messages that came again because the process that had taken them died.
REDELIVERIES = Table(
    "redeliveries",
    METADATA,
    Column("message_id", Words, primary_key=True),
    Column("task", Words, nullable=False),
    Column("count", Integer, nullable=False),
    Column("last_at", Instant, nullable=False),
)

# The audit log: texts as they were hashed; see `app.domain.audit`. Triggers refuse any change.
AUDIT_LOG = Table(
    "audit_log",
    METADATA,
    Column("seq", Integer, primary_key=True, autoincrement=False),
    *(Column(name, Text, nullable=False, index=name in {"cycle_id", "client_order_id", "venue_order_id"}) for name in FIELDS),
    Column("previous", Text, nullable=False),
    Column("hash", Text, nullable=False),
)

# One row: the newest event. at: the newest venue time known. origin: program version and configuration that wrote last.
AUDIT_HEAD = Table(
    "audit_head",
    METADATA,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("seq", Integer, nullable=False),
    Column("hash", Text, nullable=False),
    Column("at", Text, nullable=False),
    Column("origin", Text, nullable=False),
)

# See `app.domain.account`. password_hash: argon2id. totp_nonce: not the secret, which is derived from it and SECRET_KEY.
USERS = Table(
    "users",
    METADATA,
    Column("user_id", Words, primary_key=True),
    Column("username", Words, nullable=False, unique=True),
    Column("password_hash", Words, nullable=False),
    Column("password_by_settings", Boolean, nullable=False),
    Column("password_weak", Boolean, nullable=False),
    Column("role", Word(Role), nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("disabled_at", Instant),
    Column("totp_nonce", Words),
    Column("totp_confirmed", Boolean, nullable=False),
    Column("totp_step", BigInteger, nullable=False),
)

SESSIONS = Table(
    "sessions",
    METADATA,
    Column("session_id", Words, primary_key=True),
    Column("user_id", Words, ForeignKey("users.user_id"), nullable=False, index=True),
    Column("created_at", Instant, nullable=False),
    Column("used_at", Instant, nullable=False),
    Column("expires_at", Instant, nullable=False),
    Column("address", Words, nullable=False),
    Column("agent", Words, nullable=False),
    Column("refresh_id", Words, nullable=False),
    Column("proved_at", Instant, nullable=False),
    Column("proved_by", Word(Proof), nullable=False),
    Column("ended_at", Instant),
    Column("ended_why", Words),
)

# digest: of the secret. scopes: words, apart by blanks.
API_TOKENS = Table(
    "api_tokens",
    METADATA,
    Column("token_id", Words, primary_key=True),
    Column("user_id", Words, ForeignKey("users.user_id"), nullable=False, index=True),
    Column("name", Words, nullable=False),
    Column("digest", Words, nullable=False),
    Column("scopes", Words, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("expires_at", Instant, nullable=False),
    Column("used_at", Instant),
    Column("revoked_at", Instant),
)

# Logins tried since began_at under a key: the digest of an account's name, an address, or both.
LOGIN_ATTEMPTS = Table(
    "login_attempts",
    METADATA,
    Column("key", Words, primary_key=True),
    Column("tried", Integer, nullable=False),
    Column("began_at", Instant, nullable=False, index=True),
)

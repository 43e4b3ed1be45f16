"""Backtests, research runs, trials and verdicts."""

from __future__ import annotations

from sqlalchemy import Boolean, Column, Double, ForeignKey, Index, Integer, Table

from app.domain.research import ChunkState, RunState
from app.domain.verdict import Level
from app.storage.columns import Instant, Json, Word, Words
from app.storage.tables.metadata import METADATA

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

LOOKAHEAD_CHECKS = Table(
    "lookahead_checks",
    METADATA,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("at", Instant, nullable=False),
    Column("subject", Words, nullable=False),
    Column("content", Words, nullable=False, index=True),
    Column("passed", Boolean, nullable=False),
    Column("leak", Words),
    Column("actor", Words, nullable=False),
    Column("reason", Words, nullable=False),
)

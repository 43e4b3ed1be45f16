"""The trial ledger: every configuration ever evaluated, once for each data set."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Select, func, insert, select

from app.domain.errors import InvalidInput, NotFound
from app.domain.trial import DataSet, Trial
from app.storage.tables import DATA_SETS, TRIALS

_CHUNK = 5_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """Trials of a family of data sets, a configuration once for each list of symbols.

    sharpe_mean, sharpe_variance: over the trials, of their Sharpe ratios per observation. t_variance: of t statistics.
    """

    data_sets: int
    trials: int
    sharpe_mean: float
    sharpe_variance: float
    t_variance: float


def add(connection: Connection, known: DataSet, trials: Iterable[Trial]) -> int:
    """Stores the trials of one data set; how many of them are new. Those known already stay as they are.

    Raises InvalidInput for a trial of other data and for moments that are not numbers; then nothing is stored."""
    rows: dict[str, dict[str, Any]] = {}
    for trial in trials:
        if trial.dataset != known.digest:
            raise InvalidInput(f"a trial of data set {trial.dataset[:12]} among those of {known.digest[:12]}")
        row = _row(trial)
        rows.setdefault(row["trial_id"], row)
    _remember(connection, known)
    new = 0
    ordered = list(rows)
    for begin in range(0, len(ordered), _CHUNK):
        names = ordered[begin : begin + _CHUNK]
        there = set(connection.execute(select(TRIALS.c.trial_id).where(TRIALS.c.trial_id.in_(names))).scalars())
        fresh = [rows[name] for name in names if name not in there]
        if fresh:
            connection.execute(insert(TRIALS), fresh)
        new += len(fresh)
    return new


def one_data_set(connection: Connection, digest: str) -> DataSet:
    """The data set whose digest begins so. Raises NotFound, and InvalidInput where several do."""
    query = select(DATA_SETS).where(DATA_SETS.c.digest.startswith(digest, autoescape=True)).limit(2)
    found = [_data_set(row) for row in connection.execute(query).mappings()]
    if not found:
        raise NotFound(f"no trial has been recorded on a data set {digest}; `trader trials` lists those known")
    if len(found) > 1:
        raise InvalidInput(f"several data sets begin with {digest}; give more of the digest")
    return found[0]


def data_sets(connection: Connection, limit: int) -> list[tuple[DataSet, int]]:
    """Every data set with the number of its trials, those tried last first."""
    newest = func.max(TRIALS.c.evaluated_at)
    query = (
        select(DATA_SETS, func.count(TRIALS.c.trial_id).label("trials"))
        .join(TRIALS, TRIALS.c.dataset == DATA_SETS.c.digest)
        .group_by(*DATA_SETS.c)
        .order_by(newest.desc(), DATA_SETS.c.digest)
        .limit(limit)
    )
    return [(_data_set(row), row["trials"]) for row in connection.execute(query).mappings()]


def counted(connection: Connection, asked: DataSet) -> Counted:
    """The trials on `asked` and on every data set of its family."""
    family = _family(connection, asked)
    once = _once(family).subquery()
    t, sharpe = once.c.t_statistic, once.c.sharpe_ratio
    aggregates = (func.count(), *(func.avg(term) for term in (t, t * t, sharpe, sharpe * sharpe)))
    number, *means = connection.execute(select(*aggregates).select_from(once)).one()
    mean_t, square_t, mean, square = (float(value or 0.0) for value in means)
    sample = number / (number - 1) if number > 1 else 0.0
    return Counted(
        data_sets=len(family),
        trials=number,
        sharpe_mean=mean,
        sharpe_variance=max(square - mean * mean, 0.0) * sample,
        t_variance=max(square_t - mean_t * mean_t, 0.0) * sample,
    )


def of_strategy(connection: Connection, digest: str, strategy: str, limit: int) -> list[Trial]:
    """Trials of a strategy on one data set, the newest first."""
    query = (
        select(TRIALS)
        .where(TRIALS.c.dataset == digest, TRIALS.c.strategy == strategy)
        .order_by(TRIALS.c.evaluated_at.desc(), TRIALS.c.trial_id)
        .limit(limit)
    )
    return [_trial(row) for row in connection.execute(query).mappings()]


def _remember(connection: Connection, known: DataSet) -> None:
    if connection.execute(select(DATA_SETS.c.digest).where(DATA_SETS.c.digest == known.digest)).first() is None:
        values = {"symbols": " ".join(known.symbols), "timeframe": known.timeframe, "start": known.start, "end": known.end}
        connection.execute(insert(DATA_SETS).values(digest=known.digest, **values))


def _family(connection: Connection, asked: DataSet) -> list[str]:
    """Digests of the data sets of the same timeframe that share a symbol and overlap in time: one bar more, or one symbol
    less, does not begin a new count."""
    query = select(DATA_SETS.c.digest, DATA_SETS.c.symbols).where(
        DATA_SETS.c.timeframe == asked.timeframe, DATA_SETS.c.start <= asked.end, DATA_SETS.c.end >= asked.start
    )
    symbols = set(asked.symbols)
    return [digest for digest, names in connection.execute(query) if symbols & set(names.split())]


def _once(family: Collection[str]) -> Select[Any]:
    """Each configuration of the family once for each list of symbols, with the mean of its figures."""
    return (
        select(func.avg(TRIALS.c.t_statistic).label("t_statistic"), func.avg(TRIALS.c.sharpe_ratio).label("sharpe_ratio"))
        .join(DATA_SETS, TRIALS.c.dataset == DATA_SETS.c.digest)
        .where(TRIALS.c.dataset.in_(family))
        .group_by(TRIALS.c.configuration, DATA_SETS.c.symbols)
    )


def _row(trial: Trial) -> dict[str, Any]:
    shape = (trial.skewness, trial.kurtosis) if trial.deviation > 0 else (0.0, 3.0)
    if trial.observations < 0 or not all(math.isfinite(value) for value in (trial.mean, trial.deviation, *shape)):
        raise InvalidInput(f"a trial of {trial.strategy} with {dict(trial.values)} has moments that are not numbers")
    sound = replace(trial, skewness=shape[0], kurtosis=shape[1])
    return {name: getattr(sound, name) for name in TRIALS.c.keys()}  # noqa: SIM118 - not a dict


def _trial(row: Any) -> Trial:
    derived = {"trial_id", "configuration", "sharpe_ratio", "t_statistic"}
    return Trial(**{name: value for name, value in row.items() if name not in derived})


def _data_set(row: Any) -> DataSet:
    start: datetime = row["start"]
    symbols: Sequence[str] = row["symbols"].split()
    return DataSet(digest=row["digest"], symbols=tuple(symbols), timeframe=row["timeframe"], start=start, end=row["end"])

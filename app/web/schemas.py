"""What callers may send. Unknown fields are refused, numbers are finite and bounded, symbols are symbols."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from app.config import is_symbol
from app.services.backtests.request import MAX_DAYS, Exits
from app.services.research.request import Day, Finite, SearchRequest, SweepRequest, Timeframe, WalkForwardRequest

_DIGITS = re.compile(r"[0-9]{1,9}", re.ASCII)
_RFC3339 = re.compile(
    r"(19[7-9][0-9]|20[0-9]{2})-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?(Z|[+-][0-9]{2}:[0-9]{2})"
)


def _symbol(text: str) -> str:
    if not is_symbol(text):
        raise ValueError("not a symbol")
    return text


def _plain_digits(value: Any) -> Any:
    if isinstance(value, str):
        if not _DIGITS.fullmatch(value):
            raise ValueError("must be a whole number in plain digits")
        return int(value)
    return value


def _plain_instant(value: Any) -> Any:
    if isinstance(value, str) and not _RFC3339.fullmatch(value):
        raise ValueError("must be a time such as 2026-01-31T15:00:00Z")
    return value


Symbol = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9./-]{0,11}$", to_upper=True),
    AfterValidator(_symbol),
    Field(description="Ticker, in either case, such as AAPL or BRK.B"),
]
RecordId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.:+-]{0,99}$")]
Limit = Annotated[int, BeforeValidator(_plain_digits), Field(ge=1, le=1000, description="Largest number of rows")]
Instant = Annotated[AwareDatetime, BeforeValidator(_plain_instant), Field(description="Such as 2026-01-31T15:00:00Z")]
Symbols = Annotated[list[Symbol], Field(min_length=1, max_length=100)]


class Parameters(BaseModel):
    """Path or query parameters."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Body(BaseModel):
    """A JSON body; types are not converted: "5" and true are not numbers."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class EmptyBody(Body):
    """No body, or an empty object."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, openapi_extra={"required": False})  # type: ignore[typeddict-unknown-key]


Reason = Annotated[str, StringConstraints(max_length=500), Field(description="For the audit trail")]


class ResumeBody(Body):
    """No body, or why trading may go on."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, openapi_extra={"required": False})  # type: ignore[typeddict-unknown-key]

    reason: Reason = ""
    accept_losses: bool = Field(False, description="Count losses from the newest equity on, where a loss limit still holds")


class KillBody(Body):
    """No body, or why."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, openapi_extra={"required": False})  # type: ignore[typeddict-unknown-key]

    reason: Reason = "no reason given"


class EnableBody(Body):
    """Which symbol, and why."""

    symbol: Symbol
    reason: Reason = ""


Password = Annotated[str, StringConstraints(min_length=1, max_length=256)]
Code = Annotated[str, StringConstraints(pattern=r"^[0-9]{6}$"), Field(description="Six digits of the authenticator app")]
ScopeWord = Literal["read", "run", "halt"]


class Credentials(Body):
    """Name and password of an account; the code where it has an authenticator app."""

    username: str = Field(min_length=1, max_length=64, examples=["admin"])
    password: Password = Field(examples=["password"])
    code: Code | None = None


class RefreshBody(Body):
    """The refresh token of the last login or refresh."""

    refresh_token: str = Field(min_length=1, max_length=2048)


class StepUpBody(Body):
    """The code, or of an account without an authenticator app the password."""

    password: Password | None = None
    code: Code | None = None


class NewPasswordBody(Body):
    """The password to be."""

    new_password: Password


class CodeBody(Body):
    """A code of the authenticator app."""

    code: Code


class NewTokenBody(Body):
    """What a script may do, and how long."""

    name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._-]{0,63}$")] = Field(examples=["dashboard"])
    scopes: Annotated[list[ScopeWord], Field(min_length=1, max_length=3)] = Field(examples=[["read"]])
    days: int = Field(90, ge=1, le=366)


class SymbolPath(Parameters):
    """A symbol in the path."""

    symbol: Symbol


class RecordPath(Parameters):
    """An id in the path."""

    id: RecordId


class OrderPath(Parameters):
    """An order's id in the path, ours or the venue's."""

    order: str = Field(min_length=1, max_length=128, pattern=r"^[\x21-\x7e]+$")


class IdempotencyHeader(BaseModel):
    """What tells a repeated request from a new one."""

    model_config = ConfigDict(extra="ignore", frozen=True, populate_by_name=True)

    key: RecordId | None = Field(None, alias="Idempotency-Key", description="Chosen by the caller, new for each new request")


class BarsQuery(Parameters):
    """Which bars."""

    limit: Limit = 10
    timeframe: Literal["1Min", "5Min", "15Min", "1Hour", "1Day"] = "1Day"


class LimitQuery(Parameters):
    """How many rows."""

    limit: Limit = 50


class HistoryQuery(Parameters):
    """Which orders or fills."""

    symbol: Symbol | None = None
    limit: Limit = 100


class DecisionsQuery(Parameters):
    """Which decisions."""

    symbol: Symbol | None = None
    cycle: RecordId | None = Field(None, description="Id of a cycle")
    limit: Limit = 100
    before: Instant | None = Field(None, description="Only decisions made before this time")


class BacktestsQuery(Parameters):
    """Which backtests."""

    limit: Limit = 50
    before: Instant | None = Field(None, description="Only backtests made before this time")


class ComparisonQuery(Parameters):
    """Which backtests to put side by side."""

    ids: Annotated[
        str,
        StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.:+-]{0,99}(,[A-Za-z0-9][A-Za-z0-9_.:+-]{0,99}){1,19}$"),
        Field(description="Two to twenty ids, apart by commas"),
    ]


class EquityQuery(Parameters):
    """Which part of the equity curve."""

    since: Instant | None = None
    limit: Annotated[int, BeforeValidator(_plain_digits), Field(ge=1, le=10_000)] = 1000


class TrainingBody(Body):
    """What to train; nothing named means the whole watch list."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, openapi_extra={"required": False})  # type: ignore[typeddict-unknown-key]

    symbols: Symbols | None = None


class TuningBody(TrainingBody):
    """What to tune, and how long to search."""

    trials: int = Field(20, ge=1, le=500, description="Parameter sets tried per symbol")


Bps = Annotated[float, Field(ge=0, le=1000, allow_inf_nan=False, description="Hundredths of a percent of the value")]
Dollars = Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)]


class BacktestBody(Body):
    """What to simulate: the models, or `strategy`."""

    symbols: Symbols = Field(examples=[["AAPL", "MSFT"]])
    days: int = Field(90, ge=2, le=MAX_DAYS, description="Sessions (trading days), back from the newest completed daily bar")
    start: Day | None = Field(None, description="First day, instead of `days`")
    end: Day | None = Field(None, description="Last day")
    initial_capital: float = Field(100_000.0, ge=1_000, le=1e9, allow_inf_nan=False, description="US dollars")
    strategy: str | None = Field(None, min_length=1, max_length=1000, description="A strategy by name; null for the models")
    parameters: dict[str, Finite] = Field({}, max_length=64, description="Of the strategy; the others are at their defaults")
    timeframe: Timeframe = Field("1Day", description="Bars that the strategy decides on")
    models: Literal["retrain", "stored"] = Field("retrain", description="Trained anew as the span goes on, or those in use")
    grain: Literal["session", "cycle"] = Field("session", description="How often the models decide")
    slippage_bps: Bps = 2.0
    half_spread_bps: Bps = 0.0
    impact_bps: Bps = 0.0
    commission_bps: Bps = 0.0
    commission_per_share: Dollars = 0.0
    minimum_commission: Dollars = 0.0
    participation: float | None = Field(
        None, gt=0, le=1, allow_inf_nan=False, description="Largest share of a bar's volume that one order takes"
    )
    seed: int = Field(7, ge=0, lt=2**63)
    exits: Exits = Field(Exits(), description="The exit policy to try, where it is another than that of the settings")
    wait: bool = Field(False, description="Answer when finished, if that takes under 30 seconds")


Workers = Annotated[int, Field(strict=True, ge=1, le=64, description="How many workers of the queue share it, if there are")]


class SweepBody(SweepRequest):
    """What to sweep, as in `trader sweep`, on stored bars."""

    workers: Workers = 1


class SearchBody(SearchRequest):
    """What to search, as in `trader optimize`, on stored bars."""

    workers: Workers = 1


class WalkForwardBody(WalkForwardRequest):
    """What to walk forward with, as in `trader walk-forward`, on stored bars."""

    workers: Workers = 1


def utc(instant: datetime | None) -> datetime | None:
    """`instant` in UTC."""
    from datetime import UTC

    return instant.astimezone(UTC) if instant is not None else None

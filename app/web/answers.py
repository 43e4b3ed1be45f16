"""What callers get. Money, prices of orders and quantities are strings with exact decimals; fractions are numbers
(0.05 is 5 %); times are RFC 3339 in UTC; an unknown number is null."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Record = dict[str, Any]


class Answer(BaseModel):
    """A successful answer."""

    model_config = ConfigDict(extra="forbid")


class Token(Answer):
    """Tokens of a session."""

    access_token: str
    token_type: str = Field(examples=["Bearer"])
    expires_in: int = Field(description="Seconds")
    refresh_token: str = Field(description="For POST /api/auth/refresh, once")
    refresh_expires_in: int = Field(description="Seconds")
    role: str


class Me(Answer):
    """Who the caller is, and what it may do."""

    username: str
    role: str
    scopes: list[str]
    totp: bool = Field(description="Whether the account has an authenticator app")
    session_id: str | None
    token_id: str | None
    proved_at: str | None = Field(description="When a person last showed to be there")


class Proven(Answer):
    """A person has shown to be there."""

    until: str = Field(description="So long what asks for it may be done")


class Ended(Answer):
    """Sessions that were ended."""

    ended: int


class SessionAnswer(Answer):
    """A login."""

    session_id: str
    created_at: str
    used_at: str
    expires_at: str
    address: str
    agent: str
    present: bool = Field(description="Whether this request came with it")


class Sessions(Answer):
    """Logins that stand, newest first."""

    sessions: list[SessionAnswer]


class TotpBegun(Answer):
    """For the authenticator app; shown once."""

    secret: str
    uri: str


class Done(Answer):
    """It is done."""

    status: Literal["done"]


class ApiTokenAnswer(Answer):
    """A script's token, without its text."""

    token_id: str
    name: str
    scopes: list[str]
    created_at: str
    expires_at: str
    used_at: str | None
    revoked_at: str | None


class ApiTokens(Answer):
    """Newest first."""

    tokens: list[ApiTokenAnswer]


class NewApiToken(ApiTokenAnswer):
    """A new one, with its text, which nobody can show again."""

    token: str


class Alive(Answer):
    """The process answers."""

    status: str
    version: str


class Ready(Answer):
    """Whether the system can do its work."""

    status: str
    components: dict[str, Any] = Field(description="ok or the fault, by component")
    last_cycle: Record | None
    trade_updates: Record | None = Field(description="how the listener to the venue's trade updates fares, null without one")


class AccountAnswer(Answer):
    """The venue's view of our money, US dollars."""

    account_id: str
    cash: str
    equity: str
    previous_close_equity: str
    buying_power: str
    trading_blocked: bool
    currency: str
    mode: str = Field(description="simulated, paper or live")


class PositionAnswer(Answer):
    """A holding; price and what follows from it are null when the venue has no price."""

    symbol: str
    quantity: str
    average_entry_price: str
    opened_at: str | None
    price: float | None
    price_at: str | None
    market_value: str | None
    unrealized_gain: str | None
    unrealized_gain_fraction: float | None


class Positions(Answer):
    """All holdings."""

    positions: list[PositionAnswer]


class PositionProtection(Answer):
    """Who enforces stop and target of one holding. Quantities in units."""

    symbol: str
    quantity: str
    protected_by: Literal["venue", "guard", "venue_and_guard", "sale", "nobody"] = Field(
        description="sale: it is being sold; guard: the exit monitor, as long as it runs; nobody: for some units at least"
    )
    venue_quantity: str
    guard_quantity: str
    selling_quantity: str
    unprotected_quantity: str
    stop_price: str | None = Field(description="The level in force")
    target_price: str | None
    venue_stop_price: str | None = Field(description="The lowest stop that rests at the venue")
    client_order_ids: list[str]
    why: str = Field(description="What stands in the way; empty if nothing")
    offline: str = Field(description="What happens while the system is down")


class ProtectionAnswer(Answer):
    """All holdings, and whether the exit monitor runs."""

    guard_alive: bool
    guard_seen_at: str | None = Field(description="Its newest sign of life")
    positions: list[PositionProtection]


class Connection(BaseModel):
    """Result of the connection test; ok false comes with the reason."""

    model_config = ConfigDict(extra="allow")

    ok: bool


class Price(Answer):
    """The newest trade of a symbol."""

    symbol: str
    price: float
    price_at: str | None


class BarAnswer(Answer):
    """What the market did in an interval. timestamp: its label; known_at: when it was complete."""

    timestamp: str
    known_at: str
    open: float | None
    high: float | None
    low: float | None
    close: float | None
    volume: float | None


class Bars(Answer):
    """Complete bars, oldest first."""

    symbol: str
    timeframe: str
    bars: list[BarAnswer]


class Signal(Answer):
    """What the system would do with a symbol now, and why. Nothing is sent."""

    symbol: str
    signal: str = Field(description="BUY, SELL or HOLD: what forecast and confidence say, before any risk rule")
    reason: Record = Field(description="code and text: what the whole decision would be")
    price: float | None
    expected_return: float | None = Field(
        description="Fraction, from the present price to the forecast price; of a strategy of rules its score, -1 to 1"
    )
    confidence: float | None
    volatility: float | None = Field(description="Standard deviation of daily returns")
    members: list[float | None] = Field(description="Each model's daily forecast")
    votes: dict[str, float | None] = Field(description="The columns behind the score of a strategy of rules, by name")
    strategy: str = Field(description="Whose word it is, where several strategies share the account; else empty")
    held_quantity: str
    side: str | None
    quantity: str | None
    sizing: dict[str, float | None]
    sizing_bound: str | None
    detail: str


class Accepted(Answer):
    """Long work was taken on."""

    task_id: str
    status: str
    status_url: str


class Decisions(Answer):
    """Decision records, newest first."""

    decisions: list[Record]


class Cycles(Answer):
    """Trading cycles, newest first."""

    cycles: list[Record]


class Orders(Answer):
    """Orders, newest first."""

    orders: list[Record]


class Fills(Answer):
    """Fills, newest first."""

    fills: list[Record]


class Equity(Answer):
    """The equity curve."""

    equity: list[Record]


class Models(Answer):
    """Model versions in use with their out-of-sample scores."""

    models: list[Record]


class Tasks(Answer):
    """Long work, newest first."""

    tasks: list[Record]


class Backtests(Answer):
    """Finished backtests without curves and trades, newest first."""

    backtests: list[Record]


class Comparison(Answer):
    """Backtests side by side, in the order asked for."""

    backtests: list[Record] = Field(description="Figures and verdict of each")
    differences: dict[str, list[Any]] = Field(description="Parameters that are not the same in all, a value for each")
    warnings: list[str] = Field(description="Why the figures may not be compared as they stand")


class VerdictAnswer(Answer):
    """What the evidence says of a backtest."""

    backtest_id: str
    at: str
    level: Literal["PASS", "WARN", "FAIL"]
    reasons: list[str] = Field(description="Sentences of the checks that did not pass, or of all where all did")
    trials: int = Field(description="Configurations counted against the result")
    checks: list[Record] = Field(description="name, level, figure (null where it is missing), threshold, sentence of each")


class ResearchRuns(Answer):
    """Sweeps, walk-forwards and searches, newest first."""

    runs: list[Record]


class Begun(Answer):
    """A run was noted; the workers of the queue do it."""

    run_id: str
    status: Literal["queued"]
    status_url: str


class HeatMap(Answer):
    """Figures over one or two parameters; of the best over the others, where these were varied too."""

    x: str
    x_values: list[float]
    y: str | None
    y_values: list[float | None]
    best_over: list[str]
    figures: dict[str, list[list[float | None]]]


class OptimizerResults(Answer):
    """The best parameter sets of searches, newest first."""

    results: list[Record]


class Open(BaseModel):
    """A record whose fields are those of its table."""

    model_config = ConfigDict(extra="allow")


class RiskStatus(Open):
    """Trading state, its cause, and every limit with the distance to it."""

    trading_state: str


class Difference(Answer):
    """What nothing explains. subject: a symbol, cash or an execution."""

    subject: str
    ours: str
    theirs: str
    difference: str


class Reconciliation(Answer):
    """How the last comparison of our books with the venue's ended."""

    at: str = Field(description="The venue's time")
    recorded_at: str
    trigger: str = Field(description="cycle, manual or nightly")
    agrees: bool = Field(description="False while something is unexplained: no entries are made then")
    fills: int = Field(description="Executions newly booked")
    adopted: list[Record] = Field(description="Orders and holdings found at the venue and taken over")
    explained: list[Record] = Field(description="Entries of the account statement newly booked")
    unexplained: list[Difference]


class DivergenceAnswer(Answer):
    """Live beside backtest over the sessions from `first` to `last`. Amounts in account currency, by cause: data, signal, risk,
    fill, fee, timing; they add up to `gap`, which is live_gain less backtest_gain."""

    first: str
    last: str
    compared_at: str | None
    cycles: int
    decisions: int
    differing_decisions: int = Field(description="Must be 0")
    agrees: bool
    live_gain: str
    backtest_gain: str
    gap: str
    amounts: dict[str, str]
    by_symbol: dict[str, dict[str, str]]
    correlation: float | None = Field(description="Of the two daily return curves; null below three sessions")
    correlation_reached: bool | None = Field(description="Whether it is above 0.8")
    days: list[Record]
    differences: list[Record] = Field(description="Differing decisions first; 500 at most of difference_count")
    difference_count: int
    unmatched: list[str] = Field(description="Symbols taken as they were: no minute bars to match them with")
    unjudged_forecasts: int = Field(description="Forecasts of models that have been replaced since")
    notes: list[str]


class AuditLine(Answer):
    """One event. at: venue time; because: the event that led to it."""

    seq: int
    at: str | None
    recorded_at: str
    kind: str
    text: str
    because: int | None
    correlation_id: str = Field(description="The cycle or request in which it was recorded")
    code_version: str
    config_digest: str


class AuditStory(Answer):
    """An order from what led to it to its end."""

    client_order_id: str
    origin: str = Field(description="decision, leg or external")
    state: str
    order: Record = Field(description="The terms first recorded")
    legs: list[str]
    lines: list[AuditLine]


class Killed(Answer):
    """What the kill switch did. cancelled: the venue's ids of the entries it asked to cancel."""

    reason: str
    file_written: bool
    recorded: bool = Field(description="The database holds the halt too; else the next cycle writes it")
    cancelled: list[str]
    faults: list[str]


class Dashboard(Answer):
    """Everything a dashboard shows. A part that could not be read is null, and `faults` says why."""

    account: Record | None
    positions: list[PositionAnswer] | None
    portfolio: Record | None
    protection: Record | None
    risk: Record | None
    latest_cycle: Record | None
    decisions: list[Record] | None
    orders: list[Record] | None
    fills: list[Record] | None
    equity: list[Record] | None
    models: list[Record] | None
    tasks: list[Record] | None
    mode: str
    faults: dict[str, Record]

"""What a backtest may be asked for: parsed and checked at the edge, every fault with its mend."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from app.backtest.driver import Grain
from app.config import is_symbol
from app.domain.errors import InvalidInput
from app.engine.costs import CostModel, Liquidity
from app.strategies.catalog import MODEL_DRIVEN

MAX_DAYS = 2520
Timeframe = Literal["1Min", "5Min", "15Min", "30Min", "1Hour", "1Day"]
Bps = Annotated[Decimal, Field(ge=0, le=1000, allow_inf_nan=False)]


def _split(value: object) -> object:
    if isinstance(value, str):
        value = value.replace(",", " ").split()
    if not isinstance(value, (list, tuple)) or not all(isinstance(name, str) for name in value):
        return value
    names = tuple(dict.fromkeys(name.strip().upper() for name in value))
    bad = [name for name in names if not is_symbol(name)]
    if bad or len(names) > 1000:
        raise ValueError(f"not symbols: {' '.join(bad)[:80]}" if bad else "more than 1000 symbols; ask for fewer")
    return names


# As a list or a text with blanks or commas; each once, in capitals.
SymbolNames = Annotated[tuple[str, ...], BeforeValidator(_split)]


class Exits(BaseModel):
    """The exit policy to try (see docs/exits.md); what is left out is as in the settings."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    stop_loss_fraction: float | None = Field(None, gt=0, le=0.9, allow_inf_nan=False)
    take_profit_fraction: float | None = Field(None, gt=0, le=10, allow_inf_nan=False)
    atr_stop_multiple: float | None = Field(None, ge=0, le=100, allow_inf_nan=False)
    break_even_at_r: float | None = Field(None, ge=0, le=100, allow_inf_nan=False)
    partial_at_r: float | None = Field(None, ge=0, le=100, allow_inf_nan=False)
    partial_fraction: float | None = Field(None, ge=0, lt=1, allow_inf_nan=False)
    trailing_fraction: float | None = Field(None, ge=0, lt=1, allow_inf_nan=False)
    trailing_atr_multiple: float | None = Field(None, ge=0, le=100, allow_inf_nan=False)


class BacktestRequest(BaseModel):
    """symbols: empty for the watch list. days: sessions back from the newest stored bar, or else start and end (New York
    dates, inclusive). initial_capital: US dollars. models: retrain walks forward; stored uses today's models and is refused
    when any of them knows data of the span. exits: the exit policy, where it is to be another than that of the settings.

    strategy: a rule strategy by name instead of the models, with its parameters, or several that share the account, each with
    its share of the equity: "sma_cross(fast=5, slow=20):0.5 rsi:0.3". It decides when a bar of the timeframe is
    complete, on bars as they are. half_spread_bps and impact_bps: see `CostModel`. participation: the largest share of a bar's
    volume that an order takes; None: orders fill whole."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    symbols: SymbolNames = ()
    days: int = Field(90, ge=2, le=MAX_DAYS)
    start: date | None = None
    end: date | None = None
    initial_capital: Decimal = Field(Decimal(100_000), gt=0, le=Decimal(10) ** 12, allow_inf_nan=False)
    grain: Grain = Grain.SESSION
    seed: int = Field(7, ge=0, lt=2**63)
    slippage_bps: Bps = Decimal(2)
    commission_bps: Bps = Decimal(0)
    commission_per_share: Annotated[Decimal, Field(ge=0, le=100, allow_inf_nan=False)] = Decimal(0)
    minimum_commission: Annotated[Decimal, Field(ge=0, le=100, allow_inf_nan=False)] = Decimal(0)
    half_spread_bps: Bps = Decimal(0)
    impact_bps: Bps = Decimal(0)
    participation: Annotated[Decimal, Field(gt=0, le=1, allow_inf_nan=False)] | None = None
    exits: Exits = Exits()
    models: Literal["retrain", "stored"] = "retrain"
    strategy: Annotated[str, Field(min_length=1, max_length=1000)] | None = None
    parameters: dict[str, float] = Field(default_factory=dict, max_length=64)
    timeframe: Timeframe = "1Day"

    @property
    def costs(self) -> CostModel:
        """What fills cost."""
        return CostModel(
            slippage_bps=self.slippage_bps,
            half_spread_bps=self.half_spread_bps,
            impact_bps=self.impact_bps,
            commission_bps=self.commission_bps,
            commission_per_share=self.commission_per_share,
            minimum_commission=self.minimum_commission,
        )

    @property
    def liquidity(self) -> Liquidity:
        """How much of a bar one order gets."""
        return Liquidity(participation=self.participation, seed=self.seed)

    @model_validator(mode="after")
    def _check_span(self) -> Self:
        if self.start and self.end and self.start >= self.end:
            raise ValueError(f"start {self.start} is not before end {self.end}; swap or widen them")
        if self.strategy in (None, MODEL_DRIVEN) and (self.parameters or self.timeframe != "1Day"):
            raise ValueError("parameters and a timeframe belong to a strategy of rules; name one (see trader strategy list)")
        return self


def parse_request(params: BacktestRequest | dict[str, Any]) -> BacktestRequest:
    """The request. Raises InvalidInput naming each wrong field and what it may be."""
    if isinstance(params, BacktestRequest):
        return params
    try:
        return BacktestRequest.model_validate(params)
    except ValidationError as fault:
        faults = [
            f"{'.'.join(str(part) for part in error['loc']) or 'request'}: {error['msg'].removeprefix('Value error, ')}"
            for error in fault.errors(include_url=False, include_input=False, include_context=False)
        ]
        raise InvalidInput("; ".join(faults), faults=faults) from None

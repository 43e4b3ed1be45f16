"""What sweeps, walk-forwards and searches may be asked for: parsed and checked at the edge, every fault with its mend."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date
from math import comb
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from app.domain.errors import InvalidInput
from app.engine.costs import BORROW_RATE
from app.services.backtests.request import SymbolNames

Timeframe = Literal["1Min", "5Min", "15Min", "30Min", "1Hour", "1Day"]


def _calendar_day(value: object) -> object:
    if isinstance(value, str) and _DAY.fullmatch(value) is None:
        raise ValueError("must be a day such as 2022-03-01")
    if value is not None and not isinstance(value, (str, date)):
        raise ValueError("must be a day such as 2022-03-01")
    return value


def _listed(value: object) -> object:
    if isinstance(value, str):
        raise ValueError('must be a list such as ["AAPL", "MSFT"]')
    return value


# Numbers are numbers: "5" and true are none.
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
Day = Annotated[date, Field(strict=False), BeforeValidator(_calendar_day)]
Names = Annotated[SymbolNames, BeforeValidator(_listed)]
Whole = Annotated[int, Field(strict=True)]
Yes = Annotated[bool, Field(strict=True)]
Finite = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Bps = Annotated[Finite, Field(ge=0, le=1000)]
Money = Annotated[Finite, Field(ge=0, le=100)]
Fraction = Annotated[Finite, Field(gt=0, le=1)]
GridValues = Annotated[tuple[Finite, ...], Field(min_length=1, max_length=1000)]
MOST_SPLITS = 1_000
R = TypeVar("R", bound="ResearchRequest")


class ResearchRequest(BaseModel):
    """What all three share. strategy: of the catalog. values: parameters held fixed; the others are at their defaults.

    data: a file of bars (Parquet or CSV) instead of the stored ones. symbols: empty for all of the file, or the watch list.
    start, end: days, inclusive, of the bars' labels in UTC; end becomes the newest bar's when a run begins. warmup_bars: bars
    before start that feed the indicators and are not judged. fraction: of the
    equity put into a position. fill: next_open is honest; close fills at the bar that gave the signal, only to compare with
    programs that do. Costs as in a backtest. sides: both sells short too, which the account that trades does not; borrow_rate:
    what a short then pays, a fraction of its value a year.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    strategy: str = Field(min_length=1, max_length=100)
    values: dict[str, Finite] = {}
    data: str | None = Field(None, max_length=1000)
    symbols: Names = ()
    timeframe: Timeframe = "1Day"
    start: Day | None = None
    end: Day | None = None
    warmup_bars: Whole = Field(0, ge=0, le=1_000_000)
    capital: Finite = Field(100_000.0, gt=0, le=1e12)
    fraction: Fraction = 0.95
    slippage_bps: Bps = 2.0
    commission_bps: Bps = 0.0
    commission_per_share: Money = 0.0
    minimum_commission: Money = 0.0
    fill: Literal["next_open", "close"] = "next_open"
    sides: Literal["long", "both"] = "long"
    borrow_rate: Finite = Field(BORROW_RATE, ge=0, le=10)

    @model_validator(mode="after")
    def _check_span(self) -> Self:
        if self.start and self.end and self.start >= self.end:
            raise ValueError(f"start {self.start} is not before end {self.end}; swap or widen them")
        return self


class Parts(ResearchRequest):
    """A search over parameters. Its bars are cut in three: the search sees only the first part; of its `top` sets the one that
    does best on the second is chosen; the last tells what the choice is worth. train_fraction, validation_fraction: of the
    bars; the rest is held out."""

    train_fraction: Fraction = 0.6
    validation_fraction: Fraction = 0.2
    top: Whole = Field(10, ge=1, le=100)

    @model_validator(mode="after")
    def _check_parts(self) -> Self:
        if not self.train_fraction + self.validation_fraction < 1:
            raise ValueError("train_fraction and validation_fraction leave nothing to hold out; make them smaller")
        return self


class SweepRequest(Parts):
    """grid: the values of each parameter that is varied; every combination that the strategy accepts is tried. axes: the two
    parameters of the heat map, by default the first two of the grid."""

    grid: dict[str, GridValues] = Field(min_length=1)
    axes: tuple[str, str] | None = None


class SearchRequest(Parts):
    """bounds: the parameters that are searched, each within (low, high), by default all within their declared bounds. trials:
    sets tried at most; seconds: begun within so many after the start, 0 for no limit. seed: of the sampler."""

    bounds: dict[str, tuple[Finite, Finite]] = {}
    trials: Whole = Field(100, ge=1, le=10_000)
    seconds: Finite = Field(0.0, ge=0, le=864_000)
    seed: Whole = Field(7, ge=0, lt=2**31)


class OptimizeRequest(SearchRequest):
    """A search that was begun."""

    study: str = Field("", max_length=100, description="Name in the journal; set when a run begins.")
    began_at: AwareDatetime | None = Field(None, description="Set when a run begins.")


class WalkForwardRequest(ResearchRequest):
    """grid: as in a sweep; empty for a strategy whose parameters are not chosen. train_bars: bars that each window's values
    are chosen on; test_bars: bars they are then used on. anchored: from the first bar on instead of the newest train_bars.
    embargo_bars: between the two. splits: combinatorial parts the bars into `groups` and judges on every choice of `tested` of
    them what was chosen on the others; train_bars, test_bars and anchored then say nothing."""

    grid: dict[str, GridValues] = {}
    train_bars: Whole = Field(756, ge=20, le=10_000_000)
    test_bars: Whole = Field(126, ge=2, le=10_000_000)
    anchored: Yes = False
    embargo_bars: Whole = Field(0, ge=0, le=1_000_000)
    splits: Literal["rolling", "combinatorial"] = "rolling"
    groups: Whole = Field(6, ge=2, le=30)
    tested: Whole = Field(2, ge=1, le=29)

    @model_validator(mode="after")
    def _check_groups(self) -> Self:
        if self.tested >= self.groups:
            raise ValueError(f"of {self.groups} groups {self.tested} cannot be tested: leave some to choose on")
        if comb(self.groups, self.tested) > MOST_SPLITS:
            raise ValueError(
                f"{comb(self.groups, self.tested)} splits are too many, at most {MOST_SPLITS}: choose fewer groups"
            )
        return self

    @model_validator(mode="after")
    def _check_sides(self) -> Self:
        if self.sides != "long":
            raise ValueError("a walk-forward trades the account, which is long only: leave sides at long")
        return self


def parse(model: type[R], params: R | Mapping[str, Any]) -> R:
    """The request. Raises InvalidInput naming each wrong field and what it may be."""
    if isinstance(params, model):
        return params
    try:
        return model.model_validate(params)
    except ValidationError as fault:
        faults = [
            f"{'.'.join(str(part) for part in error['loc']) or 'request'}: {error['msg'].removeprefix('Value error, ')}"
            for error in fault.errors(include_url=False, include_input=False, include_context=False)
        ]
        raise InvalidInput("; ".join(faults), faults=faults) from None

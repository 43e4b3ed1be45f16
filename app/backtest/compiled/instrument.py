"""Runs of one instrument under one set of terms: what goes into the compiled kernel, and what comes out of it.

For research: float64, no ticks, no risk rules but the size of a holding. What it finds is checked by the engine, which alone
decides about money.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from app.backtest.compiled import kernel, kernel_terms, kernel_votes
from app.backtest.compiled.kernel_terms import Bars, Integers, Sums, Terms, Votes
from app.backtest.statistics.periods import Year, year_of
from app.domain.bar import Floats, Seconds
from app.domain.errors import InvalidInput
from app.domain.exits import ExitPolicy
from app.domain.panel import PRICES, Panel
from app.engine.costs import BORROW_RATE, CostModel
from app.strategies.columns import Bars as Columns
from app.strategies.lines import Crossing
from app.strategies.strategy import Strategy, Values, evaluated

ENDINGS = {
    kernel_terms.OPEN_END: "open",
    kernel_terms.SIGNAL: "signal",
    kernel_terms.STOP: "stop_loss",
    kernel_terms.TARGET: "take_profit",
    kernel_terms.RUIN: "ruin",
}
_BPS = 1e-4
_LINED = 15_000  # bars: their lines stay in the cache, and in memory that is not fresh each time
_EVERY_BAR = np.empty(0, dtype=np.int64)
_USUAL_COSTS = CostModel()


class FillRule(StrEnum):
    """next_open: at the open of the bar after the vote, the honest one. close: at the close that the vote was made from, which
    nobody can trade; only to compare with programs that assume it."""

    NEXT_OPEN = "next_open"
    CLOSE = "close"

    @property
    def assumption(self) -> str:
        """What a result under it has to say of itself."""
        if self is FillRule.CLOSE:
            return "filled at the close that the signal was made from: optimistic, not tradable, for comparison only"
        return "filled at the open of the bar after the signal"


class Sides(StrEnum):
    """long: a vote of -1 sells what is held. both: it goes short too, or turns a long holding into a short one."""

    LONG = "long"
    BOTH = "both"


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """Everything but the votes that changes a result.

    capital: account currency. fraction: of the equity in a holding, above 0 to 1. stop_loss_fraction, take_profit_fraction: of
    the entry price, 0.0: none. collar_fraction: how far above the close of its signal a limit entry may pay, 0.0: a market
    entry. quantity_step: 0.0: any fraction of a unit. borrow_rate: what a short pays, of its value a year, bar by bar.
    """

    costs: CostModel = _USUAL_COSTS
    fill: FillRule = FillRule.NEXT_OPEN
    capital: float = 100_000.0
    fraction: float = 0.95
    stop_loss_fraction: float = 0.0
    take_profit_fraction: float = 0.0
    collar_fraction: float = 0.0
    quantity_step: float = 0.0
    sides: Sides = Sides.LONG
    borrow_rate: float = BORROW_RATE

    def __post_init__(self) -> None:
        faults = [
            f"{name} must be {text}, got {value}"
            for name, value, sound, text in (
                ("capital", self.capital, 0.0 < self.capital < math.inf, "above 0"),
                ("fraction", self.fraction, 0.0 < self.fraction <= 1.0, "above 0 and at most 1"),
                ("stop_loss_fraction", self.stop_loss_fraction, 0.0 <= self.stop_loss_fraction < 1.0, "at least 0 and below 1"),
                ("take_profit_fraction", self.take_profit_fraction, 0.0 <= self.take_profit_fraction < math.inf, "at least 0"),
                ("collar_fraction", self.collar_fraction, 0.0 <= self.collar_fraction < 1.0, "at least 0 and below 1"),
                ("quantity_step", self.quantity_step, 0.0 <= self.quantity_step < math.inf, "at least 0"),
                ("borrow_rate", self.borrow_rate, 0.0 <= self.borrow_rate <= 10.0, "between 0 and 10"),
            )
            if not sound  # NaN lands here too
        ]
        if self.fill is FillRule.CLOSE and self.collar_fraction > 0.0:
            faults.append("collar_fraction must be 0 where fills are at the close: there is no later price to bound")
        if faults:
            raise InvalidInput("; ".join(faults), faults=faults)

    def terms(self, bars_a_year: float) -> Terms:
        """The same for the kernel, on bars of which so many make a year."""
        costs = self.costs
        return Terms(
            capital=float(self.capital),
            fraction=float(self.fraction),
            collar=float(self.collar_fraction),
            stop=float(self.stop_loss_fraction),
            target=float(self.take_profit_fraction),
            step=float(self.quantity_step),
            slippage=float(costs.slippage_bps + costs.half_spread_bps) * _BPS,
            impact=float(costs.impact_bps) * _BPS,
            commission=float(costs.commission_bps) * _BPS,
            per_share=float(costs.commission_per_share),
            minimum=float(costs.minimum_commission),
            at_close=self.fill is FillRule.CLOSE,
            is_both=self.sides is Sides.BOTH,
            borrow=float(self.borrow_rate) / bars_a_year,
        )

    @property
    def assumption(self) -> str:
        """What a result has to say of the sides it trades."""
        if self.sides is Sides.LONG:
            return "long only"
        return (
            f"long and short: units can always be borrowed, at {self.borrow_rate:.2%} of their value a year; the account that"
            " trades paper or money is long only"
        )

    def named(self) -> dict[str, Any]:
        """The same as plain JSON values, for `Trial.setup`."""
        costs = {name: float(value) for name, value in asdict(self.costs).items()}
        told = asdict(self) | {"engine": "kernel", "costs": costs, "fill": self.fill.value, "sides": self.sides.value}
        if self.sides is Sides.LONG:  # as before there were shorts: a trial that was counted is known again
            del told["sides"], told["borrow_rate"]
        return told


def exits_of(policy: ExitPolicy) -> dict[str, float]:
    """The fields of a `Setup` that a policy sets. Raises InvalidInput for what the kernel cannot do."""
    more = [
        name for name, value in policy._asdict().items() if value and not name.endswith(("_loss_fraction", "_profit_fraction"))
    ]
    if more:
        raise InvalidInput(f"the research kernel knows a stop and a target only, not {', '.join(more)}: use `trader backtest`")
    return {"stop_loss_fraction": policy.stop_loss_fraction, "take_profit_fraction": policy.take_profit_fraction}


class Instrument(NamedTuple):
    """The bars that one symbol of a panel really has. place: index of each in the panel, shape (n_bars,). total: bars of
    the panel."""

    symbol: str
    bars: Bars
    place: Integers
    known_at: Seconds
    year: Year
    total: int

    @property
    def padded(self) -> int:
        """Length of its votes: a multiple of eight."""
        return (len(self.place) + 7) // 8 * 8


def instrument(panel: Panel, row: int = 0) -> Instrument:
    """Symbol `row` of a panel, without the bars that lack a price above zero. Raises InvalidInput where none is left."""
    rows = [getattr(panel, name)[row] for name in PRICES]
    # Writeable ones, because the kernel is compiled anew for others.
    rows = [np.require(one, np.float64, ["C", "W"]) for one in rows]
    if len(panel) and kernel.are_sound(*rows[:4]):
        place, known_at = _every(len(panel)), panel.known_at
    else:
        place = np.flatnonzero(np.all([(prices > 0.0) & (prices < np.inf) for prices in rows[:4]], axis=0))
        if not len(place):
            raise InvalidInput(f"{panel.symbols[row]}: there is no bar with prices")
        known_at, rows = panel.known_at[place], [one[place] for one in rows]
    opened, high, low, close, volume = rows
    bars = Bars(opened, high, low, close, volume, close.view(np.int64))
    return Instrument(panel.symbols[row], bars, place, known_at, year_of(known_at), len(panel))


@lru_cache(maxsize=4)
def _every(count: int) -> Integers:
    """0 to count - 1; kept, because fresh memory costs more than the numbers in it."""
    every = np.arange(count)
    every.setflags(write=False)
    return every


def simulate(strategy: Strategy, panel: Panel, values: Values, setup: Setup, *, curve: bool = True) -> Run:
    """One set of values on the bars of the one symbol of a panel. values: complete and checked. curve: whether the equity of
    every bar is wanted. The protective legs are those of `setup`; see `exits_of` for those of the strategy."""
    if len(panel.symbols) != 1:
        raise InvalidInput(
            f"the research kernel takes the bars of one symbol, not of {len(panel.symbols)}: use `trader backtest`"
        )
    market = instrument(panel)
    if isinstance(strategy, Crossing):
        votes = _crossings(strategy, market, values)
    else:
        _, score = evaluated(strategy, panel, values)
        votes = votes_of(market, score[0], strategy.threshold(values))
    return run(market, votes, setup, curve=curve)


def _crossings(strategy: Crossing, market: Instrument, values: Values) -> Votes:
    """Votes of the cross of two lines, some bars at a time: what the lines need before them is in the strategy's memory."""
    votes, columns = np.zeros(market.padded, dtype=np.int8), as_columns(market)
    before, bars = strategy.memory(values) - 1, len(market.place)
    step = max(_LINED, 4 * before)
    for start in range(0, bars, step):
        begin, stop = max(0, start - before), min(start + step, bars)
        part = Columns(columns.timestamp[begin:stop], *(column[begin:stop] for column in columns[1:]))
        first, second = (line.compute(part) for line in strategy.lines(values))
        kernel_votes.cross(first, second, start - begin, stop - begin, votes[begin:])
    return votes


def as_columns(market: Instrument) -> Columns:
    """The bars as strategies are given them."""
    return Columns(market.known_at, *market.bars[:5])


def votes_of(market: Instrument, score: Floats, threshold: float) -> Votes:
    """Votes for `run`. score: shape (n_bars of the panel,)."""
    if not threshold > 0.0:
        raise InvalidInput(f"a threshold must be above 0, got {threshold}")
    votes = np.zeros(market.padded, dtype=np.int8)
    kernel_votes.vote(np.ascontiguousarray(score[market.place], dtype=np.float64), threshold, votes)
    return votes


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """One run in numbers; fractions are fractions. A `Sharpe ratio` is against a rate of zero.

    mean, deviation (sample), skewness, kurtosis (3 for a normal one, both biased): of the returns from bar to bar, the first
    from the capital; observations: how many. sharpe_ratio: mean over deviation, * sqrt(bars of a year). win_rate: of the closed
    trades, NaN without. exposure: share of the bars that ended with a holding. commissions: currency.
    """

    total_return: float
    sharpe_ratio: float
    max_drawdown: float
    trades: int
    win_rate: float
    exposure: float
    commissions: float
    observations: int
    mean: float
    deviation: float
    skewness: float
    kurtosis: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TradeLog:
    """Trades in order, arrays of shape (n_trades,); bars by their index in the panel. exit_bar: -1 while open. ending: key of
    `ENDINGS`. quantity: below zero for a short. profit: after costs, currency, of an open trade at the last close."""

    signal_bar: Integers
    entry_bar: Integers
    exit_bar: Integers
    ending: Integers
    quantity: Floats
    entry_price: Floats
    exit_price: Floats
    profit: Floats

    def __len__(self) -> int:
        return len(self.entry_bar)


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What one run came to. equity: at the end of each bar of the panel, shape (n_bars,), empty when not asked for."""

    figures: Figures
    trades: TradeLog
    equity: Floats


def run(market: Instrument, votes: Votes, setup: Setup, *, curve: bool = True) -> Run:
    """One run with its trades. votes: of `votes_of`."""
    bars = len(market.place)
    marked = np.empty(bars if curve else 0)
    room = int(np.count_nonzero(votes > 0 if setup.sides is Sides.LONG else votes))
    spots, amounts = np.empty((room, 4), dtype=np.int64), np.empty((room, 4))
    sums = kernel.walk(market.bars, votes, setup.terms(market.year.periods), _EVERY_BAR, marked, spots, amounts)
    logged = int(sums.logged)
    columns = summarise(np.array([sums]), bars, market.year, setup.capital)
    figures = Figures(**{name: column[0].item() for name, column in columns.items()})
    return Run(
        figures=figures,
        trades=_log(market, spots[:logged], amounts[:logged]),
        equity=_spread(market, marked, setup),
    )


def summarise(sums: Floats, bars: int, year: Year, capital: float) -> dict[str, Any]:
    """Fields of `Figures` as arrays of shape (n_runs,). sums: rows of `Sums`, of runs over so many `bars`."""
    row = {name: sums[:, place] for place, name in enumerate(Sums._fields)}
    mean = row["first"] / bars
    raw2, raw3, raw4 = (row[name] / bars for name in ("second", "third", "fourth"))
    variance = np.maximum(raw2 - mean**2, 0.0)
    # What is left of a variance below this is rounding.
    variance = np.where(variance > 1e-13 * raw2, variance, 0.0)
    deviation = np.sqrt(variance * bars / (bars - 1)) if bars > 1 else np.zeros(len(sums))
    with np.errstate(divide="ignore", invalid="ignore"):
        sharpe = np.where(deviation > 0.0, mean / deviation, 0.0) * math.sqrt(year.periods)
        skewness = np.where(variance > 0.0, (raw3 - 3.0 * mean * raw2 + 2.0 * mean**3) / variance**1.5, 0.0)
        fourth = raw4 - 4.0 * mean * raw3 + 6.0 * mean**2 * raw2 - 3.0 * mean**4
        kurtosis = np.where(variance > 0.0, fourth / variance**2, 3.0)
        win_rate = np.where(row["trades"] > 0, row["wins"] / row["trades"], np.nan)
    return {
        "total_return": row["equity"] / capital - 1.0,
        "sharpe_ratio": sharpe,
        "max_drawdown": row["drawdown"],
        "trades": row["trades"].astype(np.int64),
        "win_rate": win_rate,
        "exposure": row["held"] / bars,
        "commissions": row["commissions"],
        "observations": np.full(len(sums), bars, dtype=np.int64),
        "mean": mean,
        "deviation": deviation,
        "skewness": skewness,
        "kurtosis": kurtosis,
    }


def _log(market: Instrument, spots: Integers, amounts: Floats) -> TradeLog:
    place, exits = market.place, spots[:, 2]
    return TradeLog(
        signal_bar=place[spots[:, 0]],
        entry_bar=place[spots[:, 1]],
        exit_bar=np.where(exits >= 0, place[exits], -1),
        ending=spots[:, 3].copy(),
        quantity=amounts[:, 0].copy(),
        entry_price=amounts[:, 1].copy(),
        exit_price=amounts[:, 2].copy(),
        profit=amounts[:, 3].copy(),
    )


def _spread(market: Instrument, marked: Floats, setup: Setup) -> Floats:
    """The equity at every bar of the panel: where the symbol has none, that of its last."""
    if not len(marked) or len(marked) == market.total:
        return marked
    newest = np.searchsorted(market.place, np.arange(market.total), side="right") - 1
    return np.where(newest >= 0, marked[newest], setup.capital)

"""How a simulated exchange is started."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from pathlib import Path

from app.engine.costs import CostModel

FOLLOW = math.inf
FOLLOW_WORD = "follow"


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatorOptions:
    """data: Parquet or CSV of bars, one file or several, None for a generated market. start: first session of the replay.

    speed: simulated seconds per second, 0 for a clock moved by hand (POST /sim/clock), FOLLOW for as fast as the clients of
    the market data streams read. skip_closed: a running clock jumps from each close to the next open.
    symbols: empty for all in the files, or for any symbol in a generated market (which lists those of the watch list).
    actions: CSV of splits and dividends. prices: "raw" as traded, or "split" when the files' prices are split-adjusted already.
    news: CSV of articles. extended_hours: invent prices before and after the sessions where the files have none.
    stream_symbols: how many trade and quote subscriptions a market data stream takes (405 beyond), None for any number.
    state_file: where orders, fills and the clock survive; None keeps them in memory. port 0 takes any free port.
    multiplier: what accounts may buy for each dollar of their own: 1 for cash accounts, which never go short, 2 or 4.
    cancel_seconds: simulated time until a cancel takes effect. participation, partial_probability: as in `Liquidity`.
    keys: (key id, secret) pairs that have an account from the start. keys_required: no other key is let in, but those that
    POST /sim/accounts made known. rate_limit: requests a minute and account, None for no limit (Alpaca: 200).
    """

    host: str = "127.0.0.1"
    port: int = 5801
    data: Path | tuple[Path, ...] | None = None
    start: date | None = None
    speed: float = 0.0
    seed: int = 7
    symbols: tuple[str, ...] = ()
    actions: Path | None = None
    prices: str = "raw"
    news: Path | None = None
    extended_hours: bool = False
    cash: Decimal = Decimal(100_000)
    state_file: Path | None = None
    skip_closed: bool = True
    stream_symbols: int | None = None
    costs: CostModel = field(default_factory=CostModel)
    multiplier: int = 2
    cancel_seconds: float = 0.0
    participation: Decimal | None = None
    partial_probability: Decimal = Decimal(0)
    keys: tuple[tuple[str, str], ...] = ()
    keys_required: bool = False
    rate_limit: int | None = None

    @property
    def files(self) -> tuple[Path, ...]:
        """The files of bars, none for a generated market."""
        if self.data is None:
            return ()
        return (self.data,) if isinstance(self.data, Path) else self.data

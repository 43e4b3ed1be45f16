"""The trading process of a campaign: the product's own wiring without the queue, told what to do over a pipe.

It is forked from a server that has imported everything already, as the product's worker is, so that a life begins within
milliseconds. Lives share nothing but the exchange, the database and the state directory.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path

from app.config import DEFAULT_WATCHLIST, Settings
from app.domain.errors import Conflict
from app.domain.trading_state import TradingState
from app.runtime import failpoint
from app.services.trading.reconciliation import Reconciler
from app.wiring import Services, build
from tests.trading.exchange import Exchange

SYMBOLS = tuple(DEFAULT_WATCHLIST.split()[:16])
KEY = "campaign"
MOST_CYCLES = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Life:
    """How a trading process starts. crash_at, hold_at: failpoints armed from the very start. seed: of the forecasts."""

    url: str
    database_url: str
    directory: Path
    seed: int
    crash_at: str = ""
    hold_at: str = ""

    @property
    def settings(self) -> Settings:
        return Settings(
            _env_file=None,
            watchlist=" ".join(SYMBOLS),
            forecasts_file=self.directory / "forecasts.csv",
            alpaca_api_key=KEY,
            alpaca_api_secret="secret",
            alpaca_trading_url=self.url,
            alpaca_data_url=self.url,
            database_url=self.database_url,
            redis_url="redis://127.0.0.1:1/0",
            state_dir=self.directory,
            logs_dir=self.directory,
            models_dir=self.directory,
            params_dir=self.directory,
            crash_at=self.crash_at,
            hold_at=self.hold_at,
        )


class Trader:
    """What a trading process can be told to do."""

    def __init__(self, life: Life, wire: Connection) -> None:
        self._life = life
        self._wire = wire
        self._exchange = Exchange(life.url)
        self._write_forecasts("start")
        self.services: Services = build(life.settings)

    def arm(self, crash_at: str, hold_at: str = "") -> None:
        """Set the failpoints anew."""
        failpoint.arm(crash_at, hold_at, self._life.directory)

    def cycle(self, forecasts: dict[str, float] | None = None) -> str:
        """Let ten minutes pass and run the cycle of that slot; its outcome."""
        at = self._step(600)
        self._write_forecasts(at, forecasts)
        return self.services.trading.run_cycle().outcome

    def again(self, forecasts: dict[str, float] | None = None) -> str:
        """A cycle without any time passing: of a slot that may have had one."""
        if forecasts is not None:
            self._write_forecasts("", forecasts)
        return self.services.trading.run_cycle().outcome

    def loop(self) -> str:
        """Cycles until someone kills or calls; now and then in between a second one for the same slot."""
        dice = random.Random(f"{self._life.seed} loop")
        for _ in range(MOST_CYCLES):
            self.cycle()
            if dice.random() < 0.2:
                self.again()
            if self._wire.poll():
                return "called"
        return "tired"

    def reconcile(self) -> tuple[str, ...]:
        """Make the books equal to the venue's, and nothing more; what is left of differences."""
        venue, database = self.services.alpaca, self.services.database
        return Reconciler(venue=venue, database=database).reconcile(venue.clock().now).differences

    def halt(self) -> str:
        """A person halts."""
        self.services.risk.halt("ann", "drill")
        return "halted"

    def watch(self) -> str:
        """Look out for the kill file, as the worker does."""
        self.services.kill.watch()
        return "watching"

    def kill_file(self) -> str:
        """A person makes the kill file, and the next cycle finds it."""
        self.services.risk.kill_file.write("drill")
        return self.cycle()

    def flatten(self) -> str:
        """Everything is to be sold."""
        database = self.services.database
        state = database.risk_state()
        assert state is not None
        flattening = replace(state, trading_state=TradingState.FLATTENING, cause="operator", actor="ann", epoch=state.epoch + 1)
        database.save_risk_state(flattening)
        return "flattening"

    def resume(self) -> str:
        """A person looks at everything and lets all trading go on."""
        state = self.services.risk.resume("ann", "drill is over", accept_losses=True)
        for symbol in state.disabled_symbols:
            self.services.risk.enable(symbol, "ann", "drill")
        return "resumed"

    def _step(self, seconds: int) -> str:
        self._exchange.step(seconds)
        return str(self._exchange.state()["clock"])

    def _write_forecasts(self, at: str, forecasts: dict[str, float] | None = None) -> None:
        if forecasts is None:
            dice = random.Random(f"{self._life.seed} {at}")
            forecasts = {symbol: dice.choice((0.03, 0.02, 0.0, -0.03)) for symbol in SYMBOLS}
        rows = "".join(f"{symbol},{value},0.9\n" for symbol, value in forecasts.items())
        (self._life.directory / "forecasts.csv").write_text("symbol,expected_return,confidence\n" + rows)


def live(life: Life, wire: Connection) -> None:
    """A whole life: commands (name, arguments) come in, results go out."""
    log = os.open(life.directory / "trader.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    trader = Trader(life, wire)
    wire.send("up")
    while True:
        name, arguments = wire.recv()
        if name == "stop":
            trader.services.close()
            return
        work: Callable[..., object] = getattr(trader, name)
        try:
            wire.send(work(*arguments))
        except Conflict as conflict:
            wire.send(f"conflict: {conflict.message}")

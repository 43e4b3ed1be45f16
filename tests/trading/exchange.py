"""A real simulated exchange in a thread of the test, moved by hand, and the services that trade on it."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import requests

from app import __version__
from app.brokers.alpaca import AlpacaBroker
from app.brokers.alpaca_data import AlpacaData
from app.brokers.alpaca_wire import AlpacaWire
from app.brokers.rate_limit import TokenBucket
from app.domain.forecast import Forecaster
from app.domain.ports import Broker, Clock
from app.learning.scripted import ScriptedForecaster
from app.risk.limits import Policy, RiskLimits
from app.runtime.clock import WallClock
from app.services.alpaca_service import AlpacaService
from app.services.database_service import DatabaseService
from app.services.risk_manager import RiskManager
from app.services.trading_service import CycleReport, TradingService
from app.services.verdicts.verdict_gate import VerdictGate
from app.simulator.accounts.ledger import Entry
from app.simulator.options import SimulatorOptions
from app.simulator.server import Server, build_app, configured

SYMBOLS = ("AAPL", "MSFT", "GOOGL", "TSLA", "SPY", "NVDA", "AMZN", "META", "NFLX", "AMD", "JNJ", "UNH")


class Exchange:
    """The exchange's own controls, as a person would use them over HTTP."""

    def __init__(self, url: str, world: Any = None) -> None:
        self.url = url
        self._world = world
        self._entered = itertools.count()  # the same amount may come twice in one instant

    def enter(self, kind: str, amount: str, *, symbol: str | None = None, quantity: str | None = None) -> None:
        """Something other than a trade happens to the account: money comes or goes, shares are moved."""
        ledger, now = self._world.first.ledger, self._world.now
        name = ledger.name("test", kind, now, amount, symbol, quantity, next(self._entered))
        units = None if quantity is None else Decimal(quantity)
        ledger.enter(
            Entry(
                entry_id=name,
                activity_type=kind,
                at=now,
                day=now.date(),
                net_amount=Decimal(amount),
                symbol=symbol,
                quantity=units,
            )
        )

    def state(self) -> dict[str, Any]:
        return requests.get(f"{self.url}/sim/state", timeout=10).json()

    def ledger(self) -> dict[str, Any]:
        return requests.get(f"{self.url}/sim/ledger", timeout=10).json()

    def move(self, **how: object) -> dict[str, Any]:
        answer = requests.post(f"{self.url}/sim/clock", json=how, timeout=30)
        answer.raise_for_status()
        return answer.json()

    def reset(self, **how: object) -> None:
        requests.post(f"{self.url}/sim/reset", json=how, timeout=30).raise_for_status()

    def step(self, seconds: int = 600) -> None:
        """To the next slot; past the close, to ten minutes after the next opening."""
        if not self.move(advance_seconds=seconds)["is_open"]:
            self.move(next_open=True)
            self.move(advance_seconds=seconds)

    def fault(self, **how: object) -> int:
        """Something goes wrong from now on; its number."""
        answer = requests.post(f"{self.url}/sim/faults", json=how, timeout=10)
        answer.raise_for_status()
        return answer.json()["id"]

    def mend(self) -> None:
        """Nothing goes wrong any more."""
        requests.delete(f"{self.url}/sim/faults", timeout=10).raise_for_status()

    def order(self, **body: object) -> requests.Response:
        """An order a person places beside the system."""
        headers = {"APCA-API-KEY-ID": "k", "APCA-API-SECRET-KEY": "s"}  # the same account as the product
        return requests.post(f"{self.url}/v2/orders", json=body, headers=headers, timeout=10)


@contextmanager
def serve_exchange(
    *,
    data: Path | None = None,
    start: date | None = None,
    symbols: Sequence[str] = SYMBOLS,
    seed: int = 7,
    **more: Any,
) -> Iterator[Exchange]:
    """more: further options of the simulator."""
    options = SimulatorOptions(data=data, start=start, seed=seed, symbols=tuple(symbols), multiplier=1, **more)
    app = build_app(options)
    server = Server(configured(app, host="127.0.0.1", port=0))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield Exchange(f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}", app.state.world)
    finally:
        server.should_exit = True
        thread.join(10)


@dataclass
class System:
    """The trading services on one exchange and one database."""

    exchange: Exchange
    database: DatabaseService
    trading: TradingService
    risk: RiskManager
    venue: AlpacaService
    wire: AlpacaWire

    def cycles(self, count: int) -> list[CycleReport]:
        """Run `count` slots, one cycle each."""
        reports = []
        for _ in range(count):
            reports.append(self.trading.run_cycle())
            self.exchange.step()
        return reports


def build_system(
    exchange: Exchange,
    database: DatabaseService,
    directory: Path,
    *,
    forecaster: Forecaster,
    symbols: Sequence[str] = SYMBOLS,
    limits: RiskLimits | None = None,
    policy: Policy | None = None,
    wrap: Any = None,
    clock: Clock | None = None,
    mode: str = "simulated",
    account_id: str = "",
    timeout_seconds: float = 10.0,
    monotonic: Callable[[], float] = time.monotonic,
    version: str = __version__,
    verdicts: VerdictGate | None = None,
) -> System:
    """wrap: puts something between the services and the real broker adapter. clock: ours, not the venue's."""
    clock = clock or WallClock()
    wire = AlpacaWire(TokenBucket(60_000), monotonic=monotonic)
    broker = AlpacaBroker(key="k", secret="s", url=exchange.url, paper=True, timeout_seconds=timeout_seconds, wire=wire)
    data = AlpacaData(
        key="k", secret="s", url=exchange.url, feed="iex", timeout_seconds=10, wire=wire, calendar=broker.calendar
    )
    placed: Broker = wrap(broker) if wrap else broker
    venue = AlpacaService(
        broker=placed,
        data=data,
        database=database,
        clock=clock,
        symbols=symbols,
        mode=mode,
        url=exchange.url,
        health=wire.health,
        account_id=account_id,
    )
    limits = limits or RiskLimits()
    risk = RiskManager(database=database, limits=limits, state_dir=directory, clock=clock, health=venue.health)
    trading = TradingService(
        venue=venue,
        forecaster=forecaster,
        risk=risk,
        database=database,
        clock=clock,
        symbols=tuple(symbols),
        limits=limits,
        policy=policy or Policy(),
        cycle_seconds=600,
        version=version,
        verdicts=verdicts,
    )
    return System(exchange=exchange, database=database, trading=trading, risk=risk, venue=venue, wire=wire)


def scripted(directory: Path, expected: dict[str, float], confidence: float = 0.9) -> ScriptedForecaster:
    """Forecasts by symbol; rewriting the file changes them."""
    path = directory / "forecasts.csv"
    rows = "".join(f"{symbol},{value},{confidence}\n" for symbol, value in expected.items())
    path.write_text("symbol,expected_return,confidence\n" + rows)
    return ScriptedForecaster(path)


def assert_limits_held(exchange: Exchange, limits: RiskLimits) -> int:
    """Replay the exchange's own ledger and check every limit right after every buy, marking all holdings at that
    minute's prices. Returns the number of fills checked."""
    ledger = exchange.ledger()
    cash, held = Decimal(ledger["start_cash"]), dict[str, Decimal]()
    for fill in ledger["fills"]:
        quantity, price = Decimal(fill["quantity"]), Decimal(fill["price"])
        sign = 1 if fill["side"] == "buy" else -1
        cash -= sign * quantity * price + Decimal(fill.get("commission", "0"))
        held[fill["symbol"]] = held.get(fill["symbol"], Decimal(0)) + sign * quantity
        assert held[fill["symbol"]] >= 0, f"sold more {fill['symbol']} than held at {fill['filled_at']}"
        if held[fill["symbol"]] == 0:
            del held[fill["symbol"]]
        assert cash >= 0
        if sign < 0:
            continue
        marks = {**_minute_prices(exchange, list(held), fill["filled_at"]), fill["symbol"]: price}
        values = {symbol: units * marks[symbol] for symbol, units in held.items()}
        equity = cash + sum(values.values())
        assert len(held) <= limits.max_positions
        assert values[fill["symbol"]] <= Decimal(str(limits.max_position_fraction)) * equity, fill
        assert sum(values.values()) <= Decimal(str(limits.max_exposure_fraction)) * equity, fill
    return len(ledger["fills"])


def _minute_prices(exchange: Exchange, symbols: list[str], at: str) -> dict[str, Decimal]:
    """Close of the last complete minute bar by `at`."""
    query = {"symbols": ",".join(symbols), "timeframe": "1Min", "end": at, "start": at[:10] + "T00:00:00Z", "limit": 10000}
    headers = {"APCA-API-KEY-ID": "k", "APCA-API-SECRET-KEY": "s"}
    prices: dict[str, Decimal] = {}
    while True:
        answer = requests.get(f"{exchange.url}/v2/stocks/bars", params=query, headers=headers, timeout=10).json()
        for symbol, bars in answer["bars"].items():
            prices[symbol] = Decimal(repr(bars[-1]["c"]))
        if not answer.get("next_page_token"):
            return prices
        query["page_token"] = answer["next_page_token"]

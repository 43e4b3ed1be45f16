"""The real services on a real simulated exchange that can be told what goes wrong. Judged by the exchange's own ledger."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import requests

from app.domain.order_state import OrderState
from app.domain.trading_state import RiskState
from app.services.database_service import DatabaseService
from app.services.trading_service import CycleReport
from tests.trading.exchange import SYMBOLS, Exchange, System, build_system, scripted

RISING = dict.fromkeys(SYMBOLS, 0.03)
FALLING = dict.fromkeys(SYMBOLS, -0.03)
CALM: dict[str, float] = {}
RESTING = frozenset({"new", "held", "accepted", "partially_filled", "pending_cancel", "pending_new"})


class Bench:
    """One exchange, one database, and a process of the product that can be started again."""

    def __init__(self, exchange: Exchange, ledger: DatabaseService, directory: Path) -> None:
        self.exchange, self.ledger, self.directory = exchange, ledger, directory
        self.system: System

    def start(self, forecasts: Mapping[str, float] = RISING, **options: Any) -> System:
        """A new process: nothing but the database and the state directory is known to it."""
        chosen = {"forecaster": self.expect(forecasts), "timeout_seconds": 30.0} | options
        self.system = build_system(self.exchange, self.ledger, self.directory, **chosen)
        return self.system

    def expect(self, forecasts: Mapping[str, float], confidence: float = 0.9) -> Any:
        """From now on these are the forecasts."""
        return scripted(self.directory, dict(forecasts), confidence)

    def fault(self, what: str, **how: object) -> int:
        """Something goes wrong from now on; its number."""
        answer = requests.post(f"{self.exchange.url}/sim/faults", json={"what": what, **how}, timeout=10)
        assert answer.ok, answer.text
        return int(answer.json()["id"])

    def mend(self) -> None:
        """Nothing goes wrong any more."""
        requests.delete(f"{self.exchange.url}/sim/faults", timeout=10).raise_for_status()

    def cycle(self) -> CycleReport:
        """One cycle, then on to the next slot."""
        report = self.system.trading.run_cycle()
        self.exchange.step()
        return report

    def holding(self, forecasts: Mapping[str, float] = RISING) -> dict[str, Decimal]:
        """Runs until something is held and no entry is open; what is held."""
        self.start(forecasts)
        self.cycle()
        self.expect(CALM)
        self.cycle()
        self.cycle()
        held = {s: p.quantity for s, p in self.ledger.portfolio().positions.items()}
        assert held
        return held

    @property
    def risk(self) -> RiskState:
        state = self.ledger.risk_state()
        assert state is not None
        return state

    @property
    def trading(self) -> tuple[str, str]:
        return self.risk.trading_state.name, self.risk.cause

    def put(self, **changes: Any) -> None:
        """The risk state as it is, with these changes, in force."""
        state = replace(self.risk, epoch=self.risk.epoch + 1, **changes)
        self.ledger.save_risk_state(state)
        self.system.risk.mirror(state)

    def posts(self) -> Counter[str]:
        """How often each order was sent, by what the exchange received."""
        found = requests.get(
            f"{self.exchange.url}/sim/requests", params={"method": "POST", "path": "/v2/orders", "limit": 1000}, timeout=10
        )
        return Counter(one["client_order_id"] for one in found.json()["requests"])

    def reads(self) -> int:
        """How many reads the exchange received."""
        by_route = requests.get(f"{self.exchange.url}/sim/requests", timeout=10).json()["reads_by_route"]
        return sum(count for route, count in by_route.items() if not route.startswith("/sim"))

    def at_venue(self, side: str, *, resting: bool = False) -> list[dict[str, Any]]:
        """Orders of that side by the exchange's ledger; legs are among the sells."""
        orders = self.exchange.ledger()["orders"]
        return [one for one in orders if one["side"] == side and (not resting or one["status"] in RESTING)]

    def states(self) -> Counter[OrderState]:
        """The states of our entries."""
        return Counter(one.state for one in self.ledger.orders(limit=1000) if one.parent_id is None)

    def alerts(self, about: str = "") -> list[str]:
        return [message.message for message in self.ledger.outbox_pending(1000) if about in message.message]

    def assert_books_agree(self) -> None:
        """Both books, to the cent, once ours have heard of everything."""
        self.system.trading.run_cycle("manual", request_id=f"{len(self.ledger.cycles(10_000))}")
        truth, ours = self.exchange.ledger(), self.ledger.portfolio()
        assert {s: p.quantity for s, p in ours.positions.items()} == {
            symbol: Decimal(held["quantity"]) for symbol, held in truth["positions"].items()
        }
        assert abs(ours.cash - Decimal(truth["cash"])) < Decimal("0.01")

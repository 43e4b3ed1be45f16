"""What the processes of the races do; in a file of its own, since they import it afresh."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

from app.domain.order import ValidatedOrder
from app.domain.order_state import OrderEvent
from app.risk.limits import RiskLimits
from app.risk.reservations import Capacity
from app.services.database_service import DatabaseService
from app.storage.database import Database
from tests.databases import HandClock
from tests.storage.made import T0, order

RACERS = 4
EQUITY = Decimal(100_000)
LIMITS = RiskLimits()
# Six holdings: one slot of seven is left, and under the exposure limit room for one entry of a thousand.
SLOTS = [(f"H{i}", Decimal(50)) for i in range(6)]
EXPOSURE = [("H0", Decimal(788))]
PRICE = Decimal(100)


def capacity() -> Capacity:
    prices = {symbol: PRICE for symbol, _ in SLOTS}
    return Capacity(equity=EQUITY, buying_power=EQUITY, prices=prices, limits=LIMITS)


def entry(name: str, symbol: str) -> ValidatedOrder:
    return ValidatedOrder(
        order(
            name, symbol=symbol, quantity=Decimal(10), limit_price=PRICE, take_profit_price=Decimal(110),
            stop_loss_price=Decimal(95),
        )
    )  # fmt: skip


def commit_in_step(url: str, number: int, rounds: int, barrier: Any) -> list[int]:
    """Each round all racers commit one entry at the same moment; the rounds this one won. The winner makes room again."""
    service = DatabaseService(Database(url), HandClock())
    won = []
    for turn in range(rounds):
        name = f"r{turn}-{number}"
        barrier.wait(120)
        committed = service.commit_orders(
            [entry(name, f"S{number}")], source="race", capacity=capacity(), expires_at=T0 + timedelta(days=1), at=T0
        )
        barrier.wait(120)
        if not committed.refusals:
            won.append(turn)
            service.settle_intent(name, OrderEvent.EXPIRE)
    service.close()
    return won


def tick_in_step(url: str, number: int, ticks: int, barrier: Any) -> list[str]:
    """Every tick reaches every racer, and each a second time; the slots this one ran."""
    service = DatabaseService(Database(url), HandClock())
    ran = []
    for tick in range(ticks):
        at = T0 + timedelta(seconds=600 * tick)
        barrier.wait(120)
        for _ in range(2):
            outcome = service.claim_cycle(
                f"c{tick}", slot=at, started_at=at, owner=f"w{number}", trigger="schedule", is_alive=lambda _: True
            )
            if outcome == "claimed":
                ran.append(f"c{tick}")
                service.finish_cycle(f"c{tick}", outcome="completed", detail="", finished_at=at, timings={}, equity=None)
    service.close()
    return ran

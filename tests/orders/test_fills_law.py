"""R04: executions reported in any order, any number of times, give the same position to the last digit."""

from __future__ import annotations

import os
import random
from decimal import Decimal

from app.domain.order import Side
from tests.storage.made import T0, after, fill

SEED = int(os.environ.get("SEED", "0"))
FILLS = int(os.environ.get("FILLS", "1000"))


def test_r04_shuffled_and_repeated_executions_give_the_exact_position(ledger):
    dice = random.Random(SEED)
    units = lambda: Decimal(dice.randint(1, 10**12)).scaleb(-9)  # noqa: E731
    fills = [
        fill(
            f"e{i}", f"v{i % 97}", symbol=dice.choice(["AAPL", "KO", "BTC/USD"]), side=dice.choice(list(Side)),
            quantity=units(), price=Decimal(dice.randint(1, 10**7)).scaleb(-4), filled_at=after(dice.randint(0, FILLS // 3)),
        )
        for i in range(FILLS)
    ]  # fmt: skip
    ledger.open_account("a", Decimal(10**6), T0)
    reports = fills + dice.choices(fills, k=FILLS)
    dice.shuffle(reports)
    booked = []
    for start in range(0, len(reports), max(1, len(reports) // 20)):
        booked += ledger.book_fills(reports[start : start + max(1, len(reports) // 20)])
    assert sorted(one.execution_id for one in booked) == sorted(one.execution_id for one in fills)
    positions = {symbol: held.quantity for symbol, held in ledger.portfolio().positions.items()}
    for symbol in {one.symbol for one in fills}:
        exact = sum((one.side.sign * one.quantity for one in fills if one.symbol == symbol), Decimal(0))
        assert positions.get(symbol, Decimal(0)) == exact
    spent = sum((one.side.sign * one.quantity * one.price for one in fills), Decimal(0))
    assert ledger.portfolio().cash == Decimal(10**6) - spent
    print(f"{FILLS} executions in {len(reports)} reports, exact to the last digit, seed {SEED}")

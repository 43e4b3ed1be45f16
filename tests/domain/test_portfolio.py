"""Cash and positions: value is conserved, however the fills are cut."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from app.domain.order import Fill, Side
from app.domain.portfolio import Portfolio, apply_fill

AT = datetime(2024, 3, 5, 15, 0, tzinfo=UTC)
CASH = Decimal(100_000)
FILLS = st.lists(
    st.tuples(st.sampled_from(["A", "B"]), st.sampled_from(Side), st.integers(1, 50), st.integers(1_00, 900_00)), max_size=25
)


def fill(symbol: str, side: Side, quantity: Decimal, price: Decimal, commission: Decimal = Decimal(0)) -> Fill:
    return Fill(
        execution_id="e",
        venue_order_id="v",
        symbol=symbol,
        side=side,
        quantity=quantity,
        price=price,
        filled_at=AT,
        commission=commission,
    )


def folded(rows: list[tuple[str, Side, int, int]], parts: int = 1) -> Portfolio:
    portfolio = Portfolio(cash=CASH)
    for symbol, side, units, cents in rows:
        for _ in range(parts):
            portfolio = apply_fill(portfolio, fill(symbol, side, Decimal(units) / parts, Decimal(cents) / 100))
    return portfolio


def close_to(one: Decimal, other: Decimal) -> bool:
    """Equal but for the last digits of a division in 28 digits."""
    return abs(one - other) <= Decimal("1e-18") * max(1, abs(one))


@settings(deadline=None)
@given(FILLS)
def test_halves_equal_the_whole(rows: list[tuple[str, Side, int, int]]) -> None:
    whole, halves = folded(rows), folded(rows, parts=2)
    assert whole.cash == halves.cash
    assert close_to(whole.realized, halves.realized)
    assert whole.positions.keys() == halves.positions.keys()
    for symbol, position in whole.positions.items():
        other = halves.positions[symbol]
        assert position.quantity == other.quantity
        assert close_to(position.average_entry_price, other.average_entry_price)


@settings(deadline=None)
@given(FILLS)
def test_value_is_conserved_at_zero_cost(rows: list[tuple[str, Side, int, int]]) -> None:
    """A fill at the mark moves value between cash and holding and changes neither sum."""
    portfolio = Portfolio(cash=CASH)
    marks = {"A": Decimal(100), "B": Decimal(100)}
    for symbol, side, units, cents in rows:
        marks[symbol] = Decimal(cents) / 100
        before = portfolio.mark(marks)
        portfolio = apply_fill(portfolio, fill(symbol, side, Decimal(units), marks[symbol]))
        assert portfolio.mark(marks) == before
    unrealized = sum((p.unrealized(marks[p.symbol]) for p in portfolio.positions.values()), Decimal(0))
    assert close_to(portfolio.mark(marks), CASH + portfolio.realized + unrealized)


@settings(deadline=None)
@given(FILLS, st.decimals(0, 50, places=2))
def test_commissions_are_paid_and_nothing_else(rows: list[tuple[str, Side, int, int]], commission: Decimal) -> None:
    free, paid = Portfolio(cash=CASH), Portfolio(cash=CASH)
    for symbol, side, units, cents in rows:
        free = apply_fill(free, fill(symbol, side, Decimal(units), Decimal(cents) / 100))
        paid = apply_fill(paid, fill(symbol, side, Decimal(units), Decimal(cents) / 100, commission))
    assert free.cash - paid.cash == commission * len(rows)
    assert free.positions == paid.positions

"""Two books side by side: ours and the venue's. Pure; `app.services.trading.reconciliation` asks and adopts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal

from app.domain.activity import Activities, Activity, ActivityKind
from app.domain.order import Fill
from app.domain.portfolio import Portfolio, Position, apply_activity, apply_fill
from app.domain.ports import Account

CASH = "cash"
_CENT = Decimal("0.01")


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """What nothing explains. subject: a symbol, `cash` or an execution; ours, theirs: as each book tells it."""

    subject: str
    ours: str
    theirs: str
    difference: str = ""

    def __str__(self) -> str:
        return f"{self.subject}: our books say {self.ours}, the venue {self.theirs}"

    def row(self) -> dict[str, str]:
        """As plain values."""
        return {"subject": self.subject, "ours": self.ours, "theirs": self.theirs, "difference": self.difference}


def compare(ours: Portfolio, theirs: Account, held: Mapping[str, Position]) -> tuple[Difference, ...]:
    """Holdings and cash; units must be equal, cash to the cent."""
    found = []
    for symbol in sorted(set(ours.positions) | set(held)):
        mine, other = (book[symbol].quantity if symbol in book else Decimal(0) for book in (ours.positions, held))
        if mine != other:
            found.append(_numbers(symbol, mine, other))
    if not theirs.cash.is_finite() or abs(ours.cash - theirs.cash) >= _CENT:
        found.append(_numbers(CASH, round(ours.cash, 2), round(theirs.cash, 2)))
    return tuple(found)


def compare_fills(ours: Iterable[Fill], theirs: Iterable[Fill]) -> tuple[Difference, ...]:
    """Executions of one period: those that only we know, and those told in other terms. Executions that only the venue knows
    are booked, not compared."""
    told = {fill.execution_id: _terms(fill) for fill in theirs}
    return tuple(
        Difference(subject=f"execution {fill.execution_id}", ours=_terms(fill), theirs=told.get(fill.execution_id, "none"))
        for fill in ours
        if told.get(fill.execution_id) != _terms(fill)
    )


def adjustments(
    ours: Portfolio, theirs: Account, held: Mapping[str, Position], *, at: datetime, why: str
) -> tuple[Activity, ...]:
    """What to book on a person's word for our books to become the venue's. at: venue time. why: who said so, and why."""
    entries = []
    for symbol in sorted(set(ours.positions) | set(held)):
        mine, other = (book[symbol].quantity if symbol in book else Decimal(0) for book in (ours.positions, held))
        if mine != other:
            price = held[symbol].average_entry_price if symbol in held else None
            entries.append(_adjustment(symbol, at, why, symbol=symbol, quantity=other - mine, price=price))
    if theirs.cash != ours.cash:
        entries.append(_adjustment(CASH, at, why, amount=theirs.cash - ours.cash))
    return tuple(entries)


def after(ours: Portfolio, statement: Activities) -> Portfolio:
    """Our cash and holdings once what is in the statement is booked too; what single units cost is not told."""
    void = {fill.reverses for fill in statement.fills}
    for entry in statement.entries:
        ours = apply_activity(ours, entry)
    for fill in statement.fills:
        if fill.reverses is None and fill.execution_id not in void:
            ours = apply_fill(ours, fill)
    return ours


def certain(ours: Portfolio, held: Mapping[str, Position]) -> Portfolio:
    """Our books as far as the venue confirms them: of each holding the smaller quantity, so that no exit sells what may not be
    there."""
    kept = {}
    for symbol, position in ours.positions.items():
        theirs = held[symbol].quantity if symbol in held else Decimal(0)
        if theirs.is_finite() and position.quantity * theirs > 0:
            quantity = min(position.quantity, theirs, key=abs)
            kept[symbol] = replace(position, quantity=quantity)
    return replace(ours, positions=kept)


def table(differences: Sequence[Difference]) -> str:
    """Rows that line up, for people."""
    rows = [("", "ours", "venue", "difference")]
    rows += [(one.subject, one.ours, one.theirs, one.difference) for one in differences]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    return "\n".join("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows)


def _adjustment(
    subject: str,
    at: datetime,
    why: str,
    *,
    amount: Decimal = Decimal(0),
    symbol: str | None = None,
    quantity: Decimal = Decimal(0),
    price: Decimal | None = None,
) -> Activity:
    return Activity(
        activity_id=f"adjustment-{at:%Y%m%dT%H%M%S}-{subject}",
        kind=ActivityKind.ADJUSTMENT,
        word="accepted",
        at=at,
        amount=amount,
        symbol=symbol,
        quantity=quantity,
        price=price,
        description=why,
    )


def _numbers(subject: str, ours: Decimal, theirs: Decimal) -> Difference:
    return Difference(subject=subject, ours=f"{ours:f}", theirs=f"{theirs:f}", difference=f"{theirs - ours:+f}")


def _terms(fill: Fill) -> str:
    return f"{fill.side.value} {fill.quantity.normalize():f} {fill.symbol} at {fill.price.normalize():f}"

"""Whose a symbol is where several strategies share the account: its entry's id is a function of the strategy that made it.

Nothing is remembered beside the orders, so that a restart, another worker or a restored database comes to the same owner.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from app.domain.order import Purpose, Side, client_order_id
from app.domain.portfolio import Position
from app.domain.records import EntryOrder


def owners_of(
    entries: Iterable[EntryOrder], held: Mapping[str, Position], *, account: str, strategies: Sequence[str]
) -> dict[str, str]:
    """The strategy that holds or buys a symbol, by symbol; absent where none of `strategies` made its entry. entries: the last
    of each symbol that filled, and those still open."""
    found = {}
    for entry in entries:
        if not _is_of(entry, held.get(entry.symbol)):
            continue
        for strategy in strategies:
            name = client_order_id(
                account=account,
                strategy=strategy,
                decided_for=entry.cycle_id,
                symbol=entry.symbol,
                side=Side.BUY,
                purpose=Purpose.ENTRY,
            )
            if name == entry.client_order_id:
                found[entry.symbol] = strategy
    return found


def _is_of(entry: EntryOrder, held: Position | None) -> bool:
    """Whether it made what is held now, or may still make a holding."""
    if entry.filled_at is None:
        return True
    return held is not None and (held.opened_at is None or entry.filled_at >= held.opened_at)

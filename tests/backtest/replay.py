"""Parity: what a session recorded, decided again, and its books rebuilt from its fills."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from app.domain.exits import PositionPlan, standing
from app.domain.portfolio import Portfolio
from app.engine.decide import decide
from app.engine.decision import Book, Decision
from app.engine.ledger import Execution, Ledger, book, parts_taken, roll
from app.engine.recording import Inputs, from_json


@dataclass(frozen=True, slots=True, kw_only=True)
class Rebuilt:
    """One recorded decision with the book rebuilt from fills. decision: made from the rebuilt book; differences: one
    sentence per field in which the recorded book says something else."""

    inputs: Inputs
    decision: Decision
    differences: tuple[str, ...]


def replay(recordings: Iterable[Mapping[str, Any]]) -> Iterator[Decision]:
    """The decision for each recording (see `app.engine.recording`), in order."""
    for recording in recordings:
        yield _decide(from_json(dict(recording)))


def rebuild(recordings: Iterable[Mapping[str, Any]], executions: Iterable[Execution], opening: Portfolio) -> Iterator[Rebuilt]:
    """The stronger replay: cash, holdings and counts of each book are our own fold of the executions known by then, its
    risk state and what its exits remember are what the decision before left. Open orders and the venue's own figures stay as
    recorded.

    executions: in time order. opening: cash and holdings before the first.
    """
    pending = iter(executions)
    upcoming = next(pending, None)
    ledger, decided = Ledger(portfolio=opening), None
    plans: dict[str, PositionPlan] = {}
    for recording in recordings:
        inputs = from_json(dict(recording))
        while upcoming is not None and upcoming.fill.filled_at <= inputs.view.decided_at:
            # The UTC date of a New York session's fills is the session's own date; fills of earlier days do not count today.
            ledger = book(roll(ledger, upcoming.fill.filled_at.date().isoformat()), [upcoming])
            plans |= parts_taken(plans, upcoming)
            upcoming = next(pending, None)
        ledger = roll(ledger, inputs.book.session)
        held = _as_recorded(ledger.portfolio, inputs.book)
        own = replace(
            inputs.book,
            cash=ledger.portfolio.cash,
            positions=held,
            progress={} if decided is None else {s: plan.progress for s, plan in standing(plans, held).items()},
            entries_today=ledger.entries_today,
            exits_today=ledger.exits_today,
            risk=inputs.book.risk if decided is None else decided.risk,
        )
        decided = _decide(replace(inputs, book=own))
        plans = dict(decided.plans)
        yield Rebuilt(inputs=inputs, decision=decided, differences=tuple(_differences(own, inputs.book)))


def _as_recorded(portfolio: Portfolio, recorded: Book) -> dict[str, Any]:
    """Holdings without the moments they were opened at where the recording does not tell them."""
    opened = {symbol: position.opened_at for symbol, position in recorded.positions.items()}
    return {symbol: replace(p, opened_at=opened.get(symbol, p.opened_at)) for symbol, p in portfolio.positions.items()}


def _differences(own: Book, recorded: Book) -> Iterator[str]:
    for name in ("cash", "entries_today", "exits_today", "risk", "progress"):
        ours, theirs = getattr(own, name), getattr(recorded, name)
        if ours != theirs:
            yield f"{name}: {ours} by our fills, {theirs} as recorded"
    for symbol in sorted({*own.positions, *recorded.positions}):
        if own.positions.get(symbol) != recorded.positions.get(symbol):
            yield f"{symbol}: {own.positions.get(symbol)} by our fills, {recorded.positions.get(symbol)} as recorded"


def _decide(inputs: Inputs) -> Decision:
    return decide(inputs.view, inputs.book, inputs.context, inputs.limits, inputs.policy)

"""An account's activities: executions and other entries in one time order, filtered and paged as Alpaca does it."""

from __future__ import annotations

import heapq
import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from itertools import islice
from typing import TypeVar

from app.domain.order import Fill
from app.simulator.accounts.ledger import Entry, Ledger
from app.simulator.api import wire_account
from app.simulator.errors import invalid, unprocessable
from app.simulator.wire import Json

# Alpaca's OpenAPI, schema ActivityType.
_CASH = frozenset(["CSD", "CSW"])
_DIVIDENDS = frozenset(f"DIV{tail}" for tail in ("", "CGL", "CGS", "FEE", "FT", "NRA", "ROC", "TW", "TXEX"))
_OTHERS = frozenset(
    f"{name}{tail}"
    for name, tails in {
        "ACAT": ("C", "S"),
        "CFEE": ("",),
        "CGD": ("",),
        "FEE": ("",),
        "FOPT": ("",),
        "INT": ("", "NRA", "TW"),
        "JNL": ("", "C", "S"),
        "MA": ("",),
        "NC": ("",),
        "OCT": ("",),
        "OP": ("ASN", "CA", "CSH", "EXC", "EXP", "TRD"),
        "PT": ("C", "R"),
        "REO": ("", "RG"),
        "SP": ("IN", "LIT"),
    }.items()
    for tail in tails
)
_GROUPS = {"TRANS": _CASH, "DIV": _DIVIDENDS, "MISC": _OTHERS}
_TYPES = _CASH | _DIVIDENDS | _OTHERS | {"FILL", "TRANS", "MISC"}
_TOKEN = re.compile(r"(\d{17})::.+")
_T = TypeVar("_T", Fill, Entry)


@dataclass(frozen=True, slots=True, kw_only=True)
class ActivityRequest:
    """after, until: exclusive. day: a UTC date. token: the last id of the page before."""

    kinds: frozenset[str]
    after: datetime | None
    until: datetime | None
    day: date | None
    order_id: str | None
    descending: bool
    token: str | None
    size: int


def kinds(asked: Sequence[str], category: str) -> frozenset[str]:
    """The activity types that names, groups of types or a category stand for; all when nothing is asked."""
    unknown = sorted(set(asked) - _TYPES)
    if unknown:
        raise invalid(f"invalid activity type: {unknown[0][:40]}")
    if category:
        return frozenset({"FILL"}) if category == "trade_activity" else _TYPES - {"FILL"}
    return frozenset().union(*(_GROUPS.get(kind, frozenset([kind])) for kind in asked)) if asked else _TYPES


def listed(ledger: Ledger, request: ActivityRequest) -> list[Json]:
    """One page of activities."""
    low, high = _bounds(request)
    fills = _between(ledger.fills, lambda fill: fill.filled_at, low, high) if "FILL" in request.kinds else []
    entries = [] if request.order_id else _between(ledger.entries, lambda entry: entry.at, low, high)
    wanted = _wanted(_in_order(fills, entries, descending=request.descending), request)
    if request.token:
        for one in wanted:
            if _id(one) == request.token:
                break
        else:
            raise unprocessable("invalid page_token")
    return [_row(ledger, one) for one in islice(wanted, request.size)]


def _wanted(rows: Iterator[Fill | Entry], request: ActivityRequest) -> Iterator[Fill | Entry]:
    for one in rows:
        if isinstance(one, Fill):
            if request.order_id in {None, one.venue_order_id}:
                yield one
        elif one.activity_type in request.kinds:
            yield one


def _bounds(request: ActivityRequest) -> tuple[datetime, datetime]:
    """low <= time <= high of what can be on the page; a page token narrows it to where the last page ended."""
    low, high = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
    if request.after is not None:
        low = max(low, request.after + timedelta(microseconds=1))
    if request.until is not None:
        high = min(high, request.until - timedelta(microseconds=1))
    if request.day is not None:
        low = max(low, datetime.combine(request.day, time.min, UTC))
        high = min(high, datetime.combine(request.day, time.max, UTC))
    if request.token:
        found = _TOKEN.fullmatch(request.token)
        try:
            seen = datetime.strptime(found[1] if found else "", "%Y%m%d%H%M%S%f").replace(tzinfo=UTC)
        except ValueError:
            raise unprocessable("invalid page_token") from None
        low, high = (low, min(high, seen + timedelta(milliseconds=1))) if request.descending else (max(low, seen), high)
    return low, high


def _between(rows: list[_T], at: Callable[[_T], datetime], low: datetime, high: datetime) -> list[_T]:
    return rows[bisect_left(rows, low, key=at) : bisect_right(rows, high, key=at)]


def _in_order(fills: list[Fill], entries: list[Entry], *, descending: bool) -> Iterator[Fill | Entry]:
    if descending:
        return heapq.merge(reversed(fills), reversed(entries), key=_at, reverse=True)
    return heapq.merge(entries, fills, key=_at)


def _at(one: Fill | Entry) -> datetime:
    return one.filled_at if isinstance(one, Fill) else one.at


def _id(one: Fill | Entry) -> str:
    name = one.execution_id if isinstance(one, Fill) else one.entry_id
    return wire_account.activity_id(_at(one), name)


def _row(ledger: Ledger, one: Fill | Entry) -> Json:
    if isinstance(one, Fill):
        return wire_account.fill(_id(one), ledger, one, _filled(ledger, one))
    return wire_account.entry(_id(one), ledger, one)


def _filled(ledger: Ledger, one: Fill) -> Decimal:
    """Shares that the order of an execution had got with it."""
    order = ledger.orders[one.venue_order_id]
    if order.filled_quantity == one.quantity:
        return one.quantity
    filled = Decimal(0)
    for other in _between(ledger.fills, _at, order.submitted_at, one.filled_at):
        if other.venue_order_id == one.venue_order_id:
            filled += other.quantity
            if other is one:
                break
    return filled

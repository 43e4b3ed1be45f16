"""The judge of a campaign: the exchange's own ledger beside our database. Each law answers with sentences, none when it holds.

Judged after a completed cycle while the exchange's clock stands still: by then every order and execution must be ours.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from functools import lru_cache
from itertools import pairwise
from typing import Any

from app.domain.order_state import OrderState
from app.domain.records import IntentOrigin
from app.risk.limits import RiskLimits
from app.runtime.calendar import new_york_calendar
from app.services.database_service import DatabaseService
from app.simulator.options import SimulatorOptions
from app.simulator.tape.market import Market
from app.simulator.tape.source import open_market
from tests.faults.controller_process import SYMBOLS

LAWS = ("duplicate orders", "lost fills", "limit breaches", "oversells", "differing books", "loosened risk")
ALL = 1_000_000
ENDED = {"filled", "canceled", "expired", "rejected", "replaced"}
CAUTION = {"ACTIVE": 0, "REDUCING": 1, "HALTED": 2, "FLATTENING": 2}  # to have sold everything is not a loosening
Ledger = Mapping[str, Any]


def judge(ledger: Ledger, database: DatabaseService) -> dict[str, list[str]]:
    """What is wrong now, by law. The limits are judged over the whole history by `limit_breaches`."""
    return {
        "duplicate orders": duplicates(ledger, database),
        "lost fills": lost_fills(ledger, database),
        "oversells": oversells(ledger),
        "differing books": differences(ledger, database),
        "loosened risk": loosened(database),
    }


def duplicates(ledger: Ledger, database: DatabaseService) -> list[str]:
    """Orders accepted twice, sent twice or never intended; two orders of one decision."""
    entries = [order for order in ledger["orders"] if order["leg"] is None]
    ours = {intent.client_order_id: intent for intent in database.orders(ALL) if intent.origin is IntentOrigin.DECISION}
    accepted = Counter(order["client_order_id"] for order in entries)
    posts = Counter(one["client_order_id"] for one in ledger["received"] if one["method"] == "POST")
    faults = [f"{name} was accepted {count} times" for name, count in accepted.items() if count > 1]
    faults += [f"{name} was sent {count} times" for name, count in posts.items() if count > 1]
    faults += [f"{name} was accepted, and nobody intended it" for name in accepted if name not in ours]
    decided = Counter((ours[name].cycle_id, ours[name].symbol) for name in accepted if name in ours)
    return faults + [f"{count} orders of one decision: {what}" for what, count in decided.items() if count > 1]


def lost_fills(ledger: Ledger, database: DatabaseService) -> list[str]:
    """Executions that our books lack, have twice, invented or hold otherwise than the exchange."""
    theirs = {
        fill["execution_id"]: (
            fill["order_id"],
            fill["symbol"],
            fill["side"],
            Decimal(fill["quantity"]),
            Decimal(fill["price"]),
            Decimal(fill["commission"]),
            datetime.fromisoformat(fill["filled_at"]),
        )
        for fill in ledger["fills"]
    }
    records = [record.fill for record in database.fills(ALL)]
    ours = {
        fill.execution_id: (
            fill.venue_order_id,
            fill.symbol,
            fill.side.value,
            fill.quantity,
            fill.price,
            fill.commission,
            fill.filled_at,
        )
        for fill in records
    }
    faults = [f"execution {name} is not in our books: {theirs[name]}" for name in theirs.keys() - ours.keys()]
    faults += [f"execution {name} never happened: {ours[name]}" for name in ours.keys() - theirs.keys()]
    both = ours.keys() & theirs.keys()
    faults += [f"execution {name}: {ours[name]}, not {theirs[name]}" for name in both if ours[name] != theirs[name]]
    return faults + ([] if len(records) == len(ours) else ["an execution is booked twice"])


def differences(ledger: Ledger, database: DatabaseService) -> list[str]:
    """Cash, holdings and the state of each order, to the last digit."""
    books = database.portfolio()
    mine = {symbol: held.quantity for symbol, held in books.positions.items()}
    theirs = {symbol: Decimal(held["quantity"]) for symbol, held in ledger["positions"].items()}
    faults = [] if mine == theirs else [f"holdings: {mine}, not {theirs}"]
    if books.cash != Decimal(ledger["cash"]):
        faults.append(f"cash: {books.cash}, not {ledger['cash']}")
    known = {intent.venue_order_id: intent for intent in database.orders(ALL) if intent.venue_order_id}
    for order in ledger["orders"]:
        intent = known.get(order["id"])
        if intent is None:
            faults.append(f"{order['client_order_id']} ({order['leg'] or 'entry'}, {order['status']}) is not tied to our order")
            continue
        filled, ours = Decimal(order["filled_qty"]), (intent.filled_quantity, intent.booked_quantity)
        if ours != (filled, filled):
            faults.append(f"{intent.client_order_id}: filled and booked are {ours}, not {filled}")
        if intent.is_settled != (order["status"] in ENDED):
            faults.append(f"{intent.client_order_id} is {intent.state}, at the venue {order['status']}")
    return faults


def oversells(ledger: Ledger) -> list[str]:
    """Sales beyond the holding, made or possible: resting sells of one group cancel each other and count once."""
    held: Counter[str] = Counter()
    faults = []
    for fill in ledger["fills"]:
        held[fill["symbol"]] += Decimal(fill["quantity"]) * (1 if fill["side"] == "buy" else -1)  # type: ignore[assignment]
        if held[fill["symbol"]] < 0:
            faults.append(f"{fill['symbol']} was sold beyond the holding at {fill['filled_at']}")
    groups: dict[tuple[str, str], Decimal] = {}
    for order in ledger["orders"]:
        if order["side"] == "sell" and order["status"] not in ENDED:
            key = order["symbol"], order["parent_id"] or order["id"]
            groups[key] = max(groups.get(key, Decimal(0)), Decimal(order["qty"]) - Decimal(order["filled_qty"]))
    asked: Counter[str] = Counter()
    status = {order["id"]: order["status"] for order in ledger["orders"] if order["side"] == "buy"}
    for (symbol, parent), quantity in groups.items():
        if status.get(parent, "filled") in ENDED:  # legs sell nothing before their entry is filled
            asked[symbol] += quantity  # type: ignore[assignment]
    return faults + [f"{name}: sells of {asked[name]} rest on {held[name]}" for name in asked if asked[name] > held[name]]


def loosened(database: DatabaseService) -> list[str]:
    """Halts lifted, peaks lowered and symbols enabled by nobody; a state that its history does not know."""
    events = database.risk_events(ALL)[::-1]
    faults = []
    for before, after in pairwise(events):
        if after.epoch <= before.epoch:
            faults.append(f"epoch {after.epoch} follows {before.epoch}")
        if after.actor != "system":
            continue
        if CAUTION[before.trading_state] == CAUTION["HALTED"] > CAUTION[after.trading_state]:
            faults.append(f"{before.trading_state} became {after.trading_state} by itself ({after.cause})")
        if Decimal(str(after.state["high_water_equity"])) < Decimal(str(before.state["high_water_equity"])):
            faults.append(f"the high-water mark fell in epoch {after.epoch}")
        if not set(before.state["disabled_symbols"].split()) <= set(after.state["disabled_symbols"].split()):
            faults.append(f"a symbol was enabled by itself in epoch {after.epoch}")
    state = database.risk_state()
    if state is not None and (not events or events[-1].epoch != state.epoch):
        faults.append(f"the history does not know epoch {state.epoch}")
    return faults


def unsettled(database: DatabaseService) -> list[str]:
    """Orders whose fate nobody knows."""
    doubtful = {OrderState.SENT, OrderState.UNKNOWN}
    return [f"{one.client_order_id} is still {one.state}" for one in database.unsettled_intents() if one.state in doubtful]


def accepted_buys(ledger: Ledger) -> int:
    """How many orders ever took on risk."""
    return sum(order["side"] == "buy" for order in ledger["orders"])


# -- limits: at every acceptance, from the exchange's ledger alone --------------------------------------------------------


@dataclass
class _Book:
    """The account just before an acceptance."""

    cash: Decimal
    held: dict[str, Decimal] = field(default_factory=dict)


def limit_breaches(ledger: Ledger, seed: int, limits: RiskLimits | None = None) -> list[str]:
    """Entries accepted against a limit. seed: of the exchange's market."""
    limits = limits or RiskLimits()
    market, breaches = _market(seed), []
    for at, entry, open_buys, book in _acceptances(ledger):
        value = {symbol: units * _price(market, symbol, at) for symbol, units in book.held.items()}
        equity = book.cash + sum(value.values())
        gross = sum(value.values()) + sum(_left(one, ledger, at) * Decimal(one["limit_price"]) for one in open_buys)
        wanted = Decimal(entry["qty"]) * Decimal(entry["limit_price"])
        taken = set(book.held) | {one["symbol"] for one in open_buys}
        rules = {
            "a second entry": entry["symbol"] not in taken,
            "too many positions": len(taken) < limits.max_positions,
            "too large a position": wanted <= Decimal(repr(limits.max_position_fraction)) * equity,
            "too much exposure": gross + wanted <= Decimal(repr(limits.max_exposure_fraction)) * equity,
        }
        breaches += [f"{rule}: {entry['client_order_id']} at {at}" for rule, holds in rules.items() if not holds]
    return breaches


def _acceptances(ledger: Ledger) -> Iterator[tuple[datetime, Mapping[str, Any], list[Mapping[str, Any]], _Book]]:
    """Every accepted entry with its time, the entries open just before it and the book then."""
    by_client_id = {order["client_order_id"]: order for order in ledger["orders"]}
    book, fills, sent, cancelled = _Book(Decimal(ledger["start_cash"])), list(ledger["fills"]), [], set()
    for request in ledger["received"]:
        at = datetime.fromisoformat(request["clock"])
        if request["method"] == "DELETE":
            cancelled.add(request["path"].rpartition("/")[2])
        order = by_client_id.get(request["client_order_id"])
        if request["method"] != "POST" or not request["accepted"] or order is None:
            continue
        while fills and datetime.fromisoformat(fills[0]["filled_at"]) <= at:
            _apply(book, fills.pop(0))
        if order["side"] == "buy":
            yield at, order, [one for one in sent if _is_open(one, at, cancelled) and _left(one, ledger, at) > 0], book
            sent.append(order)


def _apply(book: _Book, fill: Mapping[str, Any]) -> None:
    units = Decimal(fill["quantity"]) * (1 if fill["side"] == "buy" else -1)
    book.cash -= units * Decimal(fill["price"]) + Decimal(fill["commission"])
    book.held[fill["symbol"]] = book.held.get(fill["symbol"], Decimal(0)) + units
    if not book.held[fill["symbol"]]:
        del book.held[fill["symbol"]]


def _is_open(order: Mapping[str, Any], at: datetime, cancelled: set[str]) -> bool:
    ends = [order[name] for name in ("expired_at", "failed_at") if order[name]]
    return order["id"] not in cancelled and all(datetime.fromisoformat(end) > at for end in ends)


def _left(order: Mapping[str, Any], ledger: Ledger, at: datetime) -> Decimal:
    filled = (
        Decimal(fill["quantity"])
        for fill in ledger["fills"]
        if fill["order_id"] == order["id"] and datetime.fromisoformat(fill["filled_at"]) <= at
    )
    return Decimal(order["qty"]) - sum(filled, Decimal(0))


@lru_cache(maxsize=2)
def _market(seed: int) -> Market:
    return open_market(SimulatorOptions(symbols=SYMBOLS, seed=seed), new_york_calendar(), start=None, seed=seed)[0]


@lru_cache(maxsize=100_000)
def _price(market: Market, symbol: str, at: datetime) -> Decimal:
    trade = market.last_trade(symbol, int(at.timestamp()))
    assert trade is not None
    return Decimal(repr(trade.price))

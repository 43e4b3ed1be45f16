"""Events of the audit log as sentences a person can read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.domain.audit import Event, Kind
from app.domain.reason import Reason

_REASONS = {reason.code: reason.text for reason in Reason}
_NEWS = (
    "state",
    "filled_quantity",
    "filled_average_price",
    "booked_quantity",
    "quantity",
    "limit_price",
    "stop_price",
    "error",
)


def tell(event: Event, symbol: str) -> str:
    """What happened, as far as it concerns this symbol."""
    payload = event.payload
    if "records" in payload:
        return _decision(payload["records"].get(symbol), payload)
    if "order" in payload:
        return _order(event)
    if "fill" in payload:
        return _fill(payload["fill"])
    if "changed" in payload:
        return _change(event)
    if "inputs" in payload:
        return f"what the decision saw is kept with the cycle; its digest is {payload['inputs'][:16]}"
    if "entry" in payload:
        return _entry(payload["entry"])
    if "comparison" in payload:
        return _comparison(payload["comparison"])
    if "risk" in payload:
        state = f"trading is {payload['risk']['trading_state']} ({payload['cause']})"
        return f"{payload['actor']}: {state} {payload['detail']}".strip()
    return ", ".join(f"{name} {value}" for name, value in sorted(payload.items()) if isinstance(value, (str, int)))


def _decision(record: Mapping[str, Any] | None, payload: Mapping[str, Any]) -> str:
    if record is None:
        return f"decided under risk epoch {payload['risk_epoch']}; nothing was recorded about the symbol"
    reason = record["reason"]
    parts = [f"{reason} ({_REASONS.get(reason, 'no such reason')})"]
    if record["expected_return"] is not None:
        parts.append(f"forecast {record['expected_return']:+.2%} at confidence {record['confidence'] or 0:.2f}")
    if record["price"] is not None:
        parts.append(f"price {record['price']:g}, {record['held']} held")
    if record["volatility"] is not None:
        parts.append(f"daily volatility {record['volatility']:.2%}")
    if record["sizing"]:
        bounds = ", ".join(f"{name} {units:.6g}" for name, units in record["sizing"].items() if units is not None)
        parts.append(f"units each bound allows: {bounds}; decided by {record['sizing_bound']}")
    if record["detail"]:
        parts.append(record["detail"])
    return "; ".join(parts)


def _order(event: Event) -> str:
    order, room = event.payload["order"], event.payload.get("room")
    terms = f"{order['side']} {order['quantity']} {order['symbol']} {order['type']}"
    for name, word in (
        ("limit_price", "at"),
        ("stop_price", "stop"),
        ("take_profit_price", "take-profit"),
        ("stop_loss_price", "stop-loss"),
    ):
        if order.get(name) is not None:
            terms += f" {word} {order[name]}"
    if event.kind == Kind.RECONCILED:
        whose = "leg of " + order["parent_id"] if order.get("parent_id") else order["origin"]
        return f"found at the venue: {terms} ({whose})"
    terms += f", {order['purpose']} for {order['reason']}"
    left = ""
    if room is not None:
        left = (
            f"; the limits were checked with trading {room['state']}, equity {room['equity']}, {room['gross_value']} invested "
            f"or on order, buying power {room['buying_power']}, {room['positions']} positions, {room['sellable']} sellable"
        )
    if event.kind == Kind.REFUSED:
        return f"{terms}: refused by {order['error']}{left}"
    return f"{terms}: ready to be sent until {order['expires_at']}{left}"


def _fill(fill: Mapping[str, Any]) -> str:
    if fill["reverses"] is not None:
        return f"the venue took back execution {fill['reverses']}"
    return f"{fill['side']} {fill['quantity']} executed at {fill['price']}, execution {fill['execution_id']}"


def _entry(entry: Mapping[str, Any]) -> str:
    units = f", {entry['quantity']} units of {entry['symbol']}" if entry["symbol"] else ""
    return f"the venue booked {entry['kind']}: {entry['amount']} in cash{units} {entry['description']}".strip()


def _comparison(told: Mapping[str, Any]) -> str:
    rows = [f"{row['subject']}: ours {row['ours']}, the venue's {row['theirs']}" for row in told["unexplained"]]
    rows += [f"{row['subject']}: {row['why']}" for row in told["found"]]
    return f"books compared ({told['trigger']}): {'; '.join(rows) or 'they agree again'}"


def _change(event: Event) -> str:
    changed = event.payload["changed"]
    if event.kind == Kind.SENT:
        return f"given out to be sent, claim {changed['attempt']}"
    news = [f"{name.replace('_', ' ')} {changed[name]}" for name in _NEWS if changed.get(name) is not None]
    if changed.get("venue_order_id"):
        news.append(f"the venue's id is {changed['venue_order_id']}")
    why = event.payload.get("why")
    return f"{why}: {', '.join(news)}" if why and news else why or ", ".join(news) or "no news"

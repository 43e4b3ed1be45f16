"""Orders, account and positions at Alpaca (or any server that speaks its protocol)."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any

from app.brokers.alpaca_activities import fills_of, statement
from app.brokers.alpaca_wire import AlpacaWire, harden, instant
from app.domain.activity import Activities
from app.domain.errors import Refused, TryAgain
from app.domain.instrument import Instrument
from app.domain.order import Fill, Order, OrderClass, OrderType, Side, ValidatedOrder, VenueOrder
from app.domain.portfolio import Position
from app.domain.ports import Account, VenueClock
from app.domain.trade_update import TradeUpdate
from app.runtime.calendar import NEW_YORK, Session, TradingCalendar

_PAGE = 500
_ACTIVITY_PAGE = 100
_FRACTION = Decimal("0.000000001")


class AlpacaBroker:
    """Implements `domain.ports.Broker`. raw_data: the client's closed enums would make one new word unreadable."""

    def __init__(self, *, key: str, secret: str, url: str, paper: bool, timeout_seconds: float, wire: AlpacaWire) -> None:
        from alpaca.trading.client import TradingClient

        self._client = TradingClient(key, secret, paper=paper, raw_data=True, url_override=url)
        harden(self._client, timeout_seconds)
        self._wire = wire
        self._calendar: TradingCalendar | None = None

    def clock(self) -> VenueClock:
        """Venue time and session."""
        raw = self._wire.read(
            "clock", lambda: _checked(self._client.get_clock(), "timestamp", "is_open", "next_open", "next_close")
        )
        return VenueClock(
            now=instant(raw["timestamp"]),
            is_open=bool(raw["is_open"]),
            next_open=instant(raw["next_open"]),
            next_close=instant(raw["next_close"]),
        )

    def calendar(self) -> TradingCalendar:
        """The venue's own sessions from 1998 to a year ahead, read once per process."""
        if self._calendar is None:
            from alpaca.trading.requests import GetCalendarRequest

            everything = GetCalendarRequest(start=date(1998, 1, 1), end=date(2099, 12, 31))
            rows = self._wire.read("calendar", lambda: _rows(self._client.get_calendar(everything)))
            self._calendar = TradingCalendar([_session(row) for row in rows])
        return self._calendar

    def account(self) -> Account:
        """Cash, equity, buying power."""
        raw = self._wire.read(
            "account",
            lambda: _checked(self._client.get_account(), "id", "cash", "equity", "last_equity", "buying_power"),
        )
        return Account(
            account_id=str(raw["id"]),
            cash=Decimal(raw["cash"]),
            equity=Decimal(raw["equity"]),
            previous_close_equity=Decimal(raw["last_equity"]),
            buying_power=Decimal(raw["buying_power"]),
            trading_blocked=bool(raw.get("trading_blocked")) or bool(raw.get("account_blocked")),
            currency=str(raw.get("currency") or "USD"),
        )

    def positions(self) -> dict[str, Position]:
        """All holdings by symbol."""
        rows = self._wire.read("positions", lambda: _rows(self._client.get_all_positions()))
        return {
            row["symbol"]: Position(
                symbol=row["symbol"], quantity=Decimal(row["qty"]), average_entry_price=Decimal(row["avg_entry_price"])
            )
            for row in rows
        }

    def open_orders(self) -> list[VenueOrder]:
        """Every order that may still fill; bracket legs included, flat."""
        return [_venue_order(row) for row in self._order_pages("open")]

    def closed_orders(
        self, *, since: datetime, symbols: Collection[str] = (), wanted: Collection[str] = ()
    ) -> list[VenueOrder]:
        """Finished orders submitted after `since`, newest first, until all `wanted` ids are among them."""
        return [_venue_order(row) for row in self._order_pages("closed", after=since, symbols=symbols, wanted=wanted)]

    def order_history(self, *, since: datetime) -> list[VenueOrder]:
        """Every order submitted after `since`; bracket legs included, flat, each with its parent's id."""
        tops = [_venue_order(row) for row in self._order_pages("all", after=since, nested=True)]
        return [order for top in tops for order in (top, *top.legs)]

    def fills(self, *, since: datetime) -> list[Fill]:
        """Every execution at or after `since`, oldest first."""
        return [fill for row in self._activity_pages(since, kind="/FILL") for fill in fills_of(row)]

    def activities(self, *, since: datetime) -> Activities:
        """The account statement at or after `since`, read until a page is empty: a short one may have been cut."""
        return statement(self._activity_pages(since, whole=True))

    def order_by_client_id(self, client_order_id: str) -> VenueOrder | None:
        """The order sent under our id, or None when the venue says it knows none."""
        try:
            return self._wire.read("order", lambda: _venue_order(self._client.get_order_by_client_id(client_order_id)))
        except Refused as refusal:
            if refusal.details.get("status") == 404:
                return None
            raise

    def instruments(self, symbols: Sequence[str]) -> dict[str, Instrument]:
        """Trading rules of each known symbol, from one listing; unknown symbols are absent."""
        from alpaca.trading.enums import AssetClass
        from alpaca.trading.requests import GetAssetsRequest

        request = GetAssetsRequest(asset_class=AssetClass.US_EQUITY)
        rows = self._wire.read("instruments", lambda: _rows(self._client.get_all_assets(request)))
        wanted = set(symbols)
        return {
            row["symbol"]: Instrument(
                symbol=row["symbol"],
                tradable=bool(row["tradable"]) and row.get("status") == "active",
                fraction_step=_FRACTION if row.get("fractionable") else Decimal(1),
            )
            for row in rows
            if row["symbol"] in wanted
        }

    def submit(self, validated: ValidatedOrder) -> VenueOrder:
        """Send once. Refused: proven not accepted. OutcomeUnknown: look it up by its client order id."""
        request = _request(validated.order)
        return self._wire.act("submit", lambda: _venue_order(self._client.submit_order(request)))

    def cancel(self, venue_order_id: str) -> None:
        """Ask to cancel; an order already finished raises Refused."""
        self._wire.act("cancel", lambda: self._client.cancel_order_by_id(venue_order_id))

    def replace(self, venue_order_id: str, *, stop_price: Decimal) -> VenueOrder:
        """Move a resting stop. Refused: it stays as it is. OutcomeUnknown: the next listing tells."""
        from alpaca.trading.requests import ReplaceOrderRequest

        request = ReplaceOrderRequest(stop_price=_price(stop_price))
        return self._wire.act("replace", lambda: _venue_order(self._client.replace_order_by_id(venue_order_id, request)))

    def _activity_pages(self, since: datetime, *, kind: str = "", whole: bool = False) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = []
        query = {"after": (since - timedelta(seconds=1)).isoformat(), "direction": "asc", "page_size": _ACTIVITY_PAGE}
        while True:
            page = self._wire.read("activities" if whole else "fills", partial(self._activity_page, kind, dict(query)))
            rows.extend(page)
            if len(page) < (1 if whole else _ACTIVITY_PAGE) or page[-1]["id"] == query.get("page_token"):
                return rows
            query["page_token"] = page[-1]["id"]

    def _activity_page(self, kind: str, query: dict[str, Any]) -> list[dict[str, Any]]:
        return _rows(self._client.get(f"/account/activities{kind}", query))

    def _order_page(self, query: Any) -> list[dict[str, Any]]:
        return _rows(self._client.get_orders(query))

    def _order_pages(
        self,
        status: str,
        *,
        after: datetime | None = None,
        symbols: Collection[str] = (),
        wanted: Collection[str] = (),
        nested: bool = False,
    ) -> list[dict[str, Any]]:
        from alpaca.trading.enums import QueryOrderStatus
        from alpaca.trading.requests import GetOrdersRequest

        rows: dict[str, dict[str, Any]] = {}
        missing = set(wanted)
        until: datetime | None = None
        while True:
            query = GetOrdersRequest(
                status=QueryOrderStatus(status),
                limit=_PAGE,
                after=after,
                until=until,
                nested=nested,
                symbols=sorted(symbols) or None,
            )
            page = self._wire.read(f"{status}_orders", partial(self._order_page, query))
            known = len(rows)
            rows |= {str(row["id"]): row for row in page}
            missing -= {str(row[name]) for row in page for name in ("id", "client_order_id")}
            if len(page) < _PAGE or (wanted and not missing):
                return list(rows.values())
            if len(rows) == known:
                raise TryAgain(f"more than {_PAGE} orders of one instant cannot be listed")
            # One more microsecond: others of the same instant may not have been on the page.
            until = instant(page[-1]["submitted_at"]) + timedelta(microseconds=1)


def _request(order: Order) -> Any:
    from alpaca.trading import enums, requests

    fields: dict[str, Any] = {
        "symbol": order.symbol,
        "qty": float(order.quantity),
        "side": enums.OrderSide(order.side.value),
        "time_in_force": enums.TimeInForce(order.time_in_force.value),
        "client_order_id": order.client_order_id,
    }
    if order.order_class is not OrderClass.SIMPLE:
        fields["order_class"] = enums.OrderClass(order.order_class.value)
        fields["take_profit"] = requests.TakeProfitRequest(limit_price=_price(order.take_profit_price))
        fields["stop_loss"] = requests.StopLossRequest(stop_price=_price(order.stop_loss_price))
    match order.type:
        case OrderType.MARKET:
            return requests.MarketOrderRequest(**fields)
        case OrderType.LIMIT:
            # The limit of an OCO is that of its take-profit; Alpaca takes it there alone.
            limit = None if order.order_class is OrderClass.OCO else order.limit_price
            return requests.LimitOrderRequest(**fields, limit_price=_price(limit))
        case OrderType.STOP:
            return requests.StopOrderRequest(**fields, stop_price=_price(order.stop_price))
        case OrderType.STOP_LIMIT:
            return requests.StopLimitOrderRequest(
                **fields, stop_price=_price(order.stop_price), limit_price=_price(order.limit_price)
            )


def _price(price: Decimal | None) -> float | None:
    # The client's models take floats; a price on the tick survives the crossing, as repr() of it is the same text.
    return None if price is None else float(price)


def _venue_order(row: Mapping[str, Any], parent: str | None = None) -> VenueOrder:
    average = row.get("filled_avg_price")
    quantity = row.get("qty") or row.get("filled_qty") or "0"
    return VenueOrder(
        venue_order_id=str(row["id"]),
        client_order_id=str(row["client_order_id"]),
        symbol=str(row["symbol"]),
        side=Side(row["side"]),
        type=OrderType(row["type"]),
        quantity=Decimal(quantity),
        filled_quantity=Decimal(row.get("filled_qty") or "0"),
        filled_average_price=Decimal(average) if average else None,
        status=str(row["status"]),
        submitted_at=instant(row["submitted_at"]),
        limit_price=_decimal(row.get("limit_price")),
        stop_price=_decimal(row.get("stop_price")),
        parent_order_id=parent,
        replaces=_word(row.get("replaces")),
        replaced_by=_word(row.get("replaced_by")),
        legs=tuple(_venue_order(leg, str(row["id"])) for leg in row.get("legs") or ()),
    )


def trade_update(row: Mapping[str, Any]) -> TradeUpdate:
    """An event of the trade-update stream. What is none raises whatever reading it did."""
    order, at, event = _venue_order(row["order"]), instant(row["timestamp"]), str(row["event"])
    fill = None
    if event in ("fill", "partial_fill"):
        fill = Fill(
            execution_id=str(row["execution_id"]),
            venue_order_id=order.venue_order_id,
            symbol=order.symbol,
            side=order.side,
            quantity=Decimal(row["qty"]),
            price=Decimal(row["price"]),
            filled_at=at,
        )
    return TradeUpdate(event=event, order=order, fill=fill, at=at)


def _session(row: Mapping[str, Any]) -> Session:
    def at(clock: str) -> datetime:
        return datetime.fromisoformat(f"{row['date']}T{clock}").replace(tzinfo=NEW_YORK).astimezone(UTC)

    return Session(datetime.fromisoformat(row["date"]).date(), at(row["open"]), at(row["close"]))


def _checked(answer: Any, *fields: str) -> dict[str, Any]:
    missing = [field for field in fields if not isinstance(answer, dict) or answer.get(field) is None]
    if missing:
        raise ValueError(f"the answer lacks {', '.join(missing)}")
    return dict(answer)


def _rows(answer: Any) -> list[dict[str, Any]]:
    if not isinstance(answer, list):
        raise ValueError(f"expected a list, got {type(answer).__name__}")
    return answer


def _word(text: Any) -> str | None:
    return str(text) if text else None


def _decimal(text: Any) -> Decimal | None:
    return None if text is None else Decimal(str(text))

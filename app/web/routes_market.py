"""Prices and bars."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from app.domain.bar import BarSeries
from app.domain.errors import NotFound
from app.web.answers import Bars, Price
from app.web.blueprint import blueprint, services
from app.web.schemas import BarsQuery, SymbolPath
from app.web.wire import to_wire

api = blueprint("market", "Prices and bars")


@api.get("/api/price/<path:symbol>", summary="Newest price", responses={200: Price})
def price(path: SymbolPath) -> dict[str, Any]:
    """The newest trade of a symbol; 404 when the venue has none."""
    snapshot = services().alpaca.snapshots([path.symbol]).get(path.symbol)
    newest = to_wire(snapshot.price) if snapshot else None
    if snapshot is None or newest is None:
        raise NotFound(f"the venue has no price for {path.symbol}", code="unknown_symbol", symbol=path.symbol)
    return {"symbol": path.symbol, "price": newest, "price_at": to_wire(snapshot.priced_at)}


@api.get("/api/market/bars/<path:symbol>", summary="Bars", responses={200: Bars})
def bars(path: SymbolPath, query: BarsQuery) -> dict[str, Any]:
    """The newest complete bars of a symbol, oldest first; 404 when the venue has none."""
    venue = services().alpaca
    series = venue.recent_bars(path.symbol, timeframe=query.timeframe, limit=query.limit, end=venue.clock().now)
    if not len(series):
        raise NotFound(f"the venue has no bars for {path.symbol}", code="unknown_symbol", symbol=path.symbol)
    return {"symbol": path.symbol, "timeframe": query.timeframe, "bars": _rows(series)}


def _rows(series: BarSeries) -> list[dict[str, Any]]:
    columns = [
        [_instant(second) for second in series.timestamp.tolist()],
        [_instant(second) for second in series.known_at.tolist()],
        *(to_wire(column) for column in (series.open, series.high, series.low, series.close, series.volume)),
    ]
    names = ("timestamp", "known_at", "open", "high", "low", "close", "volume")
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def _instant(second: int) -> Any:
    return to_wire(datetime.fromtimestamp(second, UTC))

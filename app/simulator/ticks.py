"""Single trades of the tape."""

from __future__ import annotations

from app.simulator.market import Market, Price

_MINUTE = 60


def trades_between(market: Market, symbol: str, after: int, until: int) -> list[Price]:
    """Trades with after < at <= until of minutes that are complete at `until`, oldest first."""
    found: list[Price] = []
    for number in range(max(0, market.started(after)), market.started(until) + 1):
        columns = market.session_columns(symbol, number, _MINUTE, until)
        if columns is not None:
            rows = zip(columns.close.tolist(), columns.volume.tolist(), (columns.label + _MINUTE - 1).tolist(), strict=True)
            found += [Price(close, volume, at) for close, volume, at in rows if after < at <= until]
    return found

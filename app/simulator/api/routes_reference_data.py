"""What the codes in market data mean (/v2/stocks/meta): exchanges and the conditions of trades and quotes.

Names as in the plans that Alpaca's documentation refers to: the Consolidated Tape Association's for tapes A and B, the UTP
plan's for tape C.
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from app.simulator.api.query import world_of
from app.simulator.errors import bad_request, json_response, not_found

_EXCHANGES = {
    "A": "NYSE American (AMEX)",
    "B": "NASDAQ OMX BX",
    "C": "National Stock Exchange",
    "D": "FINRA ADF",
    "H": "MIAX",
    "I": "International Securities Exchange",
    "J": "Cboe EDGA",
    "K": "Cboe EDGX",
    "L": "Long Term Stock Exchange",
    "M": "Chicago Stock Exchange",
    "N": "New York Stock Exchange",
    "P": "NYSE Arca",
    "Q": "NASDAQ OMX",
    "S": "NASDAQ Small Cap",
    "T": "NASDAQ Int",
    "U": "Members Exchange",
    "V": "IEX",
    "W": "CBOE",
    "X": "NASDAQ OMX PSX",
    "Y": "Cboe BYX",
    "Z": "Cboe BZX",
}
_TRADES = {
    " ": "Regular Sale",
    "4": "Derivatively Priced",
    "5": "Market Center Reopening Trade",
    "6": "Market Center Closing Trade",
    "7": "Qualified Contingent Trade",
    "B": "Average Price Trade",
    "C": "Cash Trade (Same Day Clearing)",
    "E": "Automatic Execution",
    "F": "Inter-market Sweep Order",
    "H": "Price Variation Trade",
    "I": "Odd Lot Trade",
    "K": "Rule 127 or Rule 155",
    "L": "Sold Last (Late Reporting)",
    "M": "Market Center Official Close",
    "N": "Next Day Trade (Next Day Clearing)",
    "O": "Market Center Opening Trade",
    "P": "Prior Reference Price",
    "Q": "Market Center Official Open",
    "R": "Seller",
    "T": "Extended Hours Trade",
    "U": "Extended Hours Sold (Out Of Sequence)",
    "V": "Contingent Trade",
    "X": "Cross Trade",
    "Z": "Sold (Out Of Sequence)",
}
_UTP_TRADES = {
    **{code: name for code, name in _TRADES.items() if code not in {" ", "E", "F", "H", "I"}},
    "@": "Regular Sale",
    "A": "Acquisition",
    "B": "Bunched Trade",
    "D": "Distribution",
    "F": "Intermarket Sweep",
    "G": "Bunched Sold Trade",
    "H": "Price Variation Trade",
    "I": "Odd Lot Trade",
    "S": "Split Trade",
    "W": "Average Price Trade",
    "Y": "Yellow Flag Regular Trade",
}
_QUOTES = {
    "A": "Slow Quote Offer Side",
    "B": "Slow Quote Bid Side",
    "E": "Slow Quote LRP Bid Side",
    "F": "Slow Quote LRP Offer Side",
    "H": "Slow Quote Bid And Offer Side",
    "L": "Closed Market Maker",
    "N": "Non Firm Quote",
    "O": "Opening Quote",
    "R": "Regular, Two Sided Open Quote",
    "U": "Slow Quote LRP Bid And Offer",
    "W": "Slow Quote Set Slow List",
}
_UTP_QUOTES = {
    "A": "Manual Ask, Automated Bid",
    "B": "Manual Bid, Automated Ask",
    "F": "Fast Trading",
    "H": "Manual Bid And Ask",
    "I": "Order Imbalance",
    "L": "Closed Quote",
    "N": "Non Firm Quote",
    "O": "Opening Quote Automated",
    "R": "Regular Two Sided Open Quote Automated",
    "U": "Manual Bid And Ask Non Firm",
    "X": "Order Influx",
    "Y": "Regular One Sided Open Quote Automated",
    "Z": "No Open No Resume",
}
_CONDITIONS = {
    "trade": {"A": _TRADES, "B": _TRADES, "C": _UTP_TRADES},
    "quote": {"A": _QUOTES, "B": _QUOTES, "C": _UTP_QUOTES},
}


async def get_exchanges(request: Request) -> Response:
    """Exchange codes and names."""
    world_of(request)
    return json_response(_EXCHANGES)


async def get_conditions(request: Request) -> Response:
    """Condition codes of trades or quotes on one tape, and what they mean."""
    world_of(request)
    tapes = _CONDITIONS.get(request.path_params["tick"])
    if tapes is None:
        raise not_found("endpoint not found")
    tape = request.query_params.get("tape")
    if tape not in tapes:
        raise bad_request("invalid tape: it must be one of A, B, C")
    return json_response(tapes[tape])


ROUTES = [
    Route("/v2/stocks/meta/exchanges", get_exchanges, methods=["GET"]),
    Route("/v2/stocks/meta/conditions/{tick}", get_conditions, methods=["GET"]),
]

"""The contract as an unmodified alpaca-py sees it, over HTTP: every call returns its typed model."""

from datetime import UTC, date, datetime, timedelta

import pytest
import requests
from alpaca.common.exceptions import APIError
from alpaca.data.historical import StockHistoricalDataClient
from alpaca.data.requests import (
    StockBarsRequest,
    StockLatestBarRequest,
    StockLatestQuoteRequest,
    StockLatestTradeRequest,
    StockSnapshotRequest,
)
from alpaca.data.timeframe import TimeFrame, TimeFrameUnit
from alpaca.trading.client import TradingClient
from alpaca.trading.models import Order, TradeActivity
from alpaca.trading.requests import (
    ClosePositionRequest,
    GetCalendarRequest,
    GetOrderByIdRequest,
    GetOrdersRequest,
    LimitOrderRequest,
    MarketOrderRequest,
    StopLimitOrderRequest,
    StopLossRequest,
    StopOrderRequest,
    TakeProfitRequest,
)

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture
def trading(server):
    requests.post(f"{server}/sim/reset", json={}, timeout=10).raise_for_status()
    return TradingClient("key", "secret", url_override=server)


@pytest.fixture
def data(server):
    return StockHistoricalDataClient("key", "secret", url_override=server)


@pytest.fixture
def move(server):
    def post(**body):
        answer = requests.post(f"{server}/sim/clock", json=body, timeout=10)
        answer.raise_for_status()
        return answer.json()

    return post


def last_price(data, symbol="AAPL"):
    return data.get_stock_latest_trade(StockLatestTradeRequest(symbol_or_symbols=symbol))[symbol].price


def test_account_clock_calendar_assets(trading):
    account = trading.get_account()
    assert (account.cash, account.equity) == ("100000.00", "100000.00")
    assert (account.buying_power, account.multiplier) == ("200000.00", "2")
    clock = trading.get_clock()
    assert clock.is_open
    assert clock.timestamp == datetime(2024, 1, 2, 14, 30, tzinfo=UTC)
    assert clock.next_close == datetime(2024, 1, 2, 21, 0, tzinfo=UTC)
    days = trading.get_calendar(GetCalendarRequest(start=date(2024, 7, 2), end=date(2024, 7, 5)))
    assert [(d.date.day, d.close.hour) for d in days] == [(2, 16), (3, 13), (5, 16)]
    assets = trading.get_all_assets()
    assert len(assets) == 32
    assert trading.get_asset("AAPL").id == trading.get_asset(str(trading.get_asset("AAPL").id)).id
    with pytest.raises(APIError) as missing:
        trading.get_asset("ZZZZ")
    assert missing.value.status_code == 404


def test_orders_of_every_type_and_their_queries(trading, data, move):
    move(advance_seconds=600)
    price = last_price(data)
    common = {"symbol": "AAPL", "qty": 2, "side": "buy", "time_in_force": "gtc"}
    sent = [
        trading.submit_order(MarketOrderRequest(**common, client_order_id="m")),
        trading.submit_order(LimitOrderRequest(**common, limit_price=round(price * 0.8, 2), client_order_id="l")),
        trading.submit_order(StopOrderRequest(**common, stop_price=round(price * 1.3, 2))),
        trading.submit_order(
            StopLimitOrderRequest(**common, stop_price=round(price * 1.3, 2), limit_price=round(price * 1.31, 2))
        ),
        trading.submit_order(
            LimitOrderRequest(
                **common,
                limit_price=round(price * 1.05, 2),
                order_class="bracket",
                take_profit=TakeProfitRequest(limit_price=round(price * 1.5, 2)),
                stop_loss=StopLossRequest(stop_price=round(price * 0.5, 2)),
            )
        ),
    ]
    assert all(isinstance(order, Order) and order.status == "new" for order in sent)
    assert trading.get_order_by_client_id("m").id == sent[0].id
    assert len(sent[4].legs) == 2
    move(advance_seconds=60)
    assert trading.get_order_by_id(sent[0].id).status == "filled"
    open_flat = trading.get_orders()
    assert {o.type for o in open_flat} == {"limit", "stop", "stop_limit"}
    assert len(open_flat) == 5
    nested = trading.get_orders(GetOrdersRequest(status="all", nested=True, symbols=["AAPL"], limit=10))
    assert [len(o.legs or []) for o in nested] == [2, 0, 0, 0, 0]
    assert len(trading.get_orders(GetOrdersRequest(status="closed"))) == 2
    assert [o.id for o in trading.get_orders(GetOrdersRequest(status="all", direction="asc", limit=1))] == [sent[0].id]
    assert trading.get_order_by_id(sent[4].id, GetOrderByIdRequest(nested=True)).legs[0].status == "new"
    trading.cancel_order_by_id(sent[1].id)
    assert trading.get_order_by_id(sent[1].id).status == "canceled"
    with pytest.raises(APIError) as done:
        trading.cancel_order_by_id(sent[1].id)
    assert done.value.status_code == 422
    assert all(response.status == 200 for response in trading.cancel_orders())
    assert not trading.get_orders()


def test_errors_are_json_with_alpacas_codes(trading, data, server):
    order = {"symbol": "AAPL", "side": "buy", "time_in_force": "day", "client_order_id": "once"}
    trading.submit_order(MarketOrderRequest(**order, qty=1))
    for fields, status, code in (
        ({**order, "qty": 1}, 422, 40010001),
        ({**order, "client_order_id": "two", "qty": 1e6}, 403, 40310000),
        ({**order, "client_order_id": "three", "qty": 1, "side": "sell"}, 403, 40310000),
    ):
        with pytest.raises(APIError) as refused:
            trading.submit_order(MarketOrderRequest(**fields))
        assert (refused.value.status_code, refused.value.code) == (status, code)
    assert requests.get(f"{server}/v2/account", timeout=5).json()["code"] == 40110000
    unknown = requests.get(f"{server}/v2/nothing", timeout=5)
    assert (unknown.status_code, unknown.json()["message"]) == (404, "endpoint not found")


def test_positions_and_closing_them(trading, data, move):
    move(advance_seconds=600)
    for symbol in ("AAPL", "MSFT"):
        trading.submit_order(MarketOrderRequest(symbol=symbol, qty=4, side="buy", time_in_force="day"))
    move(advance_seconds=60)
    held = {p.symbol: p for p in trading.get_all_positions()}
    assert set(held) == {"AAPL", "MSFT"}
    assert held["AAPL"].qty == held["AAPL"].qty_available == "4"
    assert float(held["AAPL"].current_price) == last_price(data)
    account = trading.get_account()
    value = sum(float(p.market_value) for p in held.values())
    assert float(account.equity) == pytest.approx(float(account.cash) + value, abs=0.005)
    assert trading.get_open_position("AAPL").asset_id == trading.get_asset("AAPL").id
    half = trading.close_position("AAPL", ClosePositionRequest(percentage="50"))
    assert (half.side, half.qty) == ("sell", "2")
    move(advance_seconds=60)
    assert trading.get_open_position("AAPL").qty == "2"
    assert [r.status for r in trading.close_all_positions(cancel_orders=True)] == [200, 200]
    move(advance_seconds=60)
    assert trading.get_all_positions() == []
    with pytest.raises(APIError) as nothing:
        trading.close_position("AAPL")
    assert nothing.value.status_code == 404


def test_every_execution_is_an_activity(trading, move, server):
    for i in range(5):
        trading.submit_order(MarketOrderRequest(symbol="SPY", qty=1 + i, side="buy", time_in_force="day"))
        move(advance_seconds=60)
    rows, token = [], None
    while True:
        query = {"page_size": 2, "direction": "asc", **({"page_token": token} if token else {})}
        page = trading.get("/account/activities/FILL", query)
        if not page:
            break
        rows += page
        token = page[-1]["id"]
    truth = requests.get(f"{server}/sim/ledger", timeout=5).json()
    assert [row["id"].split("::")[1] for row in rows] == [fill["execution_id"] for fill in truth["fills"]]
    assert [TradeActivity(**row).qty for row in rows] == [1, 2, 3, 4, 5]
    newer = trading.get("/account/activities/FILL", {"after": rows[2]["transaction_time"]})
    assert [row["id"] for row in newer] == [rows[4]["id"], rows[3]["id"]]


def test_market_data(trading, data, move):
    now = datetime.fromisoformat(move(advance_seconds=3600)["clock"])
    symbols = ["AAPL", "MSFT", "ZZZZ"]
    daily = data.get_stock_bars(
        StockBarsRequest(symbol_or_symbols=symbols, timeframe=TimeFrame.Day, start=now - timedelta(days=400), adjustment="all")
    ).data
    assert set(daily) == {"AAPL", "MSFT"}
    assert len(daily["AAPL"]) == len(daily["MSFT"]) > 250
    assert [bar.timestamp.day for bar in daily["AAPL"][-2:]] == [29, 2]  # today's bar as it stands, last
    for amount, unit, count in ((1, "Minute", 60), (5, "Minute", 12), (15, "Minute", 4), (1, "Hour", 1)):
        frame = TimeFrame(amount, TimeFrameUnit[unit])
        bars = data.get_stock_bars(
            StockBarsRequest(symbol_or_symbols="AAPL", timeframe=frame, start=now - timedelta(hours=2))
        ).data
        assert len(bars["AAPL"]) == count, frame
    everything = StockSnapshotRequest(symbol_or_symbols=symbols)
    shot = data.get_stock_snapshot(everything)["AAPL"]
    assert shot.daily_bar.timestamp == datetime(2024, 1, 2, 5, tzinfo=UTC)
    assert shot.previous_daily_bar.close == daily["AAPL"][-2].close
    assert shot.daily_bar == daily["AAPL"][-1]
    assert shot.latest_trade.price == shot.minute_bar.close == shot.daily_bar.close
    assert shot.latest_quote.bid_price < shot.latest_trade.price < shot.latest_quote.ask_price
    assert shot.latest_trade.timestamp < now
    assert data.get_stock_latest_bar(StockLatestBarRequest(symbol_or_symbols="AAPL"))["AAPL"].close == shot.minute_bar.close
    assert set(data.get_stock_latest_quote(StockLatestQuoteRequest(symbol_or_symbols=symbols))) == {"AAPL", "MSFT"}


def test_paging_gives_every_bar_once(trading, server, move):
    move(advance_seconds=1800)
    query = {"symbols": "SPY,AAPL,MSFT", "timeframe": "1Min", "start": "2024-01-02", "limit": "7"}
    keys = {"APCA-API-KEY-ID": "k", "APCA-API-SECRET-KEY": "s"}
    for sort in ("asc", "desc"):
        seen, token = [], None
        while True:
            page = requests.get(
                f"{server}/v2/stocks/bars",
                params={**query, "sort": sort, **({"page_token": token} if token else {})},
                headers=keys,
                timeout=5,
            ).json()
            part = [(symbol, bar["t"]) for symbol, bars in page["bars"].items() for bar in bars]
            assert len(part) <= 7
            seen += part
            token = page["next_page_token"]
            if token is None:
                break
        assert len(seen) == len(set(seen)) == 90
        assert [symbol for symbol, _ in seen] == ["AAPL"] * 30 + ["MSFT"] * 30 + ["SPY"] * 30
        assert seen[:30] == sorted(seen[:30], reverse=sort == "desc")
    one = requests.get(f"{server}/v2/stocks/AAPL/snapshot", headers=keys, timeout=5).json()
    assert one["symbol"] == "AAPL"

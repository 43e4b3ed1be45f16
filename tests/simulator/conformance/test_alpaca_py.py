"""Every call of an unmodified alpaca-py's trading, stock history and news clients returns its typed model."""

import inspect
from datetime import UTC, date, datetime, timedelta
from types import SimpleNamespace
from uuid import UUID

import pytest
from alpaca.common.exceptions import APIError
from alpaca.data.historical import NewsClient, StockHistoricalDataClient
from alpaca.data.models import Bar, BarSet, NewsSet, Quote, QuoteSet, Snapshot, Trade, TradeSet
from alpaca.data.requests import (
    NewsRequest,
    StockBarsRequest,
    StockLatestBarRequest,
    StockLatestQuoteRequest,
    StockLatestTradeRequest,
    StockQuotesRequest,
    StockSnapshotRequest,
    StockTradesRequest,
)
from alpaca.data.timeframe import TimeFrame, TimeFrameUnit
from alpaca.trading.client import TradingClient
from alpaca.trading.models import (
    AccountConfiguration,
    Asset,
    Calendar,
    Clock,
    ClosePositionResponse,
    Order,
    PortfolioHistory,
    Position,
    TradeAccount,
)
from alpaca.trading.requests import (
    CancelOrderResponse,
    ClosePositionRequest,
    GetAssetsRequest,
    GetCalendarRequest,
    GetOrderByIdRequest,
    GetOrdersRequest,
    GetPortfolioHistoryRequest,
    LimitOrderRequest,
    MarketOrderRequest,
    ReplaceOrderRequest,
    StopLimitOrderRequest,
    StopLossRequest,
    StopOrderRequest,
    TakeProfitRequest,
    TrailingStopOrderRequest,
)

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

_WATCHLISTS = """get_watchlists get_watchlist_by_id create_watchlist update_watchlist_by_id add_asset_to_watchlist_by_id
    delete_watchlist_by_id remove_asset_from_watchlist_by_id"""
_OPTIONS = "exercise_options_position get_option_contracts get_option_contract"
_ANNOUNCEMENTS = "get_corporate_announcements get_corporate_announcement_by_id"
NOT_COVERED = {
    **dict.fromkeys(_OPTIONS.split(), "options are not simulated"),
    **dict.fromkeys(_WATCHLISTS.split(), "watch lists are not simulated"),
    **dict.fromkeys(_ANNOUNCEMENTS.split(), "announcements would tell the future of the tape"),
    **dict.fromkeys(("get", "post", "put", "patch", "delete"), "the plain HTTP verb below the typed calls"),
    "response_wrapper": "no request",
}
DAY = {"symbol": "AAPL", "qty": 2, "side": "buy", "time_in_force": "day"}


@pytest.fixture
def bot(exchange):
    """Clients of a bot that holds 10 AAPL and 4 MSFT and has one resting order, one hour into the day."""
    trading = TradingClient("key", "secret", url_override=exchange.url)
    for symbol, quantity in (("AAPL", 10), ("MSFT", 4)):
        trading.submit_order(MarketOrderRequest(symbol=symbol, qty=quantity, side="buy", time_in_force="day"))
    clock = exchange.sim("clock", advance_seconds=3600)["clock"]
    data = StockHistoricalDataClient("key", "secret", url_override=exchange.url)
    price = data.get_stock_latest_trade(StockLatestTradeRequest(symbol_or_symbols="AAPL"))["AAPL"].price
    resting = trading.submit_order(LimitOrderRequest(**DAY, limit_price=round(price * 0.8, 2), client_order_id="resting"))
    return SimpleNamespace(
        trading=trading,
        data=data,
        news=NewsClient("key", "secret", url_override=exchange.url),
        exchange=exchange,
        price=price,
        resting=resting,
        now=datetime.fromisoformat(clock),
    )


def configured(bot):
    settings = bot.trading.get_account_configurations()
    settings.no_shorting = True
    changed = bot.trading.set_account_configurations(settings)
    assert changed.no_shorting
    changed.no_shorting = False
    return bot.trading.set_account_configurations(changed)


TRADING = {
    "get_account": (lambda b: b.trading.get_account(), TradeAccount),
    "get_account_configurations": (lambda b: b.trading.get_account_configurations(), AccountConfiguration),
    "set_account_configurations": (configured, AccountConfiguration),
    "get_portfolio_history": (
        lambda b: b.trading.get_portfolio_history(
            GetPortfolioHistoryRequest(period="1D", timeframe="5Min", pnl_reset="no_reset", cashflow_types="ALL")
        ),
        PortfolioHistory,
    ),
    "get_all_assets": (
        lambda b: b.trading.get_all_assets(GetAssetsRequest(status="active", asset_class="us_equity", exchange="NASDAQ")),
        [Asset],
    ),
    "get_asset": (lambda b: b.trading.get_asset("AAPL"), Asset),
    "get_clock": (lambda b: b.trading.get_clock(), Clock),
    "get_calendar": (
        lambda b: b.trading.get_calendar(GetCalendarRequest(start=date(2024, 1, 2), end=date(2024, 1, 9))),
        [Calendar],
    ),
    "submit_order": (lambda b: b.trading.submit_order(MarketOrderRequest(**DAY)), Order),
    "get_orders": (
        lambda b: b.trading.get_orders(GetOrdersRequest(status="all", nested=True, symbols=["AAPL"], side="buy", limit=5)),
        [Order],
    ),
    "get_order_by_id": (lambda b: b.trading.get_order_by_id(b.resting.id, GetOrderByIdRequest(nested=True)), Order),
    "get_order_by_client_id": (lambda b: b.trading.get_order_by_client_id("resting"), Order),
    "replace_order_by_id": (
        lambda b: b.trading.replace_order_by_id(b.resting.id, ReplaceOrderRequest(qty=3, client_order_id="newer")),
        Order,
    ),
    "cancel_orders": (lambda b: b.trading.cancel_orders(), [CancelOrderResponse]),
    "cancel_order_by_id": (lambda b: b.trading.cancel_order_by_id(b.resting.id), type(None)),
    "get_all_positions": (lambda b: b.trading.get_all_positions(), [Position]),
    "get_open_position": (lambda b: b.trading.get_open_position("AAPL"), Position),
    "close_all_positions": (lambda b: b.trading.close_all_positions(cancel_orders=True), [ClosePositionResponse]),
    "close_position": (lambda b: b.trading.close_position("MSFT", ClosePositionRequest(percentage="25")), Order),
}
BOTH = ["AAPL", "MSFT"]
STOCKS = {
    "get_stock_bars": (
        lambda b: b.data.get_stock_bars(
            StockBarsRequest(symbol_or_symbols=BOTH, timeframe=TimeFrame.Minute, start=b.now - timedelta(minutes=30))
        ),
        BarSet,
    ),
    "get_stock_quotes": (
        lambda b: b.data.get_stock_quotes(
            StockQuotesRequest(symbol_or_symbols=BOTH, start=b.now - timedelta(minutes=30), limit=50)
        ),
        QuoteSet,
    ),
    "get_stock_trades": (
        lambda b: b.data.get_stock_trades(
            StockTradesRequest(symbol_or_symbols=BOTH, start=b.now - timedelta(minutes=30), limit=50)
        ),
        TradeSet,
    ),
    "get_stock_latest_trade": (
        lambda b: b.data.get_stock_latest_trade(StockLatestTradeRequest(symbol_or_symbols=BOTH, feed="iex")),
        {str: Trade},
    ),
    "get_stock_latest_quote": (
        lambda b: b.data.get_stock_latest_quote(StockLatestQuoteRequest(symbol_or_symbols=BOTH)),
        {str: Quote},
    ),
    "get_stock_latest_bar": (lambda b: b.data.get_stock_latest_bar(StockLatestBarRequest(symbol_or_symbols=BOTH)), {str: Bar}),
    "get_stock_snapshot": (
        lambda b: b.data.get_stock_snapshot(StockSnapshotRequest(symbol_or_symbols=BOTH, feed="sip")),
        {str: Snapshot},
    ),
}
NEWS = {"get_news": (lambda b: b.news.get_news(NewsRequest(limit=20, end=b.now)), NewsSet)}


def is_typed(value, wanted):
    """wanted: a class, [class] for a list with something in it, {str: class} for a mapping with something in it."""
    if isinstance(wanted, list):
        return isinstance(value, list) and value != [] and all(isinstance(item, wanted[0]) for item in value)
    if isinstance(wanted, dict):
        return isinstance(value, dict) and value != {} and all(isinstance(item, wanted[str]) for item in value.values())
    return isinstance(value, wanted)


@pytest.mark.parametrize("name", [*TRADING, *STOCKS, *NEWS])
def test_every_call_returns_its_model(bot, name):
    call, wanted = {**TRADING, **STOCKS, **NEWS}[name]
    value = call(bot)
    assert is_typed(value, wanted), value


@pytest.mark.parametrize(
    ("client", "table"), [(TradingClient, TRADING), (StockHistoricalDataClient, STOCKS), (NewsClient, NEWS)]
)
def test_no_call_is_forgotten(client, table):
    public = {name for name, _ in inspect.getmembers(client, inspect.isfunction) if not name.startswith("_")}
    assert public - set(NOT_COVERED) == set(table)


@pytest.mark.parametrize(("amount", "unit"), [(1, "Minute"), (5, "Minute"), (1, "Hour"), (1, "Day"), (1, "Week"), (3, "Month")])
def test_bars_of_every_unit(bot, amount, unit):
    frame = TimeFrame(amount, TimeFrameUnit[unit])
    request = StockBarsRequest(symbol_or_symbols="AAPL", timeframe=frame, start=datetime(2023, 1, 2, tzinfo=UTC), limit=40)
    bars = bot.data.get_stock_bars(request)["AAPL"]
    assert 0 < len(bars) <= 40
    assert all(bar.timestamp < bot.now for bar in bars)


def exits(bot, gain=1.5, loss=0.5):
    return {
        "take_profit": TakeProfitRequest(limit_price=round(bot.price * gain, 2)),
        "stop_loss": StopLossRequest(stop_price=round(bot.price * loss, 2)),
    }


SELL = {**DAY, "side": "sell", "time_in_force": "gtc"}
ORDERS = {
    "market": lambda b: MarketOrderRequest(**DAY),
    "notional": lambda b: MarketOrderRequest(symbol="AAPL", notional=250.5, side="buy", time_in_force="day"),
    "notional sell": lambda b: MarketOrderRequest(symbol="MSFT", notional=50, side="sell", time_in_force="day"),
    "fraction": lambda b: MarketOrderRequest(**{**DAY, "qty": 0.25}),
    "limit": lambda b: LimitOrderRequest(**DAY, limit_price=round(b.price * 0.9, 2)),
    "extended hours": lambda b: LimitOrderRequest(**DAY, limit_price=round(b.price * 0.9, 2), extended_hours=True),
    "stop": lambda b: StopOrderRequest(**DAY, stop_price=round(b.price * 1.2, 2)),
    "stop limit": lambda b: StopLimitOrderRequest(
        **DAY, stop_price=round(b.price * 1.2, 2), limit_price=round(b.price * 1.21, 2)
    ),
    "trailing price": lambda b: TrailingStopOrderRequest(**SELL, trail_price=5),
    "trailing percent": lambda b: TrailingStopOrderRequest(**SELL, trail_percent=2.5),
    "bracket": lambda b: LimitOrderRequest(**DAY, limit_price=round(b.price * 1.02, 2), order_class="bracket", **exits(b)),
    "oto": lambda b: MarketOrderRequest(**DAY, order_class="oto", stop_loss=exits(b)["stop_loss"]),
    "oco": lambda b: LimitOrderRequest(**SELL, order_class="oco", limit_price=round(b.price * 1.5, 2), **exits(b)),
    "at the close": lambda b: MarketOrderRequest(**{**DAY, "time_in_force": "cls"}),
    "at the open": lambda b: MarketOrderRequest(**{**DAY, "time_in_force": "opg"}),
    "immediate": lambda b: LimitOrderRequest(**{**DAY, "time_in_force": "ioc"}, limit_price=round(b.price * 1.05, 2)),
    "fill or kill": lambda b: LimitOrderRequest(**{**DAY, "time_in_force": "fok"}, limit_price=round(b.price * 1.05, 2)),
    "short": lambda b: MarketOrderRequest(symbol="SPY", qty=1, side="sell", time_in_force="day"),
}


@pytest.mark.parametrize("kind", ORDERS)
def test_orders_of_every_kind(bot, kind):
    bot.trading.cancel_order_by_id(bot.resting.id)
    if kind == "at the open":
        bot.exchange.sim("clock", to="2024-01-03T01:00:00Z")  # 20:00 in New York
    request = ORDERS[kind](bot)
    order = bot.trading.submit_order(request)
    assert isinstance(order, Order)
    assert (order.symbol, order.side, order.time_in_force) == (request.symbol, request.side, request.time_in_force)
    assert (order.order_class or "simple") == (request.order_class or "simple")
    assert len(order.legs or []) == {"bracket": 2, "oto": 1, "oco": 1}.get(kind, 0)
    if kind in {"market", "notional", "notional sell", "fraction", "bracket", "oto", "immediate", "fill or kill", "short"}:
        bot.exchange.sim("clock", advance_seconds=60)
        assert bot.trading.get_order_by_id(order.id).status == "filled"


def test_a_replaced_order_is_another(bot):
    newer = bot.trading.replace_order_by_id(bot.resting.id, ReplaceOrderRequest(limit_price=round(bot.price * 0.7, 2)))
    assert isinstance(newer.id, UUID)
    assert newer.id != bot.resting.id
    assert newer.replaces == bot.resting.id
    older = bot.trading.get_order_by_id(bot.resting.id)
    assert (older.status, older.replaced_by) == ("replaced", newer.id)


def test_half_a_position(bot):
    bot.trading.cancel_orders()  # an open buy would make this a wash trade
    order = bot.trading.close_position("AAPL", ClosePositionRequest(percentage="50"))
    assert (order.side, order.qty) == ("sell", "5")
    with pytest.raises(APIError) as refused:
        bot.trading.close_position("TSLA")
    assert refused.value.status_code == 404

"""The streams as an unmodified alpaca-py uses them: typed messages, handlers that trade, reconnection."""

import contextlib
import threading
from collections import Counter
from datetime import datetime

import pytest
from alpaca.data.live import StockDataStream
from alpaca.data.models import Bar, Quote, Trade, TradingStatus
from alpaca.trading.client import TradingClient
from alpaca.trading.models import TradeUpdate
from alpaca.trading.requests import GetOrdersRequest, MarketOrderRequest
from alpaca.trading.stream import TradingStream

from app.simulator.options import FOLLOW

from .streaming import exchange

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
LOCKSTEP = {"max_queue": 1, "ping_interval": 10, "ping_timeout": 180}


@contextlib.contextmanager
def run(running, *streams):
    """Streams in threads of their own, until the end of the block."""
    threads = [threading.Thread(target=stream.run, daemon=True) for stream in streams]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        for stream in streams:
            stream.stop()
        # TradingStream looks for its stop only every five seconds, or when the connection ends.
        for connection in list(running.hub.connections):
            connection.socket.loop.call_soon_threadsafe(connection.end)
        for thread in threads:
            thread.join(10)


def data_stream(running, **settings):
    return StockDataStream("key", "secret", url_override=running.address.replace("http", "ws") + "/v2/iex", **settings)


def trading_stream(running):
    return TradingStream("key", "secret", url_override=running.address.replace("http", "ws") + "/stream")


def test_every_message_is_typed():
    with exchange(symbols=("AAPL", "SPY"), seed=5) as running:
        stream, seen = data_stream(running), []

        async def keep(message):
            seen.append(message)

        stream.subscribe_bars(keep, "*")
        stream.subscribe_daily_bars(keep, "SPY")
        stream.subscribe_updated_bars(keep, "SPY")
        stream.subscribe_trades(keep, "AAPL")
        stream.subscribe_quotes(keep, "AAPL")
        stream.subscribe_trading_statuses(keep, "*")
        with run(running, stream):
            running.until(lambda: running.hub.followed)
            running("POST", "/sim/faults", what="halt", symbol="AAPL")
            running.move(advance_seconds=60)
            running("DELETE", "/sim/faults")
            running.move(advance_seconds=60)
            running.until(lambda: len([m for m in seen if isinstance(m, Bar) and m.symbol == "SPY"]) == 4)
            assert {type(m) for m in seen} == {Bar, Quote, Trade, TradingStatus}
            for message in seen:
                assert message.timestamp <= running.world.now
            stream.unsubscribe_bars("*")
            count = len(seen)
            running.move(advance_seconds=60)
            running.until(lambda: len(seen) > count)
            assert not [m for m in seen[count:] if isinstance(m, Bar) and m.symbol == "AAPL"]


def test_a_bot_that_trades_in_its_handler_misses_nothing():
    with exchange(symbols=("AAPL", "SPY"), seed=5, speed=FOLLOW) as running:
        rest = TradingClient("key", "secret", url_override=running.address)
        updates, bars, sent = [], [], []
        trading, data = trading_stream(running), data_stream(running, websocket_params=LOCKSTEP)

        async def on_update(update):
            assert isinstance(update, TradeUpdate)
            updates.append(update)

        async def on_bar(bar):
            bars.append(bar)
            if len(bars) % 5 == 0 and len(sent) < 20:
                order = rest.submit_order(MarketOrderRequest(symbol=bar.symbol, qty=1, side="buy", time_in_force="gtc"))
                sent.append(order.id)

        trading.subscribe_trade_updates(on_update)
        data.subscribe_bars(on_bar, "*")
        with run(running, trading):
            running.until(lambda: any(c.listens for c in running.hub.of("key", "trade_updates")))
            with run(running, data):
                running.until(lambda: sum(u.event == "fill" for u in updates) >= 20)
                running.move(speed=0)
            orders = {o.id: o for o in rest.get_orders(GetOrdersRequest(status="all", limit=500))}
            told = Counter((u.order.id, u.event) for u in updates)
            assert told == Counter((order_id, event) for order_id in sent for event in ("new", "fill"))
            assert set(orders) == set(sent)
            held = Counter()
            for update in updates:
                if update.event == "fill":
                    held[update.order.symbol] += update.qty
                    assert update.position_qty == held[update.order.symbol]
                    assert update.price == float(orders[update.order.id].filled_avg_price)
            assert {p.symbol: float(p.qty) for p in rest.get_all_positions()} == dict(held)
        expected = Counter(b.timestamp for b in bars)
        assert set(expected.values()) == {2}


def test_both_streams_come_back_after_the_exchange_closed_them():
    with exchange(symbols=("SPY",), seed=5) as running:
        updates, bars = [], []
        trading, data = trading_stream(running), data_stream(running)

        async def on_update(update):
            updates.append(update.order.client_order_id)

        async def on_bar(bar):
            bars.append(bar.timestamp)

        trading.subscribe_trade_updates(on_update)
        data.subscribe_bars(on_bar, "SPY")

        def ready():
            return running.hub.followed and any(c.listens for c in running.hub.of("key", "trade_updates"))

        with run(running, trading, data):
            running.until(ready)
            running.buy("SPY", client_order_id="before", type="limit", limit_price=1)
            running.move(advance_seconds=60)
            running.until(lambda: updates and bars)
            for stream in ("trade_updates", "market_data"):
                running("POST", "/sim/faults", what="disconnect", stream=stream, key_id="key")
            running.buy("SPY", client_order_id="between", type="limit", limit_price=1)
            running.move(advance_seconds=60)
            running.until(ready)
            running.buy("SPY", client_order_id="after", type="limit", limit_price=1)
            running.move(advance_seconds=60)
            running.until(lambda: len(updates) == 2 and len(bars) == 2)
            assert updates == ["before", "after"]
            assert [b.minute for b in bars] == [30, 32]
            assert {o["client_order_id"] for o in running("GET", "/v2/orders")} == {"before", "between", "after"}


def test_a_mute_stream_is_noticed_by_the_data_timeout():
    with exchange(symbols=("SPY",), seed=5) as running:
        stream, bars = data_stream(running, data_timeout=0.5), []

        async def on_bar(bar):
            bars.append(bar.timestamp)

        stream.subscribe_bars(on_bar, "SPY")
        running("POST", "/sim/faults", stream="market_data", what="mute", skip=1)
        with run(running, stream):
            running.until(lambda: running.hub.followed)
            first = next(iter(running.hub.connections))
            running.move(advance_seconds=60)
            running.move(advance_seconds=60)
            running.until(lambda: running.hub.followed and first not in running.hub.connections)
            running.move(advance_seconds=60)
            running.until(lambda: len(bars) == 2)
            assert [datetime.fromtimestamp(b.timestamp()).minute for b in bars] == [30, 32]

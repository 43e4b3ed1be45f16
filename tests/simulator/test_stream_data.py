"""The market data streams: handshake, errors, subscriptions, and what comes when the clock moves."""

import contextlib
import json
from datetime import UTC, datetime, timedelta

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from .streaming import PACKED, Client, exchange

AUTH = {"action": "auth", "key": "key", "secret": "secret"}
CONNECTED, AUTHENTICATED = {"T": "success", "msg": "connected"}, {"T": "success", "msg": "authenticated"}
CHANNELS = ["trades", "quotes", "bars", "updatedBars", "dailyBars", "statuses", "lulds", "corrections", "cancelErrors"]
NOTHING = {channel: [] for channel in CHANNELS}
SYMBOLS = ("AAPL", "MSFT", "SPY")
OPEN = datetime(2024, 1, 2, 14, 30, tzinfo=UTC)


def error(code, words):
    return {"T": "error", "code": code, "msg": words}


def subscription(**channels):
    return {"T": "subscription", **NOTHING, **channels}


E400, E401, E402 = error(400, "invalid syntax"), error(401, "not authenticated"), error(402, "auth failed")
HANDSHAKES = [
    ("auth", [AUTH], [AUTHENTICATED]),
    ("wrong secret, then right", [{**AUTH, "secret": "other"}, AUTH], [E402, AUTHENTICATED]),
    ("no secret", [{"action": "auth", "key": "key"}], [E400]),
    ("key no string", [{**AUTH, "key": 5}], [E402]),
    ("twice", [AUTH, AUTH], [AUTHENTICATED, error(403, "already authenticated")]),
    ("subscribe first", [{"action": "subscribe", "bars": ["*"]}, AUTH], [E401, AUTHENTICATED]),
    ("unknown action", [AUTH, {"action": "dance"}], [AUTHENTICATED, E400]),
    ("no object", [AUTH, 5, [], None, "x"], [AUTHENTICATED, E400, E400, E400, E400]),
    ("symbols no list", [AUTH, {"action": "subscribe", "bars": "AAPL"}], [AUTHENTICATED, E400]),
    ("symbol no string", [AUTH, {"action": "subscribe", "bars": [5]}], [AUTHENTICATED, E400]),
    ("symbol too long", [AUTH, {"action": "subscribe", "bars": ["A" * 21]}], [AUTHENTICATED, E400]),
    (
        "the whole list is answered",
        [
            AUTH,
            {"action": "subscribe", "bars": ["spy"], "dailyBars": ["*"]},
            {"action": "subscribe", "bars": ["AAPL"], "quotes": ["SPY"], "orderbooks": ["X"]},
            {"action": "unsubscribe", "bars": ["SPY", "ZZZZ"], "dailyBars": ["*"]},
        ],
        [
            AUTHENTICATED,
            subscription(bars=["SPY"], dailyBars=["*"]),
            subscription(bars=["AAPL", "SPY"], dailyBars=["*"], quotes=["SPY"]),
            subscription(bars=["AAPL"], quotes=["SPY"]),
        ],
    ),
    (
        "trades bring their corrections",
        [AUTH, {"action": "subscribe", "trades": ["SPY"]}, {"action": "unsubscribe", "trades": ["SPY"]}],
        [AUTHENTICATED, subscription(trades=["SPY"], corrections=["SPY"], cancelErrors=["SPY"]), subscription()],
    ),
]


@pytest.fixture(scope="module")
def market():
    with exchange(symbols=SYMBOLS, seed=11) as running:
        yield running


@pytest.fixture
def fresh(market):
    market("POST", "/sim/reset")
    market("GET", "/v2/account")
    market.hub.auth_seconds, market.hub.backlog_minutes = 10, 7_800
    return market


def rest_bars(running, timeframe, start, symbols=SYMBOLS):
    """The same bars by REST, as messages in the stream's order."""
    query = {"symbols": ",".join(symbols), "timeframe": timeframe, "start": start.isoformat(), "limit": 10_000}
    listed = running("GET", "/v2/stocks/bars", **query)["bars"]
    return sorted(({"T": "b", "S": s, **bar} for s, bars in listed.items() for bar in bars), key=lambda m: (m["t"], m["S"]))


@pytest.mark.parametrize(("said", "answered"), [h[1:] for h in HANDSHAKES], ids=[h[0] for h in HANDSHAKES])
@pytest.mark.parametrize("headers", [None, PACKED], ids=["json", "msgpack"])
def test_handshake(fresh, said, answered, headers):
    with fresh.open("/v2/iex", headers) as socket:
        client = Client(socket, packed=headers == PACKED)
        for command in said:
            socket.send(msgpack.packb(command) if client.packed else json.dumps(command))
        assert client.heard(1 + len(answered)) == [CONNECTED, *answered]
        assert set(client.frames) == {bytes if client.packed else str}


@pytest.mark.parametrize("headers", [None, PACKED], ids=["json", "msgpack"])
@pytest.mark.parametrize("frame", ["", "{", "nonsense", b"\xc1", b"\xff\xfe", b"\x91" * 5_000, "[" * 100_000])
def test_bad_frames_are_answered_and_the_connection_goes_on(fresh, headers, frame):
    with fresh.open("/v2/iex", headers) as socket:
        client = Client(socket, packed=headers == PACKED)
        socket.send(frame)
        client.say(**AUTH)
        assert client.heard(3) == [CONNECTED, E400, AUTHENTICATED]


@pytest.mark.parametrize(
    ("headers", "answered"),
    [
        ({"APCA-API-KEY-ID": "key", "APCA-API-SECRET-KEY": "secret"}, AUTHENTICATED),
        ({"APCA-API-KEY-ID": "key", "APCA-API-SECRET-KEY": "other"}, E402),
        ({"APCA-API-KEY-ID": "key"}, E402),
    ],
)
def test_keys_in_the_headers(fresh, headers, answered):
    with fresh.open("/v2/iex", headers) as socket:
        assert Client(socket).heard(2) == [CONNECTED, answered]


@pytest.mark.parametrize("feed", ["/v2/otc", "/v2/overnight"])
def test_a_feed_that_is_not_served(fresh, feed):
    with fresh.open(feed) as socket:
        client = Client(socket)
        client.say(**AUTH)
        client.end()
        assert client.seen == [CONNECTED, error(409, "insufficient subscription")]


def test_an_account_has_one_connection(fresh):
    with fresh.data(bars=["SPY"]) as first, fresh.open("/v2/sip") as second:
        refused = Client(second)
        refused.say(**AUTH)
        refused.end()
        assert refused.seen == [CONNECTED, error(406, "connection limit exceeded")]
        with fresh.data(key="other", bars=["SPY"]) as other:
            fresh.move(advance_seconds=60)
            assert other.heard(4)[-1] == first.heard(4)[-1]
    with fresh.data(bars=["SPY"]) as again:
        assert again.seen[1] == AUTHENTICATED


def test_who_does_not_authenticate_is_sent_away(fresh):
    fresh.hub.auth_seconds = 0.05
    with fresh.open("/v2/iex") as socket:
        client = Client(socket)
        client.end()
        assert client.seen == [CONNECTED, error(404, "auth timeout")]


def test_symbol_limit():
    with exchange(symbols=SYMBOLS, stream_symbols=2) as limited, limited.data(bars=["*"]) as client:
        for names, answer in [
            (["AAPL", "MSFT", "SPY"], error(405, "symbol limit exceeded")),
            (["*"], error(405, "symbol limit exceeded")),
            (["AAPL", "MSFT"], subscription(bars=["*"], quotes=["AAPL", "MSFT"])),
        ]:
            client.say(action="subscribe", quotes=names)
            count = len(client.seen) + 1
            assert client.heard(count)[-1] == answer


@pytest.mark.parametrize("headers", [None, PACKED], ids=["json", "msgpack"])
def test_a_minute_brings_its_trades_quotes_bar_and_daily_bar(fresh, headers):
    with fresh.data(headers=headers, bars=["*"], dailyBars=["SPY"], trades=["AAPL"], quotes=["SPY"]) as client:
        fresh.move(advance_seconds=59)
        fresh.move(advance_seconds=61)
        client.until(lambda seen: len(client.of("d")) == 2)
        shots = fresh("GET", "/v2/stocks/snapshots", symbols="AAPL,SPY")
        times = [m["t"] for m in client.of("b", "t", "q", "d")]
        if client.packed:
            assert all(isinstance(t, datetime) for t in times)
            return
        assert client.of("d")[-1] == {"T": "d", "S": "SPY", **shots["SPY"]["dailyBar"]}
        assert client.of("t")[-1] == {"T": "t", "S": "AAPL", **shots["AAPL"]["latestTrade"]}
        assert client.of("q")[-1] == {"T": "q", "S": "SPY", **shots["SPY"]["latestQuote"]}
        kinds = [m["T"] for m in client.seen[3:]]
        assert kinds[-4:] == ["b", "b", "b", "d"]
        assert client.of("b") == rest_bars(fresh, "1Min", OPEN)


MOVES = [
    ("within a session", [{"advance_seconds": 3_601}], 60),
    ("to the close and over night", [{"to_close": True}, {"next_open": True}, {"advance_seconds": 60}], 391),
    ("through two sessions", [{"advance_seconds": 86_400 + 3_600}], 390 + 60),
    ("second by second", [{"advance_seconds": 7}] * 30, 3),
]


@pytest.mark.parametrize(("moves", "minutes"), [m[1:] for m in MOVES], ids=[m[0] for m in MOVES])
def test_bars_are_those_of_rest(fresh, moves, minutes):
    with fresh.data(bars=["*"]) as client:
        for body in moves:
            fresh.move(**body)
        client.until(lambda _: len(client.of("b")) == minutes * 3)
        assert client.of("b") == rest_bars(fresh, "1Min", OPEN)


def test_of_a_long_jump_come_the_daily_bars_and_the_newest_session(fresh):
    with fresh.data(bars=["SPY"], dailyBars=["SPY"]) as client:
        fresh.move(to="2024-01-31T20:00:00Z")
        client.until(lambda _: len(client.of("b")) == 330)
        assert client.of("b") == rest_bars(fresh, "1Min", datetime(2024, 1, 31, tzinfo=UTC), ["SPY"])
        days = [m["t"] for m in rest_bars(fresh, "1Day", datetime(2024, 1, 1, tzinfo=UTC), ["SPY"])]
        told = [m["t"] for m in client.of("d")]
        assert told[: len(days)] == days
        assert set(told[len(days) :]) == {"2024-01-31T05:00:00Z"}


def test_the_daily_bar_of_the_close_is_final(fresh):
    with fresh.data(dailyBars=["*"]) as client:
        fresh.move(to_close=True)
        client.until(lambda _: len(client.of("d")) == 390 * 3)
        assert [{**m, "T": "b"} for m in client.of("d")[-3:]] == rest_bars(fresh, "1Day", OPEN - timedelta(hours=12))


def test_the_delayed_feed_is_a_quarter_of_an_hour_behind(fresh):
    with fresh.data("/v2/delayed_sip", bars=["SPY"]) as client:
        fresh.move(advance_seconds=899)
        fresh.move(advance_seconds=121)
        client.until(lambda _: len(client.of("b")) == 2)
        assert client.of("b") == rest_bars(fresh, "1Min", OPEN, ["SPY"])[:2]


def test_nothing_from_before_the_subscription_or_after_its_end(fresh):
    fresh.move(advance_seconds=600)
    with fresh.data(bars=["SPY"]) as client:
        fresh.move(advance_seconds=60)
        client.heard(4)
        client.say(action="unsubscribe", bars=["SPY"])
        client.heard(5)
        fresh.move(advance_seconds=60)
        client.say(action="subscribe", bars=["SPY"])
        client.heard(6)
        fresh.move(advance_seconds=60)
        client.heard(7)
        assert [m["t"][11:16] for m in client.of("b")] == ["14:40", "14:42"]


def test_a_reset_ends_what_was_to_be_told(fresh):
    with fresh.data(bars=["SPY"]) as client:
        fresh.move(advance_seconds=120)
        client.heard(5)
        fresh("POST", "/sim/reset")
        fresh.move(advance_seconds=60)
        client.heard(6)
        assert [m["t"][11:16] for m in client.of("b")] == ["14:30", "14:31", "14:30"]


def test_a_client_that_does_not_read_is_cut_off_and_delays_nobody(fresh):
    fresh.hub.backlog_minutes = 390
    with fresh.deaf("/v2/iex", AUTH, {"action": "subscribe", "bars": ["*"], "quotes": ["*"], "trades": ["*"]}) as deaf:
        fresh.until(lambda: any(c.followed for c in fresh.hub.of("key", "market_data")))
        while fresh.hub.of("key", "market_data"):
            fresh.move(advance_seconds=86_400)
        with contextlib.suppress(ConnectionResetError):
            while deaf.recv(1 << 20):
                pass


@given(st.lists(st.integers(1, 40_000), min_size=1, max_size=8))
@settings(max_examples=12, deadline=None)
def test_what_was_streamed_is_what_rest_lists_and_never_later_than_the_clock(market, steps):
    market("POST", "/sim/reset")
    with market.data(bars=["AAPL", "SPY"], dailyBars=["*"], trades=["*"], quotes=["MSFT"]) as client:
        for seconds in steps:
            market.move(advance_seconds=seconds)
            expected = rest_bars(market, "1Min", OPEN, ["AAPL", "SPY"])
            client.bars(len(expected))
            known = datetime.fromisoformat(market("GET", "/sim/state")["clock"])
            assert client.of("b") == expected
            for message in client.of("b", "d", "t", "q"):
                length = timedelta(seconds=60 if message["T"] == "b" else 0)
                assert datetime.fromisoformat(message["t"]) + length <= known
        times = [m["t"] for m in client.of("b")]
        assert times == sorted(times)


def test_hours_before_and_after_the_session_are_streamed_where_they_have_prices():
    with (
        exchange(symbols=SYMBOLS, seed=11, extended_hours=True) as running,
        running.data(bars=["SPY"], dailyBars=["SPY"]) as client,
    ):
        running.move(to="2024-01-03T15:00:00Z")
        expected = rest_bars(running, "1Min", OPEN, ["SPY"])
        assert len(expected) > 390 + 30
        client.bars(len(expected))
        assert client.of("b") == expected
        client.until(lambda _: len(client.of("d")) == 390 + 30)

"""The look-ahead laws: nothing served is later than the clock, nothing served changes, nothing depends on what comes."""

import os
from datetime import datetime, timedelta

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from .futures import BEGIN, END, looked_at, moment, two_worlds

EXAMPLES = int(os.environ.get("FUTURES", "12"))
ALL = {"symbols": "AAPL,MSFT,SPY"}
FRAMES = {"1Min": 60, "5Min": 300, "15Min": 900, "1Hour": 3600, "1Day": 86_400}
FAR = "2030-01-01T00:00:00Z"


def times(content):
    """Every timestamp of an answer."""
    if isinstance(content, dict):
        for key, value in content.items():
            if key == "t":
                yield datetime.fromisoformat(value)
            else:
                yield from times(value)
    elif isinstance(content, list):
        for value in content:
            yield from times(value)


def served(call, start, symbols=ALL):
    """All data routes at once: {name: answer}."""
    answers = {}
    for frame in FRAMES:
        query = {**symbols, "timeframe": frame, "start": start, "end": FAR, "limit": 10_000}
        answers[frame] = call("GET", "/v2/stocks/bars", params=query)
    for kind in ("bars", "quotes", "trades"):
        answers[kind] = call("GET", f"/v2/stocks/{kind}/latest", params=symbols)
    answers["snapshots"] = call("GET", "/v2/stocks/snapshots", params=symbols)
    assert all(status == 200 for status, _ in answers.values())
    return {name: content for name, (_, content) in answers.items()}


steps = st.lists(
    st.one_of(st.integers(1, 900), st.integers(900, 30_000), st.just(23_400), st.integers(60_000, 400_000)),
    min_size=1,
    max_size=6,
)


@given(steps=steps)
@settings(max_examples=12, deadline=None)
def test_nothing_is_later_than_the_clock_and_nothing_changes(generated, steps):
    generated("POST", "/sim/reset", body={})
    world, known = generated.world, {}
    for seconds in steps:
        assert generated("POST", "/sim/clock", body={"advance_seconds": seconds})[0] == 200
        now = world.first.now
        answers = served(generated, (now - timedelta(hours=30)).isoformat())
        assert max(times(answers)) <= now
        closes = {s.day: s.closes_at for s in world.first.market.sessions}
        for frame, length in FRAMES.items():
            for symbol, bars in answers[frame]["bars"].items():
                for bar in bars:
                    begins = datetime.fromisoformat(bar["t"])
                    session_end = closes[begins.date()]
                    complete = min(begins + timedelta(seconds=length), session_end) <= now
                    assert complete or frame == "1Day"  # the day in progress is shown as it stands
                    assert not complete or known.setdefault((frame, symbol, bar["t"]), bar) == bar
        for symbol, shot in answers["snapshots"].items():
            minutes = [b for b in answers["1Min"]["bars"].get(symbol, []) if b["t"][:10] == now.date().isoformat()]
            if minutes and now < closes[now.date()]:
                day = shot["dailyBar"]
                assert day["h"] == max(b["h"] for b in minutes)
                assert day["l"] == min(b["l"] for b in minutes)
                assert (day["o"], day["c"]) == (minutes[0]["o"], minutes[-1]["c"])
                assert day["v"] == sum(b["v"] for b in minutes)
                assert shot["prevDailyBar"]["t"] < day["t"]
                assert answers["1Day"]["bars"][symbol][-1] == day


seeds = st.integers(0, 10**6)
instants = st.integers(0, int((END - BEGIN).total_seconds()))


@given(
    past=seeds,
    futures=st.tuples(seeds, seeds).filter(lambda pair: pair[0] != pair[1]),
    stops=st.lists(instants, min_size=1, max_size=3),
    daily=st.booleans(),
)
@settings(max_examples=EXAMPLES, deadline=None, phases=(Phase.generate,))  # shrinking worlds takes minutes
def test_two_futures_with_one_past_look_the_same(tmp_path_factory, past, futures, stops, daily):
    moments = [moment(seconds) for seconds in sorted(stops)]
    worlds = two_worlds(tmp_path_factory.mktemp("futures"), past, futures, moments[-1], daily=daily)
    one, other = (looked_at(call, moments) for call in worlds)
    assert {status for status, _ in one.values()} == {200}
    for look, answer in one.items():
        assert answer == other[look], look


@pytest.mark.parametrize("frame", FRAMES)
def test_the_whole_day_adds_up_after_the_close(generated, frame):
    generated("POST", "/sim/reset", body={})
    generated("POST", "/sim/clock", body={"to": "2024-01-02T21:00:00Z"})
    query = {**ALL, "timeframe": frame, "start": "2024-01-02", "limit": 10_000}
    bars = generated("GET", "/v2/stocks/bars", params=query)[1]["bars"]
    daily = generated("GET", "/v2/stocks/bars", params={**query, "timeframe": "1Day"})[1]["bars"]
    for symbol, (day,) in daily.items():
        parts = bars[symbol]
        assert (parts[0]["o"], parts[-1]["c"]) == (day["o"], day["c"])
        assert max(b["h"] for b in parts) == day["h"]
        assert min(b["l"] for b in parts) == day["l"]
        assert sum(b["v"] for b in parts) == day["v"]

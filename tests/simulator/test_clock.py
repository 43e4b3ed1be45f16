"""Pacing: running clocks lose no time, and the speed `follow` waits for the clients."""

import asyncio
import time
from datetime import timedelta

import pytest
import requests

from app.domain.errors import InvalidInput
from app.simulator.clock import pace, read_speed
from app.simulator.options import FOLLOW, SimulatorOptions
from app.simulator.streams.hub import Hub
from app.simulator.world import World

from .conftest import OPEN
from .streaming import exchange

SYMBOLS = ("AAPL", "SPY")


def test_time_in_which_the_pacemaker_could_not_run_is_made_up_for():
    world = World(SimulatorOptions(symbols=("SPY",), speed=60.0))

    async def held_up():
        pacemaker = asyncio.create_task(pace(world, Hub(world)))
        while world.now == OPEN:
            await asyncio.sleep(0.01)
        before = world.now
        time.sleep(2)
        while world.now == before:
            await asyncio.sleep(0.01)
        pacemaker.cancel()
        return world.now - before

    assert asyncio.run(held_up()) >= timedelta(seconds=119)


def test_a_pause_is_no_time():
    world = World(SimulatorOptions(symbols=("SPY",), speed=10_000.0))

    async def paused():
        pacemaker = asyncio.create_task(pace(world, Hub(world)))
        while world.now == OPEN:
            await asyncio.sleep(0.01)
        world.set_speed(0)
        stopped = world.now
        await asyncio.sleep(0.5)
        assert world.now == stopped
        world.set_speed(1)
        await asyncio.sleep(0.5)
        pacemaker.cancel()
        return world.now - stopped

    assert asyncio.run(paused()) < timedelta(seconds=60)


def test_follow_waits_for_a_client_and_ends_with_it():
    with exchange(symbols=SYMBOLS, speed=FOLLOW) as running:
        assert running("GET", "/sim/state")["speed"] == "follow"
        with running.updates():
            time.sleep(0.3)
            assert running.world.now == OPEN
            with running.data(bars=["SPY"]) as client:
                client.bars(800)
                days = {m["t"][:10] for m in client.of("b")}
                assert days >= {"2024-01-02", "2024-01-03", "2024-01-04"}
            running.until(lambda: not running.hub.followed)
        stopped = running.world.now
        time.sleep(0.3)
        assert running.world.now == stopped


def test_follow_goes_no_faster_than_the_client_reads():
    with exchange(symbols=SYMBOLS, speed=0) as running:
        commands = [
            {"action": "auth", "key": "key", "secret": "secret"},
            {"action": "subscribe", "bars": ["*"], "trades": ["*"], "quotes": ["*"]},
        ]
        with running.deaf("/v2/iex", *commands):
            running.until(lambda: running.hub.followed)
            running.move(speed="follow")
            time.sleep(0.3)
            # It reads nothing, so it answers no ping: not even the first minute may come.
            assert running.world.now == OPEN
        running.until(lambda: not running.hub.followed)


def test_a_handler_that_reads_on_demand_sees_the_clock_near_its_bar():
    with exchange(symbols=SYMBOLS, speed=FOLLOW) as running, running.open("/v2/iex") as opened:
        opened.send('{"action":"auth","key":"key","secret":"secret"}')
        opened.send('{"action":"subscribe","bars":["*"]}')
        bars = [opened.recv() for _ in range(203)]
        assert len(bars) == 203
        # The library reads a few frames ahead; the clock is never further than that.
        ahead = running.world.now - (OPEN + timedelta(minutes=200))
        assert ahead < timedelta(minutes=30)


@pytest.mark.parametrize(
    ("body", "clock"),
    [
        ({"to_close": True}, "2024-01-02T21:00:00Z"),
        ({"next_open": True}, "2024-01-03T14:30:00Z"),
        ({"advance_seconds": 90}, "2024-01-02T14:31:30Z"),
    ],
)
def test_moves_by_hand(body, clock):
    with exchange(symbols=SYMBOLS) as running:
        assert running.move(**body)["clock"] == clock
        assert running.move(to_close=True)["clock"] in {"2024-01-02T21:00:00Z", "2024-01-03T21:00:00Z"}


@pytest.mark.parametrize("body", [{"to_close": False}, {"to_close": 1}, {"speed": "fast"}, {"speed": -1}, {}, {"step": 1}])
def test_moves_that_are_none(body):
    with exchange(symbols=("SPY",)) as running:
        answer = requests.post(f"{running.address}/sim/clock", json=body, timeout=10)
        assert answer.status_code == 422
        assert answer.json()["message"]
        assert running.world.now == OPEN


@pytest.mark.parametrize(("text", "speed"), [("0", 0), ("60", 60), ("0.5", 0.5), ("follow", FOLLOW)])
def test_speeds_of_the_command_line(text, speed):
    assert read_speed(text) == speed


@pytest.mark.parametrize("text", ["", "fast", "-1", "nan", "1e9"])
def test_speeds_that_are_none(text):
    with pytest.raises(InvalidInput):
        read_speed(text)

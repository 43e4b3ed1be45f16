"""One request on its way through the exchange: where it is held, and what faults do to it and to its answer."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable
from typing import Any, TypeVar

from starlette.types import Receive, Scope

from app.simulator.faults import connection
from app.simulator.faults.answers import Answer, made, refusal, spoilt
from app.simulator.faults.arrivals import Arrival
from app.simulator.faults.barriers import Release
from app.simulator.faults.board import AFTER, BEFORE, Fault
from app.simulator.faults.request_log import Receipt
from app.simulator.world import World

_T = TypeVar("_T")


class CutOff(Exception):
    """The request ends without an answer; its connection is gone or cut."""


class Visit:
    """A request with its connection. closing: set when the exchange shuts down, which ends every wait with CutOff."""

    def __init__(
        self, world: World, scope: Scope, receive: Receive, arrival: Arrival, receipt: Receipt, closing: asyncio.Event
    ) -> None:
        self._world = world
        self._scope = scope
        self._receive = receive
        self._arrival = arrival
        self._receipt = receipt
        self._closing = closing

    async def before(self) -> Answer | None:
        """Hold and disturb the request before the exchange gets it. An answer: it never does. Raises CutOff."""
        world, answer = self._world, None
        if world.barriers.waits:
            answer = await self._hold(BEFORE)
        if answer is None and world.faults.disturbs_requests:
            answer = await self._disturb()
        return answer

    async def after(self, answer: Answer) -> Answer:
        """Spoil and hold the answer of a request that took effect. Raises CutOff."""
        world = self._world
        if world.faults.disturbs_requests:
            answer = await self._spoil(answer)
        if world.barriers.waits:
            answer = await self._hold(AFTER) or answer
        return answer

    async def _hold(self, when: str) -> Answer | None:
        for barrier in self._world.barriers.meeting(self._arrival, when):
            barrier.request = self._receipt.number
            self._receipt.disturbed.append(barrier.name)
            how: Release = await self._wait(barrier.hold())
            if how.then == "reset":
                self._reset()
            if how.then == "status":
                return refusal(how.status)
        return None

    async def _disturb(self) -> Answer | None:
        faults, arrival = self._world.faults, self._arrival
        for fault in faults.firing(arrival, BEFORE):
            self._receipt.disturbed.append(fault.name)
            if fault.what == "stuck_cancel":
                self._scope["stuck_cancel"] = True
            elif not await self._delays(fault):
                return made(fault, time.time())
        if arrival.path == "/v2/orders:by_client_order_id" and faults.is_hidden(arrival, asyncio.get_running_loop().time()):
            self._receipt.disturbed.append("lag")
            return refusal(404, code=40410000, message="order not found")
        return None

    async def _spoil(self, answer: Answer) -> Answer:
        own = answer.body
        for fault in self._world.faults.firing(self._arrival, AFTER, accepted=bool(self._receipt.accepted)):
            self._receipt.disturbed.append(fault.name)
            if fault.what == "lag":
                until = asyncio.get_running_loop().time() + fault.settings["seconds"]
                self._world.faults.hide(self._arrival.key_id, json.loads(own)["client_order_id"], until)
            elif fault.what == "reject_later":
                self._world.by_key(self._arrival.key_id).doom(json.loads(own)["id"], fault.settings["reason"])
            elif not await self._delays(fault):
                answer = spoilt(answer, fault, time.time())
        return answer

    async def _delays(self, fault: Fault) -> bool:
        """Wait or cut the connection if that is what the fault does; whether it is."""
        if fault.what == "latency":
            await self._wait(asyncio.sleep(fault.settings["seconds"]))
            return True
        if fault.what == "hang":
            await self._wait(self._silence(fault))
        if fault.what in {"hang", "reset"}:
            self._reset()
        return False

    async def _silence(self, fault: Fault) -> None:
        """Until the time is up, the fault is removed or the client is gone."""
        gone, removed = asyncio.ensure_future(_gone(self._receive)), asyncio.ensure_future(fault.removed.wait())
        await _first({gone, removed}, fault.settings["seconds"])

    async def _wait(self, awaited: Awaitable[_T]) -> _T:
        waiting, closing = asyncio.ensure_future(awaited), asyncio.ensure_future(self._closing.wait())
        await _first({waiting, closing})
        if not waiting.done() or waiting.cancelled():
            self._reset()
        return waiting.result()

    def _reset(self) -> None:
        connection.reset(self._scope)
        raise CutOff


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _first(waiting: set[asyncio.Future[Any]], seconds: float | None = None) -> None:
    """Wait for one of them, then give up the others."""
    try:
        await asyncio.wait(waiting, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for one in waiting:
            one.cancel()

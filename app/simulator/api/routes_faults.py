"""Routes that make things go wrong (/sim): faults, and barriers that hold a request until it is told to go on."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from app.domain.errors import InvalidInput
from app.simulator.accounts.order_request import parse_json
from app.simulator.errors import json_response
from app.simulator.faults.barriers import parse_barrier, parse_release
from app.simulator.faults.fault_request import parse_fault
from app.simulator.world import World

_LONGEST_WAIT = 60.0


async def get_faults(request: Request) -> Response:
    """Every fault, and how often it fired."""
    world: World = request.app.state.world
    return json_response([fault.shown() for fault in world.faults.all()])


async def post_fault(request: Request) -> Response:
    """Set a fault; 201 with its id."""
    world: World = request.app.state.world
    fault = world.set_fault(parse_fault(parse_json(await request.body())))
    return json_response(fault.shown(), 201)


async def get_fault(request: Request) -> Response:
    """One fault, and how often it fired."""
    world: World = request.app.state.world
    return json_response(world.faults.find(_id(request)).shown())


async def delete_fault(request: Request) -> Response:
    """Remove a fault; what it held up goes on. Answers how often it fired."""
    world: World = request.app.state.world
    fault = world.faults.find(_id(request))
    world.drop_fault(fault)
    return json_response(fault.shown())


async def delete_faults(request: Request) -> Response:
    """Remove all faults. Answers how often each fired."""
    world: World = request.app.state.world
    faults = world.faults.all()
    for fault in faults:
        world.drop_fault(fault)
    return json_response([fault.shown() for fault in faults])


async def get_barriers(request: Request) -> Response:
    """Every barrier and its state."""
    world: World = request.app.state.world
    return json_response([barrier.shown() for barrier in world.barriers.all()])


async def post_barrier(request: Request) -> Response:
    """Set a barrier; 201 with its id."""
    world: World = request.app.state.world
    return json_response(world.barriers.add(parse_barrier(parse_json(await request.body()))).shown(), 201)


async def get_barrier(request: Request) -> Response:
    """One barrier. wait: seconds, up to 60, to wait for the request that it holds."""
    world: World = request.app.state.world
    barrier = world.barriers.find(_id(request))
    text = request.query_params.get("wait", "0")
    if not (text.isascii() and text.replace(".", "", 1).isdigit() and float(text) <= _LONGEST_WAIT):
        raise InvalidInput(f"wait must be a number of seconds from 0 to {_LONGEST_WAIT:.0f}")
    with suppress(TimeoutError):
        await asyncio.wait_for(barrier.arrived.wait(), float(text))
    return json_response(barrier.shown())


async def release_barrier(request: Request) -> Response:
    """Let the held request go on: {"then": "proceed"}, "reset" or "status". 409 when none is held."""
    world: World = request.app.state.world
    barrier = world.barriers.find(_id(request))
    world.barriers.release(barrier, parse_release(parse_json(await request.body() or b"{}")))
    return json_response(barrier.shown())


async def delete_barrier(request: Request) -> Response:
    """Remove a barrier; a request that it holds goes on."""
    world: World = request.app.state.world
    barrier = world.barriers.find(_id(request))
    world.barriers.remove(barrier)
    return json_response(barrier.shown())


async def delete_barriers(request: Request) -> Response:
    """Remove all barriers; what they hold goes on."""
    world: World = request.app.state.world
    barriers = world.barriers.all()
    world.barriers.clear()
    return json_response([barrier.shown() for barrier in barriers])


def _id(request: Request) -> int:
    text: str = request.path_params["id"]
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0


ROUTES = [
    Route("/sim/faults", get_faults, methods=["GET"]),
    Route("/sim/faults", post_fault, methods=["POST"]),
    Route("/sim/faults", delete_faults, methods=["DELETE"]),
    Route("/sim/faults/{id}", get_fault, methods=["GET"]),
    Route("/sim/faults/{id}", delete_fault, methods=["DELETE"]),
    Route("/sim/barriers", get_barriers, methods=["GET"]),
    Route("/sim/barriers", post_barrier, methods=["POST"]),
    Route("/sim/barriers", delete_barriers, methods=["DELETE"]),
    Route("/sim/barriers/{id}", get_barrier, methods=["GET"]),
    Route("/sim/barriers/{id}", delete_barrier, methods=["DELETE"]),
    Route("/sim/barriers/{id}/release", release_barrier, methods=["POST"]),
]

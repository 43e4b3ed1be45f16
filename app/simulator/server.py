"""The simulated exchange as a process: application, socket, life cycle."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
from collections.abc import AsyncIterator
from typing import Any

import structlog
import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from app.domain.errors import AlphaTraderError, Conflict, NotFound
from app.runtime.calendar import new_york_calendar
from app.simulator.api import (
    routes_account,
    routes_control,
    routes_data,
    routes_faults,
    routes_orders,
    routes_reference,
    routes_truth,
)
from app.simulator.clock import pace, speed_word
from app.simulator.errors import (
    CONFLICT,
    INVALID,
    NOT_FOUND,
    ApiError,
    answer_api_error,
    answer_fault,
    answer_http_error,
    json_response,
)
from app.simulator.faults.connection import DisturbableProtocol
from app.simulator.faults.gate import Gate
from app.simulator.options import SimulatorOptions
from app.simulator.streams import market_data, news, trade_updates
from app.simulator.streams.hub import Hub
from app.simulator.streams.socket import WEBSOCKET_SETTINGS
from app.simulator.tape.source import open_market
from app.simulator.world import World

_log = structlog.get_logger(__name__)

_ROUTES = (
    routes_account,
    routes_orders,
    routes_reference,
    routes_data,
    trade_updates,
    market_data,
    news,
    routes_control,
    routes_truth,
    routes_faults,
)

__all__ = ["SimulatorOptions", "build_app", "check", "configured", "serve"]


def build_app(options: SimulatorOptions) -> Starlette:
    """The application on a world of its own. Raises InvalidInput or ConfigurationError when data or state are unusable."""
    world = World(options)
    hub = Hub(world)

    @contextlib.asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        pacemaker = asyncio.create_task(pace(world, hub))
        try:
            yield
        finally:
            gate.let_go()
            pacemaker.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await pacemaker
            world.store.close()

    app = Starlette(
        routes=[route for part in _ROUTES for route in part.ROUTES],
        exception_handlers={
            ApiError: answer_api_error,
            AlphaTraderError: _answer_domain_error,
            HTTPException: answer_http_error,
            Exception: answer_fault,
        },
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False  # to another host than asked, behind a proxy; the venue says 404
    app.state.world = world
    world.hub = app.state.hub = hub
    gate = Gate(app.build_middleware_stack(), world, options.rate_limit)
    app.middleware_stack = gate
    app.state.gate = gate
    return app


def configured(app: Starlette, **settings: Any) -> uvicorn.Config:
    """uvicorn's configuration for the exchange, with `settings` beside it. Faults can cut connections only with this one."""
    return uvicorn.Config(
        app,
        http=DisturbableProtocol,
        log_config=None,
        access_log=False,
        lifespan="on",
        timeout_graceful_shutdown=1,
        **WEBSOCKET_SETTINGS,
        **settings,
    )


class Server(uvicorn.Server):
    """uvicorn's server, which ends held requests before it waits for the others."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Shut down in order."""
        self.config.app.state.gate.let_go()  # type: ignore[union-attr]
        await super().shutdown(sockets)


def check(options: SimulatorOptions) -> str:
    """Name of the market these options replay. Raises InvalidInput when its data, symbols or start cannot be used."""
    market, first = open_market(options, new_york_calendar(), start=options.start, seed=options.seed)
    return f"{market.source.label}, {len(market.symbols)} symbols, from {first}"


def serve(options: SimulatorOptions) -> None:
    """Serve until SIGINT or SIGTERM. Exits with one line when the port is taken or the data cannot be used."""
    # IPPROTO_TCP spelled out: asyncio sets TCP_NODELAY only on sockets that name it, and each answer would wait 40 ms without.
    listener = socket.socket(socket.AF_INET6 if ":" in options.host else socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((options.host, options.port))
        app = build_app(options)
    except OSError as fault:
        raise SystemExit(
            f"the simulated exchange cannot listen on {options.host}:{options.port}: {fault.strerror}; give another --port"
        ) from None
    except AlphaTraderError as fault:
        raise SystemExit(f"the simulated exchange cannot start: {fault.message}") from None
    world: World = app.state.world
    _log.info(
        "simulated exchange ready",
        url=f"http://{options.host}:{listener.getsockname()[1]}",
        clock=world.now.isoformat(),
        source=world.market.source.label,
        symbols=len(world.market.symbols),
        speed=speed_word(world.speed),
    )
    for stop in (signal.SIGINT, signal.SIGTERM):
        signal.signal(
            stop, lambda *_: None
        )  # uvicorn raises the signal again once it has shut down in order; that is a good end
    Server(configured(app)).run(sockets=[listener])


async def _answer_domain_error(_request: Request, error: Exception) -> Response:
    if not isinstance(error, AlphaTraderError):
        raise error
    status, code = 422, INVALID
    if isinstance(error, Conflict):
        status, code = 409, CONFLICT
    elif isinstance(error, NotFound):
        status, code = 404, NOT_FOUND
    return json_response({"code": code, "message": error.message}, status)

"""Reading query strings: case-blind booleans, bounded numbers, RFC 3339 times; ApiError where they are wrong."""

from __future__ import annotations

from datetime import UTC, date, datetime, time

from starlette.requests import Request

from app.runtime.calendar import NEW_YORK
from app.simulator.accounts.account import Account
from app.simulator.errors import UNAUTHORIZED, ApiError, invalid, not_found
from app.simulator.world import World


def world_of(request: Request) -> World:
    """The world behind an authorised request."""
    account_of(request)
    world: World = request.app.state.world
    return world


def account_of(request: Request) -> Account:
    """The account that the request's key opens; 401 without a key or with another secret than before."""
    key_id, secret = request.headers.get("apca-api-key-id"), request.headers.get("apca-api-secret-key")
    if not (key_id and secret):
        raise ApiError(401, UNAUTHORIZED, "request is not authorized")
    world: World = request.app.state.world
    return world.account(key_id, secret)


def symbol_of(account: Account, name: str, complaint: str) -> str:
    """The symbol of that name or asset id; 404 when there is none."""
    symbol = account.market.named(name)
    if symbol is None:
        raise not_found(f"{complaint} {name[:64]}")
    return symbol


def flag(request: Request, name: str) -> bool:
    """A boolean parameter; absent is false."""
    return request.query_params.get(name, "").lower() in {"true", "1", "t"}


def number(request: Request, name: str, *, default: int, most: int) -> int:
    """A whole number from 1 to `most`; larger ones are cut, as Alpaca does."""
    text = request.query_params.get(name)
    if not text:
        return default
    if not (text.isascii() and text.isdigit() and len(text) <= 12 and int(text) > 0):
        raise invalid(f"invalid {name}: it must be a whole number above zero")
    return min(int(text), most)


def words(request: Request, name: str) -> tuple[str, ...]:
    """A comma-separated list in upper case, without repeats."""
    parts = (part.strip().upper() for part in request.query_params.get(name, "").split(","))
    return tuple(dict.fromkeys(part for part in parts if part))


def choice(request: Request, name: str, options: tuple[str, ...]) -> str:
    """One of `options`, the first by default."""
    value = request.query_params.get(name, "").lower() or options[0]
    if value not in options:
        raise invalid(f"invalid {name}: it must be one of {', '.join(options)}")
    return value


def when(request: Request, name: str, *, end_of_day: bool = False) -> datetime | None:
    """A time; naive ones are UTC. A bare date is its New York midnight, or the last instant of that day for an end."""
    text = request.query_params.get(name)
    if not text:
        return None
    try:
        if len(text) == 10:
            day = date.fromisoformat(text)
            return datetime.combine(day, time.max if end_of_day else time.min, NEW_YORK).astimezone(UTC)
        moment = datetime.fromisoformat(text.replace(" ", "+"))
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise invalid(f"invalid {name}: give a date or a time such as 2024-01-02T14:30:00Z") from None

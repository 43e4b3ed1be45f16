"""Reading the body of POST /sim/faults: every field is checked, and a field that the fault does not know is refused."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from app.domain.errors import InvalidInput
from app.simulator.faults.arrivals import SELECTING, parse_selector, text
from app.simulator.faults.board import OTHER_FAULTS, REQUEST_FAULTS, STREAM_FAULTS, STREAMS, Fault

_COMMON = {"what", "times", "skip", "probability", "seed"}
_LONGEST = 86_400
MOST_BYTES = 1 << 28
_MOST_NUMBER = 10.0**18
_OWN: Mapping[str, set[str]] = {"halt": {"symbol"}, "disconnect": {"key_id", "stream"}}
_Reader = Callable[[Mapping[str, Any]], dict[str, Any]]


def parse_fault(fields: Mapping[str, Any]) -> Fault:
    """The fault that a body describes. Raises InvalidInput."""
    what = text(fields, "what")
    if what not in {*REQUEST_FAULTS, *STREAM_FAULTS, *OTHER_FAULTS}:
        raise InvalidInput(f"what must be one of {', '.join((*REQUEST_FAULTS, *STREAM_FAULTS, *OTHER_FAULTS))}")
    settings = _SETTINGS[what](fields) if what in _SETTINGS else {}
    own = _OWN.get(what, {"key_id", "stream", "event"} if what in STREAM_FAULTS else {*SELECTING, "when"})
    unknown = sorted(set(fields) - _COMMON - own - _ALLOWED.get(what, set()))
    if unknown:
        allowed = ", ".join(sorted(_COMMON | own | _ALLOWED.get(what, set())))
        raise InvalidInput(f"{what} does not take {', '.join(unknown)[:80]}; it takes {allowed}")
    return Fault(
        what=what,
        when=_when(what, fields) if what in REQUEST_FAULTS else "",
        where=parse_selector({name: fields.get(name) for name in SELECTING}),
        stream=_stream(what, fields),
        event=text(fields, "event"),
        times=None if "times" in fields and fields["times"] is None else whole(fields, "times", default=1, least=1),
        skip=whole(fields, "skip", default=0),
        probability=_number(fields, "probability", default=1.0, most=1.0),
        seed=whole(fields, "seed", default=0),
        settings=settings,
    )


def whole(fields: Mapping[str, Any], name: str, *, default: int, least: int = 0, most: int = 10**9) -> int:
    """A whole number of a request body. Raises InvalidInput."""
    value = fields.get(name, default)
    if isinstance(value, Decimal) and least <= value <= most and value == value.to_integral_value():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise InvalidInput(f"{name} must be a whole number from {least} to {most}")
    return value


def status(fields: Mapping[str, Any], *, default: int | None = None, least: int = 400, most: int = 599) -> int:
    """An HTTP status of a request body. Raises InvalidInput."""
    if default is None and "status" not in fields:
        raise InvalidInput(f"status must be given: a number from {least} to {most}")
    return whole(fields, "status", default=default or least, least=least, most=most)


def plain(value: Any) -> Any:
    """JSON as it was read, with numbers that json can write."""
    if isinstance(value, Decimal):
        if abs(value) > _MOST_NUMBER:
            raise InvalidInput(f"numbers of a patch must be at most {_MOST_NUMBER:.0e}")
        return int(value) if value.as_tuple().exponent == 0 else float(value)
    if isinstance(value, dict):
        return {name: plain(part) for name, part in value.items()}
    return [plain(part) for part in value] if isinstance(value, list) else value


def _number(fields: Mapping[str, Any], name: str, *, default: float, most: float) -> float:
    value = fields.get(name, default)
    if not isinstance(value, Decimal | int | float) or isinstance(value, bool) or not 0 <= value <= most:
        raise InvalidInput(f"{name} must be a number from 0 to {most:g}")
    return float(value)


def _when(what: str, fields: Mapping[str, Any]) -> str:
    possible = REQUEST_FAULTS[what]
    when = text(fields, "when", possible[0])
    if when not in possible:
        raise InvalidInput(f"when of {what} must be {' or '.join(possible)}")
    return when


def _stream(what: str, fields: Mapping[str, Any]) -> str:
    stream = text(fields, "stream")
    if (what in STREAM_FAULTS or what == "disconnect") and stream not in STREAMS:
        raise InvalidInput(f"stream must be one of {', '.join(STREAMS)}")
    return stream


def _flag(fields: Mapping[str, Any], name: str) -> bool:
    value = fields.get(name, False)
    if not isinstance(value, bool):
        raise InvalidInput(f"{name} must be true or false")
    return value


def _seconds(default: float | None = None) -> _Reader:
    def read(fields: Mapping[str, Any]) -> dict[str, Any]:
        if default is None and "seconds" not in fields:
            raise InvalidInput("seconds must be given")
        return {"seconds": _number(fields, "seconds", default=default or 0.0, most=_LONGEST)}

    return read


def _status_settings(fields: Mapping[str, Any]) -> dict[str, Any]:
    headers = fields.get("headers") or {}
    if not isinstance(headers, dict) or not all(isinstance(v, str) and f"{k}{v}".isprintable() for k, v in headers.items()):
        raise InvalidInput('headers must be an object of texts, such as {"Retry-After": "1"}')
    if not all(k and k.isascii() and k.replace("-", "").isalnum() and v.isascii() for k, v in headers.items()):
        raise InvalidInput("names of headers are letters, digits and -; their values are ASCII")
    settings: dict[str, Any] = {"status": "any" if fields.get("status") == "any" else status(fields)}
    if headers:
        settings["headers"] = headers
    if _flag(fields, "rate_headers"):
        settings["rate_headers"] = True
    if "code" in fields:
        settings["code"] = whole(fields, "code", default=0)
    if "message" in fields:
        settings["message"] = text(fields, "message")
    return settings


def _redirect_settings(fields: Mapping[str, Any]) -> dict[str, Any]:
    location = text(fields, "location", "http://elsewhere.invalid/")
    if not (location.isascii() and location.isprintable()):
        raise InvalidInput("location must be an address of printable ASCII characters")
    found = status(fields, default=307, least=300, most=399)
    return {"status": found, "location": location}


def _patch_settings(fields: Mapping[str, Any]) -> dict[str, Any]:
    if "patch" not in fields:
        raise InvalidInput('patch must be given: a merge patch such as {"equity": "0"}, or the whole answer such as []')
    return {"patch": plain(fields["patch"]), **{name: True for name in ("each", "keep_nulls") if _flag(fields, name)}}


def _halt_settings(fields: Mapping[str, Any]) -> dict[str, Any]:
    if not text(fields, "symbol"):
        raise InvalidInput("symbol must be given: the one that is halted")
    return {}


_SETTINGS: Mapping[str, _Reader] = {
    "latency": _seconds(),
    "hang": _seconds(120.0),
    "lag": _seconds(),
    "delay": _seconds(),
    "status": _status_settings,
    "html": lambda fields: {"status": status(fields, default=200, least=200)},
    "huge": lambda fields: {"bytes": whole(fields, "bytes", default=20_000_000, least=1, most=MOST_BYTES)},
    "redirect": _redirect_settings,
    "patch": _patch_settings,
    "reject_later": lambda fields: {"reason": text(fields, "reason", "rejected by the venue")},
    "duplicate": lambda fields: {"copies": whole(fields, "copies", default=2, least=2, most=1000)},
    "halt": _halt_settings,
}
_ALLOWED: Mapping[str, set[str]] = {
    "latency": {"seconds"},
    "hang": {"seconds"},
    "lag": {"seconds"},
    "delay": {"seconds"},
    "status": {"status", "headers", "rate_headers", "code", "message"},
    "html": {"status"},
    "huge": {"bytes"},
    "redirect": {"status", "location"},
    "patch": {"patch", "each", "keep_nulls"},
    "reject_later": {"reason"},
    "duplicate": {"copies"},
}

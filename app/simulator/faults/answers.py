"""A whole HTTP answer as a value, and how faults spoil one."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any

from starlette.types import Message, Send

from app.simulator.errors import UNAUTHORIZED
from app.simulator.faults.board import Fault
from app.simulator.faults.fault_request import plain

OUTAGES = (429, 500, 502, 503, 504)
_CODES = {401: UNAUTHORIZED, 429: 42910000}
_MESSAGES = {401: "request is not authorized", 429: "rate limit exceeded"}
_PAGE = (
    "<html>\r\n<head><title>{0}</title></head>\r\n<body>\r\n"
    "<center><h1>{0}</h1></center>\r\n<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n"
)
_CHUNK = 1 << 16
_Headers = tuple[tuple[bytes, bytes], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """padding: bytes of blanks before the body. cut: the body ends half way and the connection is closed."""

    status: int
    headers: _Headers = ()
    body: bytes = b""
    padding: int = 0
    cut: bool = False

    def with_headers(self, headers: _Headers) -> Answer:
        """The same answer with more headers."""
        return replace(self, headers=(*self.headers, *headers))

    async def send(self, send: Send) -> None:
        """Send it; a huge one in pieces, never as one block of memory."""
        length = str(self.padding + len(self.body)).encode()
        own = [(name, value) for name, value in self.headers if name != b"content-length"]
        if self.status != 204:
            own.append((b"content-length", length))
        await send({"type": "http.response.start", "status": self.status, "headers": own})
        left = self.padding
        while left:
            await send({"type": "http.response.body", "body": b" " * min(left, _CHUNK), "more_body": True})
            left -= min(left, _CHUNK)
        body = self.body[: len(self.body) // 2] if self.cut else self.body
        await send({"type": "http.response.body", "body": body, "more_body": self.cut})


class Collector:
    """An ASGI `send` that keeps the answer instead of sending it."""

    def __init__(self) -> None:
        self._start: Message | None = None
        self._body: list[bytes] = []

    async def __call__(self, message: Message) -> None:
        """Take one message of the application."""
        if message["type"] == "http.response.start":
            self._start = message
        elif message["type"] == "http.response.body":
            self._body.append(message.get("body", b""))

    def answer(self) -> Answer | None:
        """What the application answered; None when it did not."""
        if self._start is None:
            return None
        return Answer(status=self._start["status"], headers=tuple(self._start["headers"]), body=b"".join(self._body))


def json_answer(content: object, status: int = 200, headers: _Headers = ()) -> Answer:
    """`content` as compact JSON."""
    body = json.dumps(content, separators=(",", ":")).encode()
    return Answer(status=status, headers=((b"content-type", b"application/json"), *headers), body=body)


def refusal(status: int, *, code: int | None = None, message: str | None = None, headers: _Headers = ()) -> Answer:
    """An error as Alpaca words it."""
    if code is None:
        code = _CODES.get(status, 50010000 if status >= 500 else status * 100_000)
    default = "internal server error occurred" if status >= 500 else "refused"
    return json_answer({"code": code, "message": message or _MESSAGES.get(status, default)}, status, headers)


def made(fault: Fault, now: float) -> Answer:
    """The answer of a fault that answers by itself. now: Unix time, for the headers of a rate limit."""
    settings = fault.settings
    match fault.what:
        case "unauthorized":
            return refusal(401)
        case "html":
            return _page(settings["status"])
        case "redirect":
            return Answer(status=settings["status"], headers=((b"location", settings["location"].encode()),))
        case "empty":
            return Answer(status=200, headers=((b"content-type", b"application/json"),))
        case _:
            status = fault.draws.choice(OUTAGES) if settings["status"] == "any" else settings["status"]
            headers = tuple((k.lower().encode(), v.encode()) for k, v in settings.get("headers", {}).items())
            if settings.get("rate_headers"):
                headers += rate_headers(200, 0, int(now) // 60 * 60 + 60)
            return refusal(status, code=settings.get("code"), message=settings.get("message"), headers=headers)


def spoilt(answer: Answer, fault: Fault, now: float) -> Answer:
    """What a fault makes of the exchange's own answer."""
    match fault.what:
        case "truncate":
            return replace(answer, cut=True)
        case "huge":
            return replace(answer, padding=fault.settings["bytes"])
        case "patch":
            return _patched(answer, fault)
        case _:
            return made(fault, now)


def rate_headers(limit: int, remaining: int, reset: int) -> _Headers:
    """Alpaca's headers of a rate limit. reset: Unix time in whole seconds."""
    return (
        (b"x-ratelimit-limit", str(limit).encode()),
        (b"x-ratelimit-remaining", str(remaining).encode()),
        (b"x-ratelimit-reset", str(reset).encode()),
    )


def merge_patch(target: Any, patch: Any, *, keep_nulls: bool = False) -> Any:
    """RFC 7396. keep_nulls: a null is set instead of removing its field."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None and not keep_nulls:
            merged.pop(name, None)
        else:
            merged[name] = merge_patch(merged.get(name), value, keep_nulls=keep_nulls)
    return merged


def _patched(answer: Answer, fault: Fault) -> Answer:
    try:
        content = plain(json.loads(answer.body))
    except ValueError:
        return answer
    patch, keep_nulls = fault.settings["patch"], fault.settings.get("keep_nulls", False)
    if fault.settings.get("each") and isinstance(content, list):
        content = [merge_patch(part, patch, keep_nulls=keep_nulls) for part in content]
    else:
        content = merge_patch(content, patch, keep_nulls=keep_nulls)
    return json_answer(content, answer.status)


def _page(status: int) -> Answer:
    words = {200: "Welcome to nginx!", 502: "502 Bad Gateway", 503: "503 Service Temporarily Unavailable"}
    body = _PAGE.format(words.get(status, f"{status} Error")).encode()
    return Answer(status=status, headers=((b"content-type", b"text/html"),), body=body)

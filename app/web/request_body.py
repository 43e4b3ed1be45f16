"""Request bodies, read strictly: UTF-8, standard JSON, an object, each key once, at most 1 MiB."""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn

from flask import Request, request
from werkzeug.exceptions import RequestEntityTooLarge

from app.web.errors import MalformedRequest, UnsupportedBody

LARGEST_BODY_BYTES = 1024 * 1024


class StrictRequest(Request):
    """A request whose JSON body is an object or an error; an absent body is the empty object."""

    max_content_length = LARGEST_BODY_BYTES

    def get_json(self, force: bool = False, silent: bool = False, cache: bool = True) -> Any:  # noqa: ARG002 - inherited signature
        """The body as a dict. Raises UnsupportedBody or MalformedRequest whatever `silent` says."""
        raw = self.get_data(cache=True)
        if not raw:
            return {}
        if self.content_length is None and len(raw) >= LARGEST_BODY_BYTES:
            raise RequestEntityTooLarge  # of a body without a declared length, what exceeds the limit is silently left out
        if self.headers.get("Content-Encoding", "identity") != "identity" or not self.is_json:
            raise UnsupportedBody("the body must be plain JSON", content_type=self.mimetype)
        return parse_object(raw)


def parse_object(raw: bytes) -> dict[str, Any]:
    """One JSON object. NaN, Infinity, numbers beyond float64, repeated keys and other encodings raise MalformedRequest."""
    try:
        value = json.loads(
            raw.decode("utf-8"), parse_constant=_refuse_constant, parse_float=_finite, object_pairs_hook=_without_repeats
        )
    except (UnicodeDecodeError, ValueError, RecursionError) as fault:
        reason = fault.msg if isinstance(fault, json.JSONDecodeError) else type(fault).__name__
        raise MalformedRequest(f"the body is not valid JSON: {reason}") from None
    if not isinstance(value, dict):
        raise MalformedRequest("the body must be a JSON object")
    return value


def refuse_repeated_parameters() -> None:
    """Raise MalformedRequest when a query parameter is given twice: which one was meant is not ours to guess."""
    repeated = sorted(name for name, values in request.args.lists() if len(values) > 1)
    if repeated:
        raise MalformedRequest(f"query parameter given more than once: {', '.join(repeated)[:200]}")


def refuse_large_body() -> None:
    """Answer 413 by the declared length, before anything is read."""
    if request.content_length is not None and request.content_length > LARGEST_BODY_BYTES:
        raise RequestEntityTooLarge


def _refuse_constant(word: str) -> NoReturn:
    raise MalformedRequest(f"{word} is not a number in JSON")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise MalformedRequest("a number in the body is too large")
    return number


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise MalformedRequest("a key appears more than once in the body")
    return result

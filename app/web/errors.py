"""Errors as HTTP: one table, one shape.

Every answer that is not a success is `{"error": {"code", "message", "hint", "details", "request_id"}}`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import structlog
from flask import Flask, Response, g, jsonify, request
from pydantic import BaseModel, ValidationError
from werkzeug.exceptions import HTTPException

from app.domain.errors import (
    AlphaTraderError,
    Busy,
    ConfigurationError,
    Conflict,
    Forbidden,
    InvalidInput,
    NotFound,
    OutcomeUnknown,
    Refused,
    TryAgain,
    Unauthorized,
    VenueError,
)
from app.storage.database import StorageUnavailable
from app.web.wire import to_wire

log = structlog.get_logger(__name__)


class MalformedRequest(InvalidInput):
    """The request cannot be read, or a field of it is missing, unknown or out of bounds."""

    code = "malformed_request"


class UnsupportedBody(InvalidInput):
    """The body is not JSON."""

    code = "unsupported_media_type"


class NotReady(AlphaTraderError):
    """The process answers but cannot do its work yet."""

    code = "not_ready"


class Answer(NamedTuple):
    """How one kind of error is told: HTTP status and what the caller may do next."""

    status: int
    hint: str


ANSWERS: dict[type[AlphaTraderError], Answer] = {
    Unauthorized: Answer(401, "Log in with POST /api/auth/login and send the header 'Authorization: Bearer <access_token>'."),
    Forbidden: Answer(403, "GET /api/auth/me shows what you may do; the table of routes is in docs/security.md."),
    Busy: Answer(429, "Wait as long as the header Retry-After says."),
    StorageUnavailable: Answer(503, "The database does not answer; try again in a few seconds."),
    MalformedRequest: Answer(400, "Compare the request with the documentation at /openapi."),
    UnsupportedBody: Answer(415, "Send the body as UTF-8 JSON with the header 'Content-Type: application/json'."),
    NotFound: Answer(404, "Check the name or id."),
    InvalidInput: Answer(422, "Change the request."),
    Conflict: Answer(409, "Look at the present state, then decide whether to repeat the request."),
    NotReady: Answer(503, "Try again shortly; 'details' says what is missing."),
    ConfigurationError: Answer(503, "A person must mend the settings or files named in the message."),
    TryAgain: Answer(503, "Nothing was done. Try again in a few seconds; GET /api/test/connection shows the venue's state."),
    Refused: Answer(422, "The venue refused; repeating will not help."),
    OutcomeUnknown: Answer(502, "Do not repeat: look the order up first."),
    VenueError: Answer(502, "GET /api/test/connection shows the venue's state."),
    AlphaTraderError: Answer(500, "Look for the request id in the log."),
}

_HTTP_CODES = {
    400: ("malformed_request", "Compare the request with the documentation at /openapi."),
    404: ("no_such_path", "The paths are listed at /openapi."),
    405: ("method_not_allowed", "The methods are listed at /openapi."),
    413: ("body_too_large", "A request body may have at most 1 MiB."),
    415: ("unsupported_media_type", ANSWERS[UnsupportedBody].hint),
}


class ErrorDetail(BaseModel):
    """What went wrong."""

    code: str
    message: str
    hint: str
    details: dict[str, Any] | list[Any]
    request_id: str


class ErrorAnswer(BaseModel):
    """The body of every answer that is not a success."""

    error: ErrorDetail


def error_response(
    status: int, code: str, message: str, hint: str, details: Mapping[str, object] | list[Any] | None = None
) -> Response:
    """The one shape of an error."""
    body = {"code": code, "message": message, "hint": hint, "details": details or {}, "request_id": request_id()}
    response = jsonify({"error": body})
    response.status_code = status
    if status == 401:
        response.headers["WWW-Authenticate"] = 'Bearer realm="alpha-trader"'
    if status == 503:
        response.headers["Retry-After"] = "5"
    return response


def request_id() -> str:
    """The id under which this request is logged."""
    return str(g.get("request_id", ""))


def answer_for(error: AlphaTraderError) -> Answer:
    """The table's row for `error`: that of its nearest listed class."""
    return next(ANSWERS[kind] for kind in type(error).__mro__ if kind in ANSWERS)


def on_product_error(error: AlphaTraderError) -> Response:
    """Answer an error raised on purpose."""
    status, hint = answer_for(error)
    if status >= 500:
        log.warning("request_failed", path=request.path, code=error.code, error=error.message)
    response = error_response(status, error.code, error.message, hint, _details(error))
    if isinstance(error, Busy):
        response.headers["Retry-After"] = str(error.details.get("retry_after_seconds", 5))
    return response


def on_http_error(error: HTTPException) -> Response | HTTPException:
    """Answer an error of the web framework; redirects and ready-made answers pass unchanged."""
    status = error.code or 500
    if status < 400 or error.response is not None:
        return error
    code, hint = _HTTP_CODES.get(status, (str(error.name).lower().replace(" ", "_"), ""))
    message = str(error.description or error.name) if status < 500 else "The server could not answer."
    response = error_response(status, code, message, hint)
    if allowed := getattr(error, "valid_methods", None):
        response.headers["Allow"] = ", ".join(sorted(allowed))
    return response


def on_fault(error: Exception) -> Response:
    """Answer anything unforeseen: the log gets the whole story, the caller the request id."""
    log.error("unexpected_fault", path=request.path, method=request.method, exc_info=error)
    return error_response(
        500, "internal_error", "An unexpected fault; it has been logged.", "Look for the request id in the log."
    )


def on_invalid_model(error: ValidationError) -> Response:
    """Answer a request that does not fit its model, naming each field."""
    faults = [
        {"field": ".".join(str(part) for part in fault["loc"]), "message": fault["msg"], "type": fault["type"]}
        for fault in error.errors(include_url=False, include_input=False, include_context=False)[:20]
    ]
    named = "; ".join(f"{fault['field'] or 'body'}: {fault['message']}" for fault in faults[:3])
    return error_response(400, MalformedRequest.code, named[:500], ANSWERS[MalformedRequest].hint, faults)


def install(app: Flask) -> None:
    """Make `app` answer every error in the one shape."""
    app.register_error_handler(AlphaTraderError, on_product_error)
    app.register_error_handler(HTTPException, on_http_error)
    app.register_error_handler(Exception, on_fault)


def _details(error: AlphaTraderError) -> dict[str, object]:
    try:
        return {name: to_wire(value) for name, value in error.details.items()}
    except TypeError:
        return {}

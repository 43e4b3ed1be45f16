"""Refusals of the exchange, as Alpaca words them: an HTTP status and a JSON body with `code` and `message`."""

from __future__ import annotations

import json

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

UNAUTHORIZED = 40110000
FORBIDDEN = 40310000
NOT_FOUND = 40410000
MALFORMED = 40010000
INVALID = 40010001
UNPROCESSABLE = 42210000
CONFLICT = 40910000


class ApiError(Exception):
    """An answer other than success. extra: further fields of the body, as Alpaca sends with some refusals."""

    def __init__(self, status: int, code: int, message: str, **extra: object) -> None:
        super().__init__(message)
        self.status = status
        self.body = {"code": code, "message": message, **extra}


def invalid(message: str) -> ApiError:
    """422: a field of the request is wrong in itself."""
    return ApiError(422, INVALID, message)


def unprocessable(message: str, **extra: object) -> ApiError:
    """422: the request is well formed, but a rule of the venue is against it."""
    return ApiError(422, UNPROCESSABLE, message, **extra)


def forbidden(message: str, **extra: object) -> ApiError:
    """403: funds, shares or permissions do not allow it."""
    return ApiError(403, FORBIDDEN, message, **extra)


def not_found(message: str) -> ApiError:
    """404: no such thing."""
    return ApiError(404, NOT_FOUND, message)


def bad_request(message: str) -> ApiError:
    """400: a parameter of a data or control request is wrong."""
    return ApiError(400, MALFORMED, message)


def json_response(content: object, status: int = 200) -> Response:
    """`content` as compact JSON."""
    return Response(json.dumps(content, separators=(",", ":")), status_code=status, media_type="application/json")


async def answer_api_error(_request: Request, error: Exception) -> Response:
    """Exception handler for ApiError."""
    if not isinstance(error, ApiError):
        raise error
    return json_response(error.body, error.status)


async def answer_http_error(_request: Request, error: Exception) -> Response:
    """Exception handler for what the router raises: unknown route (404), wrong method (405)."""
    if not isinstance(error, HTTPException):
        raise error
    message = "endpoint not found" if error.status_code == 404 else str(error.detail).lower()
    return json_response({"code": error.status_code * 100_000, "message": message}, error.status_code)


async def answer_fault(_request: Request, _error: Exception) -> Response:
    """Exception handler for a fault of ours: JSON still, and nothing about the inside."""
    return json_response({"code": 50010000, "message": "internal server error occurred"}, 500)

"""What every file of routes starts from: its blueprint, and the services of the running app."""

from __future__ import annotations

from typing import cast

from flask import current_app
from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.models.tag import Tag

from app.web.errors import ErrorAnswer
from app.web.ports import Services

EXTENSION = "alpha_trader"
BEARER = "bearer"
_FAULTS = (400, 401, 403, 404, 409, 413, 415, 422, 429, 502, 503)


def blueprint(name: str, description: str, *, public: bool = False) -> APIBlueprint:
    """Routes of one subject; the documentation lists the errors they share and the token they need."""
    return APIBlueprint(
        name,
        __name__,
        abp_tags=[Tag(name=name, description=description)],
        abp_security=[] if public else [{BEARER: []}],
        abp_responses={str(status): ErrorAnswer for status in _FAULTS},
    )


def services() -> Services:
    """The services of the app that handles this request."""
    return cast(Services, current_app.extensions[EXTENSION])

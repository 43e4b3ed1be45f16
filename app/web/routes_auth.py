"""Logging in."""

from __future__ import annotations

from typing import Any

from app.web import auth
from app.web.answers import Token
from app.web.blueprint import blueprint, services
from app.web.schemas import Credentials

api = blueprint("auth", "Access tokens", public=True)


@api.post("/api/auth/login", summary="Log in", responses={200: Token})
def login(body: Credentials) -> dict[str, Any]:
    """Exchange user name and password for an access token."""
    settings = services().settings
    return {
        "access_token": auth.issue_token(body.username, body.password, settings),
        "token_type": "Bearer",
        "expires_in": int(settings.access_token_hours * 3600),
    }

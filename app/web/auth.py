"""Who may call: one operator account, and bearer tokens for everything but the public routes."""

from __future__ import annotations

import hmac
from datetime import timedelta

import jwt
from flask import Flask, request
from flask_jwt_extended import JWTManager, create_access_token, get_jwt_identity, verify_jwt_in_request
from flask_jwt_extended.exceptions import JWTExtendedException

from app.config import Settings
from app.web.errors import Unauthorized

ISSUER = "alpha-trader"
ALGORITHM = "HS256"
REQUIRED_CLAIMS = ("sub", "jti", "type", "iat", "exp", "iss", "aud", "role")
PUBLIC_ENDPOINTS = frozenset({"auth.login", "health.alive", "health.ready", "metrics"})
PUBLIC_BLUEPRINTS = frozenset({"openapi", "swagger"})


def install(app: Flask, settings: Settings) -> None:
    """Let `app` issue and demand tokens signed with the settings' secret."""
    app.config.update(
        JWT_SECRET_KEY=settings.secret_key.get_secret_value(),
        JWT_ALGORITHM=ALGORITHM,
        JWT_DECODE_ALGORITHMS=[ALGORITHM],
        JWT_TOKEN_LOCATION=["headers"],
        JWT_ENCODE_ISSUER=ISSUER,
        JWT_DECODE_ISSUER=ISSUER,
        JWT_ENCODE_AUDIENCE=ISSUER,
        JWT_DECODE_AUDIENCE=ISSUER,
        JWT_ACCESS_TOKEN_EXPIRES=timedelta(hours=settings.access_token_hours),
    )
    JWTManager(app)
    app.before_request(lambda: demand_token(settings))


def demand_token(settings: Settings) -> None:
    """Raise Unauthorized unless the route is public or the request carries a token of ours."""
    # An unknown path has no endpoint and is answered 404 to everybody.
    if request.endpoint is None or request.endpoint in PUBLIC_ENDPOINTS or request.blueprint in PUBLIC_BLUEPRINTS:
        return
    try:
        verify_jwt_in_request()
        _demand_complete_claims(settings)
    except jwt.ExpiredSignatureError:
        raise Unauthorized("the access token has expired", code="token_expired") from None
    except (JWTExtendedException, jwt.PyJWTError, ValueError, KeyError, TypeError, RecursionError):
        missing = "Authorization" not in request.headers
        message = "an access token is needed" if missing else "the access token is not valid"
        raise Unauthorized(message, code="token_missing" if missing else "token_invalid") from None


def issue_token(username: str, password: str, settings: Settings) -> str:
    """A new access token for the operator; Unauthorized with the same words whichever part is wrong."""
    # Both are always compared, in constant time, so that the time taken tells nothing.
    name_fits = hmac.compare_digest(username.encode(), settings.admin_username.encode())
    password_fits = hmac.compare_digest(password.encode(), settings.admin_password.get_secret_value().encode())
    if not (name_fits & password_fits):
        raise Unauthorized("user name or password is wrong", code="wrong_credentials")
    return str(create_access_token(identity=username, additional_claims={"role": "admin"}))


def current_user() -> str:
    """The name of the caller, as recorded with what it does."""
    return str(get_jwt_identity())


def _demand_complete_claims(settings: Settings) -> None:
    # The library fills absent claims with defaults; a token of ours lacks none, so the raw payload is looked at again.
    token = request.headers["Authorization"].split()[1]
    claims = jwt.decode(token, options={"verify_signature": False})
    longest = settings.access_token_hours * 3600 + 1
    whole = all(name in claims for name in REQUIRED_CLAIMS) and isinstance(claims["jti"], str)
    if not whole or claims["type"] != "access" or claims["role"] != "admin" or claims["sub"] != settings.admin_username:
        raise ValueError("not a token this server issues")
    if not 0 < claims["exp"] - claims["iat"] <= longest:
        raise ValueError("a lifetime this server does not issue")

"""What a caller carries: signed tokens of a session (JWT, HS256), and the tokens of scripts.

A token of ours has exactly one form: this header, these claims, this spelling of the signature. Whatever differs is refused
before anything in it is believed, so there is nothing to negotiate: no other algorithm, no key named by the token.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import jwt

from app.domain.account import Role, User

ISSUER = "alpha-trader"
ACCESS, REFRESH = "access", "refresh"
LONGEST_TOKEN = 2048
_HEADER = {"alg": "HS256", "typ": "JWT"}
_CLAIMS = frozenset({"iss", "aud", "sub", "sid", "jti", "type", "iat", "exp", "role", "name"})
_SIGNED = re.compile(r"([A-Za-z0-9_-]+)\.[A-Za-z0-9_-]+\.([A-Za-z0-9_-]{43})", re.ASCII)
_SCRIPT = re.compile(r"at_([0-9a-f]{12})_([A-Za-z0-9_-]{43})", re.ASCII)
_EARLY_SECONDS = 5  # clocks of two machines behind one address differ a little


class NotOurs(Exception):
    """Not a token this server issued, or one whose time is over (expired)."""

    def __init__(self, *, expired: bool = False) -> None:
        super().__init__("not a token of this server")
        self.expired = expired


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    """What a token says, its signature proven. token_id: of this token alone."""

    token_id: str
    session_id: str
    user_id: str
    username: str
    role: Role
    expires_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Signer:
    """Makes and reads signed tokens. keys: the first signs; the others are still believed (SECRET_KEY_PREVIOUS).
    longest_seconds: the longest life of a token of each kind."""

    keys: Sequence[str]
    longest_seconds: Mapping[str, int]

    def issue(self, kind: str, user: User, *, token_id: str, session_id: str, at: datetime, until: datetime) -> str:
        """A token that is good from `at` to `until`, whole seconds of both, and no longer than its kind may be."""
        now = int(at.timestamp())
        claims = {
            "iss": ISSUER, "aud": ISSUER, "sub": user.user_id, "sid": session_id, "jti": token_id, "type": kind,
            "role": user.role.value, "name": user.username, "iat": now,
            "exp": min(int(until.timestamp()), now + self.longest_seconds[kind]),
        }  # fmt: skip
        return jwt.encode(claims, self.keys[0], algorithm="HS256")

    def read(self, kind: str, token: str, at: datetime) -> Signed:
        """What it says. NotOurs."""
        shape = _SIGNED.fullmatch(token) if len(token) <= LONGEST_TOKEN else None
        if shape is None or _json(shape[1]) != _HEADER or _spelled(shape[2]) != shape[2]:
            raise NotOurs
        claims = self._proven(token)
        if claims.keys() != _CLAIMS or not all(isinstance(claims[name], str) for name in _CLAIMS - {"iat", "exp"}):
            raise NotOurs
        if (claims["iss"], claims["aud"], claims["type"]) != (ISSUER, ISSUER, kind) or claims["role"] not in set(Role):
            raise NotOurs
        self._demand_life(kind, claims["iat"], claims["exp"], at.timestamp())
        return Signed(
            token_id=claims["jti"],
            session_id=claims["sid"],
            user_id=claims["sub"],
            username=claims["name"],
            role=Role(claims["role"]),
            expires_at=claims["exp"],
        )

    def _proven(self, token: str) -> dict[str, Any]:
        for key in self.keys:
            try:
                return dict(jwt.decode(token, key, algorithms=["HS256"], options=_SIGNATURE_ALONE))
            except (jwt.PyJWTError, ValueError, TypeError, RecursionError):
                continue
        raise NotOurs

    def _demand_life(self, kind: str, issued: object, expires: object, now: float) -> None:
        if type(issued) is not int or type(expires) is not int:
            raise NotOurs
        if not 0 < expires - issued <= self.longest_seconds[kind] or not issued <= now + _EARLY_SECONDS:
            raise NotOurs
        if not now < expires:
            raise NotOurs(expired=True)


# The library's own checks read the wall clock and forgive absent claims; ours above do neither.
_SIGNATURE_ALONE: Any = {
    "verify_signature": True,
    **dict.fromkeys(("verify_exp", "verify_iat", "verify_nbf", "verify_aud", "verify_iss", "verify_sub", "verify_jti"), False),
}


def new_id() -> str:
    """A name nobody can guess."""
    return secrets.token_hex(16)


def new_script_token() -> tuple[str, str, str]:
    """The id of a new token, the token as its owner gets it, and the digest of its secret."""
    token_id, own = secrets.token_hex(6), secrets.token_urlsafe(32)
    return token_id, f"at_{token_id}_{own}", digest(own)


def read_script_token(token: str) -> tuple[str, str] | None:
    """The id and the digest of the secret, None if it has not the form of one."""
    shape = _SCRIPT.fullmatch(token)
    return (shape[1], digest(shape[2])) if shape else None


def digest(own: str) -> str:
    """What is stored of a secret of 256 random bits; being random, it needs no slow hash."""
    return hashlib.sha256(own.encode()).hexdigest()


def _json(part: str) -> object:
    try:
        return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except (ValueError, RecursionError):
        return None


def _spelled(part: str) -> str:
    """The one spelling of these bytes; 43 characters have two bits that mean nothing."""
    return base64.urlsafe_b64encode(base64.urlsafe_b64decode(part + "=")).rstrip(b"=").decode()

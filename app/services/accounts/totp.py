"""Codes of authenticator apps (RFC 6238: SHA-1, 30 seconds, 6 digits).

The secret is not stored: it is derived from SECRET_KEY and a nonce, so a stolen database makes no codes.
"""

from __future__ import annotations

import base64
import hmac
import secrets
from collections.abc import Sequence
from datetime import datetime

import pyotp

from app.domain.account import User

ISSUER = "Alpha Trader"
STEP_SECONDS = 30
_EARLIER_AND_LATER = (0, -1, 1)  # steps; clocks of telephones differ


def new_nonce() -> str:
    """What a new secret is derived from."""
    return secrets.token_hex(16)


def secret(key: str, user_id: str, nonce: str) -> str:
    """The secret as authenticator apps take it (base32, 160 bits)."""
    return base64.b32encode(hmac.digest(key.encode(), f"totp\0{user_id}\0{nonce}".encode(), "sha256")[:20]).decode()


def address(key: str, user: User, nonce: str) -> str:
    """The same as an address that authenticator apps read from a QR code."""
    return pyotp.TOTP(secret(key, user.user_id, nonce)).provisioning_uri(name=user.username, issuer_name=ISSUER)


def step_of(code: str, keys: Sequence[str], user: User, at: datetime) -> int | None:
    """The time step whose code this is, None if it is none of now. keys: any of them may have made the secret."""
    if user.totp_nonce is None or len(code) != 6 or not (code.isascii() and code.isdigit()):
        return None
    now = int(at.timestamp()) // STEP_SECONDS
    found = None
    for key in keys:
        codes = pyotp.TOTP(secret(key, user.user_id, user.totp_nonce))
        for step in (now + shift for shift in _EARLIER_AND_LATER):
            if hmac.compare_digest(codes.at(step * STEP_SECONDS), code):
                found = step
    return found

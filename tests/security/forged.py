"""Tokens that this server did not issue, made from one that it did."""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Callable
from typing import Any

import jwt

Claims = dict[str, Any]
PAST, FUTURE = 1_000_000_000, 9_000_000_000


def claims_of(token: str) -> Claims:
    return dict(jwt.decode(token, options={"verify_signature": False}))


def signed(claims: Claims, key: str, *, algorithm: str = "HS256", headers: Any = None, **changes: Any) -> str:
    whole = {name: value for name, value in (claims | changes).items() if value is not None}
    return jwt.encode(whole, key, algorithm=algorithm, headers=headers)


def part(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def unsigned(claims: Claims, algorithm: str, signature: str = "") -> str:
    return f"{part({'alg': algorithm, 'typ': 'JWT'})}.{part(claims)}.{signature}"


def respelled(token: str) -> str:
    """The same bytes: the last of 43 characters has two bits that mean nothing."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    return token[:-1] + alphabet[alphabet.index(token[-1]) ^ 1]


# Each makes, of the claims of a good token, that token and the right key, one that must be refused.
NAMED: dict[str, Callable[[Claims, str, str], str]] = {
    "alg none": lambda c, t, k: unsigned(c, "none"),
    "alg None": lambda c, t, k: unsigned(c, "None"),
    "alg nOnE": lambda c, t, k: unsigned(c, "nOnE"),
    "alg none with the signature": lambda c, t, k: unsigned(c, "none", t.rsplit(".", 1)[1]),
    "alg absent": lambda c, t, k: f"{part({'typ': 'JWT'})}.{part(c)}.{t.rsplit('.', 1)[1]}",
    "wrong key": lambda c, t, k: signed(c, "k" * 40),
    "empty key": lambda c, t, k: signed(c, " " * 32),
    "guessed key": lambda c, t, k: signed(c, "your-very-secure-secret-key-0123456789"),
    "HS512": lambda c, t, k: signed(c, k, algorithm="HS512"),
    "HS384": lambda c, t, k: signed(c, k, algorithm="HS384"),
    "RS256 by name": lambda c, t, k: unsigned(c, "RS256", t.rsplit(".", 1)[1]),
    "expired": lambda c, t, k: signed(c, k, iat=PAST, exp=PAST + 60),
    "not yet valid": lambda c, t, k: signed(c, k, nbf=FUTURE),
    "issued in the future": lambda c, t, k: signed(c, k, iat=FUTURE, exp=FUTURE + 60),
    "no exp": lambda c, t, k: signed(c, k, exp=None),
    "exp far away": lambda c, t, k: signed(c, k, exp=FUTURE),
    "exp before iat": lambda c, t, k: signed(c, k, exp=c["iat"] - 1),
    "exp a fraction": lambda c, t, k: signed(c, k, exp=c["exp"] + 0.5),
    "exp a text": lambda c, t, k: f"{part({'alg': 'HS256', 'typ': 'JWT'})}.{part(c | {'exp': str(c['exp'])})}." + t[-43:],
    "iat true": lambda c, t, k: signed(c, k, iat=True),
    "no iat": lambda c, t, k: signed(c, k, iat=None),
    "no jti": lambda c, t, k: signed(c, k, jti=None),
    "no type": lambda c, t, k: signed(c, k, type=None),
    "refresh": lambda c, t, k: signed(c, k, type="refresh"),
    "no sub": lambda c, t, k: signed(c, k, sub=None),
    "other user": lambda c, t, k: signed(c, k, sub="root"),
    "no session": lambda c, t, k: signed(c, k, sid=None),
    "other session": lambda c, t, k: signed(c, k, sid="0" * 32),
    "session a list": lambda c, t, k: signed(c, k, sid=[c["sid"]]),
    "no role": lambda c, t, k: signed(c, k, role=None),
    "unknown role": lambda c, t, k: signed(c, k, role="owner"),
    "one claim more": lambda c, t, k: signed(c, k, admin=True),
    "other issuer": lambda c, t, k: signed(c, k, iss="elsewhere"),
    "no issuer": lambda c, t, k: signed(c, k, iss=None),
    "other audience": lambda c, t, k: signed(c, k, aud="elsewhere"),
    "a list of audiences": lambda c, t, k: signed(c, k, aud=[c["aud"]]),
    "no audience": lambda c, t, k: signed(c, k, aud=None),
    "critical header": lambda c, t, k: signed(c, k, headers={"crit": ["b64"], "b64": False}),
    "names a key": lambda c, t, k: signed(c, k, headers={"kid": "../../dev/null"}),
    "names a key's address": lambda c, t, k: signed(c, k, headers={"jku": "http://127.0.0.1:1/k", "x5u": "http://127.0.0.1:1/k"}),
    "brings a key": lambda c, t, k: signed(c, "k" * 40, headers={"jwk": {"kty": "oct", "k": part("k" * 40)}}),
    "edited": lambda c, t, k: f"{t.split('.')[0]}.{part(c | {'role': 'admin', 'jti': 'x'})}.{t.split('.')[2]}",
    "another spelling of the signature": lambda c, t, k: respelled(t),
    "padded": lambda c, t, k: t + "=",
    "one more part": lambda c, t, k: t + ".x",
    "without signature": lambda c, t, k: t.rsplit(".", 1)[0] + ".",
    "empty": lambda c, t, k: "",
    "one part": lambda c, t, k: "abc",
    "three dots": lambda c, t, k: "...",
    "two dots": lambda c, t, k: "..",
    "not base64": lambda c, t, k: "!.!.!",
    "non-ascii": lambda c, t, k: t[:-1] + "é",
    "nested header": lambda c, t, k: base64.urlsafe_b64encode(b"[" * 300).rstrip(b"=").decode() + "." + t.split(".", 1)[1],
    "huge": lambda c, t, k: "a" * 100_000,
    "script's, made up": lambda c, t, k: "at_" + "0" * 12 + "_" + "A" * 43,
}  # fmt: skip


def mutations(token: str, claims: Claims, count: int, seed: int) -> list[str]:
    """`count` different texts near `token`, none of them the token."""
    dice = random.Random(seed)
    found: set[str] = set()
    while len(found) < count:
        made = dice.choice(_WAYS)(token, claims, dice)
        if made != token:
            found.add(made)
    return sorted(found)


def _flip(token: str, claims: Claims, dice: random.Random) -> str:
    at = dice.randrange(len(token))
    return token[:at] + dice.choice("ABCxyz019-_.=+/é \u0430") + token[at + 1 :]


def _cut(token: str, claims: Claims, dice: random.Random) -> str:
    begin = dice.randrange(len(token))
    return token[:begin] + token[begin + dice.randint(1, 40) :]


def _add(token: str, claims: Claims, dice: random.Random) -> str:
    at = dice.randint(0, len(token))
    return token[:at] + "".join(dice.choices("abcDEF012-_.= \t", k=dice.randint(1, 5))) + token[at:]


def _swap(token: str, claims: Claims, dice: random.Random) -> str:
    parts = token.split(".")
    dice.shuffle(parts)
    return ".".join(parts) + dice.choice(["", ".", "=", dice.choice(parts)])


def _edit(token: str, claims: Claims, dice: random.Random) -> str:
    odd = [None, True, -1, 0, 2**70, 1e308, "", "admin", "0" * 32, [], {}, ["admin"], FUTURE, str(dice.random())]
    edited = claims | {dice.choice([*claims, "admin", "nbf", "kid"]): dice.choice(odd)}
    key = dice.choice(["", "k" * 40, "secret", "changeme", str(dice.random())])
    algorithm = dice.choice(["none", "HS256", "HS384", "HS512", "RS256", "ES256", "hs256", "", dice.random()])
    header = {"alg": algorithm, "typ": "JWT"} | dice.choice(
        [{}, {"kid": "../../dev/null"}, {"crit": ["exp"]}, {"jku": "http://x"}]
    )
    if algorithm in {"HS256", "HS384", "HS512"} and len(key) >= 4:
        encodes = isinstance(edited.get("iss"), str)
        return jwt.encode(edited, key, algorithm=str(algorithm), headers=header) if encodes else unsigned(edited, "none")
    return f"{part(header)}.{part(edited)}.{token.rsplit('.', 1)[1]}"


_WAYS = (_flip, _cut, _add, _swap, _edit, _edit)

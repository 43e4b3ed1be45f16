"""Tokens: only ours, only whole, only in time."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from typing import Any

import jwt
import pytest

from app.config import DEFAULT_SECRET_KEY, Settings
from app.web.factory import create_app

from .fakes import FakeServices
from .test_routes import assert_error_shape

PROTECTED = "/api/account/info"


def claims(**changes: Any) -> dict[str, Any]:
    now = int(datetime.now(UTC).timestamp())
    whole = {
        "fresh": False,
        "iat": now,
        "nbf": now,
        "exp": now + 3600,
        "jti": "x",
        "type": "access",
        "sub": "admin",
        "iss": "alpha-trader",
        "aud": "alpha-trader",
        "role": "admin",
    }
    return {name: value for name, value in (whole | changes).items() if value is not None}


def signed(key: str = DEFAULT_SECRET_KEY, algorithm: str = "HS256", headers: Any = None, **changes: Any) -> str:
    return jwt.encode(claims(**changes), key, algorithm=algorithm, headers=headers)


def unsigned(algorithm: str) -> str:
    def part(value: Any) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    return f"{part({'alg': algorithm, 'typ': 'JWT'})}.{part(claims())}."


def test_a_whole_token_is_accepted(anyone: Any) -> None:
    assert anyone.get(PROTECTED, headers={"Authorization": f"Bearer {signed()}"}).status_code == 200


PAST, FUTURE = 1_000_000_000, 9_000_000_000
FORGED = {
    "alg none": unsigned("none"),
    "alg None": unsigned("None"),
    "alg nOnE": unsigned("nOnE"),
    "wrong key": signed(key="k" * 40),
    "guessed key": signed(key="your-very-secure-secret-key-0123456789"),
    "HS512": signed(algorithm="HS512"),
    "HS384": signed(algorithm="HS384"),
    "expired": signed(iat=PAST, nbf=PAST, exp=PAST + 60),
    "not yet valid": signed(nbf=FUTURE, exp=FUTURE + 60),
    "issued in the future": signed(iat=FUTURE, exp=FUTURE + 60),
    "no exp": signed(exp=None),
    "exp far away": signed(exp=FUTURE),
    "lifetime zero": signed(exp=int(datetime.now(UTC).timestamp()) + 5, iat=int(datetime.now(UTC).timestamp()) + 5),
    "no iat": signed(iat=None),
    "no jti": signed(jti=None),
    "no type": signed(type=None),
    "refresh": signed(type="refresh"),
    "no sub": signed(sub=None),
    "other user": signed(sub="root"),
    "sub a list": signed(sub=["admin"]),
    "no role": signed(role=None),
    "other role": signed(role="viewer"),
    "other issuer": signed(iss="elsewhere"),
    "no issuer": signed(iss=None),
    "other audience": signed(aud="elsewhere"),
    "no audience": signed(aud=None),
    "critical header": signed(headers={"crit": ["b64"], "b64": False}),
    "edited": signed().rsplit(".", 1)[0] + "." + signed(role="x").rsplit(".", 1)[1],
    "empty": "",
    "one part": "abc",
    "three dots": "...",
    "two dots": "..",
    "many": "a.b.c.d",
    "not base64": "!.!.!",
    "non-ascii": "é.é.é",
    "huge": "a" * 100_000,
    "exp as text": signed(exp=None) + "x",
}


@pytest.mark.parametrize("token", FORGED.values(), ids=FORGED.keys())
def test_no_other_token_is(anyone: Any, token: str) -> None:
    response = anyone.get(PROTECTED, headers={"Authorization": f"Bearer {token}"})
    assert response.status_code == 401, response.text
    assert_error_shape(response)
    assert response.headers["WWW-Authenticate"].startswith("Bearer")


@pytest.mark.parametrize("header", ["", "Bearer", "Basic YWRtaW46cGFzc3dvcmQ=", "Token x", "Bearer a b", "bearer", ","])
def test_other_headers_are_refused(anyone: Any, header: str) -> None:
    response = anyone.get(PROTECTED, headers={"Authorization": header})
    assert response.status_code == 401
    assert_error_shape(response)


def test_a_token_elsewhere_does_not_count(anyone: Any, token: str) -> None:
    assert anyone.get(f"{PROTECTED}?jwt={token}&access_token={token}").status_code == 401
    anyone.set_cookie("access_token_cookie", token)
    assert anyone.get(PROTECTED).status_code == 401


def test_two_headers_are_not_one(anyone: Any, token: str) -> None:
    headers = [("Authorization", f"Bearer {token}"), ("Authorization", "Bearer x")]
    assert anyone.get(PROTECTED, headers=headers).status_code == 401


def test_a_header_that_names_a_key_is_not_followed(anyone: Any) -> None:
    pointing = signed(key="k" * 40, headers={"jku": "http://127.0.0.1:1/k", "kid": "../../dev/null"})
    assert anyone.get(PROTECTED, headers={"Authorization": f"Bearer {pointing}"}).status_code == 401


@pytest.mark.parametrize(
    ("username", "password", "status"),
    [
        ("admin", "wrong", 401),
        ("nobody", "password", 401),
        ("admin", " password", 401),
        ("ADMIN", "password", 401),
        ("admin", "pässword", 401),
        ("admin", "", 400),
        ("", "password", 400),
        ("admin", "x" * 257, 400),
        ("x" * 65, "password", 400),
        ({"$gt": ""}, "password", 400),
        (["admin"], "password", 400),
        (1, "password", 400),
        ("admin", None, 400),
        ("admin\u0000", "password", 401),
    ],
)
def test_login_refuses(anyone: Any, username: Any, password: Any, status: int) -> None:
    response = anyone.post("/api/auth/login", json={"username": username, "password": password})
    assert response.status_code == status
    assert_error_shape(response)


def test_a_wrong_name_and_a_wrong_password_get_the_same_words(anyone: Any) -> None:
    answers = [
        anyone.post("/api/auth/login", json=body).json["error"]["message"]
        for body in ({"username": "admin", "password": "no"}, {"username": "no", "password": "password"})
    ]
    assert answers[0] == answers[1]


def test_another_servers_token_is_not_ours(token: str) -> None:
    settings = Settings(_env_file=None, secret_key="s" * 48, admin_password="a long enough one")
    other = create_app(FakeServices(settings=settings)).test_client()
    assert other.get(PROTECTED, headers={"Authorization": f"Bearer {token}"}).status_code == 401

"""Logging in, and where a token counts. What makes a token ours: tests/security/test_tokens.py."""

from __future__ import annotations

from typing import Any

import pytest

from app.config import Settings
from app.web.factory import create_app

from .fakes import FakeServices
from .test_routes import assert_error_shape

PROTECTED = "/api/account/info"


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
    settings = Settings(_env_file=None, secret_key="7b1f0c92e4a85d36b0e97a14c853f26d", admin_password="a long enough one")
    other = create_app(FakeServices(settings=settings)).test_client()
    assert other.get(PROTECTED, headers={"Authorization": f"Bearer {token}"}).status_code == 401

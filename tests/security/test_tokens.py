"""Tokens: only ours, only whole, only in time (P03: `make test-security` takes 10,000 mutations)."""

from __future__ import annotations

import os
from typing import Any

import pytest

from app.config import DEFAULT_SECRET_KEY
from tests.web.test_routes import assert_error_shape

from .forged import NAMED, claims_of, mutations, signed

pytestmark = pytest.mark.filterwarnings("ignore:The HMAC key")  # short keys are among what is tried
PROTECTED = "/api/account/info"
MUTATIONS = int(os.environ.get("MUTATIONS", "400"))


def ask(client: Any, token: str) -> Any:
    return client.get(PROTECTED, headers={"Authorization": f"Bearer {token}"})


def test_a_token_made_from_the_same_parts_is_accepted(anyone: Any, token: str) -> None:
    """Or all that follows would prove nothing."""
    assert ask(anyone, signed(claims_of(token), DEFAULT_SECRET_KEY)).status_code == 200


@pytest.mark.parametrize("name", NAMED)
def test_no_other_is(anyone: Any, token: str, name: str) -> None:
    forged = NAMED[name](claims_of(token), token, DEFAULT_SECRET_KEY)
    response = ask(anyone, forged)
    assert response.status_code == 401, response.text
    assert_error_shape(response)
    assert response.headers["WWW-Authenticate"].startswith("Bearer")
    assert forged not in response.text or not forged


def test_no_mutation_is(anyone: Any, token: str) -> None:
    accepted = [
        made for made in mutations(token, claims_of(token), MUTATIONS, seed=MUTATIONS) if ask(anyone, made).status_code != 401
    ]
    assert accepted == []


def test_a_mutated_refresh_token_is_refused_and_ends_nothing(app: Any) -> None:
    client = app.test_client()
    login = client.post("/api/auth/login", json={"username": "admin", "password": "password"}).json
    own = login["refresh_token"]
    made = mutations(own, claims_of(own), MUTATIONS // 4, seed=1)
    answered = {client.post("/api/auth/refresh", json={"refresh_token": one}).status_code for one in made if len(one) <= 2048}
    assert answered == {401}
    assert client.post("/api/auth/refresh", json={"refresh_token": login["access_token"]}).status_code == 401
    assert ask(client, own).status_code == 401, "a refresh token is no access token"
    assert client.post("/api/auth/refresh", json={"refresh_token": own}).status_code == 200

"""What people do with their own accounts, over the API; and what the API keeps to itself."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

import pyotp
import pytest
from sqlalchemy import update

from app.config import Settings
from app.domain.account import Role
from app.storage.tables import SESSIONS
from app.web import address as address_module
from app.web import answers
from app.web.factory import create_app
from tests.web.fakes import FakeServices
from tests.web.test_routes import assert_error_shape

from .people import PASSWORD, logged_in, login, person


@pytest.fixture
def anna(services: Any) -> Any:
    return person(services.accounts, Role.ADMIN, "anna")


def bearer(answer: Any) -> dict[str, str]:
    return {"Authorization": f"Bearer {answer.json['access_token']}"}


def test_from_login_to_logout(anyone: Any, anna: Any) -> None:
    first = login(anyone, "anna")
    answers.Token.model_validate(first.json)
    second = anyone.post("/api/auth/refresh", json={"refresh_token": first.json["refresh_token"]})
    answers.Token.model_validate(second.json)
    me = anyone.get("/api/auth/me", headers=bearer(second)).json
    assert (me["username"], me["role"], me["scopes"]) == ("anna", "admin", ["halt", "read", "resume", "run"])
    shown = anyone.get("/api/auth/sessions", headers=bearer(second)).json["sessions"]
    assert [one["session_id"] for one in shown if one["present"]] == [me["session_id"]]
    assert anyone.post("/api/auth/logout", headers=bearer(second)).json == {"ended": 1}
    for over in (bearer(first), bearer(second)):
        refused = anyone.get("/api/auth/me", headers=over)
        assert refused.status_code == 401
        assert_error_shape(refused)
    assert anyone.post("/api/auth/refresh", json={"refresh_token": second.json["refresh_token"]}).status_code == 401


def test_one_session_and_all_sessions_are_ended(anyone: Any, anna: Any) -> None:
    one, two = bearer(login(anyone, "anna")), bearer(login(anyone, "anna"))
    number = anyone.get("/api/auth/me", headers=one).json["session_id"]
    assert anyone.post(f"/api/auth/sessions/{number}/end", headers=two).json == {"ended": 1}
    assert anyone.get("/api/auth/me", headers=one).status_code == 401
    three = bearer(login(anyone, "anna"))
    assert anyone.post("/api/auth/logout/everywhere", headers=three).json["ended"] >= 2
    assert {anyone.get("/api/auth/me", headers=header).status_code for header in (two, three)} == {401}


def test_a_token_of_a_script_reads_and_does_no_more(anyone: Any, anna: Any, services: Any) -> None:
    own = bearer(login(anyone, "anna"))
    made = anyone.post("/api/auth/tokens", json={"name": "board", "scopes": ["read"], "days": 7}, headers=own)
    answers.NewApiToken.model_validate(made.json)
    script = {"Authorization": f"Bearer {made.json['token']}"}
    assert anyone.get("/api/positions", headers=script).status_code == 200
    for path in ("/api/risk/halt", "/api/risk/resume", "/api/trading/auto/start", "/api/auth/tokens", "/api/auth/step-up"):
        refused = anyone.post(path, json={"name": "x", "scopes": ["read"]} if path.endswith("tokens") else {}, headers=script)
        assert refused.status_code == 403, path
        assert_error_shape(refused)
    listed = anyone.get("/api/auth/tokens", headers=own).json["tokens"]
    assert made.json["token"] not in str(listed) and listed[0]["token_id"] == made.json["token_id"]
    assert anyone.post(f"/api/auth/tokens/{made.json['token_id']}/revoke", headers=own).status_code == 200
    assert anyone.get("/api/positions", headers=script).status_code == 401
    for scopes in ([], ["resume"], ["admin"], ["read", "nothing"]):
        assert anyone.post("/api/auth/tokens", json={"name": "x", "scopes": scopes}, headers=own).status_code == 400


def test_an_authenticator_is_enrolled_and_taken_away(anyone: Any, services: Any) -> None:
    user = person(services.accounts, Role.ADMIN, "bert")
    own = logged_in(services.accounts, user)
    begun = anyone.post("/api/auth/totp/begin", headers=own).json
    app = pyotp.TOTP(begun["secret"])
    assert anyone.post("/api/auth/totp/confirm", json={"code": app.now()}, headers=own).status_code == 200
    refused = anyone.post("/api/risk/resume", headers=own)
    assert (refused.status_code, refused.json["error"]["code"]) == (403, "totp_needed")
    asked = login(anyone, "bert")
    assert (asked.status_code, asked.json["error"]["code"]) == (401, "code_needed")
    later = app.at(int(time.time()) + 30)  # the present code is used up
    entered = login(anyone, "bert", code=later)
    assert entered.status_code == 200
    assert anyone.post("/api/risk/resume", headers=bearer(entered)).status_code == 200
    assert anyone.post("/api/auth/totp/remove", headers=own).status_code == 403, "an old proof by password is none"
    assert anyone.post("/api/auth/totp/remove", headers=bearer(entered)).status_code == 200
    assert login(anyone, "bert").status_code == 200


def test_resuming_asks_for_a_fresh_proof(anyone: Any, anna: Any, services: Any) -> None:
    own = logged_in(services.accounts, anna)
    number = anyone.get("/api/auth/me", headers=own).json["session_id"]
    _age(services, number)
    asking = {"risk/resume": {}, "risk/enable": {"symbol": "AAPL"}, "auth/password": {"new_password": "x"}}
    for path, body in asking.items():
        refused = anyone.post(f"/api/{path}", json=body, headers=own)
        assert (refused.status_code, refused.json["error"]["code"]) == (403, "step_up_needed"), path
    assert services.risk.actors == []
    assert anyone.post("/api/auth/step-up", json={"password": "wrong"}, headers=own).status_code == 401
    assert anyone.post("/api/auth/step-up", json={"password": PASSWORD}, headers=own).status_code == 200
    assert anyone.post("/api/risk/resume", json={}, headers=own).status_code == 200
    assert services.risk.actors == ["anna"]


def _age(services: Any, session_id: str) -> None:
    """As if the login had been an hour ago."""
    database = services.accounts.database
    (session, _) = database.session(session_id)
    old = update(SESSIONS).where(SESSIONS.c.session_id == session_id).values(proved_at=session.proved_at - timedelta(hours=1))
    database._db.write(lambda c: c.execute(old))
    services.accounts.gate.forget()


def test_guessing_is_stopped_and_told_how_long(one_app: Any) -> None:
    settings = Settings(_env_file=None, admin_username="guessed")
    client = create_app(FakeServices(settings=settings)).test_client()
    client.environ_base["REMOTE_ADDR"] = "10.3.3.3"
    outcomes = []
    for n in range(14):
        forged = {"X-Forwarded-For": f"10.4.0.{n}"}  # nobody trusts this header
        outcomes.append(client.post("/api/auth/login", json={"username": "guessed", "password": "no"}, headers=forged))
    assert [one.status_code for one in outcomes] == [401] * 10 + [429] * 4
    assert 0 < int(outcomes[-1].headers["Retry-After"]) <= 900
    assert_error_shape(outcomes[-1])


@pytest.mark.parametrize(
    ("trusted", "remote", "header", "found"),
    [
        ("", "10.0.0.9", "1.2.3.4", "10.0.0.9"),
        ("10.0.0.9", "10.0.0.9", "1.2.3.4", "1.2.3.4"),
        ("10.0.0.0/24", "10.0.0.9", "6.6.6.6, 1.2.3.4", "1.2.3.4"),
        ("10.0.0.0/24", "10.0.0.9", "6.6.6.6, 1.2.3.4, 10.0.0.7", "1.2.3.4"),
        ("10.0.0.9", "10.0.0.8", "1.2.3.4", "10.0.0.8"),
        ("10.0.0.9", "10.0.0.9", "not an address", "10.0.0.9"),
        ("10.0.0.9", "10.0.0.9", "", "10.0.0.9"),
        ("10.0.0.9, ::1", "::1", "2001:db8::1", "2001:db8::1"),
        ("10.0.0.9", "10.0.0.9", ",".join(["10.0.0.9"] * 500), "10.0.0.9"),
    ],
)
def test_only_a_trusted_proxy_says_where_a_request_comes_from(
    app: Any, trusted: str, remote: str, header: str, found: str
) -> None:
    with app.test_request_context(environ_base={"REMOTE_ADDR": remote}, headers={"X-Forwarded-For": header}):
        assert address_module.caller_address(trusted) == found

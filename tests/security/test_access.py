"""Every route x every kind of caller (P04). What is expected is written here a second time, by hand."""

from __future__ import annotations

from typing import Any

import pytest

from app.domain.account import Proof, Role, Scope
from app.domain.errors import ConfigurationError
from app.web.access import RULES, demand_rules
from tests.web.test_routes import PUBLIC, ROUTES

from .people import logged_in, person, script

RUN = {
    ("GET", "/api/trading/auto/start"), ("POST", "/api/trading/auto/start"), ("POST", "/api/training/start/batch"),
    ("POST", "/api/hyperparameter/optimize/"), ("POST", "/api/hyperparameter/optimize"), ("POST", "/api/backtest/run"),
    ("POST", "/api/research/r-1/cancel"), ("POST", "/api/research/sweeps"), ("POST", "/api/research/searches"),
    ("POST", "/api/research/walk-forwards"),
}  # fmt: skip
HALT = {("POST", "/api/risk/halt"), ("POST", "/api/risk/kill")}
RESUME = {("POST", "/api/risk/resume"), ("POST", "/api/risk/enable")}
# What is one's own, with a body that changes nothing where that is possible.
OWN: list[tuple[str, str, Any]] = [
    ("POST", "/api/auth/logout", None),
    ("POST", "/api/auth/logout/everywhere", None),
    ("GET", "/api/auth/sessions", None),
    ("POST", "/api/auth/sessions/nobodys/end", None),
    ("POST", "/api/auth/step-up", {"password": "seven green otters"}),
    ("POST", "/api/auth/password", {"new_password": "seven green otters"}),
    ("POST", "/api/auth/totp/begin", None),
    ("POST", "/api/auth/totp/confirm", {"code": "000000"}),
    ("POST", "/api/auth/totp/remove", None),
    ("GET", "/api/auth/tokens", None),
    ("POST", "/api/auth/tokens", {"name": "x", "scopes": ["read"]}),
    ("POST", "/api/auth/tokens/nobodys/revoke", None),
]
CASES = [(m, p, b) for m, p, b, *_ in ROUTES if not p.startswith("/api/auth/") or p == "/api/auth/me"] + OWN
CALLERS = ("nobody", "viewer", "operator", "admin", "reading script", "running script")


def may(caller: str, method: str, path: str) -> bool:
    key = (method, path.split("?", maxsplit=1)[0])
    if key in {(m, p) for m, p, _ in OWN}:
        return caller in {"viewer", "operator", "admin"}
    if key in RESUME:
        return caller == "admin"
    if key in RUN:
        return caller in {"operator", "admin", "running script"}
    if key in HALT:
        return caller in {"operator", "admin"}
    return caller != "nobody"


@pytest.fixture
def header(services: Any) -> Any:
    def made(caller: str) -> dict[str, str]:
        accounts = services.accounts
        if caller == "nobody":
            return {}
        if caller.endswith("script"):
            owner = person(accounts, Role.ADMIN)
            for old in accounts.database.api_tokens(owner):
                accounts.revoke_token(owner, old.token_id, actor="test")
            return script(accounts, owner, *(["read"] if caller == "reading script" else ["read", "run"]))
        return logged_in(accounts, person(accounts, Role(caller)))

    return made


@pytest.mark.parametrize("caller", CALLERS)
def test_every_route_answers_every_caller_as_declared(anyone: Any, services: Any, header: Any, caller: str) -> None:
    wrong = []
    own = header(caller)
    for method, path, body in CASES:
        if path.startswith("/api/auth/") and caller not in {"nobody", "reading script", "running script"}:
            own = header(caller)  # the one before may be over
        given = anyone.open(path, method=method, json=body, headers=own)
        code = given.json["error"]["code"] if given.status_code in {401, 403} else ""
        refused = code in {"token_missing", "token_invalid", "scope_missing", "session_needed", "no_rule"}
        expected = may(caller, method, path)
        if refused is expected or given.status_code >= 500 or (caller == "nobody" and given.status_code != 401):
            wrong.append((method, path, given.status_code, code))
    assert wrong == []
    if caller in {"nobody", "viewer", "reading script"}:
        assert services.tasks.accepted == [] and services.risk.actors == [] and services.kill.thrown == []


def test_every_route_of_the_application_is_in_the_matrix(app: Any) -> None:
    adapter = app.url_map.bind("localhost")
    tried = {adapter.match(path.split("?")[0], method=method)[0] for method, path, _ in CASES}
    own_pages = {
        "tasks.task", "backtest.report_page", "backtest.report_picture", "research.report_page", "research.report_picture",
    }  # fmt: skip
    public = {rule.endpoint for rule in app.url_map.iter_rules() if str(rule) in PUBLIC}
    assert tried | own_pages | public == set(RULES)
    assert {name for name, rule in RULES.items() if rule.public} == public
    assert not any(RULES[name].public or RULES[name].noted for name in own_pages)


def test_a_route_without_a_rule_and_a_rule_without_a_route_build_no_application() -> None:
    demand_rules([*RULES, "openapi.doc", "swagger.swagger"])
    for endpoints in ([*RULES, "risk.liquidate"], [name for name in RULES if name != "risk.kill"]):
        with pytest.raises(ConfigurationError, match=r"access\.py"):
            demand_rules(endpoints)


def test_what_is_anothers_is_not_there(anyone: Any, services: Any) -> None:
    accounts = services.accounts
    mine, theirs = person(accounts, Role.ADMIN), person(accounts, Role.VIEWER)
    header = logged_in(accounts, mine)
    pair = accounts.logins.begin(theirs, Proof.PASSWORD, address="", agent="")
    (session, *_) = accounts.database.sessions(theirs)
    token, _ = accounts.add_token(theirs, name="x", scopes=frozenset({Scope.READ}), days=1, actor="test")
    for path in (f"/api/auth/sessions/{session.session_id}/end", f"/api/auth/tokens/{token.token_id}/revoke"):
        assert anyone.post(path, headers=header).status_code == 404
    alive = {"Authorization": f"Bearer {pair.access_token}"}
    assert anyone.get("/api/auth/me", headers=alive).json["username"] == theirs.username


def test_the_audit_log_tells_who_had_what_done(anyone: Any, services: Any) -> None:
    accounts = services.accounts
    header = logged_in(accounts, person(accounts, Role.OPERATOR)) | {"X-Request-ID": "req-77"}
    assert anyone.post("/api/training/start/batch", headers=header).status_code == 202
    _, head, broken = accounts.database.check_audit()
    assert broken is None
    (event,) = accounts.database.audit_events([head.seq])
    assert event.kind == "requested" and event.correlation_id == "req-77"
    assert event.payload["actor"] == "a-operator" and event.payload["route"] == "learning.train"

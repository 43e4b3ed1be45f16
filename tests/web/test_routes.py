"""Every route: its happy answer fits its documented model, and nobody without a token gets it."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from app.domain.errors import Conflict, OutcomeUnknown, Refused, TryAgain, VenueError
from app.services.backtests.request import MAX_DAYS, parse_request
from app.web import answers

from .fakes import BROKER_DOWN, NOW, PERFORMANCE, FakeServices

ROUTES = [
    ("GET", "/api/account/info", None, 200, answers.AccountAnswer),
    ("GET", "/api/positions", None, 200, answers.Positions),
    ("GET", "/api/positions/protection", None, 200, answers.ProtectionAnswer),
    ("GET", "/api/price/AAPL", None, 200, answers.Price),
    ("GET", "/api/price/brk.b", None, 200, answers.Price),
    ("GET", "/api/price/BTC/USD", None, 200, answers.Price),
    ("GET", "/api/trading/signal/AAPL", None, 200, answers.Signal),
    ("GET", "/api/trading/signal/MSFT", None, 200, answers.Signal),
    ("GET", "/api/trading/auto/start", None, 202, answers.Accepted),
    ("POST", "/api/trading/auto/start", None, 202, answers.Accepted),
    ("GET", "/api/market/bars/AAPL?limit=10", None, 200, answers.Bars),
    ("GET", "/api/market/bars/AAPL?limit=10&timeframe=1Min", None, 200, answers.Bars),
    ("POST", "/api/training/start/batch", None, 202, answers.Accepted),
    ("POST", "/api/training/start/batch", {"symbols": ["aapl", "AAPL"]}, 202, answers.Accepted),
    ("POST", "/api/hyperparameter/optimize/", None, 202, answers.Accepted),
    ("POST", "/api/hyperparameter/optimize", {"trials": 5}, 202, answers.Accepted),
    ("POST", "/api/backtest/run", {"symbols": ["AAPL", "MSFT"], "days": 90, "initial_capital": 100000}, 202, answers.Accepted),
    ("GET", "/api/backtests/b-1", None, 200, answers.Open),
    ("GET", "/api/backtests/b-1/verdict", None, 200, answers.VerdictAnswer),
    ("GET", "/api/backtests?limit=5&before=2026-03-05T00:00:00Z", None, 200, answers.Backtests),
    ("GET", "/api/backtests/compare?ids=b-1,b-2", None, 200, answers.Comparison),
    ("GET", "/api/risk/status", None, 200, answers.RiskStatus),
    ("POST", "/api/risk/halt", None, 200, answers.RiskStatus),
    ("POST", "/api/risk/resume", {}, 200, answers.RiskStatus),
    ("POST", "/api/risk/resume", {"reason": "looked at", "accept_losses": True}, 200, answers.RiskStatus),
    ("POST", "/api/risk/kill", {"reason": "odd fills"}, 200, answers.Killed),
    ("POST", "/api/risk/enable", {"symbol": "AAPL"}, 200, answers.RiskStatus),
    ("GET", "/api/reconciliation", None, 200, answers.Reconciliation),
    ("GET", "/api/divergence", None, 200, answers.DivergenceAnswer),
    ("GET", "/api/dashboard/all_data", None, 200, answers.Dashboard),
    ("GET", "/api/test/connection", None, 200, answers.Connection),
    ("GET", "/api/tasks", None, 200, answers.Tasks),
    ("GET", "/api/decisions?symbol=AAPL&cycle=c-1&limit=5&before=2026-03-05T00:00:00Z", None, 200, answers.Decisions),
    ("GET", "/api/cycles", None, 200, answers.Cycles),
    ("GET", "/api/orders?symbol=AAPL", None, 200, answers.Orders),
    ("GET", "/api/fills?limit=1000", None, 200, answers.Fills),
    ("GET", "/api/equity?since=2026-03-01T00:00:00%2B01:00", None, 200, answers.Equity),
    ("GET", "/api/audit/orders/at-aapl-1", None, 200, answers.AuditStory),
    ("GET", "/api/models", None, 200, answers.Models),
    ("GET", "/api/research", None, 200, answers.ResearchRuns),
    ("GET", "/api/research/r-1", None, 200, answers.Open),
    ("GET", "/api/research/r-1/heat-map", None, 200, answers.HeatMap),
    ("POST", "/api/research/sweeps", {"strategy": "rsi", "grid": {"period": [7, 14.0]}, "workers": 2}, 202, answers.Begun),
    ("POST", "/api/research/searches", {"strategy": "rsi", "bounds": {"period": [5, 20]}}, 202, answers.Begun),
    ("POST", "/api/research/walk-forwards", {"strategy": "ensemble", "start": "2020-01-02"}, 202, answers.Begun),
    ("POST", "/api/research/r-1/cancel", None, 200, answers.Open),
    ("GET", "/api/optimizer/results?limit=5", None, 200, answers.OptimizerResults),
    ("GET", "/api/auth/me", None, 200, answers.Me),
    ("GET", "/api/auth/sessions", None, 200, answers.Sessions),
    ("GET", "/api/auth/tokens", None, 200, answers.ApiTokens),
    ("POST", "/api/auth/step-up", {"password": "password"}, 200, answers.Proven),
]
TRIED_ELSEWHERE = {
    "tasks.task",
    "backtest.report_page",
    "backtest.report_picture",
    "research.report_page",
    "research.report_picture",
} | {
    f"auth.{name}"  # tests/security/test_own_routes.py
    for name in (
        "logout", "logout_everywhere", "end_session", "change_password", "begin_totp", "confirm_totp", "remove_totp",
        "add_token", "revoke_token",
    )
}  # fmt: skip
PUBLIC = {"/api/auth/login", "/api/auth/refresh", "/api/health", "/api/ready", "/metrics"}


@pytest.mark.parametrize(("method", "path", "body", "status", "model"), ROUTES, ids=lambda v: v if isinstance(v, str) else None)
def test_answers(client: Any, anyone: Any, method: str, path: str, body: Any, status: int, model: Any) -> None:
    response = client.open(path, method=method, json=body)
    assert response.status_code == status, response.text
    model.model_validate(json.loads(response.text, parse_constant=lambda word: pytest.fail(f"{word} in the answer")))
    refused = anyone.open(path, method=method, json=body)
    assert refused.status_code == 401
    assert refused.json["error"]["code"] == "token_missing"


def test_every_route_is_tried_and_only_the_named_ones_are_public(app: Any, anyone: Any) -> None:
    adapter = app.url_map.bind("localhost")
    tried = {(adapter.match(path.split("?")[0], method=method)[0], method) for method, path, *_ in ROUTES}
    for rule in app.url_map.iter_rules():
        path = str(rule)
        if path in PUBLIC or path.startswith("/openapi"):
            continue
        for method in rule.methods - {"HEAD", "OPTIONS"}:
            if rule.endpoint not in TRIED_ELSEWHERE:
                assert (rule.endpoint, method) in tried, f"{method} {path} has no test"
            probe = path.replace("<path:symbol>", "AAPL").replace("<id>", "x")
            assert anyone.open(probe, method=method).status_code == 401


def test_public_pages(anyone: Any) -> None:
    assert anyone.get("/api/health").json["status"] == "ok"
    answers.Ready.model_validate(anyone.get("/api/ready").json)
    assert b"alpha_trader_cycles" in anyone.get("/metrics").data
    assert anyone.get("/openapi/openapi.json").json["openapi"].startswith("3.1")
    assert "url=swagger" in anyone.get("/openapi/").text
    page = anyone.get("/openapi/swagger").text
    assert "://" not in page.replace("http://www.w3.org", ""), "the page must need nothing from outside"


def test_login_answers_with_a_token(anyone: Any) -> None:
    response = anyone.post("/api/auth/login", json={"username": "admin", "password": "password"})
    answers.Token.model_validate(response.json)
    assert response.json["token_type"] == "Bearer"
    assert response.json["expires_in"] == 86_400


def test_start_by_get_is_deprecated_and_says_so(client: Any, services: FakeServices) -> None:
    response = client.get("/api/trading/auto/start")
    assert response.headers["Deprecation"].startswith("@")
    assert "Deprecation" not in client.post("/api/trading/auto/start").headers
    assert client.head("/api/trading/auto/start").status_code == 405
    assert services.tasks.accepted == [("trading_cycle", {"trigger": "manual"})] * 2


def test_a_request_repeated_under_its_key_is_one_task(client: Any, services: FakeServices) -> None:
    def start(key: str) -> Any:
        return client.post("/api/trading/auto/start", headers={"Idempotency-Key": key})

    assert start("mine").headers["Location"] == start("mine").headers["Location"] != start("another").headers["Location"]
    refused = start("no spaces, please")
    assert refused.status_code in (400, 422)
    assert_error_shape(refused)


def test_the_report_of_a_backtest(client: Any, anyone: Any) -> None:
    page, picture = (client.get(f"/api/backtests/b-1/report.{kind}") for kind in ("html", "png"))
    assert page.mimetype == "text/html" and page.text.startswith("<!doctype html>")
    assert "script-src 'sha256-" in page.headers["Content-Security-Policy"]
    assert page.headers["Cache-Control"] == "no-store" and page.headers["X-Content-Type-Options"] == "nosniff"
    assert picture.mimetype == "image/png" and picture.data.startswith(b"\x89PNG")
    assert picture.headers["Content-Security-Policy"].startswith("default-src 'none'")
    for path in ("report.html", "report.png"):
        assert anyone.get(f"/api/backtests/b-1/{path}").status_code == 401
        assert client.get(f"/api/backtests/none/{path}").status_code == 404
        refused = client.get(f"/api/backtests/b-old/{path}")
        assert refused.status_code == 409
        assert_error_shape(refused)


@pytest.mark.parametrize(("ids", "status"), [("b-1", 400), ("b-1,b-1", 422), ("b-1,none", 404), ("b-1,,b-2", 400), ("", 400)])
def test_what_cannot_be_compared(client: Any, ids: str, status: int) -> None:
    refused = client.get(f"/api/backtests/compare?ids={ids}")
    assert refused.status_code == status
    assert_error_shape(refused)


def test_backtest_is_accepted_and_its_result_is_the_tasks(client: Any, services: FakeServices) -> None:
    body = {"symbols": ["AAPL", "aapl", "MSFT"], "days": 90, "initial_capital": 100000}
    services.tasks.finishes = True
    accepted = client.post("/api/backtest/run", json=body)
    assert accepted.status_code == 202
    assert services.tasks.accepted == [("backtest", {"symbols": ["AAPL", "MSFT"], "days": 90, "initial_capital": 100000.0})]
    assert accepted.headers["Location"] == accepted.json["status_url"]
    task = client.get(accepted.json["status_url"]).json
    assert task["result"]["performance"] == PERFORMANCE
    waited = client.post("/api/backtest/run", json=body | {"wait": True})
    assert waited.status_code == 200
    assert waited.json["status"] == "completed"
    assert waited.json["performance"] == PERFORMANCE


def test_a_strategy_with_its_bars_and_costs_is_backtested_by_api(client: Any, services: FakeServices) -> None:
    body = {
        "symbols": ["AAPL"], "strategy": "sma_cross", "parameters": {"fast": 5, "slow": 20.0}, "timeframe": "5Min",
        "start": "2024-01-02", "end": "2024-03-28", "participation": 0.05, "half_spread_bps": 1, "models": "stored",
        "exits": {"trailing_fraction": 0.05}, "seed": 3,
    }  # fmt: skip
    assert client.post("/api/backtest/run", json=body).status_code == 202
    asked = parse_request(services.tasks.accepted[-1][1])
    assert (asked.strategy, asked.parameters, asked.timeframe) == ("sma_cross", {"fast": 5, "slow": 20}, "5Min")
    assert (str(asked.start), str(asked.participation), str(asked.half_spread_bps)) == ("2024-01-02", "0.05", "1.0")
    assert (asked.models, asked.seed, asked.exits.trailing_fraction) == ("stored", 3, 0.05)
    assert str(asked.slippage_bps) == "2"


@pytest.mark.parametrize(
    ("change", "status", "says"),
    [
        ({"parameters": {"fast": 5}}, 422, "belong to a strategy"),
        ({"start": "2024-03-02", "end": "2024-03-01"}, 422, "swap or widen"),
        ({"start": 5}, 400, "a day such as"),
        ({"participation": 0}, 400, "participation"),
        ({"strategy": "rsi", "timeframe": "2Min"}, 400, "timeframe"),
        ({"parameters": {"fast": "5"}}, 400, "parameters"),
        ({"strategy": ""}, 400, "strategy"),
    ],
)
def test_a_backtest_that_cannot_be_is_refused_at_once(
    client: Any, services: FakeServices, change: Any, status: int, says: str
) -> None:
    refused = client.post("/api/backtest/run", json={"symbols": ["AAPL"]} | change)
    assert refused.status_code == status and says in refused.text, refused.text
    assert services.tasks.accepted == []


@pytest.mark.parametrize(
    ("field", "bounds"),
    [("days", (2, MAX_DAYS)), ("initial_capital", (1_000, 1e9)), ("symbols", (["AAPL"], [f"S{n}" for n in range(100)]))],
)
def test_what_the_api_takes_the_backtest_takes(
    client: Any, services: FakeServices, field: str, bounds: tuple[Any, Any]
) -> None:
    for value in bounds:
        assert client.post("/api/backtest/run", json={"symbols": ["AAPL"], field: value}).status_code == 202
        parse_request(services.tasks.accepted[-1][1])
    assert client.post("/api/backtest/run", json={"symbols": ["AAPL"], "days": MAX_DAYS + 1}).status_code == 400


def test_training_without_symbols_is_the_watch_list(client: Any, services: FakeServices) -> None:
    client.post("/api/training/start/batch")
    client.post("/api/hyperparameter/optimize/", json={"symbols": ["SPY"], "trials": 7})
    assert services.tasks.accepted[0] == ("train", {"symbols": list(services.settings.watchlist)})
    assert services.tasks.accepted[1] == ("tune", {"symbols": ["SPY"], "trials": 7})


def test_halting_and_resuming_names_the_actor(client: Any, services: FakeServices) -> None:
    assert client.post("/api/risk/halt").json["trading_state"] == "halted"
    assert client.post("/api/risk/resume").json["trading_state"] == "active"
    assert services.risk.actors == ["admin", "admin"]
    services.risk.forbidden = True
    refused = client.post("/api/risk/resume")
    assert refused.status_code == 409
    assert refused.json["error"]["details"]["until"] == "2026-03-04T15:30:00Z"


def test_the_kill_switch_takes_its_reason_and_its_actor(client: Any, services: FakeServices) -> None:
    assert client.post("/api/risk/kill", json={"reason": "odd fills"}).json["cancelled"] == ["v-1"]
    assert client.post("/api/risk/kill").status_code == 200
    assert services.kill.thrown == [("admin", "odd fills"), ("admin", "no reason given")]
    assert client.post("/api/risk/kill", json={"reason": 5}).status_code == 400
    assert client.post("/api/risk/kill", json={"reason": "x" * 501}).status_code == 400
    assert len(services.kill.thrown) == 2


@pytest.mark.parametrize(
    ("fault", "status"),
    [
        (TryAgain("unreachable"), 503),
        (Refused("no such asset"), 422),
        (OutcomeUnknown("lost"), 502),
        (VenueError("odd answer"), 502),
        (Conflict("not now"), 409),
        (ZeroDivisionError("inside"), 500),
    ],
)
def test_faults_of_the_venue_become_answers(client: Any, services: FakeServices, fault: Exception, status: int) -> None:
    services.alpaca.fault = fault
    for path in ("/api/account/info", "/api/positions", "/api/price/AAPL", "/api/market/bars/AAPL"):
        response = client.get(path)
        assert response.status_code == status
        assert_error_shape(response)
    if status == 500:
        assert "inside" not in response.text


def test_the_connection_test_reports_an_unreachable_venue(client: Any, services: FakeServices) -> None:
    services.alpaca.fault = TryAgain("unreachable")
    response = client.get("/api/test/connection")
    assert response.status_code == 200
    assert response.json["ok"] is False


def test_the_dashboard_shows_what_can_be_read(client: Any, services: FakeServices) -> None:
    services.alpaca.fault = TryAgain("unreachable")
    answer = client.get("/api/dashboard/all_data").json
    assert answer["account"] is None
    assert answer["fills"]
    assert set(answer["faults"]) == {"account", "positions"}


def test_the_dashboard_shows_the_newest_decisions_while_a_cycle_is_under_way(client: Any, services: FakeServices) -> None:
    services.database.cycle = replace(services.database.cycle, cycle_id="c-2")
    assert client.get("/api/dashboard/all_data").json["decisions"]


def test_a_broker_that_does_not_answer_is_told(client: Any, services: FakeServices) -> None:
    services.tasks.fault = BROKER_DOWN
    for path in ("/api/trading/auto/start", "/api/training/start/batch", "/api/hyperparameter/optimize/"):
        response = client.post(path)
        assert response.status_code == 503
        assert response.headers["Retry-After"]
        assert_error_shape(response)


@pytest.mark.parametrize("component", ["database", "broker", "venue", "last_cycle"])
def test_not_ready_names_the_component(anyone: Any, services: FakeServices, component: str) -> None:
    if component == "database":
        services.database.fault = OSError("disk")
    elif component == "broker":
        services.tasks.fault = BROKER_DOWN
    elif component == "venue":
        services.alpaca.fault = TryAgain("unreachable")
    else:
        anyone.get("/api/ready")
        app_readiness = anyone.application.extensions["readiness"]
        app_readiness._asked_at = float("-inf")
        services.alpaca.now = NOW + timedelta(seconds=3 * 600 + 1)
    response = anyone.get("/api/ready")
    assert response.status_code == 503
    assert_error_shape(response)
    components = response.json["error"]["details"]["components"]
    assert {name for name, state in components.items() if state != "ok"} == {component}
    assert anyone.get("/api/health").status_code == 200


def test_no_cycle_is_overdue_while_the_venue_is_closed(anyone: Any, services: FakeServices) -> None:
    services.alpaca.is_open = False
    services.alpaca.now = NOW + timedelta(days=3)
    assert anyone.get("/api/ready").status_code == 200


def assert_error_shape(response: Any) -> None:
    error = response.json["error"]
    assert set(error) == {"code", "message", "hint", "details", "request_id"}
    assert error["code"]
    assert error["message"]
    assert error["request_id"] == response.headers["X-Request-ID"]

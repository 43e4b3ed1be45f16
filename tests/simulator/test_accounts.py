"""Several accounts: each key has its own, on its own terms, and whatever one does the others' answers stay the same."""

import asyncio
import json
from dataclasses import replace
from decimal import Decimal as D

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.simulator.options import SimulatorOptions
from app.simulator.server import build_app

from .conftest import KEYS, Local

OPTIONS = SimulatorOptions(symbols=("ACME", "BCME"), seed=5, cash=D(50_000))
QUESTIONS = [
    ("/v2/account", {}),
    ("/v2/orders", {"status": "all", "nested": "true"}),
    ("/v2/positions", {}),
    ("/v2/account/activities", {}),
]


def keys(key_id, secret="secret"):
    return {"APCA-API-KEY-ID": key_id, "APCA-API-SECRET-KEY": secret}


def order(**fields):
    return {"symbol": "ACME", "side": "buy", "type": "market", "qty": 1, "time_in_force": "day", **fields}


@pytest.fixture
def x():
    return Local(build_app(OPTIONS))


acts = st.one_of(
    st.tuples(
        st.just("order"),
        st.fixed_dictionaries(
            {
                "symbol": st.sampled_from(["ACME", "BCME", "NONE"]),
                "qty": st.integers(-1, 40),
                "side": st.sampled_from(["buy", "sell"]),
            }
        ),
    ),
    st.tuples(st.just("cancel"), st.none()),
    st.tuples(st.just("close"), st.none()),
    st.tuples(st.just("wrong secret"), st.none()),
    st.tuples(st.just("limit"), st.none()),
)


def act(x, key_id, kind, fields):
    match kind:
        case "order":
            x("POST", "/v2/orders", body=order(**fields), headers=keys(key_id))
        case "limit":
            x("POST", "/v2/orders", body=order(type="limit", limit_price="1", time_in_force="gtc"), headers=keys(key_id))
        case "cancel":
            x("DELETE", "/v2/orders", headers=keys(key_id))
        case "close":
            x("DELETE", "/v2/positions", headers=keys(key_id))
        case _:
            x("GET", "/v2/account", headers=keys(key_id, "another"))


@given(
    script=st.lists(
        st.tuples(st.sampled_from(["quiet", "noisy", "noisy"]), acts) | st.just(("clock", None)), min_size=3, max_size=12
    )
)
@settings(max_examples=12, deadline=None)
def test_whatever_one_account_does_the_others_answers_stay_the_same(script):
    answers = []
    for with_noise in (False, True):
        x = Local(build_app(OPTIONS))
        x("GET", "/v2/account", headers=keys("first"))
        seen = []
        for who, what in script:
            if who == "clock":
                x("POST", "/sim/clock", body={"advance_seconds": 900})
            elif who == "quiet":
                act(x, "quiet", *what)
            elif with_noise:
                act(x, "noisy", *what)
            seen += [json.dumps(x("GET", path, params=query, headers=keys("quiet"))) for path, query in QUESTIONS]
        seen.append(json.dumps(x("GET", "/sim/ledger", params={"key_id": "quiet"})[1]["orders"]))
        answers.append(seen)
    assert answers[0] == answers[1]


def test_accounts_on_their_own_terms(x):
    status, shown = x(
        "POST", "/sim/accounts", body={"key_id": "rich", "secret": "s", "cash": "1e6", "multiplier": 1, "trading_blocked": True}
    )
    assert status == 201
    assert (shown["cash"], shown["multiplier"], shown["trading_blocked"], shown["account_blocked"]) == (
        "1000000",
        1,
        True,
        False,
    )
    account = x("GET", "/v2/account", headers=keys("rich", "s"))[1]
    assert (account["cash"], account["trading_blocked"], account["account_blocked"]) == ("1000000.00", True, False)
    status, error = x("POST", "/v2/orders", body=order(), headers=keys("rich", "s"))
    assert (status, error["code"]) == (403, 40310000)
    assert x("POST", "/v2/orders", body=order(), headers=KEYS)[0] == 200
    assert [(one["key_id"], one["start_cash"]) for one in x("GET", "/sim/accounts")[1]] == [
        ("rich", "1000000"),
        ("key", "50000"),
    ]
    assert x("POST", "/sim/accounts", body={"key_id": "rich", "secret": "t"})[0] == 409


def test_a_secret_is_the_same_for_ever(x):
    assert x("GET", "/v2/account", headers=keys("a", "one"))[0] == 200
    assert x("GET", "/v2/account", headers=keys("a", "two"))[0] == 401
    assert x("GET", "/v2/account", headers=keys("a", "one"))[0] == 200


def test_only_known_keys_are_let_in_when_they_are_required():
    x = Local(build_app(replace(OPTIONS, keys=(("a", "1"), ("b", "2")), keys_required=True)))
    answers = [x("GET", "/v2/account", headers=keys(*pair)) for pair in (("a", "1"), ("b", "2"), ("b", "1"), ("c", "3"))]
    assert [status for status, _ in answers] == [200, 200, 401, 401]
    assert answers[0][1]["id"] != answers[1][1]["id"]
    x("POST", "/sim/accounts", body={"key_id": "c", "secret": "3"})
    assert x("GET", "/v2/account", headers=keys("c", "3"))[0] == 200
    # A reset forgets what was made known by POST, not what the options name.
    x("POST", "/sim/reset", body={})
    assert [x("GET", "/v2/account", headers=keys(*pair))[0] for pair in (("a", "1"), ("c", "3"))] == [200, 401]


def test_one_account_is_reset_alone(x):
    for key_id in ("a", "b"):
        for _ in range(2):
            x("POST", "/v2/orders", body=order(), headers=keys(key_id))
    x("POST", "/sim/clock", body={"advance_seconds": 3600})
    before = x("GET", "/sim/ledger", params={"key_id": "b"})[1]
    assert x("POST", "/sim/reset", body={"key_id": "a"})[0] == 200
    fresh = x("GET", "/sim/ledger", params={"key_id": "a"})[1]
    assert (fresh["cash"], fresh["orders"], fresh["fills"], fresh["positions"]) == ("50000", [], [], {})
    assert x("GET", "/sim/ledger", params={"key_id": "b"})[1] == before
    assert x("GET", "/v2/account", headers=keys("a", "wrong"))[0] == 401


def test_a_rate_limit_counts_each_account_and_each_kind_of_route_alone():
    x = Local(build_app(replace(OPTIONS, rate_limit=3)))

    def statuses(path, key_id, count):
        return [x("GET", path, headers=keys(key_id))[0] for _ in range(count)]

    assert statuses("/v2/clock", "a", 5) == [200, 200, 200, 429, 429]
    assert statuses("/v2/clock", "b", 1) == [200]
    assert statuses("/v2/stocks/quotes/latest", "a", 1) == [400]
    assert x("GET", "/v2/clock", headers=keys("a"))[1] == {"code": 42910000, "message": "rate limit exceeded"}
    assert x("POST", "/v2/orders", body=order(), headers=keys("a"))[0] == 429
    assert x("GET", "/sim/ledger", params={"key_id": "a"})[1]["orders"] == []
    assert x("GET", "/sim/state")[0] == 200


def test_rate_limit_headers_count_down():
    app = build_app(replace(OPTIONS, rate_limit=2))

    async def remaining():
        sent = []

        async def receive():
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message):
            sent.append(message)

        headers = [(name.lower().encode(), value.encode()) for name, value in KEYS.items()]
        scope = {"type": "http", "method": "GET", "path": "/v2/clock", "raw_path": b"/v2/clock", "query_string": b""}
        await app({**scope, "headers": headers, "http_version": "1.1", "scheme": "http", "server": ("x", 80)}, receive, send)
        found = dict(sent[0]["headers"])
        return found[b"x-ratelimit-limit"], found[b"x-ratelimit-remaining"], b"x-ratelimit-reset" in found

    assert [asyncio.run(remaining()) for _ in range(3)] == [(b"2", b"1", True), (b"2", b"0", True), (b"2", b"0", True)]


BAD_ACCOUNTS = [
    {},
    {"key_id": "a"},
    {"key_id": "", "secret": "s"},
    {"key_id": "a\n", "secret": "s"},
    {"key_id": "ä", "secret": "s"},
    {"key_id": 5, "secret": "s"},
    {"key_id": "a", "secret": "s", "cash": "much"},
    {"key_id": "a", "secret": "s", "cash": -1},
    {"key_id": "a", "secret": "s", "cash": []},
    {"key_id": "a", "secret": "s", "multiplier": 3},
    {"key_id": "a", "secret": "s", "multiplier": "2"},
    {"key_id": "a", "secret": "s", "trading_blocked": "yes"},
    {"key_id": "a", "secret": "s", "colour": "red"},
]


@pytest.mark.parametrize("body", BAD_ACCOUNTS, ids=str)
def test_wrong_accounts_are_refused(generated, body):
    before = generated("GET", "/sim/accounts")[1]
    status, error = generated("POST", "/sim/accounts", body=body)
    assert status == 422 and error["message"]
    assert generated("GET", "/sim/accounts")[1] == before


@pytest.mark.parametrize("body", [{"key_id": "nobody"}, {"key_id": "a", "cash": 5}, {"colour": "red"}], ids=str)
def test_wrong_resets_are_refused(generated, body):
    assert generated("POST", "/sim/reset", body=body)[0] == 422


def test_what_was_received_is_told(x):
    x("POST", "/v2/orders", body=order(client_order_id="a"))
    x("POST", "/v2/orders", body=order(client_order_id="a"))
    x("POST", "/v2/orders", body=b'{"client_order_id": "\\ud800", "qty": ' + b"9" * 10_000)
    x("GET", "/v2/orders")
    x("GET", "/v2/nowhere")
    x("DELETE", "/v2/orders/none", headers=keys("b"))
    received = x("GET", "/sim/ledger")[1]["received"]
    assert [(r["method"], r["client_order_id"], r["accepted"], r["status"]) for r in received] == [
        ("POST", "a", True, 200),
        ("POST", "a", False, 422),
        ("POST", "", False, 400),
    ]
    assert all(r["clock"] == "2024-01-02T14:30:00Z" and r["received_at"] <= r["answered_at"] for r in received)
    assert json.loads(received[0]["body"])["client_order_id"] == "a"
    assert len(received[2]["body"]) == 4096
    everything = x("GET", "/sim/requests", params={"reads": "true"})[1]
    assert [r["number"] for r in everything["requests"]] == [1, 2, 3, 4, 5, 6]
    assert everything["reads_by_route"] == {"/v2/orders": 1, "no such route": 1}
    page = x("GET", "/sim/requests", params={"limit": "2", "after": "1"})[1]
    assert ([r["number"] for r in page["requests"]], page["last"]) == ([2, 3], 3)
    assert len(x("GET", "/sim/requests", params={"key_id": "b", "method": "DELETE"})[1]["requests"]) == 1
    for wrong in ({"limit": "x"}, {"after": "-1"}, {"colour": "red"}):
        assert x("GET", "/sim/requests", params=wrong)[0] == 422
    assert x("POST", "/v2/orders", body=order(client_order_id="\ud800"))[0] == 400
    x("POST", "/sim/reset", body={})
    assert x("GET", "/sim/requests", params={"reads": "true"})[1]["requests"] == []


def test_bodies_are_bounded(x):
    status, error = x("POST", "/v2/orders", body=b" " * (1 << 20) + b"{}")
    assert (status, error["message"]) == (413, "the request body is larger than 1 MB")
    assert x("POST", "/sim/faults", body=b" " * (1 << 20) + b"{}")[0] == 413


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/v2/nowhere", 404), ("PUT", "/v2/orders", 405), ("GET", "/sim/x", 404)]
)
def test_unknown_routes_and_methods(x, method, path, status):
    found, error = x(method, path)
    assert found == status and error["code"] and error["message"]

"""Nothing a caller sends is answered with a server error, acted upon, or answered in another shape."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.web.errors import MalformedRequest
from app.web.request_body import parse_object

from .fakes import FakeServices
from .test_routes import assert_error_shape

BODY_ROUTES = (
    "/api/auth/login",
    "/api/backtest/run",
    "/api/training/start/batch",
    "/api/hyperparameter/optimize/",
    "/api/trading/auto/start",
    "/api/risk/halt",
    "/api/risk/resume",
    "/api/risk/kill",
)
GOOD_BACKTEST: dict[str, Any] = {"symbols": ["AAPL"], "days": 90, "initial_capital": 100000}

RAW_BODIES = {
    "null": b"null",
    "list": b"[]",
    "text": b'"x"',
    "doubly encoded": b'"{}"',
    "number": b"1",
    "true": b"true",
    "truncated": b'{"a":',
    "trailing comma": b'{"a":1,}',
    "single quotes": b"{'a':1}",
    "repeated key": b'{"days":1,"days":2}',
    "deep list": b"[" * 100_000,
    "deep field": b'{"a":' * 100_000,
    "invalid utf-8": b'{"a":"\xff\xfe"}',
    "utf-16": '{"a":1}'.encode("utf-16"),
    "byte order mark": b'\xef\xbb\xbf{"a":1}',
    "NaN": b'{"days":NaN}',
    "infinity": b'{"days":-Infinity}',
    "too large a number": b'{"days":1e400}',
    "5000 digits": b'{"days":' + b"9" * 5000 + b"}",
    "lone surrogate": b'{"symbols":["\\ud800"],"username":"\\ud800","password":"x"}',
    "surrogate key": b'{"\\udfff":1}',
    "unknown field": b'{"admin":true}',
    "many keys": json.dumps({f"k{i}": i for i in range(20_000)}).encode(),
}


@pytest.mark.parametrize("path", BODY_ROUTES)
@pytest.mark.parametrize("body", RAW_BODIES.values(), ids=RAW_BODIES.keys())
def test_bodies_that_are_no_good_object(client: Any, services: FakeServices, path: str, body: bytes) -> None:
    response = client.post(path, data=body, content_type="application/json")
    assert response.status_code == 400, response.text[:300]
    assert_error_shape(response)
    assert not services.tasks.accepted
    assert not services.risk.actors


@pytest.mark.parametrize("path", BODY_ROUTES)
def test_bodies_of_other_kinds(client: Any, services: FakeServices, path: str) -> None:
    kinds = [
        ({"content_type": "text/plain", "data": b"{}"}, 415),
        ({"content_type": "application/x-www-form-urlencoded", "data": b"a=1"}, 415),
        ({"content_type": "multipart/form-data; boundary=x", "data": b"--x--"}, 415),
        ({"data": b"{}"}, 415),
        ({"content_type": "application/json", "data": b"\x1f\x8b", "headers": {"Content-Encoding": "gzip"}}, 415),
        ({"content_type": "application/json", "data": b" " * (1024 * 1024 + 1)}, 413),
    ]
    for request, status in kinds:
        response = client.post(path, **request)
        assert response.status_code == status
        assert_error_shape(response)
    assert not services.tasks.accepted


@pytest.mark.parametrize(
    "change",
    [
        {"days": 0},
        {"days": -1},
        {"days": 3651},
        {"days": 90.5},
        {"days": "90"},
        {"days": "٩٠"},
        {"days": True},
        {"days": None},
        {"days": [90]},
        {"days": 2**63},
        {"days": 2**70},
        {"initial_capital": 0},
        {"initial_capital": -0.0},
        {"initial_capital": 1e-30},
        {"initial_capital": 1e10},
        {"initial_capital": "100000"},
        {"initial_capital": "NaN"},
        {"initial_capital": True},
        {"initial_capital": {}},
        {"initial_capital": int("9" * 400)},
        {"symbols": []},
        {"symbols": "AAPL"},
        {"symbols": None},
        {"symbols": {"$ne": 1}},
        {"symbols": [1]},
        {"symbols": [None]},
        {"symbols": ["AAPL"] * 101},
        {"wait": 1},
        {"wait": "true"},
        {"colour": "x"},
        {"strategy": ""},
        {"parameters": {"fast": "5"}},
        {"start": 5},
        {"participation": 0},
        *(
            {"symbols": [bad]}
            for bad in ("", " ", "A" * 13, "../../etc/passwd", "..", "/abs", "A\u0000B", "AAPL\nX", "\u202eAAPL")
        ),
        *(
            {"symbols": [bad]}
            for bad in ("ААPL", " AAPL", "AAPL ", "'; DROP", "%", "_", "{{7*7}}", "<b>", "=A", "@x", ".A", "ß", "Ａ")
        ),
    ],
    ids=str,
)
def test_fields_out_of_bounds(client: Any, services: FakeServices, change: dict[str, Any]) -> None:
    response = client.post("/api/backtest/run", json=GOOD_BACKTEST | change)
    assert response.status_code == 400, response.text
    assert_error_shape(response)
    assert response.json["error"]["details"][0]["field"].startswith(next(iter(change)))
    assert not services.tasks.accepted


@pytest.mark.parametrize("missing", ["symbols"])
def test_missing_fields_are_named(client: Any, missing: str) -> None:
    body = {name: value for name, value in GOOD_BACKTEST.items() if name != missing}
    response = client.post("/api/backtest/run", json=body)
    assert response.status_code == 400
    assert missing in response.json["error"]["message"]


LIMIT_PATHS = (
    "/api/market/bars/AAPL",
    "/api/decisions",
    "/api/cycles",
    "/api/orders",
    "/api/fills",
    "/api/equity",
    "/api/tasks",
)


@pytest.mark.parametrize("path", LIMIT_PATHS)
@pytest.mark.parametrize(
    "query",
    [
        *(
            f"limit={bad}"
            for bad in ("-1", "0", "1000000000", "abc", "", "0x10", "1e3", "%D9%A3", "1_0", "+5", "%205", "5.0", "1%00")
        ),
        "limit=1&limit=2",
        "page=2",
        "sort=password",
        "limit=1&%FF=1",
    ],
)
def test_limits(client: Any, path: str, query: str) -> None:
    response = client.get(f"{path}?{query}")
    assert response.status_code == 400, response.text
    assert_error_shape(response)


@pytest.mark.parametrize(
    "before",
    [
        "2026-02-30T00:00:00Z",
        "0000-01-01T00:00:00Z",
        "9999-12-31T23:59:60Z",
        "-1",
        "1767225600",
        "2026-01-01",
        "2026-01-01T00:00:00",
        "2026-01-01T00:00:00%2B99:00",
        "now",
        "",
        "2026-01-01 00:00:00Z",
        "2026-01-01T25:00:00Z",
        "2026-01-01T00:00:60Z",
    ],
)
def test_times(client: Any, before: str) -> None:
    for path in (f"/api/decisions?before={before}", f"/api/equity?since={before}"):
        response = client.get(path)
        assert response.status_code == 400, response.text
        assert_error_shape(response)


@pytest.mark.parametrize(
    "symbol",
    [
        "..",
        "../../etc/passwd",
        "%2e%2e%2fx",
        "A%00B",
        "AAPL%0aX",
        "%D0%90PL",
        "A" * 13,
        "'; DROP TABLE orders;--",
        "{{7*7}}",
        "%ff",
        "ZZZZ",
        "MSFT%20",
        "x" * 8000,
        "<script>",
        "AAPL?limit=abc",
        "AAPL\\..\\x",
        "ﬁ",
    ],
)
def test_symbols_in_paths(client: Any, symbol: str) -> None:
    for path in ("/api/price/", "/api/trading/signal/", "/api/market/bars/"):
        response = client.get(path + symbol)
        if not (response.status_code == 200 and "?" in symbol):
            assert response.status_code in {400, 404, 308}, response.text
            if response.status_code != 308:
                assert_error_shape(response)


@pytest.mark.parametrize("path", ["/api/tasks/", "/api/backtests/"])
@pytest.mark.parametrize("record_id", ["unknown", "1 OR 1=1", "9223372036854775808", "%00", "..", "x" * 101, "'"])
def test_record_ids(client: Any, path: str, record_id: str) -> None:
    response = client.get(path + record_id)
    assert response.status_code in {400, 404}
    assert_error_shape(response)


def test_unknown_paths_and_methods(client: Any, anyone: Any) -> None:
    for caller in (client, anyone):
        for path in (
            "/",
            "/nope",
            "/.env",
            "/static/../config",
            "/.git/config",
            "/flower",
            "/debug",
            "//api//health",
            "/api/positions/",
        ):
            response = caller.get(path)
            assert response.status_code == 404
            assert_error_shape(response)
    for method in ("PUT", "DELETE", "PATCH", "TRACE"):
        response = client.open("/api/positions", method=method)
        assert response.status_code == 405
        assert_error_shape(response)
        assert response.headers["Allow"]


def test_the_callers_request_id_is_used_only_when_harmless(client: Any) -> None:
    assert client.get("/api/health", headers={"X-Request-ID": "abc-1"}).headers["X-Request-ID"] == "abc-1"
    for bad in ("a b", "x" * 65, "<b>", "é"):
        assert client.get("/api/health", headers={"X-Request-ID": bad}).headers["X-Request-ID"] != bad


def test_answers_carry_the_protective_headers(client: Any) -> None:
    headers = client.get("/api/positions").headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cache-Control"] == "no-store"
    assert "default-src 'none'" in headers["Content-Security-Policy"]


@given(st.binary(max_size=200) | st.text(max_size=100).map(str.encode))
def test_any_bytes_are_an_object_or_malformed(raw: bytes) -> None:
    try:
        value = parse_object(raw)
    except MalformedRequest:
        return
    assert value == json.loads(raw)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**80), 2**80) | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)


@given(st.dictionaries(st.text(max_size=8), json_values, max_size=4))
def test_standard_json_is_read_as_it_is(value: dict[str, Any]) -> None:
    assert parse_object(json.dumps(value).encode()) == value

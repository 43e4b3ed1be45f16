"""Requests made up from Alpaca's OpenAPI files, right and wrong ones: never a fault of the exchange, always JSON."""

import pytest
import schemathesis
from hypothesis import HealthCheck, settings

from app.simulator.server import SimulatorOptions, build_app
from tests.simulator.conformance import openapi
from tests.simulator.conftest import KEYS, Local

pytestmark = openapi.needed
SERVED = r"^/v2/(account|assets|calendar|clock|orders|positions/{symbol_or_asset_id}|positions$|stocks)|^/v3/|^/v1beta1/news"


@pytest.fixture(scope="module")
def exchange_inside():
    """Straight into an exchange of its own."""
    return Local(build_app(SimulatorOptions(symbols=("AAPL", "MSFT"), seed=3)))


def schema(name):
    if not openapi.available():
        return schemathesis.openapi.from_dict({"openapi": "3.1.0", "info": {"title": "absent", "version": "1"}, "paths": {}})
    return schemathesis.openapi.from_dict(openapi.document(name)).include(path_regex=SERVED)


def judged(local, case):
    path = case.formatted_path
    body = case.body if isinstance(case.body, dict | list) else None
    params = [(name, value) for name, value in (case.query or {}).items()]
    status, content = local(case.method.upper(), path, params=params, body=body, headers=KEYS)
    assert status < 500, (case.method, path, params, body, content)
    if status >= 400:
        assert isinstance(content["code"], int)
        assert content["message"]


@schema("trading").parametrize()
@settings(max_examples=3, deadline=None, suppress_health_check=list(HealthCheck), database=None)
def test_trading(case, exchange_inside):
    judged(exchange_inside, case)


@schema("market-data").parametrize()
@settings(max_examples=2, deadline=None, suppress_health_check=list(HealthCheck), database=None)
def test_market_data(case, exchange_inside):
    judged(exchange_inside, case)

from __future__ import annotations

import logging
from typing import Any

import pytest
import structlog

from app.config import Settings
from app.web.blueprint import EXTENSION
from app.web.factory import create_app
from app.web.readiness import Readiness

from .fakes import FakeServices

# A line for each of thousands of requests would be most of the time.
structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))

SETTINGS = Settings(_env_file=None)


@pytest.fixture(scope="session")
def one_app() -> Any:
    return create_app(FakeServices(settings=SETTINGS))


@pytest.fixture
def services() -> FakeServices:
    return FakeServices(settings=SETTINGS)


@pytest.fixture
def app(one_app: Any, services: FakeServices) -> Any:
    """The application over fresh services; building it anew for each test would be most of the time."""
    one_app.extensions[EXTENSION] = services
    one_app.extensions["readiness"] = Readiness()
    return one_app


@pytest.fixture
def anyone(app: Any) -> Any:
    """A client without a token."""
    return app.test_client()


@pytest.fixture
def token(one_app: Any) -> str:
    """Of a login just now, so that nothing asks for a fresh one."""
    client = one_app.test_client()
    return str(client.post("/api/auth/login", json={"username": "admin", "password": "password"}).json["access_token"])


@pytest.fixture
def client(app: Any, token: str) -> Any:
    """A client that sends the operator's token."""
    client = app.test_client()
    client.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {token}"
    return client

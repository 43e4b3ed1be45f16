from __future__ import annotations

from typing import Any

import pytest

from app.config import Settings
from app.web.factory import create_app

from .fakes import FakeServices


@pytest.fixture
def services() -> FakeServices:
    return FakeServices(settings=Settings(_env_file=None))


@pytest.fixture
def app(services: FakeServices) -> Any:
    return create_app(services)


@pytest.fixture
def anyone(app: Any) -> Any:
    """A client without a token."""
    return app.test_client()


@pytest.fixture
def token(anyone: Any) -> str:
    return str(anyone.post("/api/auth/login", json={"username": "admin", "password": "password"}).json["access_token"])


@pytest.fixture
def client(app: Any, token: str) -> Any:
    """A client that sends the operator's token."""
    client = app.test_client()
    client.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {token}"
    return client

"""Requests made up from the OpenAPI document: no server error, no answer that the document does not foresee."""

from __future__ import annotations

import hypothesis
import schemathesis
from hypothesis import HealthCheck
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_schema_conformance,
    status_code_conformance,
)

from app.domain.account import Proof
from app.web.factory import create_app

from .conftest import SETTINGS
from .fakes import FakeServices

services = FakeServices(settings=SETTINGS.model_copy(update={"admin_username": "fuzzed"}))  # its account changes
services.tasks.finishes = True  # so that nobody waits for a result
application = create_app(services)
own: dict[str, str] = {}


def authorized(path: str) -> dict[str, str]:
    """A header of an admin who has just logged in; anew for routes that may change its account."""
    if not own or path.startswith("/api/auth"):
        accounts = services.accounts
        accounts.remove_totp(accounts.named("fuzzed"), actor="test")
        accounts.set_password(accounts.named("fuzzed"), "password", actor="test")
        pair = accounts.logins.begin(accounts.named("fuzzed"), Proof.PASSWORD, address="", agent="")
        own["Authorization"] = f"Bearer {pair.access_token}"
    return dict(own)


schema = schemathesis.openapi.from_wsgi("/openapi/openapi.json", application)


@schema.parametrize()
@hypothesis.settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True, database=None)
def test_made_up_requests(case: schemathesis.Case) -> None:
    checks = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
    checks.append(negative_data_rejection)
    case.call_and_validate(headers=authorized(case.path), checks=checks)

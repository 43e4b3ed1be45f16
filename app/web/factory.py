"""The Flask application."""

from __future__ import annotations

import re
import time
import uuid

import structlog
from flask import Response, g, request
from flask_openapi3.models.info import Info
from flask_openapi3.openapi import OpenAPI

from app import __version__
from app.runtime.log import bind, unbind_all
from app.web import (
    auth,
    errors,
    metrics_page,
    request_body,
    routes_account,
    routes_audit,
    routes_auth,
    routes_backtest,
    routes_dashboard,
    routes_divergence,
    routes_health,
    routes_learning,
    routes_market,
    routes_protection,
    routes_reconciliation,
    routes_research,
    routes_risk,
    routes_tasks,
    routes_trading,
    routes_verdicts,
)
from app.web.blueprint import BEARER, EXTENSION
from app.web.ports import Services
from app.web.readiness import Readiness
from app.web.wire import StrictJson

log = structlog.get_logger(__name__)

ROUTES = (
    routes_auth,
    routes_health,
    routes_account,
    routes_protection,
    routes_market,
    routes_trading,
    routes_learning,
    routes_backtest,
    routes_verdicts,
    routes_research,
    routes_risk,
    routes_reconciliation,
    routes_divergence,
    routes_audit,
    routes_tasks,
    routes_dashboard,
)
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)
_QUIET_PATHS = frozenset({"/metrics", "/api/health", "/api/ready"})
_POLICY = "default-src 'none'; frame-ancestors 'none'"
_PAGE_POLICY = "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; img-src 'self' data:"
# There is one way to show the documentation, so nobody needs to choose one first.
_TO_SWAGGER = """<!doctype html><html lang="en"><title>Alpha Trader</title>
<meta http-equiv="refresh" content="0; url=swagger"><a href="swagger">The API, described</a></html>"""


class Application(OpenAPI):
    """Flask with strict request bodies and strict JSON."""

    request_class = request_body.StrictRequest
    json_provider_class = StrictJson


def create_app(services: Services) -> Application:
    """The API over `services`. Starts nothing and connects to nothing by itself."""
    app = Application(
        "app.web",
        info=Info(title="Alpha Trader", version=__version__, description="Automated trading: state, decisions, control."),
        security_schemes={BEARER: {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
        validation_error_status=400,
        validation_error_model=errors.ErrorAnswer,
        validation_error_callback=errors.on_invalid_model,
        static_folder=None,
    )
    app.url_map.merge_slashes = False
    app.config["OPENAPI_HTML_STRING"] = _TO_SWAGGER
    app.config["MAX_CONTENT_LENGTH"] = request_body.LARGEST_BODY_BYTES
    app.extensions[EXTENSION] = services
    app.extensions["readiness"] = Readiness()

    app.before_request(_begin)
    metrics_page.install(app)
    errors.install(app)
    app.before_request(request_body.refuse_large_body)
    auth.install(app)
    app.before_request(request_body.refuse_repeated_parameters)
    app.after_request(_finish)
    for routes in ROUTES:
        app.register_api(routes.api)
    auth.check_rules(app)
    return app


def _begin() -> None:
    given = request.headers.get("X-Request-ID", "")
    g.request_id = given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
    g.started = time.perf_counter()
    unbind_all()
    bind(request_id=g.request_id)


def _finish(response: Response) -> Response:
    headers = response.headers
    headers["X-Request-ID"] = errors.request_id()
    headers["X-Content-Type-Options"] = "nosniff"
    headers["X-Frame-Options"] = "DENY"
    headers["Referrer-Policy"] = "no-referrer"
    headers.setdefault("Content-Security-Policy", _PAGE_POLICY if request.path.startswith("/openapi") else _POLICY)
    if not request.path.startswith("/openapi"):
        headers["Cache-Control"] = "no-store"
    if request.path not in _QUIET_PATHS:
        seconds = round(time.perf_counter() - g.get("started", time.perf_counter()), 4)
        log.info("request", method=request.method, path=request.path, status=response.status_code, seconds=seconds)
    return response

"""Metrics: HTTP series by the exporter, business series by `app.runtime.metrics`, on one page."""

from __future__ import annotations

from flask import Response
from flask_openapi3.openapi import OpenAPI
from prometheus_client import CollectorRegistry
from prometheus_flask_exporter import PrometheusMetrics

from app.runtime import metrics


def install(app: OpenAPI) -> None:
    """Count and time every request of `app`, and show all metrics at /metrics."""
    # A registry per app: in one process several apps may live (tests), and the exporter's names must not collide.
    registry = CollectorRegistry()
    PrometheusMetrics(app, path=None, group_by="url_rule", registry=registry)

    @app.get("/metrics", endpoint="metrics", doc_ui=False)
    def show() -> Response:
        metrics.observe_machine("api")
        content, content_type = metrics.render(registry)
        return Response(content, content_type=content_type)

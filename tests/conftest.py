"""Fixtures for all tests, and what only the long form runs."""

from __future__ import annotations

import os

import pytest

from tests.scratch import keep_files_in_memory

pytest_plugins = ["tests.databases"]
keep_files_in_memory()  # here, before anything asks where temporary files go

LONG = os.environ.get("FAULTS") == "long"
# Scenarios of whole cycles: the short form plays them on SQLite alone. What the databases themselves promise is tested on both.
SCENARIOS = (
    "tests/exits/", "tests/reconcile/test_exchange", "tests/reconcile/test_laws", "tests/trading/test_trade_updates",
    "tests/security/test_logins",
)  # fmt: skip


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves out what is marked `long`, and scenarios on PostgreSQL, unless FAULTS=long."""
    if LONG:
        return
    left_out = [item for item in items if _is_long(item)]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in set(left_out)]


def _is_long(item: pytest.Item) -> bool:
    on_postgresql = item.nodeid.startswith(SCENARIOS) and "postgresql" in item.name
    return on_postgresql or item.get_closest_marker("long") is not None

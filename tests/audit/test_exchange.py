"""A real run on the simulated exchange: the log tells it whole, and every order has a story."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date

import pytest
from typer.testing import CliRunner

from app.cli import cli
from app.config import settings
from app.domain.errors import NotFound
from app.domain.records import IntentOrigin
from app.engine.recording import from_json
from app.services.audit.audit_service import AuditService
from tests.audit.test_book import agree
from tests.trading.exchange import Exchange, build_system, scripted, serve_exchange


@pytest.fixture
def exchange() -> Iterator[Exchange]:
    with serve_exchange(start=date(2024, 3, 1)) as served:
        yield served


def test_a_run_on_the_exchange_is_told_whole(exchange, database_url, ledger, tmp_path, monkeypatch):
    system = build_system(exchange, ledger, tmp_path, forecaster=scripted(tmp_path, {"AAPL": 0.03, "MSFT": 0.02}))
    for _ in range(2):
        system.cycles(1)
        agree(ledger)
    exchange.order(symbol="SPY", qty="1", side="buy", type="limit", limit_price="1.00", time_in_force="gtc")
    scripted(tmp_path, {"AAPL": -0.05, "MSFT": 0.02})
    for _ in range(2):
        system.cycles(1)
        agree(ledger)
    service = AuditService(ledger)
    orders = ledger.orders(100)
    assert {one.origin for one in orders} == set(IntentOrigin)
    for one in orders:
        story = service.explain(one.client_order_id)
        assert (story.state, story.origin) == (one.state, one.origin)
        assert service.explain(one.venue_order_id).client_order_id == one.client_order_id
    _entry_and_leg(service, ledger, orders)
    cycle = ledger.cycle(next(one.cycle_id for one in orders if one.cycle_id))
    assert cycle.inputs is not None
    assert from_json(dict(cycle.inputs)).view.symbols
    with pytest.raises(NotFound):
        service.explain("nobody")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("STATE_DIR", str(tmp_path))
    _commands(next(one.client_order_id for one in orders if one.origin is IntentOrigin.DECISION))


def _entry_and_leg(service, ledger, orders):
    entry = next(one for one in orders if one.take_profit_price is not None and one.symbol == "AAPL")
    story = service.explain(entry.client_order_id)
    kinds = [line.kind for line in story.lines]
    assert [kind for kind in kinds if kind in {"seen", "decided", "sent", "filled"}][:5] == [
        "seen", "decided", "decided", "sent", "filled",
    ]  # fmt: skip
    told = "\n".join(line.text for line in story.lines)
    for part in ("forecast +", "decided by", "buying power", "claim 1", "executed at", "the venue's id"):
        assert part in told, told
    assert len(story.legs) == 2
    leg = service.explain(story.legs[0])
    assert leg.origin == "leg"
    assert any("buy_signal" in line.text for line in leg.lines)


def _commands(order: str) -> None:
    settings.cache_clear()
    runner = CliRunner()
    for command, said in ((["verify"], "events hold"), (["book"], "agree"), (["explain", order], "decided")):
        answer = runner.invoke(cli, ["audit", *command])
        assert answer.exit_code == 0, answer.output
        assert said in answer.output
        told = runner.invoke(cli, ["audit", *command, "--json"])
        assert json.loads(told.stdout[told.stdout.index("{") :])
    settings.cache_clear()

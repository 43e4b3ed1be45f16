"""A strategy without a verdict, or with a FAIL, enters nothing with real money; it still leaves what it holds."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.domain.verdict import Check, Judged, Level, Verdict
from app.services.database_service import DatabaseService
from app.services.verdicts.verdict_gate import VerdictGate
from tests.logs import logged
from tests.trading.exchange import SYMBOLS, Exchange, System, build_system, scripted

RISING = dict.fromkeys(SYMBOLS, 0.03)


def system_of(exchange: Exchange, database: DatabaseService, directory: Path, *, real_money: bool = True) -> System:
    gate = VerdictGate(database, strategy="ensemble", values={}, real_money=real_money)
    return build_system(exchange, database, directory, forecaster=scripted(directory, RISING), verdicts=gate)


def judged(database: DatabaseService, level: Level) -> None:
    check = Check(name="trades", level=level, figure=3.0, threshold=30.0, sentence="3 closed trades")
    database.save_verdict(Judged(strategy="ensemble", values={}, dataset="d", trials=1, verdict=Verdict(checks=(check,))))


def test_no_entry_is_sent_before_there_is_a_verdict_or_an_override(
    exchange: Exchange, ledger_database: DatabaseService, tmp_path: Path
) -> None:
    system = system_of(exchange, ledger_database, tmp_path)
    (report,) = system.cycles(1)
    assert (report.outcome, report.orders) == ("completed", 0)
    assert not exchange.ledger()["orders"]
    stopped = [intent.error for intent in ledger_database.orders(limit=100)]
    assert stopped
    assert all("there is no verdict on ensemble" in error for error in stopped)

    ledger_database.override_verdict("ensemble", {}, actor="ada", reason="a small account")
    (report,) = system.cycles(1)
    assert report.orders > 0


def test_after_a_fail_holdings_are_left_and_none_is_entered(
    exchange: Exchange, ledger_database: DatabaseService, tmp_path: Path
) -> None:
    judged(ledger_database, Level.WARN)
    system = system_of(exchange, ledger_database, tmp_path)
    assert sum(report.orders for report in system.cycles(3)) > 0
    held = system.venue.positions()
    assert held
    judged(ledger_database, Level.FAIL)
    scripted(tmp_path, {symbol: -0.03 if symbol in held else 0.03 for symbol in SYMBOLS})
    before = len(exchange.ledger()["orders"])
    system.cycles(4)
    later = [order for order in exchange.ledger()["orders"][before:] if not order.get("parent_id")]
    assert later
    assert {order["side"] for order in later} == {"sell"}


def test_where_no_money_is_at_stake_it_only_warns(exchange: Exchange, ledger_database: DatabaseService, tmp_path: Path) -> None:
    system = system_of(exchange, ledger_database, tmp_path, real_money=False)
    with logged() as logs:
        system.trading.prepare()
    assert [line["entries"] for line in logs if line["event"] == "strategy_unproven"] == ["allowed: no real money"]
    assert not ledger_database.outbox_pending()
    (report,) = system.cycles(1)
    assert report.orders > 0


@pytest.mark.parametrize(("level", "told"), [(None, True), (Level.FAIL, True), (Level.WARN, False), (Level.PASS, False)])
def test_at_the_start_people_are_told_that_nothing_will_be_entered(
    exchange: Exchange, ledger_database: DatabaseService, tmp_path: Path, level: Level | None, told: bool
) -> None:
    if level is not None:
        judged(ledger_database, level)
    system_of(exchange, ledger_database, tmp_path).trading.prepare()
    assert [message.kind for message in ledger_database.outbox_pending()] == (["verdict"] if told else [])

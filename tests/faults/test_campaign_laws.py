"""The judge of the campaign is judged: true books pass, and every kind of doctored ledger is noticed."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from app.domain.trading_state import TradingState
from app.risk.limits import RiskLimits
from app.runtime.clock import WallClock
from app.services.database_service import DatabaseService
from app.storage.database import Database
from tests.engine.worlds import risk_of
from tests.faults import campaign_laws as laws
from tests.faults.controller_process import SYMBOLS
from tests.trading.exchange import build_system, scripted, serve_exchange

SEED = 7
Case = tuple[dict[str, Any], DatabaseService]


@pytest.fixture(scope="module")
def truth(tmp_path_factory: pytest.TempPathFactory, sqlite_template: Path) -> Iterator[Case]:
    """Seven positions, one of them sold again, and their resting legs: the exchange's ledger and our books."""
    directory = tmp_path_factory.mktemp("laws")
    shutil.copyfile(sqlite_template, directory / "ledger.db")
    ledger = DatabaseService(Database(f"sqlite:///{directory / 'ledger.db'}"), WallClock())
    with serve_exchange(symbols=SYMBOLS, seed=SEED) as exchange:
        exchange.move(advance_seconds=600)
        rising = dict.fromkeys(SYMBOLS[:8], 0.03)
        system = build_system(exchange, ledger, directory, forecaster=scripted(directory, rising), symbols=SYMBOLS)
        system.cycles(2)
        sold = next(iter(ledger.portfolio().positions))
        scripted(directory, {symbol: -0.03 if symbol == sold else 0.0 for symbol in rising})
        system.cycles(1)
        scripted(directory, dict.fromkeys(SYMBOLS, 0.0), 0.0)
        system.cycles(1)
        yield exchange.ledger(), ledger
    ledger.close()


def test_true_books_pass(truth: Case) -> None:
    ledger, ours = truth
    assert laws.judge(ledger, ours) == {law: [] for law in laws.LAWS if law != "limit breaches"}
    assert laws.limit_breaches(ledger, SEED) == []
    assert laws.unsettled(ours) == []
    assert len(ledger["positions"]) >= 5
    assert any(order["side"] == "sell" and order["leg"] is None for order in ledger["orders"])


def bought(ledger: dict[str, Any]) -> dict[str, Any]:
    return next(order for order in ledger["orders"] if order["side"] == "buy")


def accepted_twice(ledger: dict[str, Any]) -> None:
    ledger["orders"].append(bought(ledger) | {"id": "another"})


def sent_twice(ledger: dict[str, Any]) -> None:
    ledger["received"].append(next(one for one in ledger["received"] if one["method"] == "POST"))


def meant_by_nobody(ledger: dict[str, Any]) -> None:
    ledger["orders"].append(bought(ledger) | {"id": "another", "client_order_id": "stranger"})


def one_more_execution(ledger: dict[str, Any]) -> None:
    ledger["fills"].append(ledger["fills"][0] | {"execution_id": "another"})


def one_less_execution(ledger: dict[str, Any]) -> None:
    ledger["fills"].pop()


def another_price(ledger: dict[str, Any]) -> None:
    ledger["fills"][0]["price"] = str(Decimal(ledger["fills"][0]["price"]) + Decimal("0.000001"))


def sold_without_having(ledger: dict[str, Any]) -> None:
    ledger["fills"].insert(0, ledger["fills"][0] | {"execution_id": "another", "side": "sell"})


def sells_rest_on_nothing(ledger: dict[str, Any]) -> None:
    order = next(order for order in ledger["orders"] if order["side"] == "sell" and order["status"] not in laws.ENDED)
    ledger["orders"].append(order | {"id": "another", "parent_id": None, "leg": None})


def a_cent_less(ledger: dict[str, Any]) -> None:
    ledger["cash"] = str(Decimal(ledger["cash"]) - Decimal("0.000001"))


def a_share_less(ledger: dict[str, Any]) -> None:
    held = next(iter(ledger["positions"].values()))
    held["quantity"] = str(Decimal(held["quantity"]) - 1)


def still_open(ledger: dict[str, Any]) -> None:
    bought(ledger)["status"] = "new"


@pytest.mark.parametrize(
    ("doctor", "law"),
    [
        (accepted_twice, "duplicate orders"),
        (sent_twice, "duplicate orders"),
        (meant_by_nobody, "duplicate orders"),
        (one_more_execution, "lost fills"),
        (one_less_execution, "lost fills"),
        (another_price, "lost fills"),
        (sold_without_having, "oversells"),
        (sells_rest_on_nothing, "oversells"),
        (a_cent_less, "differing books"),
        (a_share_less, "differing books"),
        (still_open, "differing books"),
    ],
)
def test_doctored_ledgers_are_noticed(truth: Case, doctor: Callable[[dict[str, Any]], None], law: str) -> None:
    ledger, ours = truth
    other = copy.deepcopy(ledger)
    doctor(other)
    assert laws.judge(other, ours)[law]


@pytest.mark.parametrize(
    ("limit", "told"),
    [
        ({"max_positions": 6}, "too many positions"),
        ({"max_exposure_fraction": 0.3}, "too much exposure"),
        ({"max_position_fraction": 0.01}, "too large a position"),
    ],
)
def test_a_tighter_limit_would_have_been_broken(truth: Case, limit: dict[str, Any], told: str) -> None:
    assert any(told in breach for breach in laws.limit_breaches(truth[0], SEED, RiskLimits()._replace(**limit)))


def test_a_halt_lifted_by_nobody_and_a_lower_peak_are_noticed(ledger: DatabaseService) -> None:
    state = risk_of(TradingState.HALTED)
    ledger.save_risk_state(state)
    assert laws.loosened(ledger) == []
    ledger.save_risk_state(
        replace(state, epoch=1, trading_state=TradingState.ACTIVE, high_water_equity=Decimal(1)), actor="system"
    )
    told = laws.loosened(ledger)
    assert [any(word in fault for fault in told) for word in ("HALTED became ACTIVE", "high-water")] == [True, True]
    ledger.save_risk_state(replace(state, epoch=2, trading_state=TradingState.ACTIVE), actor="ann")
    assert laws.loosened(ledger) == told

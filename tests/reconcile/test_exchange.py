"""Every class of difference against the real simulated exchange, on both databases."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import date
from decimal import Decimal as D
from pathlib import Path
from typing import Any

import pytest
import requests

from app.domain.errors import ConfigurationError, TryAgain
from app.domain.order import Order, Purpose, Side, ValidatedOrder
from app.domain.order_state import OrderState
from app.domain.records import IntentOrigin
from app.domain.trading_state import TradingState
from app.runtime.calendar import new_york_calendar
from app.runtime.clock import WallClock
from app.services.database_service import DatabaseService
from app.storage.database import Database
from tests.trading.exchange import SYMBOLS, Exchange, System, build_system, scripted, serve_exchange

TWO = {"AAPL": 0.03, "MSFT": 0.03}
MANUAL = {"side": "buy", "type": "market", "time_in_force": "day"}
HEADERS = {"APCA-API-KEY-ID": "k", "APCA-API-SECRET-KEY": "s"}
STATEMENT = "/v2/account/activities"


@pytest.fixture
def system(exchange: Exchange, ledger_database: DatabaseService, tmp_path: Path) -> Iterator[System]:
    """Nothing is forecast: whatever happens is done by hand."""
    yield build_system(exchange, ledger_database, tmp_path, forecaster=scripted(tmp_path, {}))
    exchange.mend()


def venue(exchange: Exchange, path: str, method: str = "GET", **options: Any) -> Any:
    answer = requests.request(method, f"{exchange.url}{path}", headers=HEADERS, timeout=10, **options)
    answer.raise_for_status()
    return answer.json()


def bought(system: System, **quantities: str) -> None:
    """A person buys, and the books know it."""
    for symbol, quantity in quantities.items():
        assert system.exchange.order(symbol=symbol, qty=quantity, **MANUAL).ok
    system.exchange.step()
    assert system.trading.reconcile().unexplained == ()
    assert {s: one.quantity for s, one in system.database.portfolio().positions.items()} == {
        s: D(units) for s, units in quantities.items()
    }


def state_of(system: System) -> tuple[TradingState, str]:
    state = system.database.risk_state()
    assert state is not None
    return state.trading_state, state.cause


def alerts(system: System) -> str:
    return "\n".join(message.message for message in system.database.outbox_pending(1000))


def assert_equal_books(system: System) -> None:
    truth, ours = system.exchange.ledger(), system.database.portfolio()
    held = {symbol: D(one["quantity"]) for symbol, one in truth["positions"].items()}
    assert {symbol: one.quantity for symbol, one in ours.positions.items()} == held
    assert ours.cash == D(truth["cash"])


# --- answers that are not true


@pytest.mark.parametrize("path", ["/v2/positions", f"{STATEMENT}/FILL"])
def test_one_empty_answer_changes_nothing(system: System, path: str) -> None:
    """B14, B22: the second look finds what the first one missed."""
    system.cycles(1)
    assert system.exchange.order(symbol="AAPL", qty="5", **MANUAL).ok
    system.exchange.step()
    system.exchange.fault(what="patch", path=path, patch=[], times=1)
    (report,) = system.cycles(1)
    assert "differ" not in report.detail
    assert state_of(system)[0] is TradingState.ACTIVE
    assert_equal_books(system)


def test_b22_positions_that_stay_away_are_neither_sold_nor_wiped_nor_bought_again(system: System, tmp_path: Path) -> None:
    system.cycles(1)
    bought(system, AAPL="5")
    orders = len(system.exchange.ledger()["orders"])
    system.exchange.fault(what="patch", path="/v2/positions", patch=[], times=6)
    scripted(tmp_path, TWO)
    for report in system.cycles(3):
        assert "AAPL: our books say 5" in report.detail
        assert state_of(system) == (TradingState.REDUCING, "books_differ")
    assert system.database.portfolio().positions["AAPL"].quantity == 5
    assert len(system.exchange.ledger()["orders"]) == orders
    assert alerts(system).count("AAPL  5") == 1  # the table is sent once, not once a cycle
    last = system.database.reconciliations(1)[0]
    assert last.unexplained == [{"subject": "AAPL", "ours": "5", "theirs": "0", "difference": "-5"}]
    assert [report.orders for report in system.cycles(3)] == [0, 0, 1]  # MSFT, after three believable readings
    assert "agree again" in alerts(system)


def test_cash_that_nothing_explains_stops_entries(system: System, tmp_path: Path) -> None:
    system.cycles(1)
    scripted(tmp_path, TWO)
    system.exchange.fault(what="patch", path="/v2/account", patch={"cash": "0"}, times=2)
    (report,) = system.cycles(1)
    assert (report.orders, state_of(system)) == (0, (TradingState.REDUCING, "books_differ"))
    assert "-100000.00" in alerts(system)


def test_another_accounts_answer_is_not_adopted_and_nothing_is_sent(system: System) -> None:
    """B17."""
    system.cycles(1)
    system.exchange.fault(what="patch", path="/v2/account", patch={"id": "somebody-else", "cash": "5"}, times=None)
    assert system.exchange.order(symbol="AAPL", qty="5", **MANUAL).ok
    system.exchange.step()
    with pytest.raises(ConfigurationError, match="somebody-else"):
        system.trading.reconcile()
    assert system.database.fills() == []
    system.exchange.mend()
    assert system.trading.reconcile().unexplained == ()


def test_what_nothing_explains_is_booked_on_a_persons_word(system: System) -> None:
    system.cycles(1)
    position = {"symbol": "AAPL", "qty": "7", "avg_entry_price": "100", "side": "long"}
    system.exchange.fault(what="patch", path="/v2/positions", patch=[position], times=None)
    assert [one.subject for one in system.trading.reconcile().unexplained] == ["AAPL"]
    books = system.trading.accept_books(actor="ann", reason="moved here by phone")
    assert books.unexplained == ()
    assert system.database.portfolio().positions["AAPL"].quantity == 7
    assert "accepted by ann: moved here by phone" in alerts(system)
    system.exchange.mend()  # the venue has it no more, and that too is not explained
    assert [one.difference for one in system.trading.reconcile().unexplained] == ["-7"]


def test_answers_that_change_are_not_accepted(system: System) -> None:
    system.cycles(1)
    position = {"symbol": "AAPL", "qty": "7", "avg_entry_price": "100", "side": "long"}
    system.exchange.fault(what="patch", path="/v2/positions", patch=[position | {"qty": "8"}], times=None)
    system.exchange.fault(what="patch", path="/v2/positions", patch=[position], times=2)
    with pytest.raises(TryAgain, match="nothing was accepted"):
        system.trading.accept_books(actor="ann", reason="?")
    assert not system.database.portfolio().positions


# --- what the venue's statement explains


@pytest.mark.parametrize("amount", ["30000", "-30000"])
@pytest.mark.parametrize("overnight", [False, True])
def test_i04_money_that_comes_or_goes_is_neither_gain_nor_loss(
    system: System, tmp_path: Path, amount: str, overnight: bool
) -> None:
    system.cycles(2)
    if overnight:
        system.exchange.move(to_close=True)
        system.exchange.move(advance_seconds=3600)
    system.exchange.enter("CSD" if D(amount) > 0 else "CSW", amount)
    if overnight:
        system.exchange.move(next_open=True)
    system.exchange.step()
    for report in system.cycles(4):
        assert "differ" not in report.detail
    money = D(100_000) + D(amount)
    state = system.database.risk_state()
    assert state is not None
    assert (state.trading_state, state.baseline_equity, state.high_water_equity) == (TradingState.ACTIVE, money, money)
    assert system.database.portfolio().realized == 0
    explained = [row["what"] for one in system.database.reconciliations(10) for row in one.explained]
    assert explained == [f"{'deposit' if D(amount) > 0 else 'withdrawal'} {D(amount):+.2f} in cash"]
    assert_equal_books(system)


def test_c15_shares_that_are_moved_away_free_their_slot(system: System) -> None:
    system.cycles(1)
    bought(system, AAPL="5", MSFT="3")
    left = [row for row in venue(system.exchange, "/v2/positions") if row["symbol"] != "AAPL"]
    system.exchange.enter("JNLS", "0", symbol="AAPL", quantity="-5")
    system.exchange.fault(what="patch", path="/v2/positions", patch=left, times=None)
    books = system.trading.reconcile()
    assert books.unexplained == ()
    assert [str(one) for one in books.explained] == ["transfer -5 AAPL"]
    assert set(system.database.portfolio().positions) == {"MSFT"}
    assert "AAPL: 5 units are now 0" in alerts(system)


def test_c15_a_sale_by_the_venue_is_booked_as_somebody_elses(system: System) -> None:
    system.cycles(1)
    bought(system, AAPL="5")
    venue(system.exchange, "/v2/positions/AAPL", "DELETE")
    system.exchange.step()
    (report,) = system.cycles(1)
    assert "differ" not in report.detail
    assert system.database.portfolio().positions == {}
    (sale,) = [one for one in system.database.orders() if one.side is Side.SELL]
    assert (sale.origin, sale.state) == (IntentOrigin.EXTERNAL, OrderState.FILLED)
    assert "A person has ordered at the venue: sell 5 AAPL" in alerts(system)


@pytest.fixture(scope="module")
def acting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exchange]:
    """AAPL is split ten for one and MSFT pays a dividend on the second day."""
    directory = tmp_path_factory.mktemp("actions")
    (directory / "actions.csv").write_text(
        "symbol,ex_date,kind,value\nAAPL,2024-01-03,split,10\nMSFT,2024-01-03,dividend,1.25\n"
    )
    rows = ["symbol,timestamp,open,high,low,close,volume\n"]
    for number, session in enumerate(new_york_calendar().between(date(2023, 6, 1), date(2024, 1, 5))):
        close = 400 + number % 3
        for symbol, by in (("AAPL", 10 if session.day >= date(2024, 1, 3) else 1), ("MSFT", 1)):
            prices = ",".join(str(price / by) for price in (close, close + 1, close - 1, close))
            rows.append(f"{symbol},{session.day},{prices},1000000\n")
    (directory / "bars.csv").write_text("".join(rows))
    with serve_exchange(
        data=directory / "bars.csv", actions=directory / "actions.csv", start=date(2024, 1, 2), symbols=("AAPL", "MSFT")
    ) as exchange:
        yield exchange


@pytest.mark.row("G08")
def test_g07_a_split_and_a_dividend_overnight(acting: Exchange, ledger_database: DatabaseService, tmp_path: Path) -> None:
    acting.reset()
    acting.move(advance_seconds=600)
    system = build_system(acting, ledger_database, tmp_path, forecaster=scripted(tmp_path, TWO), symbols=("AAPL", "MSFT"))
    system.cycles(4)
    before = ledger_database.portfolio().positions
    assert set(before) == {"AAPL", "MSFT"}
    acting.move(next_open=True)
    acting.move(advance_seconds=600)
    (report,) = system.cycles(1)
    assert "differ" not in report.detail
    held = ledger_database.portfolio().positions["AAPL"]
    assert held.quantity == 10 * before["AAPL"].quantity
    assert abs(held.average_entry_price * 10 - before["AAPL"].average_entry_price) < D("1e-15")
    legs = [one for one in ledger_database.unsettled_intents() if one.symbol == "AAPL" and one.origin is IntentOrigin.LEG]
    assert {one.quantity for one in legs} == {held.quantity}
    stop = min(one.stop_price for one in legs if one.stop_price)
    assert held.average_entry_price * D("0.9") < stop < held.average_entry_price
    assert state_of(system)[0] is not TradingState.HALTED
    assert ledger_database.portfolio().realized == D("1.25") * before["MSFT"].quantity
    assert not [one for one in acting.ledger()["fills"] if one["side"] == "sell"]
    assert_equal_books(system)


# --- people


def test_c10_a_persons_orders_count_and_what_they_are_selling_is_left_to_them(system: System, tmp_path: Path) -> None:
    system.cycles(1)
    bought(system, AAPL="10")
    far = {"symbol": "AAPL", "qty": "4", "side": "sell", "type": "limit", "limit_price": "9999", "time_in_force": "gtc"}
    assert system.exchange.order(**far).ok
    scripted(tmp_path, {"AAPL": -0.03})
    system.cycles(2)
    sales = [one for one in system.exchange.ledger()["orders"] if one["side"] == "sell"]
    assert sorted((one["qty"], one["status"]) for one in sales) == [("4", "new"), ("6", "filled")]
    assert {one.origin for one in system.database.orders() if one.quantity == 4} == {IntentOrigin.EXTERNAL}
    system.cycles(1)
    assert_equal_books(system)


def test_parts_of_a_share_can_be_sold(system: System, tmp_path: Path) -> None:
    system.cycles(1)
    bought(system, AAPL="2.5", MSFT="0.123456789")
    scripted(tmp_path, {"AAPL": -0.03, "MSFT": -0.03})
    reports = system.cycles(2)
    assert reports[0].orders == 2
    system.cycles(1)
    assert system.database.portfolio().positions == {}
    assert_equal_books(system)


# --- beginnings


def test_nothing_leaves_a_process_that_has_not_compared_the_books(system: System) -> None:
    order = Order(client_order_id="x", symbol="AAPL", side=Side.BUY, quantity=D(1), purpose=Purpose.ENTRY, reason="buy_signal")
    with pytest.raises(TryAgain, match="before the books"):
        system.venue.submit(ValidatedOrder(order))
    assert system.exchange.ledger()["orders"] == []
    system.trading.reconcile()
    assert system.venue.submit(ValidatedOrder(order)).status in {"new", "accepted"}


@pytest.mark.parametrize("flat", [False, True])
def test_r08_a_database_that_is_lost_is_built_again_and_a_person_must_resume(
    system: System, tmp_path: Path, flat: bool
) -> None:
    scripted(tmp_path, TWO)
    system.cycles(3)
    if flat:
        scripted(tmp_path, dict.fromkeys(TWO, -0.03))
        system.cycles(3)
        assert system.exchange.ledger()["positions"] == {}
    before = system.database.portfolio()
    fresh = own_ledger(tmp_path / "fresh")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    again = build_system(system.exchange, fresh, elsewhere, forecaster=scripted(elsewhere, dict.fromkeys(SYMBOLS, 0.03)))
    assert [report.orders for report in again.cycles(2)] == [0, 0]
    assert state_of(again) == (TradingState.HALTED, "books_lost")
    assert_equal_books(again)
    assert {s: p.quantity for s, p in fresh.portfolio().positions.items()} == {
        s: p.quantity for s, p in before.positions.items()
    }
    legs = [one for one in fresh.unsettled_intents() if one.side is Side.SELL]
    assert {one.origin for one in legs} <= {IntentOrigin.LEG}
    assert len(legs) == (0 if flat else 4)
    again.risk.resume("ann", "looked at every position")
    assert again.cycles(1)[0].orders > 0
    fresh.close()


def test_r09_seven_positions_fifty_orders_and_five_hundred_fills_take_seconds(system: System, tmp_path: Path) -> None:
    rounds = 35
    for _ in range(rounds):
        for symbol in SYMBOLS[:7]:
            for _ in range(2):
                assert system.exchange.order(symbol=symbol, qty="1", **MANUAL).ok
        system.exchange.move(advance_seconds=60)
    for number in range(50):
        resting = {"side": "buy", "type": "limit", "limit_price": f"{1 + number / 100:.2f}", "time_in_force": "gtc"}
        assert system.exchange.order(symbol=SYMBOLS[number % 7], qty="1", **resting).ok
    started = time.perf_counter()
    (report,) = system.cycles(1)
    seconds = time.perf_counter() - started
    assert report.outcome == "completed"
    assert (len(system.database.portfolio().positions), len(system.database.unsettled_intents())) == (7, 50)
    assert system.trading.reconcile().unexplained == ()
    system.risk.resume("ann")
    print(f"R09: {seconds:.2f} s to the end of the first cycle with 7 positions, 50 orders, {rounds * 14} fills before")
    assert system.wire.calls <= 40  # wall time depends on what else the machine does


def test_e11_a_database_of_yesterday_is_brought_up_to_date_and_halts(exchange: Exchange, tmp_path: Path) -> None:
    database = own_ledger(tmp_path / "a")
    system = build_system(exchange, database, tmp_path, forecaster=scripted(tmp_path, {"AAPL": 0.03}))
    system.cycles(2)
    database.close()  # its log is written back with the last connection
    yesterday = (tmp_path / "a" / "ledger.db").read_bytes()
    scripted(tmp_path, {**TWO, "TSLA": 0.03})
    exchange.move(next_open=True)
    exchange.move(advance_seconds=600)
    system.cycles(3)
    known = {one.client_order_id for one in database.orders(1000)}
    database.close()
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "ledger.db").write_bytes(yesterday)
    restored = own_ledger(tmp_path / "b")
    again = build_system(exchange, restored, tmp_path / "b", forecaster=scripted(tmp_path / "b", dict.fromkeys(SYMBOLS, 0.03)))
    assert len(restored.orders(1000)) < len(known)
    assert [report.orders for report in again.cycles(2)] == [0, 0]
    assert state_of(again) == (TradingState.HALTED, "books_lost")
    assert "The venue knows an order of ours" in alerts(again)
    assert_equal_books(again)
    restored.close()


# --- what it costs, and what a preview shows


def test_old_orders_that_end_do_not_make_a_cycle_read_everything(system: System, tmp_path: Path) -> None:
    scripted(tmp_path, TWO)
    system.cycles(3)
    for _ in range(3):
        system.exchange.move(next_open=True)
    system.exchange.move(advance_seconds=600)
    scripted(tmp_path, {})
    system.cycles(1)
    old = [one for one in system.database.unsettled_intents() if one.origin is IntentOrigin.LEG]
    assert old
    for _ in range(60):
        answer = system.exchange.order(symbol="SPY", qty="1", side="buy", type="limit", limit_price="1.00", time_in_force="day")
        venue_id = answer.json()["id"]
        requests.delete(f"{system.exchange.url}/v2/orders/{venue_id}", headers=HEADERS, timeout=10)
    requests.delete(f"{system.exchange.url}/v2/orders/{old[0].venue_order_id}", headers=HEADERS, timeout=10)
    before = system.wire.calls
    system.cycles(1)
    assert system.wire.calls - before <= 8
    assert system.database.intent(old[0].client_order_id).is_settled


def test_a_preview_shows_everything_and_writes_nothing(system: System) -> None:
    first = system.trading.preview_reconciliation()
    assert (first.had_past, system.database.account()) == (False, None)
    system.cycles(1)
    assert system.exchange.order(symbol="AAPL", qty="5", **MANUAL).ok
    system.exchange.step()
    resting = {"side": "buy", "type": "limit", "limit_price": "1.00", "time_in_force": "gtc"}
    assert system.exchange.order(symbol="MSFT", qty="1", **resting).ok
    before = (system.database.portfolio(), system.database.orders(), system.database.reconciliations())
    seen = system.trading.preview_reconciliation()
    assert (seen.fills, len(seen.adopted), seen.unexplained) == (1, 1, ())
    assert (system.database.portfolio(), system.database.orders(), system.database.reconciliations()) == before
    system.exchange.fault(what="patch", path="/v2/account", patch={"cash": "0"}, times=1)
    assert [one.subject for one in system.trading.preview_reconciliation().unexplained] == ["cash"]
    done = system.trading.reconcile()
    assert (done.fills, done.portfolio.cash) == (1, seen.portfolio.cash)


def test_at_night_executions_are_compared_one_by_one(system: System) -> None:
    system.cycles(1)
    bought(system, AAPL="5")
    (booked,) = [record.fill for record in system.database.fills()]
    rows = venue(system.exchange, f"{STATEMENT}?page_size=100")
    rows[0]["price"] = "1.00"
    system.exchange.fault(what="patch", path=STATEMENT, patch=rows, times=None)
    books = system.trading.reconcile("nightly")
    assert [one.subject for one in books.unexplained] == [f"execution {booked.execution_id}"]
    assert state_of(system) == (TradingState.REDUCING, "books_differ")
    system.exchange.mend()
    assert system.trading.reconcile("nightly").unexplained == ()


def own_ledger(directory: Path) -> DatabaseService:
    """A ledger of its own in a file."""
    directory.mkdir(exist_ok=True)
    service = DatabaseService(Database(f"sqlite:///{directory / 'ledger.db'}"), WallClock())
    service.migrate()
    return service

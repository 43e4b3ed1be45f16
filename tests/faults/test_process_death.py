"""Death of the trading process on the order path: the rows A of the fault catalogue, each by its id.

Every case kills a real process with kill -9 and lets the exchange's own ledger say what came of it. Whatever else a case
looks at, all laws of the campaign must hold at its end. FAULTS=long has more variants of some.
"""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import requests
from sqlalchemy import select

from app.domain.order_state import OrderState
from app.domain.records import IntentOrigin, IntentRecord
from app.domain.trading_state import TradingState
from app.services.database_service import DatabaseService
from app.storage.database import Database
from app.storage.tables import ACCOUNT, FILLS, INTENTS, POSITIONS, VENUE_ORDER_IDS
from tests.faults import campaign_laws as laws
from tests.faults.controller import Process, Stack, Venue, exchange
from tests.faults.controller_process import SYMBOLS
from tests.processes.installation import installed
from tests.processes.test_up import assert_no_order_twice

pytestmark = [pytest.mark.processes, pytest.mark.timeout(240)]

SEED = 5
NOTHING: dict[str, float] = {}
RISING = dict.fromkeys(SYMBOLS[:8], 0.03)
FALLING = dict.fromkeys(SYMBOLS[:8], -0.03)
Make = Callable[..., Stack]
LONG = os.environ.get("FAULTS") == "long"
CLOSES = [(closes, how) for closes in range(1, 7) for how in ("between", "unread", "never_received")]


@pytest.fixture(scope="module")
def venue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Venue]:
    with exchange(tmp_path_factory.mktemp("exchange"), SEED) as venue:
        yield venue


@pytest.fixture
def made(venue: Venue, tmp_path: Path) -> Iterator[Make]:
    """A stack on a new run of the exchange and the database given. Unless a person traded beside it, the laws are asked at
    the end."""
    stacks = []

    def make(url: str, *, judged: bool = True) -> Stack:
        venue.reset()
        venue.shorten_calendar()
        venue.move(advance_seconds=600)
        stacks.append((Stack(venue, url, tmp_path, SEED), judged))
        return stacks[0][0]

    yield make
    for here, judged in stacks:
        here.kill_all()
        if judged:
            settle(here)
        here.close()


@pytest.fixture
def here(made: Make, tmp_path: Path, sqlite_template: Path) -> Stack:
    """On SQLite."""
    shutil.copyfile(sqlite_template, tmp_path / "ledger.db")
    return made(f"sqlite:///{tmp_path / 'ledger.db'}")


def settle(here: Stack) -> None:
    """Two quiet cycles; then every law holds and no order's fate is in doubt."""
    process = here.start()
    assert [process.do("cycle", NOTHING) for _ in range(2)] == ["completed"] * 2
    process.stop()
    ledger = here.venue.ledger()
    wrong = [fault for faults in laws.judge(ledger, here.database).values() for fault in faults]
    assert wrong + laws.limit_breaches(ledger, SEED) + laws.unsettled(here.database) == []


def dies(process: Process, *told: Any) -> None:
    assert process.do(*told) is None
    assert process.was_killed()


def while_held(here: Stack, *, number: int, when: str, then: str, forecasts: dict[str, float]) -> None:
    """Kill a process while the exchange holds its nth order, then release that one."""
    barrier = here.venue.barrier(method="POST", path="/v2/orders", number=number, when=when)
    process = here.start()
    process.begin("cycle", forecasts)
    while not here.venue.has_arrived(barrier):
        assert process.is_alive()
    process.kill()
    here.venue.release(barrier, then)


def entries(here: Stack) -> list[dict[str, Any]]:
    """Orders at the exchange without legs, as sent."""
    return [order for order in here.venue.ledger()["orders"] if order["leg"] is None]


def ours(database: DatabaseService) -> list[IntentRecord]:
    """Orders that were decided, in their order."""
    return [one for one in database.orders(1_000)[::-1] if one.origin is IntentOrigin.DECISION]


def states(here: Stack) -> list[OrderState]:
    return [one.state for one in ours(here.database)]


def holding(here: Stack) -> dict[str, Decimal]:
    """Seven positions, bought and booked; the process that did it has ended."""
    process = here.start()
    assert [process.do("cycle", RISING), process.do("cycle", NOTHING)] == ["completed"] * 2
    process.stop()
    held = {symbol: position.quantity for symbol, position in here.database.portfolio().positions.items()}
    assert len(held) == 7
    return held


def sold(here: Stack) -> list[str]:
    """Symbols of the sells that were sent, not of legs."""
    return [order["symbol"] for order in entries(here) if order["side"] == "sell"]


def test_A01_before_the_intent_is_committed(made: Make, database_url: str) -> None:
    here = made(database_url)
    dies(here.start(crash_at="before_intent"), "cycle", RISING)
    assert (entries(here), ours(here.database)) == ([], [])
    process = here.start()
    assert process.do("again", RISING) == "already_done"  # nobody knows what the dead one had done
    assert process.do("cycle", RISING) == "completed"
    assert len(entries(here)) == 7  # nothing is reserved for the dead


@pytest.mark.parametrize("point", ["after_intent", "before_claim", "after_claim", "before_post"] if LONG else ["after_claim"])
def test_A02_after_the_commit_and_before_the_order_is_sent(here: Stack, point: str) -> None:
    dies(here.start(crash_at=point), "cycle", RISING)
    stranded = [one.client_order_id for one in ours(here.database)]
    assert (len(stranded), entries(here)) == (7, [])
    process = here.start()
    assert process.do("again", RISING) == "already_done"
    assert process.do("cycle", NOTHING) == "completed"
    assert process.do("cycle", NOTHING) == "completed"
    assert (entries(here), set(states(here))) == ([], {OrderState.EXPIRED})
    assert process.do("cycle", RISING) == "completed"
    sent = {order["client_order_id"] for order in entries(here)}
    assert len(sent) == 7
    assert not sent & set(stranded)


def test_A03_on_its_way_and_never_received(here: Stack) -> None:
    while_held(here, number=1, when="before", then="reset", forecasts=RISING)
    first = ours(here.database)[0]
    assert (entries(here), first.state) == ([], OrderState.SENT)
    process = here.start()
    assert process.do("cycle", RISING) == "completed"
    assert here.database.intent(first.client_order_id).state is OrderState.SENT  # one look proves nothing
    assert first.symbol not in {order["symbol"] for order in entries(here)}
    assert process.do("cycle", NOTHING) == "completed"
    assert here.database.intent(first.client_order_id).state is OrderState.EXPIRED
    assert first.client_order_id not in {order["client_order_id"] for order in entries(here)}


@pytest.mark.parametrize("when", ["before", "after"])
def test_A04_accepted_and_the_answer_not_read(here: Stack, when: str) -> None:
    while_held(here, number=1, when=when, then="proceed", forecasts=RISING)
    first = ours(here.database)[0]
    assert (len(entries(here)), first.state) == (1, OrderState.SENT)
    assert here.start().do("cycle", RISING) == "completed"
    adopted = here.database.intent(first.client_order_id)
    assert (adopted.state, adopted.venue_order_id) == (OrderState.FILLED, entries(here)[0]["id"])
    assert [order["symbol"] for order in entries(here)].count(first.symbol) == 1


@pytest.mark.parametrize("point", ["after_post", "before_store"])
def test_A05_answer_read_and_not_stored(here: Stack, point: str) -> None:
    dies(here.start(crash_at=f"{point}:2"), "cycle", RISING)
    assert len(entries(here)) == 2
    assert states(here)[:3] == [OrderState.OPEN, OrderState.SENT, OrderState.READY]
    assert here.start().do("cycle", RISING) == "completed"
    assert states(here)[:3] == [OrderState.FILLED, OrderState.FILLED, OrderState.EXPIRED]
    assert len({order["symbol"] for order in entries(here)}) == len(entries(here))


def test_A06_filled_while_dead(here: Stack) -> None:
    process = here.start()
    assert process.do("cycle", RISING) == "completed"
    process.kill()
    here.venue.step(3600)
    assert here.database.fills() == []
    assert here.start().do("cycle", NOTHING) == "completed"
    ledger = here.venue.ledger()
    assert len(ledger["fills"]) >= 7
    assert laws.lost_fills(ledger, here.database) == []
    books = here.database.portfolio().positions
    theirs = {symbol: Decimal(held["average_entry_price"]) for symbol, held in ledger["positions"].items()}
    assert {symbol: held.average_entry_price for symbol, held in books.items()} == theirs


@pytest.mark.parametrize(("when", "then"), [("before", "reset"), ("before", "proceed"), ("after", "proceed")])
def test_A07_third_of_seven(here: Stack, when: str, then: str) -> None:
    while_held(here, number=3, when=when, then=then, forecasts=RISING)
    assert len(entries(here)) == (2 if then == "reset" else 3)
    process = here.start()
    for _ in range(3):
        assert process.do("cycle", RISING) == "completed"
    bought = [order["symbol"] for order in entries(here)]
    assert len(bought) == len(set(bought)) == 7
    assert set(here.database.portfolio().positions) == set(bought)


@pytest.mark.parametrize("point", ["in_fill_booking", "after_fill_booking"])
def test_A08_between_booking_and_position(made: Make, database_url: str, point: str) -> None:
    here = made(database_url)
    process = here.start()
    assert process.do("cycle", RISING) == "completed"
    cash = here.database.portfolio().cash
    process.do("arm", point)
    dies(process, "cycle", NOTHING)
    books, booked = here.database.portfolio(), here.database.fills()
    if point == "in_fill_booking":
        assert (booked, dict(books.positions), books.cash) == ([], {}, cash)
        assert all(one.booked_quantity == 0 for one in ours(here.database))
    else:
        assert laws.lost_fills(here.venue.ledger(), here.database) == []
        assert books.cash == Decimal(here.venue.ledger()["cash"])
    assert here.start().do("cycle", NOTHING) == "completed"
    assert laws.differences(here.venue.ledger(), here.database) == []


@pytest.mark.parametrize("point", ["in_risk_save", "after_risk_save"])
def test_A08_between_the_risk_state_and_its_history(made: Make, database_url: str, point: str) -> None:
    here = made(database_url)
    holding(here)
    process = here.start()
    process.do("arm", point)
    dies(process, "halt")
    state, (event, *_) = here.database.risk_state(), here.database.risk_events(1)
    assert state is not None
    expected = TradingState.ACTIVE if point == "in_risk_save" else TradingState.HALTED
    assert (state.trading_state, event.epoch, event.trading_state) == (expected, state.epoch, expected.name)
    before = len(entries(here))
    assert here.start().do("cycle", RISING) == "completed"
    after = here.database.risk_state()
    assert after is not None
    assert after.trading_state is expected
    assert point == "in_risk_save" or len(entries(here)) == before


def test_A09_filled_while_dead_and_protected_all_the_same(here: Stack) -> None:
    """The protective orders travel with the entry, so there is no moment at which a fill has none."""
    dies(here.start(crash_at="after_store:7"), "cycle", RISING)
    here.venue.step(600)
    ledger = here.venue.ledger()
    resting = {order["symbol"]: order for order in ledger["orders"] if order["leg"] and order["status"] not in laws.ENDED}
    assert set(ledger["positions"]) <= set(resting)
    assert here.start().do("cycle", NOTHING) == "completed"
    legs = {one.symbol for one in here.database.unsettled_intents() if one.origin is IntentOrigin.LEG}
    assert legs == set(here.database.portfolio().positions) == set(ledger["positions"])


@pytest.mark.parametrize(("closes", "how"), CLOSES if LONG else CLOSES[1::8])
def test_A10_selling_everything_after_some_closes(here: Stack, closes: int, how: str) -> None:
    held = holding(here)
    process = here.start()
    process.do("flatten")
    if how == "between":
        process.do("arm", f"in_flatten:{closes}")
        dies(process, "cycle", RISING)
    else:
        process.stop()
        when, then = ("after", "proceed") if how == "unread" else ("before", "reset")
        while_held(here, number=closes, when=when, then=then, forecasts=RISING)
    assert len(sold(here)) == (closes - 1 if how == "never_received" else closes)
    process = here.start()
    assert [process.do("cycle", RISING) for _ in range(4)] == ["completed"] * 4
    assert sorted(sold(here)) == sorted(held)
    assert here.venue.ledger()["positions"] == {}
    state = here.database.risk_state()
    assert state is not None
    assert state.trading_state is TradingState.HALTED
    assert len(entries(here)) == 14  # seven bought, seven sold, and not one more since


@pytest.mark.parametrize("point", ["in_cancel", "between_cancel_and_exit"])
def test_A11_protection_taken_off_and_the_exit_not_sent(here: Stack, point: str) -> None:
    holding(here)
    dies(here.start(crash_at=point), "cycle", FALLING)
    before = here.venue.ledger()
    resting = {order["symbol"] for order in before["orders"] if order["side"] == "sell" and order["status"] not in laws.ENDED}
    bare = set(before["positions"]) - resting
    assert (bool(bare), sold(here)) == (True, [])
    assert here.start().do("cycle", FALLING) == "completed"
    sent = [one for one in here.venue.ledger()["received"][len(before["received"]) :] if one["method"] == "POST"]
    by_name = {order["client_order_id"]: order["symbol"] for order in entries(here)}
    assert {by_name[one["client_order_id"]] for one in sent[:7]} == set(before["positions"])
    assert bare <= set(sold(here))


@pytest.mark.parametrize("moment", ["noted", "answered"] if LONG else ["noted"])
def test_A15_web_process_dies_over_a_request(tmp_path: Path, moment: str) -> None:
    """The whole installation: whoever got no answer asks again under the same key, and it was one cycle."""
    with installed(tmp_path, "--speed", "600", forecasts={"AAPL": 0.03}) as whole:
        whole.wait_until(lambda: whole.cycles() >= 1 and whole.answers())
        asking = threading.Thread(target=ask, args=(whole.port, "once"), daemon=True)
        asking.start()
        if moment == "answered":
            asking.join(30)
        whole.wait_until(lambda: whole.ledger("SELECT 1 FROM tasks WHERE kind = 'trading_cycle'") != [])
        whole.kill("api")
        whole.wait_until(whole.answers)
        first, second = ask(whole.port, "once"), ask(whole.port, "once")
        assert first == second
        done = f"SELECT 1 FROM tasks WHERE task_id = '{first}' AND state = 'done'"
        whole.wait_until(lambda: whole.ledger(done) != [])
        assert whole.ledger("SELECT count(*) FROM cycles WHERE trigger = 'manual'") == [(1,)]
    assert_no_order_twice(whole)


def ask(port: int, key: str) -> str | None:
    """The task of a cycle asked for by hand; None when nobody answered."""
    api = f"http://127.0.0.1:{port}/api"
    with suppress(requests.RequestException):
        login = requests.post(f"{api}/auth/login", json={"username": "admin", "password": "password"}, timeout=30)
        headers = {"Authorization": f"Bearer {login.json()['access_token']}", "Idempotency-Key": key}
        return requests.post(f"{api}/trading/auto/start", headers=headers, timeout=30).json()["task_id"]
    return None


def test_A20_killed_ten_times_while_it_reconciles(made: Make, tmp_path: Path, sqlite_template: Path) -> None:
    """The same as one clean start: orders, executions and holdings, with the ids that a clean start gives them."""
    shutil.copyfile(sqlite_template, tmp_path / "ledger.db")
    here = made(f"sqlite:///{tmp_path / 'ledger.db'}", judged=False)
    process = here.start()
    assert process.do("cycle", RISING) == "completed"
    process.kill()
    here.venue.place(symbol=SYMBOLS[-1], side="buy", type="market", qty=3, time_in_force="day")
    here.venue.step(600)
    here.venue.place(symbol=SYMBOLS[-2], side="buy", type="limit", limit_price="1", qty=1, time_in_force="gtc")
    shutil.copytree(tmp_path, tmp_path / "clean", ignore=shutil.ignore_patterns("clean"))
    clean = Stack(here.venue, f"sqlite:///{tmp_path / 'clean' / 'ledger.db'}", tmp_path / "clean", SEED)
    process = clean.start()
    assert process.do("reconcile") == ()
    process.stop()
    for point in ("in_reconcile", "in_fill_booking", "in_reconcile", "after_fill_booking", "in_reconcile") * 2:
        died = here.start(crash_at=point)
        if died.do("reconcile") is not None:  # the executions had been booked before an earlier death
            assert point in ("in_fill_booking", "after_fill_booking")
            died.kill()
    process = here.start()
    assert process.do("reconcile") == ()
    assert dump(here) == dump(clean)
    clean.close()


def dump(here: Stack) -> dict[str, list[tuple[Any, ...]]]:
    """The books without the wall times at which something was written down."""
    database = Database(here.database_url)
    tables = (INTENTS, VENUE_ORDER_IDS, FILLS, ACCOUNT, POSITIONS)
    noted = {"id", "updated_at", "booked_at"}
    queries = {table.name: select(*(column for column in table.c if column.name not in noted)) for table in tables}
    rows = database.read(lambda c: {name: c.execute(query).all() for name, query in queries.items()})
    database.close()
    return {name: sorted((tuple(row) for row in found), key=repr) for name, found in rows.items()}

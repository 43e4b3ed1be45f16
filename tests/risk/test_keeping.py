"""K02 and E07-E11: whatever happens to the records, no halt is lost, no peak and no baseline."""

from __future__ import annotations

import json
import shutil
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import pytest
from sqlalchemy import delete, text

from app.domain.errors import ConfigurationError, Conflict
from app.domain.ports import Account
from app.domain.trading_state import RiskState, TradingState, VenueHealth, more_cautious
from app.risk.limits import RiskLimits
from app.services.database_service import DatabaseService
from app.services.risk.mirror import RiskMirror
from app.services.risk_manager import RiskManager
from app.storage.database import Database
from app.storage.tables import RISK_STATE
from tests.databases import HandClock
from tests.engine.worlds import risk_of
from tests.risk.campaign import run_cases

NOW = datetime(2024, 3, 5, 15, 0, tzinfo=UTC)
SESSION = "2024-03-05"
ACCOUNT = Account(
    account_id="a",
    cash=Decimal(90_000),
    equity=Decimal(90_000),
    previous_close_equity=Decimal(95_000),
    buying_power=Decimal(90_000),
    trading_blocked=False,
)


def manager(ledger: DatabaseService, directory: Path, **changes: Any) -> RiskManager:
    options = {"database": ledger, "limits": RiskLimits(), "state_dir": directory, "clock": HandClock()} | changes
    return RiskManager(**options)


def current(ledger: DatabaseService, directory: Path, **changes: Any) -> RiskState:
    return manager(ledger, directory).current(ACCOUNT, SESSION, NOW, **changes)


def put(ledger: DatabaseService, directory: Path, state: RiskState) -> RiskState:
    ledger.save_risk_state(state)
    RiskMirror(directory / "risk_state.json").write(state)
    return state


def test_a_system_without_a_past_begins_active(ledger: DatabaseService, tmp_path: Path) -> None:
    state = current(ledger, tmp_path)
    assert (state.trading_state, state.baseline_equity, state.high_water_equity) == (TradingState.ACTIVE, 95_000, 90_000)
    assert current(ledger, tmp_path) == state
    assert RiskMirror(tmp_path / "risk_state.json").read().state == state


def test_empty_books_beside_a_venue_that_is_not_begin_halted(ledger: DatabaseService, tmp_path: Path) -> None:
    state = current(ledger, tmp_path, adopted=True)
    assert (state.trading_state, state.cause) == (TradingState.HALTED, "books_lost")
    assert manager(ledger, tmp_path).resume("ann", "checked").trading_state is TradingState.ACTIVE
    assert current(ledger, tmp_path).trading_state is TradingState.ACTIVE


@pytest.mark.row("I02")
def test_a_lost_row_is_rebuilt_from_the_history(ledger: DatabaseService, tmp_path: Path) -> None:
    """I02: the peak too."""
    kept = put(
        ledger, tmp_path, risk_of(TradingState.HALTED, high_water_equity=Decimal("123456.78"), disabled_symbols=("A", "B"))
    )
    ledger._db.write(lambda c: c.execute(delete(RISK_STATE)))
    (tmp_path / "risk_state.json").unlink()
    assert current(ledger, tmp_path) == replace(kept, epoch=1)
    assert any("rebuilt" in message.message for message in ledger.outbox_pending())


@pytest.mark.row("E07")
@pytest.mark.parametrize(
    "content", [b"", b"{}", b"null", b"[]", b'"x"', b"\x00\xff\x80", b'{"version": 2}', b"[" * 100_000, b"NaN"]
)
def test_a_damaged_mirror_without_a_database_starts_halted(ledger: DatabaseService, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "risk_state.json").write_bytes(content)
    state = current(ledger, tmp_path)
    assert (state.trading_state, state.cause) == (TradingState.HALTED, "state_lost")


@pytest.mark.row("E07")
@pytest.mark.parametrize("sound", [TradingState.ACTIVE, TradingState.HALTED])
def test_a_mirror_truncated_at_any_byte_changes_nothing(ledger: DatabaseService, tmp_path: Path, sound: TradingState) -> None:
    kept = put(ledger, tmp_path, risk_of(sound))
    whole = (tmp_path / "risk_state.json").read_bytes()
    for length in range(0, len(whole), 23):
        (tmp_path / "risk_state.json").write_bytes(whole[:length])
        assert current(ledger, tmp_path) == kept
        assert (tmp_path / "risk_state.json").read_bytes() == whole


@pytest.mark.row("E08")
def test_the_version_of_the_mirror(ledger: DatabaseService, tmp_path: Path) -> None:
    kept = put(ledger, tmp_path, risk_of())
    path = tmp_path / "risk_state.json"
    document = json.loads(path.read_text())
    path.write_text(json.dumps(document | {"version": 3}))
    with pytest.raises(ConfigurationError, match="newer version"):
        current(ledger, tmp_path)
    old = {name: value for name, value in document.items() if name not in {"version", "steady_readings", "disabled_symbols"}}
    path.write_text(json.dumps(old | {"trading_state": 2, "cause": "operator"}))
    assert current(ledger, tmp_path).trading_state is TradingState.HALTED
    assert replace(kept, trading_state=TradingState.HALTED, cause="operator", epoch=1) == ledger.risk_state()


@pytest.mark.row("E11")
def test_an_older_database_is_noticed_and_halts(ledger: DatabaseService, tmp_path: Path) -> None:
    """E11."""
    put(ledger, tmp_path, risk_of(epoch=4))
    RiskMirror(tmp_path / "risk_state.json").write(risk_of(epoch=9, high_water_equity=Decimal(200_000)))
    state = current(ledger, tmp_path)
    assert (state.trading_state, state.cause, state.high_water_equity) == (TradingState.HALTED, "state_lost", 200_000)
    assert state.epoch > 9


def test_an_older_mirror_tells_nothing(ledger: DatabaseService, tmp_path: Path) -> None:
    put(ledger, tmp_path, risk_of(TradingState.HALTED, epoch=4))
    ledger.save_risk_state(risk_of(epoch=5))
    assert current(ledger, tmp_path).trading_state is TradingState.ACTIVE


@pytest.mark.row("E10")
def test_what_a_dead_writer_left_is_cleaned_up(ledger: DatabaseService, tmp_path: Path) -> None:
    """E10."""
    draft = tmp_path / ".writing-dead"
    draft.mkdir()
    (draft / "risk_state.json").write_bytes(b"{")
    clock = HandClock(datetime.now(UTC) + timedelta(minutes=2))
    state = manager(ledger, tmp_path, clock=clock).current(ACCOUNT, SESSION, NOW)
    assert not draft.exists()
    assert state.trading_state is TradingState.ACTIVE


@pytest.mark.row("E09")
def test_two_writers_of_the_mirror_never_mix(tmp_path: Path) -> None:
    """E09."""
    mirror, seen = RiskMirror(tmp_path / "risk_state.json"), []
    states = [risk_of(epoch=1), risk_of(TradingState.HALTED, epoch=2, disabled_symbols=tuple(f"S{i}" for i in range(300)))]
    mirror.write(states[0])
    writers = [threading.Thread(target=lambda s=s: [mirror.write(s) for _ in range(25)]) for s in states]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        seen.append(mirror.read().state)
    for writer in writers:
        writer.join()
    assert all(state in states for state in seen)
    assert list(tmp_path.iterdir()) == [mirror.path]


@pytest.mark.row("I16")
def test_a_resume_while_a_limit_holds_is_refused_or_rebased(ledger: DatabaseService, tmp_path: Path) -> None:
    """I16."""
    risk = manager(ledger, tmp_path)
    put(ledger, tmp_path, risk_of(TradingState.HALTED, cause="drawdown", high_water_equity=Decimal(100_000)))
    _point(ledger, "80000")
    with pytest.raises(Conflict, match="peak"):
        risk.resume("ann", "I want to")
    state = risk.resume("ann", "I accept it", accept_losses=True)
    assert (state.trading_state, state.high_water_equity, state.baseline_equity) == (TradingState.ACTIVE, 80_000, 80_000)
    event = ledger.risk_events(1)[0]
    assert (event.actor, event.detail, event.previous_state) == ("ann", "I accept it", "HALTED")


@pytest.mark.row("I17")
def test_a_disabled_symbol_stays_so_until_a_person_enables_it(ledger: DatabaseService, tmp_path: Path) -> None:
    """I17."""
    put(ledger, tmp_path, risk_of(disabled_symbols=("A", "B")))
    assert current(ledger, tmp_path).disabled_symbols == ("A", "B")
    assert manager(ledger, tmp_path).enable("A", "ann").disabled_symbols == ("B",)
    with pytest.raises(Conflict):
        manager(ledger, tmp_path).enable("A", "ann")


def test_what_forbids_an_entry_at_the_last_instant(ledger: DatabaseService, tmp_path: Path) -> None:
    risk = manager(ledger, tmp_path)
    assert "no risk state" in str(risk.entries_forbidden())
    put(ledger, tmp_path, risk_of())
    assert risk.entries_forbidden() is None
    risk.kill_file.path.write_text("by hand\n")
    assert str(risk.entries_forbidden()).endswith("by hand")
    risk.kill_file.path.write_bytes(b"\xff\x00")
    assert risk.entries_forbidden() is not None
    risk.kill_file.remove()
    failing = manager(ledger, tmp_path, health=lambda: VenueHealth(calls=20, errors=5))
    assert "venue_errors" in str(failing.entries_forbidden())
    risk.halt("ann")
    assert "HALTED" in str(risk.entries_forbidden())


def test_the_more_cautious_of_two() -> None:
    timed = risk_of(TradingState.REDUCING, cause="daily_loss", until=NOW)
    soft = risk_of(TradingState.REDUCING, cause="equity_unreliable", epoch=7)
    assert more_cautious(timed, soft).until == more_cautious(soft, timed).until == NOW
    assert more_cautious(timed, risk_of(TradingState.REDUCING)).cause == "operator"
    assert more_cautious(timed, timed) is timed


def _point(ledger: DatabaseService, equity: str) -> None:
    sql = (
        "INSERT INTO cycles (cycle_id, slot, state, trigger, owner, started_at, detail, timings) "
        "VALUES ('c', '2024-03-05 15:00:00', 'done', 't', 'o', '2024-03-05 15:00:00', '', '{}')"
    )
    point = (
        "INSERT INTO equity_curve (cycle_id, at, cash, positions_value, equity) "
        f"VALUES ('c', '2024-03-05 15:00:00.000000', {equity}, '0', {equity})"
    )
    account = (
        "INSERT INTO account (id, account_id, opened_at, opening_cash, cash, realized) "
        "VALUES (1, 'a', '2024-03-05 15:00:00', '1', '1', '0')"
    )
    ledger._db.write(lambda c: [c.execute(text(statement)) for statement in (sql, point, account)])


class Installation:
    """A database file and a state directory that misfortune befalls."""

    def __init__(self, template: Path, directory: Path, random: Random) -> None:
        self.random, self.directory, self.file = random, directory, directory / "ledger.db"
        shutil.copyfile(template, self.file)
        self.mirror = directory / "risk_state.json"
        self.states: list[RiskState] = []
        self.mirrors: list[bytes] = []
        self.restored = self.gone = False

    def live(self, steps: int) -> RiskState:
        """Some changes of state, the last a halt of some kind; a process may die before it mirrors one."""
        ledger = self.open()
        state = risk_of(high_water_equity=Decimal(100_000))
        for epoch in range(steps):
            peak = state.high_water_equity + self.random.randrange(5_000)
            word = self.random.choice(list(TradingState)) if epoch < steps - 1 else self.random.choice(list(TradingState)[1:])
            state = risk_of(
                word, epoch=epoch, high_water_equity=peak, baseline_equity=Decimal(self.random.randrange(90_000, 99_999))
            )
            ledger.save_risk_state(state)
            dies = self.random.random() < 0.3
            if not dies:
                RiskMirror(self.mirror).write(state)
            self.states.append(state)
            if self.mirror.exists():
                self.mirrors.append(self.mirror.read_bytes())
            if epoch == steps - 2:
                ledger.close()
                shutil.copyfile(self.file, self.directory / "backup.db")
                ledger = self.open()
        ledger.close()
        return state

    def open(self) -> DatabaseService:
        return DatabaseService(Database(f"sqlite:///{self.file}"), HandClock())

    def suffer(self) -> None:
        """One misfortune. The last knowledge of the halt is never destroyed twice over: nobody could know it then."""
        mirror_is_newest = self.mirror.exists() and json_epoch(self.mirror) == self.states[-1].epoch
        kind = self.random.randrange(6)
        if kind == 0 and not self.restored:
            self.mirror.unlink(missing_ok=True)
        elif kind == 1 and not self.restored and self.mirror.exists():
            content = self.mirror.read_bytes()
            self.mirror.write_bytes(content[: self.random.randrange(len(content) + 1)])
        elif kind == 2 and not self.restored:
            self.mirror.write_bytes(self.random.choice([b"", b"{}", b"null", b"\x00", self.random.randbytes(50)]))
        elif kind == 3 and not self.restored and self.mirrors:
            self.mirror.write_bytes(self.random.choice(self.mirrors))
        elif kind == 4 and not self.restored:
            ledger = self.open()
            ledger._db.write(lambda c: c.execute(delete(RISK_STATE)))
            ledger.close()
        elif kind == 5 and mirror_is_newest:
            self.restored = True
            for name in ("ledger.db", "ledger.db-wal", "ledger.db-shm"):
                (self.directory / name).unlink(missing_ok=True)
            shutil.copyfile(self.directory / "backup.db", self.file)


def json_epoch(path: Path) -> int:
    state = RiskMirror(path).read().state
    return state.epoch if state else -1


@pytest.mark.row("E07", "I02")
def test_no_halt_is_lost(sqlite_template: Path, tmp_path: Path) -> None:
    """K02."""

    def case(random: Random) -> None:
        directory = tmp_path / str(random.random())
        directory.mkdir()
        installation = Installation(sqlite_template, directory, random)
        last = installation.live(random.randint(2, 4))
        for _ in range(random.randint(1, 3)):
            for _ in range(random.randint(1, 3)):
                installation.suffer()
            ledger = installation.open()
            state = current(ledger, directory)
            again = current(ledger, directory)
            ledger.close()
            assert state.trading_state >= last.trading_state, (last, state)
            assert state.high_water_equity >= last.high_water_equity
            assert again == state
            last, installation.restored = state, True  # a second restore would be of a database that never knew
            installation.states.append(state)
        shutil.rmtree(directory)

    run_cases(15, case)

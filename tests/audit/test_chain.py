"""The chain: what is written stands, and whatever is done to it shows."""

from __future__ import annotations

import json
from concurrent.futures import ProcessPoolExecutor
from decimal import Decimal
from pathlib import Path

import pytest
import structlog
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import insert, select, text
from sqlalchemy.exc import DatabaseError

from app.domain.audit import FIELDS, ORIGIN, Head, Kind, seal
from app.domain.errors import ConfigurationError, Conflict
from app.services.audit.audit_service import AuditService
from app.services.database_service import DatabaseService
from app.storage import audit
from app.storage.audit import Journal
from app.storage.audit_anchor import Anchor
from app.storage.database import Database
from app.storage.tables import AUDIT_HEAD, AUDIT_LOG
from tests.audit.contenders import write_events
from tests.databases import HandClock, unguarded, wipe
from tests.storage.made import T0, decided, fill, order, venue_order

EVENTS = 12
COLUMNS = (*FIELDS, "previous", "hash")


@pytest.fixture
def anchored(database: Database, hand_clock: HandClock, tmp_path: Path) -> DatabaseService:
    return DatabaseService(database, hand_clock, journal=Journal(clock=hand_clock, anchor=Anchor(tmp_path / "head")))


def written(database: Database, count: int = EVENTS) -> None:
    for number in range(count):
        database.write(lambda c, n=number: audit.record(c, Kind.SEEN, {"n": n, "text": "ünïcode\0"}, at=T0, symbol=f"S{n}"))


def fault(ledger: DatabaseService, **bounds: int) -> str:
    broken = AuditService(ledger).verify(**bounds).broken
    return "" if broken is None else broken.what


def rows(database: Database) -> list[dict]:
    return database.read(lambda c: [dict(row) for row in c.execute(select(AUDIT_LOG).order_by(AUDIT_LOG.c.seq)).mappings()])


def tamper(database: Database, *commands: str, **values: object) -> None:
    """With the guards off, as someone with the keys of the database may."""

    def work(connection):
        with unguarded(connection):
            for command in commands:
                connection.execute(text(command), values if ":" in command else {})

    database.write(work)


def test_the_chain_holds_and_every_event_names_its_code_and_settings(database, hand_clock):
    config = {"risk_max_positions": 7}
    ledger = DatabaseService(
        database, hand_clock, journal=Journal(clock=hand_clock, code_version="1.2", config_digest="ab", config=config)
    )
    written(database)
    found = AuditService(ledger).verify()
    assert (found.events, found.broken) == (EVENTS + 1, None)
    first, *others = rows(database)
    assert first["kind"] == "started"
    assert json.loads(first["payload"])["config"] == config
    assert {(row["code_version"], row["config_digest"]) for row in others} == {("1.2", "ab")}
    assert first["previous"] == ORIGIN
    assert found.head == Head(seq=EVENTS + 1, hash=others[-1]["hash"])
    own = [first[name].encode() for name in FIELDS]
    assert first["hash"] == seal(ORIGIN.encode(), 1, own)


def test_a_new_version_or_configuration_is_told_once(database, hand_clock):
    for version in ("1", "1", "2"):
        DatabaseService(database, hand_clock, journal=Journal(clock=hand_clock, code_version=version))
        written(database, 2)
    assert [row["code_version"] for row in rows(database) if row["kind"] == "started"] == ["1", "2"]


@pytest.mark.parametrize(
    "command",
    [
        "UPDATE audit_log SET payload = '{}' WHERE seq = 3",
        "UPDATE audit_log SET hash = hash",
        "DELETE FROM audit_log WHERE seq = 13",
        "DELETE FROM audit_log",
        "DELETE FROM audit_head",
        "UPDATE audit_head SET seq = 3",
        "UPDATE audit_head SET hash = 'x'",
        "TRUNCATE audit_log",
        "INSERT OR REPLACE INTO audit_log SELECT * FROM audit_log WHERE seq = 3",
        "INSERT OR REPLACE INTO audit_head SELECT * FROM audit_head",
    ],
)
def test_the_database_refuses_changes_of_what_stands(database, hand_clock, command):
    if command.startswith(("TRUNCATE", "INSERT OR")) and database.is_sqlite == command.startswith("TRUNCATE"):
        pytest.skip("no such command there")
    ledger = DatabaseService(database, hand_clock)
    written(database)
    with pytest.raises(DatabaseError, match="append-only"):
        database.write(lambda c: c.execute(text(command)))
    assert fault(ledger) == ""


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_single_bit_is_noticed(database, hand_clock, data):
    wipe(database)
    ledger = DatabaseService(database, hand_clock, journal=Journal(clock=hand_clock))
    written(database, 4)
    seq, column = data.draw(st.integers(1, 5)), data.draw(st.sampled_from(COLUMNS))
    old = rows(database)[seq - 1][column].encode()
    if old:
        bit = data.draw(st.integers(0, len(old) * 8 - 1))
        new = bytearray(old)
        new[bit // 8] ^= 1 << bit % 8
    else:
        new = bytearray([data.draw(st.integers(1, 127))])
    if database.is_sqlite:
        changed = f"UPDATE audit_log SET {column} = CAST(:value AS TEXT) WHERE seq = :seq"
        tamper(database, changed, value=bytes(new), seq=seq)
    else:
        value = new.decode(errors="replace").replace("\0", "?")
        tamper(database, f"UPDATE audit_log SET {column} = :value WHERE seq = :seq", value=value, seq=seq)
    broken = AuditService(ledger).verify().broken
    assert broken is not None
    assert broken.seq in {seq, seq + 1}  # a changed hash is told where it is, or where the next one names it
    assert broken.what


def test_what_was_done_is_said(anchored, database):
    written(database)
    kept = rows(database)
    last = len(kept)
    assert fault(anchored) == ""
    for commands, said in (
        (["UPDATE audit_log SET symbol = 'EVIL' WHERE seq = 5"], "event 5: its content has the hash"),
        (["DELETE FROM audit_log WHERE seq = 5"], "event 6: event 5 is missing"),
        (["DELETE FROM audit_log WHERE seq IN (4, 5)"], "event 6: events 4 to 5 are missing"),
        (["DELETE FROM audit_log WHERE seq = 1"], "event 2: event 1 is missing"),
        (
            [
                "UPDATE audit_log SET seq = 100 WHERE seq = 5",
                "UPDATE audit_log SET seq = 5 WHERE seq = 6",
                "UPDATE audit_log SET seq = 6 WHERE seq = 100",
            ],
            "event 5: it names",
        ),
        ([f"DELETE FROM audit_log WHERE seq = {last}"], f"ends with event {last - 1}, its head names event {last}"),
        (["DELETE FROM audit_log"], "ends with event 0"),
        (["DELETE FROM audit_head"], "the head of the log is missing"),
    ):
        tamper(database, *commands)
        assert said in fault(anchored)
        _restore(database, kept)
    assert fault(anchored) == ""


def test_a_log_cut_short_with_its_head_does_not_fit_the_file(anchored, database, tmp_path):
    written(database)
    kept = rows(database)
    shorter = kept[-3]
    cut = f"DELETE FROM audit_log WHERE seq > {shorter['seq']}"
    tamper(database, cut, f"UPDATE audit_head SET seq = {shorter['seq']}, hash = '{shorter['hash']}'")
    assert f"but event {shorter['seq'] + 1} was committed" in fault(anchored)
    written(database, 70)  # and it stays noticed when the log has grown past the place again
    (message,) = anchored.outbox_pending()
    assert f"event {len(kept)} was committed" in message.message
    assert f"event {shorter['seq'] + 1} tells" in fault(anchored)
    assert fault(anchored, first=shorter["seq"] + 2) == ""  # a person has looked at it


def test_an_event_slipped_in_and_a_chain_made_anew_are_noticed(anchored, database):
    written(database)
    kept = rows(database)
    forged, link = [], ORIGIN
    for row in kept:
        values = {**row, "symbol": "EVIL"} if row["seq"] == 4 else dict(row)
        fields = [values[name].encode() for name in FIELDS]
        values |= {"previous": link, "hash": seal(link.encode(), values["seq"], fields)}
        link = values["hash"]
        forged.append(values)
    _restore(database, forged)
    tamper(database, f"UPDATE audit_head SET hash = '{link}', seq = {len(kept)}")
    assert "it was rewritten" in fault(anchored)
    _restore(
        database, [*kept[:4], {**kept[4], "seq": 5, "payload": "{}"}, *({**row, "seq": row["seq"] + 1} for row in kept[4:])]
    )
    assert "event 5: its content" in fault(anchored)


def test_a_part_can_be_checked(anchored, database):
    written(database)
    tamper(database, "UPDATE audit_log SET symbol = 'EVIL' WHERE seq = 5")
    assert fault(anchored, first=6) == ""
    assert fault(anchored, last=4) == ""
    assert AuditService(anchored).verify(first=2, last=4).events == 3
    assert "event 5" in fault(anchored, first=2, last=5)


def test_nothing_is_told_of_a_transaction_that_failed(database, hand_clock):
    ledger = DatabaseService(database, hand_clock)

    def fails(connection):
        audit.record(connection, Kind.SEEN, {})
        raise Conflict("no")

    with pytest.raises(Conflict):
        database.write(fails)
    assert rows(database) == []
    assert fault(ledger) == ""


def test_without_its_head_nothing_is_written(database, hand_clock):
    DatabaseService(database, hand_clock)
    tamper(database, "DELETE FROM audit_head")
    with pytest.raises(ConfigurationError, match="lost its head"):
        written(database, 1)
    assert rows(database) == []


def test_secrets_and_odd_values_do_not_get_in(database, hand_clock):
    DatabaseService(database, hand_clock, journal=Journal(clock=hand_clock, secrets=["tops3cret-value"]))
    payload = {
        "error": "key tops3cret-value refused",
        "auth": "Bearer abcdefghijkl",
        "nan": float("nan"),
        "lone": "\ud800",
        "d": Decimal(1),
    }
    database.write(lambda c: audit.record(c, Kind.ANSWERED, payload, symbol="A\0\ud800"))
    row = rows(database)[-1]
    assert "tops3cret" not in row["payload"]
    assert "abcdefghijkl" not in row["payload"]
    assert json.loads(row["payload"])["nan"] is None
    assert row["symbol"] == "A\ufffd?"


def test_causes_lead_back_to_the_cycle(database, hand_clock):
    structlog.contextvars.clear_contextvars()  # a request of another test may still be in the air
    ledger = DatabaseService(database, hand_clock)
    decided(ledger, order())
    ledger.claim_intent("at-aapl-1", cycle_id="c1", now=T0)
    ledger.adopt_order(venue_order())
    ledger.book_fills([fill()])
    told = {row["seq"]: row for row in rows(database)}
    (filled,) = (row for row in told.values() if row["kind"] == "filled")
    path = [filled]
    while path[-1]["causation_id"]:
        path.append(told[int(path[-1]["causation_id"])])
    kinds = ["filled", "answered", "sent", "decided", "decided", "seen", "started", "started"]
    assert [row["kind"] for row in path] == kinds
    assert {row["correlation_id"] for row in path[3:7]} == {"c1"}


def test_several_processes_write_one_chain(database, database_url, hand_clock):
    with ProcessPoolExecutor(3) as pool:
        counts = list(pool.map(write_events, [database_url] * 3, ["a", "b", "c"], [15] * 3))
    ledger = DatabaseService(database, hand_clock)
    found = AuditService(ledger).verify()
    assert found.broken is None
    told = [json.loads(row["payload"]).get("by") for row in rows(database)]
    assert sorted(filter(None, told)) == sorted("abc" * 15)
    assert sum(counts) == 45


def _restore(database: Database, kept: list[dict]) -> None:
    def work(connection):
        with unguarded(connection):
            connection.execute(text("DELETE FROM audit_log"))
            connection.execute(text("DELETE FROM audit_head"))
            connection.execute(insert(AUDIT_LOG), kept)
            newest = kept[-1]
            head = {"id": 1, "seq": newest["seq"], "hash": newest["hash"], "at": "", "origin": ""}
            connection.execute(insert(AUDIT_HEAD).values(head))

    database.write(work)

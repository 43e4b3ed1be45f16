"""The audit log on disk: every fact is told in the transaction that writes it, in one chain over all processes.

`record` only notes what happened; `Journal.append`, which `Database.write` calls right before the commit, numbers and seals
what the transaction noted. Whoever appends holds the row of the head, so the chain has one writer at a time; triggers refuse
any change of what stands. After the commit the newest hash goes to a file beside the database, which a log cut short no
longer fits.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import structlog
from sqlalchemy import Connection, bindparam, func, insert, select, update

from app import __version__
from app.domain.audit import FIELDS, Head, Kind, instant, seal
from app.domain.errors import ConfigurationError
from app.domain.ports import Clock
from app.runtime.clock import WallClock
from app.runtime.redaction import Redactor
from app.storage import outbox
from app.storage.audit_anchor import Anchor
from app.storage.columns import plain
from app.storage.tables import AUDIT_HEAD, AUDIT_LOG

PENDING = "audit_events"  # the execution option of a write transaction that holds what it noted

_LAST_OF_CYCLE = select(func.max(AUDIT_LOG.c.seq)).where(AUDIT_LOG.c.cycle_id == bindparam("cycle")).scalar_subquery()
_HEAD = select(
    AUDIT_HEAD.c.seq, AUDIT_HEAD.c.hash, AUDIT_HEAD.c.at, AUDIT_HEAD.c.origin, _LAST_OF_CYCLE.label("last_of_cycle")
).with_for_update(of=AUDIT_HEAD)
_APPEND = insert(AUDIT_LOG)
_ADVANCE = update(AUDIT_HEAD).values({name: bindparam(f"new_{name}") for name in ("seq", "hash", "at", "origin")})
_LAST_OF_ORDERS = (
    select(AUDIT_LOG.c.client_order_id, func.max(AUDIT_LOG.c.seq))
    .where(AUDIT_LOG.c.client_order_id.in_(bindparam("names", expanding=True)))
    .group_by(AUDIT_LOG.c.client_order_id)
)
# Texts without any of these hold nothing that looks like a secret; searching for the shapes themselves takes longer.
_SIGNS = ("://", "eyj", "bearer", "apca-api")


@dataclass(slots=True, kw_only=True)
class Noted:
    """Something that happened in a transaction that is not over yet."""

    kind: Kind
    payload: Mapping[str, Any]
    at: datetime | None
    subject: Mapping[str, str]


def record(
    connection: Connection,
    kind: Kind,
    payload: Mapping[str, Any],
    *,
    at: datetime | None = None,
    cycle_id: str | None = None,
    client_order_id: str | None = None,
    venue_order_id: str | None = None,
    execution_id: str | None = None,
    symbol: str | None = None,
) -> None:
    """Tells the log what this transaction does; both are committed, or neither. Only inside `Database.write`.

    at: venue time, None where it is not known here. payload: plain values, decimals, instants, dataclasses; no secrets."""
    noted: list[Noted] = connection.get_execution_options()[PENDING]
    subject = {
        "cycle_id": cycle_id or "",
        "client_order_id": client_order_id or "",
        "venue_order_id": venue_order_id or "",
        "execution_id": execution_id or "",
        "symbol": symbol or "",
    }
    noted.append(Noted(kind=kind, payload=payload, at=at, subject=subject))


@dataclass(frozen=True, slots=True, kw_only=True)
class Journal:
    """Who writes, and what it writes with.

    config: the settings in force without secrets, told in full where a new code_version or config_digest first appears.
    secrets: values that must not get into the log. anchor: where the newest hash is kept beside the database."""

    clock: Clock = field(default_factory=WallClock)
    code_version: str = __version__
    config_digest: str = ""
    config: Mapping[str, Any] = field(default_factory=dict)
    anchor: Anchor | None = None
    secrets: Sequence[str] = ()

    def append(self, connection: Connection, noted: Sequence[Noted]) -> Callable[[], None]:
        """Seals what was noted into the log; what it returns is to be called once the transaction is committed."""
        if not noted:
            return _nothing
        # Read before the head: whoever noted a place there had committed it.
        known = self.anchor.newest() if self.anchor is not None else Head()
        cycle = next((one.subject["cycle_id"] for one in noted if one.subject["cycle_id"]), None)
        head = connection.execute(_HEAD, {"cycle": cycle}).one_or_none()
        if head is None:
            raise ConfigurationError("the audit log has lost its head; nothing is written until a person has looked at it")
        origin, lost = f"{self.code_version}|{self.config_digest}", known.seq > head.seq
        if head.origin != origin:
            noted = [self._origin(), *noted]
        if lost:
            noted = [self._loss(connection, known, head.seq), *noted]
        rows, latest = self._sealed(noted, head, _Causes(connection, noted, head.last_of_cycle))
        connection.execute(_APPEND, rows)
        newest = Head(seq=rows[-1]["seq"], hash=rows[-1]["hash"])
        connection.execute(
            _ADVANCE, {"new_seq": newest.seq, "new_hash": newest.hash, "new_at": latest, "new_origin": _storable(origin)}
        )
        return lambda: self._note_head(newest, anew=lost)

    def _sealed(self, noted: Sequence[Noted], head: Any, causes: _Causes) -> tuple[list[dict[str, Any]], str]:
        """The rows to append, and the newest venue time known after them."""
        context = structlog.contextvars.get_contextvars()
        same = {
            "recorded_at": instant(self.clock.now()),
            "code_version": _storable(self.code_version),
            "config_digest": self.config_digest,
        }
        link, latest = head.hash, head.at
        rows = []
        for seq, one in enumerate(noted, head.seq + 1):
            at = instant(one.at) if one.at else latest
            latest = max(latest, at)
            fields = {
                **same,
                "at": at,
                "kind": one.kind.value,
                **{name: _storable(value) for name, value in one.subject.items()},
                "correlation_id": _correlation(context, one),
                "causation_id": causes.of(one, seq),
                "payload": self._json(one.payload),
            }
            own = seal(link.encode(), seq, [fields[name].encode() for name in FIELDS])
            rows.append({"seq": seq, **fields, "previous": link, "hash": own})
            link = own
        return rows, latest

    def _origin(self) -> Noted:
        """A program or configuration that this log has not been written with before."""
        payload = {"code_version": self.code_version, "config_digest": self.config_digest, "config": self.config}
        return Noted(kind=Kind.STARTED, payload=payload, at=None, subject=dict.fromkeys(_SUBJECTS, ""))

    def _loss(self, connection: Connection, known: Head, last: int) -> Noted:
        """The log ends before what the file beside it has seen: it must not grow over the gap unnoticed."""
        text = (
            f"The audit log ends with event {last}, but event {known.seq} was committed: its end was cut off, or this is an "
            "older or another database."
        )
        outbox.enqueue(connection, "alert", text, {"last": last, "known": known.seq}, self.clock.now())
        payload = {"last": last, "known": known.seq, "known_hash": known.hash, "detail": text}
        return Noted(kind=Kind.LOST, payload=payload, at=None, subject=dict.fromkeys(_SUBJECTS, ""))

    def _note_head(self, head: Head, *, anew: bool) -> None:
        if self.anchor is not None:
            self.anchor.note(head, anew=anew)

    def _json(self, payload: Mapping[str, Any]) -> str:
        """Canonical JSON: sorted names, no spaces, ASCII; what looks like a secret is hidden."""
        try:
            text = _ENCODE(payload)
        except ValueError:  # an infinity or not-a-number somewhere
            text = _ENCODE(plain(payload))
        lower = text.lower()
        if not any(sign in lower for sign in _SIGNS) and not any(secret in text for secret in self.secrets):
            return text
        return _ENCODE(Redactor(self.secrets).value(json.loads(text)))


class _Causes:
    """Which event led to each of those noted: for an order its own last one, or what its cycle did before it in this
    transaction; else what came before in this transaction, or last in the same cycle."""

    def __init__(self, connection: Connection, noted: Sequence[Noted], last_of_cycle: int | None) -> None:
        names = {one.subject["client_order_id"] for one in noted} - {""}
        rows = connection.execute(_LAST_OF_ORDERS, {"names": sorted(names)}).all() if names else []
        self._of_order: dict[str, int] = {row[0]: row[1] for row in rows}
        self._general: int | None = None
        self._before = last_of_cycle

    def of(self, one: Noted, seq: int) -> str:
        """The cause of the event that gets this number, as it is stored."""
        name = one.subject["client_order_id"]
        cause = self._of_order.get(name, self._general or self._before) if name else self._before
        if name:
            self._of_order[name] = seq
        elif one.subject["cycle_id"]:
            self._general = seq
        self._before = seq
        return "" if cause is None else str(cause)


_SUBJECTS = ("cycle_id", "client_order_id", "venue_order_id", "execution_id", "symbol")


def _correlation(context: Mapping[str, Any], one: Noted) -> str:
    return _storable(str(context.get("cycle_id") or context.get("request_id") or one.subject["cycle_id"]))


def _storable(text: str) -> str:
    """Without what a database cannot hold, and what separates the fields of an event."""
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode("utf-8")


def _nothing() -> None:
    pass


_ENCODE = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False, default=plain).encode

"""Answers of the venue that the database does not take: a file each, on the disk before anything else happens.

Losing one would lose nothing but time, as an order without an answer is looked up; keeping it saves the look-up and holds
even if the venue stays silent.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import structlog
from pydantic import TypeAdapter, ValidationError

from app.domain.errors import Conflict, NotFound
from app.domain.order import VenueOrder
from app.domain.order_state import OrderEvent
from app.runtime.whole_file import replace_file

_log = structlog.get_logger()
_SUFFIX = ".answer.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the venue said to one order: `settle_intent`'s arguments."""

    client_order_id: str
    event: OrderEvent
    venue_order: VenueOrder | None
    error: str | None


_ANSWER: TypeAdapter[Answer] = TypeAdapter(Answer)


class AnswerSpool:
    """A directory of answers; the newest of each order."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def keep(self, answer: Answer) -> None:
        """Durable when it returns. A disk that does not take it is only told to the log: the order is looked up then."""
        name = hashlib.blake2b(answer.client_order_id.encode(), digest_size=12).hexdigest()
        try:
            replace_file(self._directory / f"{name}{_SUFFIX}", _ANSWER.dump_json(answer, indent=2))
        except OSError as fault:
            _log.critical("answer_not_kept", client_order_id=answer.client_order_id, error=str(fault))

    def read_back(self, settle: Callable[[Answer], None]) -> int:
        """Hands each answer to `settle` and removes it once that has returned; how many. What `settle` cannot use any more
        (the order has moved on) is logged and removed, what nobody can read is set aside."""
        count = 0
        for path in sorted(self._directory.glob(f"*{_SUFFIX}")):
            try:
                answer = _ANSWER.validate_json(path.read_bytes())
            except ValidationError as fault:
                _log.error("answer_unreadable", file=path.name, error=str(fault)[:200])
                path.replace(path.with_name(f"{path.name}.unreadable"))
                continue
            try:
                settle(answer)
            except (Conflict, NotFound) as fault:
                _log.error("answer_outdated", client_order_id=answer.client_order_id, error=fault.message)
            path.unlink(missing_ok=True)
            count += 1
        return count

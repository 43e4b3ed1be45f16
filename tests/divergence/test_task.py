"""The nightly comparison leaves a record that the API shows."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from types import SimpleNamespace
from typing import Any

import pytest

from app.domain.errors import InvalidInput
from app.tasks import process
from app.tasks.divergence import compare_with_backtest
from tests.tasks.fakes import fake_services


class FakeDivergence:
    """Remembers what was asked for."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.answer: Any = SimpleNamespace(plain=lambda: {"gap": "0"})

    def nightly(self, progress: Any) -> Any:
        progress(1, 1, "matched again")
        self.asked.append("nightly")
        return self.answer

    def report(self, first: date | None, last: date | None, *, progress: Any) -> Any:
        self.asked.append((first, last))
        if first is not None and last is not None and first > last:
            raise InvalidInput("swap the two dates")
        return self.answer


@pytest.fixture
def services() -> Iterator[Any]:
    made = fake_services()
    made.divergence = FakeDivergence()
    process.close()
    process.install(lambda: made)
    yield made
    process.close()


def deliver(message_id: str) -> None:
    task: Any = compare_with_backtest
    task.push_request(id=message_id, retries=0, called_directly=False, is_eager=True, args=(), kwargs={})
    try:
        task.run()
    finally:
        task.pop_request()


def test_a_night_is_compared_once_and_recorded(services: Any) -> None:
    deliver("m-1")
    deliver("m-1")
    (record,) = services.database.records.values()
    assert (record.kind, record.state, record.result, record.progress) == (
        "divergence",
        "done",
        {"gap": "0"},
        (1, 1, "matched again"),
    )
    assert services.divergence.asked == ["nightly"]


def test_a_night_without_cycles_says_so(services: Any) -> None:
    services.divergence.answer = None
    deliver("m-1")
    (record,) = services.database.records.values()
    assert (record.state, record.result) == ("done", {"nothing_recorded": True})


def test_a_period_may_be_asked_for(services: Any) -> None:
    asked = services.database.create_task("divergence", {"first": "2024-01-02", "last": "2024-01-05"})
    deliver(asked)
    assert services.divergence.asked == [(date(2024, 1, 2), date(2024, 1, 5))]
    wrong = services.database.create_task("divergence", {"first": "2024-01-05", "last": "2024-01-02"})
    deliver(wrong)
    assert (services.database.task(wrong).state, services.database.task(wrong).error) == ("failed", "swap the two dates")

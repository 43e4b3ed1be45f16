"""K08: the error-rate breaker opens within a minute of real trouble and does not flap under everyday noise."""

from __future__ import annotations

from random import Random

import pytest

from app.brokers.call_window import CallWindow
from app.domain.trading_state import Cause, VenueHealth
from app.risk.breakers import ACTIVE, REDUCING, Reading, Standing, next_standing
from app.risk.health import lasting_trouble, venue_trouble
from app.risk.limits import RiskLimits
from tests.risk.campaign import run_cases

LIMITS = RiskLimits()


class Venue:
    """A venue whose calls fail by chance, and the breaker that watches them by its clock."""

    def __init__(self, random: Random) -> None:
        self.random, self.now = random, 0.0
        self.window = CallWindow(monotonic=lambda: self.now)
        self.standing = Standing(ACTIVE, int(Cause.STARTED), float("nan"), float("nan"), 1e5)
        self.opened: list[float] = []

    def call(self, error_fraction: float, seconds: float) -> None:
        self.now += seconds
        self.window.note(good=self.random.random() >= error_fraction)

    def look(self) -> int:
        health = self.window.health()
        bits = [sum(1 << cause for cause in rule(health, LIMITS)) for rule in (venue_trouble, lasting_trouble)]
        before = self.standing.state
        reading = Reading(self.now, 1e5, 1e5, 1e5, True, True, 0, *bits)
        self.standing = Standing(*next_standing(self.standing, reading, LIMITS))
        if self.standing.state == REDUCING != before:
            self.opened.append(self.now)
        return int(self.standing.state)


@pytest.mark.row("B06")
def test_four_percent_of_noise_does_not_flap() -> None:
    def case(random: Random) -> None:
        venue = Venue(random)
        pace = random.choice([0.5, 2.0, 10.0])
        while venue.now < 4 * 3600:
            venue.call(0.04, pace)
            venue.look()
        gaps = [later - earlier for earlier, later in zip(venue.opened, venue.opened[1:], strict=False)]
        assert all(gap >= 600 for gap in gaps), venue.opened
        assert len(venue.opened) <= 24

    run_cases(3, case)


@pytest.mark.row("B06")
def test_real_trouble_opens_within_a_minute_and_closes_when_it_is_over() -> None:
    def case(random: Random) -> None:
        venue = Venue(random)
        pace = random.choice([0.2, 1.0, 2.0])
        while venue.now < 60:
            venue.call(1.0, pace)
            venue.look()
        assert venue.opened
        while venue.now < 60 + 600 + 300:
            venue.call(0.0, pace)
            venue.look()
        assert venue.standing.state == ACTIVE
        assert len(venue.opened) == 1

    run_cases(10, case)


def test_the_window_forgets_after_five_minutes_and_knows_silence() -> None:
    venue = Venue(Random(1))
    for _ in range(10):
        venue.call(1.0, 6.0)
    assert venue.window.health() == VenueHealth(calls=10, errors=10, good_in_a_row=0, silent_seconds=54.0)
    venue.call(0.0, 1.0)
    assert venue.window.health() == VenueHealth(calls=11, errors=10, good_in_a_row=1, silent_seconds=0.0)
    venue.now += 300.5
    assert venue.window.health() == VenueHealth(good_in_a_row=1)

"""The breakers on the connection to the venue. Plain Python: asked before each order, where nothing compiled is loaded."""

from __future__ import annotations

from app.domain.trading_state import Cause, VenueHealth
from app.risk.limits import RiskLimits


def venue_trouble(health: VenueHealth, limits: RiskLimits) -> frozenset[Cause]:
    """The breakers that would open: at least `min_calls` calls of which more than `max_error_fraction` failed; no answer for
    longer than `max_silence_seconds`; clocks more than `max_clock_skew_seconds` apart."""
    trouble = set()
    if health.calls >= limits.min_calls and not health.errors <= limits.max_error_fraction * health.calls:
        trouble.add(Cause.VENUE_ERRORS)
    if not health.silent_seconds <= limits.max_silence_seconds:
        trouble.add(Cause.CONNECTIVITY)
    if not health.clock_skew_seconds <= limits.max_clock_skew_seconds:
        trouble.add(Cause.CLOCK_SKEW)
    return frozenset(trouble)


def lasting_trouble(health: VenueHealth, limits: RiskLimits) -> frozenset[Cause]:
    """The breakers that would not close: those in trouble, and those of errors and silence until `good_probes` calls in a
    row were answered."""
    trouble = venue_trouble(health, limits)
    if health.good_in_a_row < limits.good_probes:
        return trouble | {Cause.VENUE_ERRORS, Cause.CONNECTIVITY}
    return trouble

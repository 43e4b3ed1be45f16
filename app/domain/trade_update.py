"""What a venue's stream tells about our orders."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from app.domain.order import Fill, VenueOrder


@dataclass(frozen=True, slots=True, kw_only=True)
class TradeUpdate:
    """Something happened to an order. event: the venue's own word. order: as it is after it. fill: the execution, if one."""

    event: str
    order: VenueOrder
    fill: Fill | None
    at: datetime


@dataclass(frozen=True, slots=True)
class Listening:
    """From here on everything is told; what happened before, while nobody listened, is not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreadable:
    """Something was told that we could not read."""

    reason: str


Told = TradeUpdate | Listening | Unreadable

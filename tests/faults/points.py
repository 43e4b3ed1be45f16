"""Where and how a campaign kills, and how often."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from app.runtime.failpoint import POINTS

# While the exchange holds the order: it is delivered after the death, or never, or only after the next life has looked for it,
# or it had been accepted already and nobody read the answer.
HELD = ("held_delivered", "held_dropped", "held_late", "accepted_unread")
BY_CHANCE = "by_chance"
BETWEEN_SEND_AND_STORE = frozenset({*HELD, "after_post", "before_store"})

# Of 1,000: 43 at each of 16 points (a few are never reached), 61 in each of the four ways to die while an order is on its way,
# the rest by chance. Not every life has something to sell all of, so that point is aimed at more often.
_POINT, _HELD = 43, 61
_SELDOM_REACHED = {"in_flatten": 65}
_WHOLE = 1_000


@dataclass(frozen=True, slots=True)
class Kill:
    """One death. kind: a failpoint, or one of the ways above. visit: which visit of the point, which order on its way.
    at_start: armed before the process looks at anything, so that it can die while it still recovers from the death before.
    seed: of everything else about it."""

    kind: str
    visit: int
    at_start: bool
    seed: int


def plan(kills: int, seed: int) -> list[Kill]:
    """So many kills, weighted, in an order that depends on the seed alone."""
    dice = random.Random(f"plan {seed}")
    kinds = [kind for kind, count in _shares(kills).items() for _ in range(count)]
    dice.shuffle(kinds)
    return [Kill(kind, dice.randint(1, 3), dice.random() < 0.25, dice.randrange(2**32)) for kind in kinds]


def _shares(kills: int) -> dict[str, int]:
    """How many of each kind; where there are too few for all, whatever comes in turn."""
    wanted = dict.fromkeys(POINTS, _POINT) | _SELDOM_REACHED | dict.fromkeys(HELD, _HELD)
    shares = {kind: count * kills // _WHOLE for kind, count in wanted.items()}
    everything = [BY_CHANCE, *HELD, *POINTS]
    if kills >= _WHOLE:
        return shares | {BY_CHANCE: kills - sum(shares.values())}
    left = kills - sum(shares.values())
    turns = Counter(everything[number % len(everything)] for number in range(left))
    return {kind: shares.get(kind, 0) + turns[kind] for kind in everything}


def table(kinds: Sequence[str]) -> str:
    """How many deaths of each kind there were."""
    counts = Counter(kinds)
    lines = [f"{counts[kind]:6}  {kind}" for kind in (*POINTS, *HELD, BY_CHANCE)]
    between = sum(counts[kind] for kind in BETWEEN_SEND_AND_STORE)
    return "\n".join([*lines, f"{between:6}  of these between send and store", f"{len(kinds):6}  in all"])

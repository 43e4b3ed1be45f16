"""Long campaigns in short: RISK_CASES=n sets how many cases each runs, RISK_SEED=n the first seed. A failing case names its
own seed; that seed with RISK_CASES=1 repeats it alone."""

from __future__ import annotations

import os
from collections.abc import Callable
from random import Random


def run_cases(default: int, case: Callable[[Random], None]) -> None:
    """`case` for each seed, from RISK_SEED on."""
    first = int(os.environ.get("RISK_SEED", "1"))
    for seed in range(first, first + int(os.environ.get("RISK_CASES", str(default)))):
        try:
            case(Random(seed))
        except AssertionError as fault:
            raise AssertionError(f"RISK_SEED={seed} RISK_CASES=1: {fault}") from fault

"""What a backtest remembered of its holdings is what its recordings and fills alone give again."""

from __future__ import annotations

import json
from decimal import Decimal

from app.backtest.driver import run
from app.domain.exits import ExitPolicy
from app.domain.portfolio import Portfolio
from app.domain.reason import Reason
from app.engine.recording import to_json
from app.risk.limits import Policy
from tests.backtest.markets import NoisyForecaster, plan_of, tape_of
from tests.backtest.replay import rebuild, replay
from tests.backtest.test_driver import Diary

EVERYTHING = ExitPolicy(
    atr_stop_multiple=1.5,
    break_even_at_r=0.5,
    partial_at_r=0.75,
    partial_fraction=0.4,
    trailing_fraction=0.03,
    trailing_atr_multiple=1.0,
)


def test_recordings_and_fills_rebuild_the_memory() -> None:
    diary = Diary()
    run(plan_of(policy=Policy(exits=EVERYTHING)), tape_of(6), NoisyForecaster(), observer=diary)
    recordings = [json.loads(json.dumps(to_json(inputs), allow_nan=False)) for inputs in diary.inputs]
    rebuilt = list(rebuild(recordings, diary.executions, Portfolio(cash=Decimal(100_000))))
    assert [r.differences for r in rebuilt] == [()] * len(rebuilt)
    for decided, again, own in zip(diary.decisions, replay(recordings), rebuilt, strict=True):
        for other in (again, own.decision):
            assert (decided.orders, decided.cancels, decided.moves) == (other.orders, other.cancels, other.moves)
        assert decided.plans == again.plans
    assert any(d.moves for d in diary.decisions)
    assert any(record.reason is Reason.PARTIAL_PROFIT for d in diary.decisions for record in d.records)
    taken = [inputs for inputs in diary.inputs if any(p.partial_taken for p in inputs.book.progress.values())]
    assert taken

"""Real money asks for a check of what trades as it is now: a user's file, its parameters, the models."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from app.domain.errors import InvalidInput
from app.domain.verdict import Check, Judged, Level, Verdict
from app.marketdata.generator import generate_daily
from app.risk.limits import Policy, RiskLimits
from app.runtime.calendar import new_york_calendar
from app.services.database_service import DatabaseService
from app.services.strategies.check_gate import MODEL, CheckedContents
from app.services.strategies.check_service import CheckService
from app.services.strategies.strategy_service import StrategyService
from app.services.verdicts.verdict_gate import VerdictGate
from app.strategies.catalog import MODEL_DRIVEN
from tests.databases import HandClock

VALUES = {"length": 20.0, "span": 3.0}
BARS = generate_daily(5, ("SPY", "AAPL"), new_york_calendar().between(date(2022, 1, 3), date(2023, 6, 30)))


class Bench:
    """A user's strategy in a directory of its own, its checks, and the gate before it."""

    def __init__(self, database: DatabaseService, directory: Path, clock: HandClock) -> None:
        self.database, self.clock = database, clock
        strategies = StrategyService(directory)
        self.file, _ = strategies.create("own", as_class=False)
        self.contents = CheckedContents(database, directory, clock)
        self.checks = CheckService(
            database,
            find=strategies.find,
            generate=lambda *_: BARS,
            watchlist=("SPY",),
            limits=RiskLimits(),
            policy=Policy(),
            checked_contents=self.contents,
        )

    def objection(self, values: dict[str, float] = VALUES) -> str | None:
        return self.contents.gate([("own", values)], uses_models=False).objection()

    def check(self, **values: float) -> bool:
        return self.checks.lookahead("own", bars=BARS, values=values).passed


@pytest.fixture
def bench(ledger: DatabaseService, hand_clock: HandClock, tmp_path: Path) -> Bench:
    return Bench(ledger, tmp_path / "strategies", hand_clock)


def test_a_users_strategy_is_refused_until_its_check_has_passed(bench: Bench) -> None:
    assert "own as it is now was never looked at" in str(bench.objection())
    assert bench.check()
    assert bench.objection() is None


def test_other_parameters_and_another_file_ask_for_a_check_of_their_own(bench: Bench) -> None:
    bench.check()
    assert "never looked at" in str(bench.objection(VALUES | {"length": 30.0}))
    assert bench.check(length=30)
    assert bench.objection(VALUES | {"length": 30}) is None
    running = bench.contents.gate([("own", VALUES)], uses_models=False)
    bench.file.write_text(bench.file.read_text() + "\n# another\n")
    assert "never looked at" in str(bench.objection())
    assert running.objection() is None  # what was loaded before is what was checked


def test_what_looks_ahead_is_refused_and_says_where(bench: Bench) -> None:
    honest = bench.file.read_text()
    bench.file.write_text(honest.replace("mean(bars.close, ", "mean(bars.close[::-1], "))
    assert not bench.check()
    assert "own looks ahead (columns)" in str(bench.objection())
    bench.file.write_text(honest)
    assert "never looked at" in str(bench.objection())


def test_a_persons_word_says_who_why_and_when_and_ends_with_the_next_check(bench: Bench) -> None:
    with pytest.raises(InvalidInput, match="say why"):
        bench.checks.override("own", {}, actor="ada", reason=" ")
    decided = bench.checks.override("own", {}, actor="ada", reason=" it reads a list of holidays ")
    assert (decided.actor, decided.reason, decided.at) == ("ada", "it reads a list of holidays", bench.clock.now())
    assert bench.objection() is None
    assert "never looked at" in str(bench.objection(VALUES | {"span": 5.0}))
    event = bench.database.audit_events([bench.database.check_audit()[1].seq])[0]
    assert event.kind == "operator"
    assert [event.payload[name] for name in ("overridden", "subject", "actor", "reason")] == [
        "lookahead",
        "own",
        "ada",
        "it reads a list of holidays",
    ]
    bench.file.write_text(bench.file.read_text().replace("mean(bars.close, ", "mean(bars.close[::-1], "))
    bench.checks.override("own", {}, actor="ada", reason="all the same")
    assert bench.objection() is None
    assert not bench.check()
    assert "looks ahead" in str(bench.objection())


def test_a_verdict_from_before_the_file_was_what_it_is_does_not_count(bench: Bench) -> None:
    def judge(level: Level) -> None:
        check = Check(name="trades", level=level, figure=30.0, threshold=30.0, sentence="30 closed trades")
        judged = Judged(strategy="own", values=VALUES, dataset="d", trials=1, verdict=Verdict(checks=(check,)))
        bench.database.save_verdict(judged)

    def objection() -> str | None:
        check = bench.contents.gate([("own", VALUES)], uses_models=False)
        return VerdictGate(bench.database, strategy="own", values=VALUES, real_money=True, check=check).entries_forbidden()

    bench.check()
    bench.clock.forward(60)
    judge(Level.PASS)
    assert objection() is None
    bench.clock.forward(60)
    bench.file.write_text(bench.file.read_text() + "\n# another\n")
    assert bench.check()
    assert "is older than its file" in str(objection())
    bench.clock.forward(60)
    bench.database.override_verdict("own", VALUES, actor="ada", reason="only a remark was changed")
    assert objection() is None
    judge(Level.FAIL)
    assert "is FAIL" in str(objection())
    judge(Level.WARN)
    assert objection() is None
    bench.clock.forward(60)
    assert bench.check()  # looked at again as it was: nothing has changed
    assert objection() is None


def test_a_strategy_of_the_product_needs_no_check_and_no_override(bench: Bench) -> None:
    assert bench.contents.gate([("sma_cross", {"fast": 10.0, "slow": 30.0})], uses_models=False).objection() is None
    with pytest.raises(InvalidInput, match="of the product"):
        bench.checks.override("sma_cross", {}, actor="ada", reason="why not")


@pytest.mark.parametrize(("name", "values"), [(MODEL_DRIVEN, {}), ("confirmed_forecast", {"fast": 10.0})])
def test_whatever_asks_the_models_waits_for_their_check(bench: Bench, name: str, values: dict[str, float]) -> None:
    gate = bench.contents.gate([(name, values)], uses_models=True)
    assert "model as it is now was never looked at" in str(gate.objection())
    bench.contents.keep(MODEL, {}, "features", passed=False)
    assert "model looks ahead (features)" in str(gate.objection())
    bench.contents.keep(MODEL_DRIVEN, {}, None, passed=True)
    assert gate.objection() is None


def test_only_real_money_is_refused(bench: Bench) -> None:
    gates = [
        VerdictGate(
            bench.database,
            strategy="own",
            values=VALUES,
            real_money=real_money,
            check=bench.contents.gate([("own", VALUES)], uses_models=False),
        )
        for real_money in (True, False)
    ]
    bench.database.override_verdict("own", VALUES, actor="ada", reason="small")
    assert [gate.entries_forbidden() is None for gate in gates] == [False, True]
    assert all("never looked at" in str(gate.objection()) for gate in gates)
    bench.check()
    assert [gate.objection() for gate in gates] == [None, None]

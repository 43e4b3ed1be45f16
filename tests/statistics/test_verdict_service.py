"""From a result to its verdict: everything tried is counted, and the verdict is kept."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from app.backtest.statistics.luck import Stay
from app.domain.errors import InvalidInput, NotFound
from app.domain.verdict import Check, Judged, Level, Verdict
from app.services.verdicts.trial_ledger import TrialLedger
from app.services.verdicts.verdict_gate import VerdictGate
from app.services.verdicts.verdict_service import Result, VerdictService, verdict_fields
from tests.statistics.memory import MemoryLedger
from tests.statistics.test_trial_ledger import some_data, trial

VALUES = {"fast": 5, "slow": 50}


@pytest.fixture
def trials() -> TrialLedger:
    return TrialLedger(MemoryLedger())


@pytest.fixture
def service(trials, hand_clock) -> VerdictService:
    return VerdictService(MemoryLedger(), trials, hand_clock)


@pytest.fixture
def stored(ledger, hand_clock) -> VerdictService:
    """On a real database."""
    return VerdictService(ledger, TrialLedger(ledger), hand_clock)


def judged_as(level: Level, values=None) -> Judged:
    check = Check(name="trades", level=level, figure=3.0, threshold=30.0, sentence="3 closed trades")
    return Judged(strategy="sma_cross", values=values or VALUES, dataset="d", trials=7, verdict=Verdict(checks=(check,)))


def result(mean: float = 0.002, **changed) -> Result:
    generator = np.random.default_rng(1)
    moves = generator.standard_normal(1_000)
    returns = mean + 0.01 * (moves - moves.mean())
    prices = 100 * np.exp(
        np.cumsum(np.where(np.arange(1_000) % 20 < 10, 0.01, -0.01) + 0.002 * generator.standard_normal(1_000))
    )
    fields = {
        "data_set": some_data(),
        "strategy": "sma_cross",
        "values": VALUES,
        "setup": {"slippage_bps": "2", "fill": "next_open"},
        "source": "backtest",
        "returns": returns,
        "periods_per_year": 252.0,
        "trades": 50,
        "round_trip_cost": 0.001,
        "prices": prices[None, :],
        "stays": [Stay(symbol=0, entered=i, left=i + 9) for i in range(0, 990, 20)],
        "rerun": lambda multiple: 1.0 / multiple,
    }
    return Result(**(fields | changed))


def levels(judged) -> dict[str, Level]:
    return {check.name: check.level for check in judged.verdict.checks}


def test_a_single_good_result_passes_but_for_the_neighbours_nobody_tried(service, trials):
    judged = service.judge(result())
    found = levels(judged)
    assert found.pop("parameter_plateau") is Level.WARN
    assert set(found.values()) == {Level.PASS}
    assert judged.verdict.level is Level.WARN
    assert judged.trials == 1
    (kept,) = trials.of_strategy(some_data(), "sma_cross")
    assert kept.source == "backtest"
    assert kept.sharpe_ratio == pytest.approx(0.2, rel=0.05)


def test_judging_again_is_no_new_trial(service):
    service.judge(result())
    assert service.judge(result()).trials == 1


def test_trials_of_others_on_the_same_data_weigh_on_the_verdict(service, trials):
    few = service.judge(result(0.0011))
    assert levels(few)["deflated_sharpe"] is Level.PASS
    spread = np.random.default_rng(2).standard_normal(3_000) / 20
    trials.record(some_data(), [trial(some_data(), n, mean=0.01 * m, strategy="rsi") for n, m in enumerate(spread)])
    many = service.judge(result(0.0011))
    assert many.trials == 3_001
    assert levels(many)["deflated_sharpe"] is not Level.PASS
    # Their returns are not at hand, and nobody may pass without them.
    assert levels(many)["superior_ability"] is levels(many)["overfitting"] is Level.WARN


def test_the_neighbours_of_a_sweep_make_the_plateau(service, trials):
    kept = [{"fast": f, "slow": s} for f in (4, 5, 6) for s in (40, 50, 60)]
    setup = result().setup
    trials.record(some_data(), [trial(some_data(), mean=0.0019, values=v, setup=setup) for v in kept if v != VALUES])
    assert levels(service.judge(result()))["parameter_plateau"] is Level.PASS


def test_neighbours_under_other_costs_are_no_neighbours(service, trials):
    trials.record(some_data(), [trial(some_data(), mean=0.0019, values={"fast": 6, "slow": 50}, setup={"slippage_bps": "0"})])
    assert levels(service.judge(result()))["parameter_plateau"] is Level.WARN


def test_the_sets_of_a_sweep_are_tested_together(service):
    own = result()
    noise = 0.01 * np.random.default_rng(3).standard_normal((1_000, 30))
    noise[:, 7] = own.returns
    found = levels(service.judge(replace(own, returns_of_sets=noise)))
    assert found["superior_ability"] is found["overfitting"] is Level.PASS
    luck = replace(own, returns=noise[:, 3], returns_of_sets=np.delete(noise, 7, axis=1), values={"fast": 7, "slow": 50})
    assert service.judge(luck).verdict.level is Level.FAIL


def test_costs_are_stressed_by_running_again(service):
    asked: list[int] = []

    def rerun(multiple: int) -> float:
        asked.append(multiple)
        return 0.3 - 0.12 * multiple

    judged = service.judge(result(rerun=rerun))
    assert asked == [2, 3]
    assert levels(judged)["cost_stress"] is Level.WARN


@pytest.mark.parametrize(
    ("missing", "name"), [({"rerun": None}, "cost_stress"), ({"prices": None}, "random_entry"), ({"stays": ()}, "random_entry")]
)
def test_what_is_missing_warns_and_says_how_to_get_it(service, missing, name):
    judged = service.judge(result(**missing))
    (check,) = [check for check in judged.verdict.checks if check.name == name]
    assert (check.level, check.figure) == (Level.WARN, None)
    assert check.sentence


def test_the_same_result_has_the_same_verdict(service):
    assert service.judge(result()) == service.judge(result())


def test_a_total_loss_is_judged_without_intervals(service):
    returns = result().returns.copy()
    returns[500], returns[501:] = -1.0, 0.0
    judged = service.judge(result(returns=returns))
    assert judged.verdict.level is Level.FAIL
    with pytest.raises(InvalidInput):
        service.judge(result(returns=np.array([0.1, np.nan])))


def test_a_verdict_is_kept_and_found_again(stored, hand_clock):
    judged = stored.judge(result())
    stored.keep(judged, "b1")
    assert stored.of_backtest("b1") == {"backtest_id": "b1", "at": hand_clock.now()} | verdict_fields(judged)
    assert stored.newest()[0].judged == judged
    with pytest.raises(NotFound):
        stored.of_backtest("b2")


@pytest.fixture
def gate(ledger) -> VerdictGate:
    return VerdictGate(ledger, strategy="sma_cross", values=VALUES, real_money=True)


def test_without_a_verdict_nothing_is_entered_with_real_money(gate, stored):
    assert "there is no verdict on sma_cross with fast=5, slow=50" in gate.entries_forbidden()
    stored.keep(judged_as(Level.WARN))
    assert gate.entries_forbidden() is None


def test_after_a_fail_nothing_is_entered_until_a_better_verdict(gate, stored):
    for level in (Level.PASS, Level.FAIL):
        stored.keep(judged_as(level))
    assert "is FAIL (3 closed trades)" in gate.entries_forbidden()
    stored.keep(judged_as(Level.WARN))
    assert gate.entries_forbidden() is None


def test_other_parameters_and_strategies_have_verdicts_of_their_own(ledger, stored):
    stored.keep(judged_as(Level.PASS))
    for strategy, values in (("sma_cross", {"fast": 6, "slow": 50}), ("rsi", VALUES), ("sma_cross", {})):
        assert VerdictGate(ledger, strategy=strategy, values=values, real_money=True).entries_forbidden() is not None
    same = VerdictGate(ledger, strategy="sma_cross", values={"slow": 50.0, "fast": 5.0}, real_money=True)
    assert same.entries_forbidden() is None


def test_a_person_can_override_until_the_next_verdict(gate, stored, ledger):
    stored.override("sma_cross", VALUES, actor="ada", reason=" a small test with 100 dollars ")
    assert gate.entries_forbidden() is None
    stored.keep(judged_as(Level.FAIL))
    assert "is FAIL" in gate.entries_forbidden()
    stored.override("sma_cross", VALUES, actor="ada", reason="again")
    assert gate.entries_forbidden() is None
    kept = ledger.verdict_override("sma_cross", VALUES)
    assert (kept.actor, kept.reason) == ("ada", "again")


def test_an_override_needs_a_reason_and_is_told_to_the_audit_log(stored, ledger):
    with pytest.raises(InvalidInput, match="say why"):
        stored.override("sma_cross", VALUES, actor="ada", reason="  ")
    stored.override("sma_cross", VALUES, actor="ada", reason="because")
    _, head, broken = ledger.check_audit()
    assert broken is None
    event = ledger.audit_events([head.seq])[0]
    assert event.kind == "operator"
    assert {name: event.payload[name] for name in ("actor", "reason", "strategy")} == {
        "actor": "ada",
        "reason": "because",
        "strategy": "sma_cross",
    }


def test_where_no_real_money_is_at_stake_the_gate_only_tells(ledger):
    gate = VerdictGate(ledger, strategy="sma_cross", values=VALUES, real_money=False)
    assert gate.entries_forbidden() is None
    assert "there is no verdict" in gate.objection()


def test_a_verdict_that_cannot_be_read_forbids(tmp_path):
    from app.services.database_service import DatabaseService
    from app.storage.database import Database
    from tests.databases import HandClock

    empty = DatabaseService(Database(f"sqlite:///{tmp_path / 'none.db'}"), HandClock())
    gate = VerdictGate(empty, strategy="sma_cross", values=VALUES, real_money=True)
    assert "cannot be read" in gate.entries_forbidden()
    empty.close()


def test_verdicts_are_listed_newest_first(stored):
    for number in range(3):
        stored.keep(judged_as(Level.PASS), f"b{number}")
    assert [one.backtest_id for one in stored.newest(2)] == ["b2", "b1"]

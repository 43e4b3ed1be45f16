"""Risk state and rules (rows I): a limit that was reached stays reached, whatever dies in between."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete

from app.domain.ports import Account
from app.domain.reason import Reason
from app.domain.trading_state import TradingState
from app.risk.limits import RiskLimits
from app.services.database_service import DatabaseService
from app.services.risk_manager import RiskManager
from app.storage.tables import RISK_STATE
from tests.databases import HandClock
from tests.engine.worlds import NOW, Quote, book_of, decided, held, reasons, risk_of
from tests.faults.bench import RISING, Bench
from tests.trading.exchange import assert_limits_held


class Killed(BaseException):
    """The process is gone. Nothing in the product catches it."""


class DiesAt:
    """A ledger whose process dies before or after one of its writes."""

    def __init__(self, ledger: DatabaseService, call: str, *, after: bool) -> None:
        self._ledger, self._call, self._after = ledger, call, after

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._ledger, name)
        if name != self._call:
            return found

        def dying(*args: Any, **options: Any) -> Any:
            if self._after:
                found(*args, **options)
            raise Killed

        return dying


@pytest.mark.row("I01")
@pytest.mark.parametrize("after", [False, True], ids=["before it is stored", "after"])
def test_i01_a_breach_survives_a_death_at_the_very_moment(bench: Bench, after: bool) -> None:
    bench.holding({"AAPL": 0.03})
    equity = Decimal(bench.exchange.ledger()["equity"])
    bench.put(baseline_equity=equity / Decimal("0.979"))
    bench.expect(RISING)
    ledger, clock = bench.ledger, HandClock()
    bench.ledger = DiesAt(ledger, "record_decision", after=after)  # type: ignore[assignment]
    dying = bench.start(RISING, clock=clock)
    bench.ledger = ledger
    posts = bench.posts()
    with pytest.raises(Killed):
        dying.trading.run_cycle()
    assert bench.trading == (("REDUCING", "daily_loss") if after else ("ACTIVE", "started"))
    bench.exchange.step()
    clock.forward(600)
    bench.start(RISING, clock=clock)
    assert bench.cycle().orders == 0
    assert bench.trading == ("REDUCING", "daily_loss")
    assert bench.posts() == posts, "nothing that adds risk left in between"


@pytest.mark.row("I02")
def test_i02_a_peak_that_only_the_history_remembers_still_halts(bench: Bench) -> None:
    bench.holding({"AAPL": 0.03})
    equity = Decimal(bench.exchange.ledger()["equity"])
    bench.put(high_water_equity=equity / Decimal("0.795"))
    bench.ledger._db.write(lambda c: c.execute(delete(RISK_STATE)))
    (bench.directory / "risk_state.json").unlink()
    bench.start(RISING)
    assert bench.cycle().orders == 0
    assert bench.trading == ("HALTED", "drawdown")


@pytest.mark.row("I03")
def test_i03_a_restart_at_noon_takes_no_new_baseline(ledger: DatabaseService, tmp_path: Path) -> None:
    quotes = {"A": Quote(expected=0.03)}
    lost = decided(quotes, book_of(cash=98_100, risk=risk_of(epoch=1))).risk
    assert lost.trading_state is TradingState.ACTIVE
    ledger.save_risk_state(lost)
    equity = Decimal(98_100)
    account = Account(
        account_id="a", cash=equity, equity=equity, previous_close_equity=equity, buying_power=equity, trading_blocked=False
    )
    restarted = RiskManager(database=ledger, limits=RiskLimits(), state_dir=tmp_path, clock=HandClock())
    state = restarted.current(account, "2024-03-05", NOW)
    decision = decided(quotes, book_of(cash=97_900, risk=state, previous_close_equity=equity))
    assert (decision.risk.trading_state, decision.risk.cause) == (TradingState.REDUCING, "daily_loss")
    assert decision.risk.baseline_equity == 100_000
    assert decision.orders == ()


@pytest.mark.row("I09")
def test_i09_a_holding_that_grew_beyond_its_limit_is_neither_added_to_nor_sold() -> None:
    quotes = {"A": Quote(price=104.0, expected=0.03), "B": Quote(expected=0.03)}
    book = book_of([held("A", 192, 100)], quotes=quotes, cash=80_000)  # a fifth of the equity
    decision = decided(quotes, book)
    assert reasons(decision)["A"] is Reason.HOLD_POSITION
    assert [v.order.symbol for v in decision.orders] == ["B"]


@pytest.mark.row("I13")
def test_i13_the_orders_that_hold_the_shares_are_cancelled_before_the_sale(bench: Bench) -> None:
    owned = bench.holding({"AAPL": 0.03, "MSFT": 0.03})
    bench.fault("status", method="POST", path="/v2/orders", side="sell", status=403, code=40310000, message="insufficient qty")
    bench.expect(dict.fromkeys(owned, -0.03))
    for _ in range(3):
        bench.cycle()
    assert bench.ledger.portfolio().positions == {}
    sold = [one for one in bench.at_venue("sell") if one["type"] == "market"]
    assert Counter(one["symbol"] for one in sold) == dict.fromkeys(owned, 1)
    received = [(one["method"], one["path"].rpartition("/")[2]) for one in bench.exchange.ledger()["received"]]
    sales = [i for i, one in enumerate(received) if one == ("POST", "orders")][-len(owned) - 1 :]
    assert all("DELETE" in {method for method, _ in received[:i]} for i in sales)
    bench.assert_books_agree()


@pytest.mark.row("I17")
def test_i17_a_strategy_that_changes_its_mind_each_cycle_is_stopped(bench: Bench) -> None:
    bench.start(RISING)
    bought: Counter[str] = Counter()
    for number in range(16):
        bench.expect(dict.fromkeys(RISING, 0.03 if number % 2 == 0 else -0.03))
        bench.cycle()
    for fill in bench.exchange.ledger()["fills"]:
        bought[fill["symbol"]] += fill["side"] == "buy"
    assert bought and max(bought.values()) <= RiskLimits().max_entries_per_day
    assert assert_limits_held(bench.exchange, RiskLimits()) >= 1


@pytest.mark.row("I17")
def test_i17_the_fourth_entry_of_a_day_disables_the_symbol_until_a_person_enables_it() -> None:
    quotes = {"A": Quote(expected=0.03)}
    decision = decided(quotes, book_of(entries_today={"A": 3}))
    assert (decision.orders, decision.risk.disabled_symbols) == ((), ("A",))
    assert any("disabled" in alert for alert in decision.alerts)
    again = decided(quotes, book_of(risk=decision.risk))
    assert (again.orders, reasons(again)["A"]) == ((), Reason.SYMBOL_DISABLED)


@pytest.mark.row("I16")
def test_i16_a_resume_while_the_cause_lasts_trips_again_within_a_cycle(bench: Bench) -> None:
    bench.holding({"AAPL": 0.03})
    equity = Decimal(bench.exchange.ledger()["equity"])
    bench.put(trading_state=TradingState.HALTED, cause="operator")
    bench.put(high_water_equity=equity / Decimal("0.79"))
    bench.put(trading_state=TradingState.ACTIVE, cause="operator")
    bench.expect(RISING)
    assert bench.cycle().orders == 0
    assert bench.trading == ("HALTED", "drawdown")
    events = bench.ledger.risk_events(1)
    assert (events[0].previous_state, events[0].cause) == ("ACTIVE", "drawdown")


@pytest.mark.row("I13")
def test_i13_a_leg_whose_cancel_fails_goes_with_its_twin(bench: Bench) -> None:
    """One cancel is asked for a pair of legs, and the other only where the first was in vain."""
    (symbol,) = bench.holding({"AAPL": 0.03})
    bench.fault("status", method="DELETE", path="/v2/orders/{id}", status=500)
    bench.expect({symbol: -0.03})
    bench.cycle()
    cancels = [one["status"] for one in bench.exchange.ledger()["received"] if one["method"] == "DELETE"][-2:]
    assert cancels == [500, 204]
    bench.cycle()
    assert bench.ledger.portfolio().positions == {}
    bench.assert_books_agree()

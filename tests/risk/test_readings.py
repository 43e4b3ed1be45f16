"""K04 and K05: what looks like a hard loss and is none sells nothing; a true one is never missed under the same noise.
K06: a halt of 24 hours is 86,400 seconds of venue time."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from random import Random

import pytest

from app.domain.order import Purpose
from app.domain.trading_state import RiskState, TradingState
from app.engine.decision import Decision
from app.runtime.calendar import session_day
from app.services.risk.mirror import RiskMirror
from tests.engine.worlds import NOW, Quote, book_of, decided, held, risk_of
from tests.risk.campaign import run_cases

CASH = 30_000
READINGS = 38


@dataclass
class Account:
    """Seven holdings of 10,000 each and the readings of them. Prices move by up to 1 % from their last closes."""

    random: Random
    closes: dict[str, float] = field(init=False)
    units: dict[str, int] = field(init=False)
    volatility: dict[str, float] = field(init=False)
    risk: RiskState = field(init=False)
    number: int = 0
    decisions: list[Decision] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.closes = {f"H{i}": round(self.random.uniform(5, 800), 2) for i in range(7)}
        self.units = {s: max(1, round(10_000 / price)) for s, price in self.closes.items()}
        self.volatility = {s: self.random.uniform(0.008, 0.05) for s in self.closes}
        worth = CASH + sum(self.units[s] * p for s, p in self.closes.items())
        start = Decimal(str(round(worth, 2)))
        self.risk = risk_of(baseline_equity=start, high_water_equity=start)

    def calm(self) -> dict[str, float]:
        return {s: p * (1 + self.random.uniform(-0.01, 0.01)) for s, p in self.closes.items()}

    def read(
        self, prices: dict[str, float], *, equity: object = None, stale: str = "", is_open: bool = True, **book: object
    ) -> None:
        quotes = {
            s: Quote(
                price=round(p, 4),
                last_close=self.closes[s],
                volatility=self.volatility[s],
                age=1e5 if s == stale else 1.0,
                tradable=1.0 if is_open else 0.0,
            )
            for s, p in prices.items()
        }
        positions = [held(s, self.units[s], self.closes[s]) for s in prices]
        seen = book_of(positions, quotes=quotes, cash=CASH, equity=equity, risk=self.risk, **book)
        decision = decided(quotes, seen, at=NOW + timedelta(minutes=10) * self.number)
        self.number += 1
        self.decisions.append(decision)
        self.risk = decision.risk

    def absurd(self) -> None:
        """One reading of nonsense."""
        prices = self.calm()
        spiked = self.random.sample(sorted(prices), self.random.randint(1, 7))
        factor = self.random.choice([10.0, 0.01, 1.5, 0.66, 0.5, 1.4])
        kind = self.random.randrange(5)
        if kind == 0:
            self.read(prices, equity=self.random.choice(["0", "-5", "NaN", "Infinity", "40000"]))
        elif kind == 1:
            self.read({s: p * factor if s in spiked else p for s, p in prices.items()})
        elif kind == 2:
            self.read(prices, stale=spiked[0], equity=90_000)
        elif kind == 3:
            self.read(prices, reconciled=False, equity=60_000)
        else:
            self.read(dict.fromkeys(prices, 1.1), is_open=False)

    def lasting(self) -> None:
        """A fault that stays for the day: splits unadjusted, a transfer nobody explained, a dead quote, a closed market."""
        kind = self.random.randrange(4)
        split = self.random.choice([10.0, 8.0, 5.0, 4.0, 3.0, 2.0, 1.5, 1 / 8, 1 / 2])
        symbol = self.random.choice(sorted(self.closes))
        transfer = self.random.choice([0.7, 1.3])
        for _ in range(self.random.randint(1, READINGS)):
            prices = self.calm()
            if kind == 0:
                self.read({s: p / split if s == symbol else p for s, p in prices.items()})
            elif kind == 1:
                self.read(prices, equity=100_000 * transfer, reconciled=False)
            elif kind == 2:
                self.read(prices, stale=symbol, equity=95_000)
            else:
                self.read({s: p * self.random.uniform(0.01, 3) for s, p in prices.items()}, is_open=False)


def exits(decision: Decision) -> set[str]:
    return {v.order.symbol for v in decision.orders if v.order.purpose is Purpose.EXIT}


@pytest.mark.row("B19", "G04", "G07", "G14")
def test_no_false_reading_sells_anything() -> None:
    def case(random: Random) -> None:
        account = Account(random)
        peak = float(account.risk.high_water_equity)
        if random.random() < 0.4:
            account.lasting()
        while account.number < READINGS:
            account.read(account.calm())
            if random.random() < 0.2:
                for _ in range(random.randint(1, 2)):
                    account.absurd()
        assert not any(exits(decision) for decision in account.decisions)
        assert all(d.risk.trading_state in {TradingState.ACTIVE, TradingState.REDUCING} for d in account.decisions)
        assert float(account.risk.high_water_equity) <= peak * 1.008, "a peak that never was"
        assert not any(d.risk.cause == "daily_loss" for d in account.decisions), "a loss that never was"
        for _ in range(3):
            account.read(account.calm())
        assert account.risk.trading_state is TradingState.ACTIVE

    run_cases(100, case)


def test_no_true_hard_loss_is_missed() -> None:
    def case(random: Random) -> None:
        account = Account(random)
        if random.random() < 0.5:  # the whole book falls
            fall = dict.fromkeys(account.closes, random.uniform(0.05, 0.11))
        else:  # a few holdings crash, beyond what is believed at once, and unlike a split
            crashed = random.sample(sorted(account.closes), random.randint(3, 4))
            fall = {s: random.uniform(0.15, 0.32) if s in crashed else 0.0 for s in account.closes}
        noise = {random.randrange(24) for _ in range(random.randint(0, 6))}
        for number in range(READINGS):
            if number in noise:
                account.absurd()
            else:
                wobble = {s: random.uniform(0.999, 1.001) for s in fall}
                account.read({s: p * (1 - fall[s]) * wobble[s] for s, p in account.closes.items()})
            if account.risk.trading_state is TradingState.FLATTENING:
                break
        assert account.risk.trading_state is TradingState.FLATTENING, account.risk
        assert account.risk.cause == "hard_daily_loss"
        assert exits(account.decisions[-1]) == set(account.closes)

    run_cases(100, case)


DST = (datetime(2026, 3, 8, tzinfo=UTC), datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 10, 25, tzinfo=UTC))


@pytest.mark.row("F02", "F03")
def test_a_halt_of_24_hours_is_86400_seconds_of_venue_time(tmp_path: Path) -> None:
    mirror = RiskMirror(tmp_path / "risk_state.json")

    def case(random: Random) -> None:
        start = random.choice(DST) + timedelta(seconds=random.uniform(-3, 3) * 86_400)
        quotes = {"A": Quote()}
        lost = book_of(risk=risk_of(baseline_session=_session(start)), session=_session(start), cash=97_500)
        risk, at = decided(quotes, lost, at=start).risk, start
        assert (risk.trading_state, risk.cause) == (TradingState.REDUCING, "daily_loss")
        assert risk.until is not None and (risk.until - start).total_seconds() == 86_400
        while risk.trading_state is not TradingState.ACTIVE:
            at += timedelta(seconds=random.choice([1, 60, 600, 3600, 20_000]))
            if random.random() < 0.5:  # a restart in between
                mirror.write(risk)
                read = mirror.read().state
                assert read == risk
                risk = read
            over = (at - start).total_seconds() >= 86_400
            # One day in New York has 25 hours: its loss would outlast the halt, were it not made good.
            cash = 100_000 if over and _session(at) == _session(start) else 97_500
            book = book_of(risk=risk, session=_session(at), cash=cash, previous_close_equity=Decimal(97_500))
            before, risk = risk, decided(quotes, book, at=at).risk
            assert (risk.trading_state is TradingState.ACTIVE) == over, (start, at, before)

    run_cases(40, case)


def _session(at: datetime) -> str:
    return session_day(at).isoformat()


@pytest.mark.row("F02")
def test_a_clock_that_goes_back_does_not_shorten_a_halt() -> None:
    risk = risk_of(TradingState.REDUCING, cause="daily_loss", until=NOW + timedelta(hours=3))
    back = decided({"A": Quote()}, book_of(risk=risk), at=NOW - timedelta(hours=5)).risk
    assert (back.trading_state, back.until) == (TradingState.REDUCING, risk.until)
    assert replace(back, epoch=0) == risk

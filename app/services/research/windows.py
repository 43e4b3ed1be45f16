"""What walks forward share: bars, windows, and the account at the end."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from functools import cached_property
from typing import Any, Protocol

import numpy as np

from app.backtest.compiled.instrument import FillRule
from app.backtest.driver import Run
from app.backtest.walk_forward import Taped
from app.domain.errors import InvalidInput
from app.domain.panel import Panel
from app.engine.strategy_rules import strategy_limits, strategy_policy
from app.learning.splits import Split, windows
from app.risk.limits import Policy, RiskLimits
from app.runtime.calendar import TradingCalendar
from app.services.research.bench import ResearchBench, Span, first_judged, setup_of
from app.services.research.request import WalkForwardRequest
from app.services.research.runs import Plain, Progress
from app.services.research.window_account import Account, Judge, Told, named
from app.strategies.columns import VOTE
from app.strategies.strategy import Strategy

_KEPT = (
    "backtest_id",
    "performance",
    "benchmark",
    "verdict",
    "walk_forward",
    "equity_curve",
    "trials",
    "assumptions",
    "dataset",
)  # of the backtest's result in that of the run


class Backtests(Protocol):
    """Where finished backtests are kept."""

    def save_backtest(self, params: Plain, performance: Plain, result: Plain, backtest_id: str | None = None) -> str:
        """Its id. One that is there already stays as it is."""
        ...


class Windows:
    """What both kinds of walk-forward share: bars, windows, and the account at the end."""

    def __init__(
        self,
        asked: WalkForwardRequest,
        *,
        bench: ResearchBench,
        store: Backtests,
        judge: Judge,
        limits: RiskLimits,
        policy: Policy,
        calendar: Callable[[], TradingCalendar],
    ) -> None:
        self.bench, self._store, self._judge, self._limits, self._policy = bench, store, judge, limits, policy
        self.asked, self.panel = bench.panel(asked)
        if FillRule(self.asked.fill) is not FillRule.NEXT_OPEN:
            raise InvalidInput("fill: a walk-forward trades as one can, at the next open; leave it out")
        self.calendar = calendar()

    @cached_property
    def splits(self) -> list[Split]:
        """The windows, by number of the bars. Raises InvalidInput where there are too few bars for one."""
        return _splits(self.panel, self.asked)

    @property
    def first_test(self) -> int:
        """The first bar that is traded."""
        return int(self.splits[0].test[0])

    def spans(self, number: int) -> tuple[Span, Span]:
        """(training bars, test bars) of a window."""
        split = self.splits[number]
        return (
            Span(start=int(split.train[0]), stop=int(split.train[-1]) + 1),
            Span(start=int(split.test[0]), stop=int(split.test[-1]) + 1),
        )

    def finish(
        self,
        run_id: str,
        forecaster: Taped,
        progress: Progress,
        *,
        limits: RiskLimits,
        policy: Policy,
        judged_as: Told,
        rows: Sequence[Plain],
        more: Plain,
    ) -> Plain:
        """Trade, judge, keep as a backtest of the run's id; the result without what only the backtest needs."""
        account = self.account(self.first_test, limits, policy)
        found = account.trade(forecaster, progress)
        answer, judged = account.result(
            found,
            judged_as,
            judge=self._judge,
            assumptions=self._windows_told() | self.assumptions() | dict(more),
            again=lambda multiple: account.trade(forecaster, progress, cost_multiple=multiple),
        )
        told_windows = [{**row, **_account_in(found, row["test"])} for row in rows]
        answer["walk_forward"] = {"windows": told_windows, "degradation": _degradation(told_windows)}
        answer["trials"] = {"counted_on_these_bars": self.bench.counted(self.panel)}
        asked = self.asked.model_dump(mode="json")
        answer["backtest_id"] = run_id
        self._store.save_backtest(asked, answer["performance"], answer, backtest_id=run_id)
        self._judge.keep(judged, run_id)
        return {name: answer[name] for name in _KEPT}

    def account(self, start: int, limits: RiskLimits, policy: Policy) -> Account:
        """One that trades the bars from `start` on."""
        return Account(
            panel=self.panel,
            bars=self.bench.bars(self.asked),
            start=start,
            capital=Decimal(str(self.asked.capital)),
            costs=setup_of(self.asked).costs,
            limits=limits,
            policy=policy,
            calendar=self.calendar,
        )

    def limits_and_policy(self, strategy: Strategy) -> tuple[RiskLimits, Policy]:
        """Those of live trading with this strategy, its scores at `VOTE`."""
        values = {parameter.name: parameter.default for parameter in strategy.parameters}
        policy = strategy_policy(strategy, values, self._policy)
        return strategy_limits(strategy, self._limits), policy._replace(buy_threshold=VOTE, sell_threshold=-VOTE)

    def own_limits_and_policy(self) -> tuple[RiskLimits, Policy]:
        """Those of the settings."""
        return self._limits, self._policy

    def assumptions(self) -> dict[str, Any]:
        """What the account's figures rest on, for people."""
        return {
            "decisions": "when a bar is complete, on the bars known then; fills in later bars, as the bars are",
            "account": "one, with all risk rules of the settings, without a break",
            **{f"cost_{name}": value for name, value in named(setup_of(self.asked).costs).items()},
            "left_out": "dividends, interest on cash, taxes, symbols that stopped trading",
        }

    def _windows_told(self) -> dict[str, str]:
        asked = self.asked
        return {
            "windows": f"{len(self.splits)} of {asked.test_bars} bars, "
            + ("all bars before" if asked.anchored else f"the newest {asked.train_bars} bars before")
            + f" each to choose on, {asked.embargo_bars} bars left out between",
            "benchmark": "equal parts bought at the first open and held, the same slippage and commission_bps once",
        }


def _splits(panel: Panel, asked: WalkForwardRequest) -> list[Split]:
    # What a decision on a bar comes to is known with the bar after it: bars are the clock, and the last decides on nothing.
    judged = first_judged(panel, asked)
    bars = np.arange(judged, len(panel) - 1)
    found = windows(
        bars,
        bars + 1,
        train_rows=asked.train_bars,
        test_rows=asked.test_bars,
        anchored=asked.anchored,
        embargo_seconds=asked.embargo_bars,
    )
    return [Split(train=split.train + judged, test=split.test + judged) for split in found if len(split.test) > 1]


def days_of(panel: Panel, span: Span) -> dict[str, str]:
    """First and last instant of a span."""
    start, end = (datetime.fromtimestamp(int(panel.known_at[i]), UTC) for i in (span.start, span.stop))
    return {"start": start.isoformat(), "end": end.isoformat()}


def _account_in(found: Run, days: Mapping[str, str]) -> dict[str, Any]:
    """Return of the account from the end of a window's first decision to its end."""
    start, end = (datetime.fromisoformat(days[name]) for name in ("start", "end"))
    inside = [float(session.equity) for session in found.sessions if start <= session.closes_at <= end]
    return {"account_return": inside[-1] / inside[0] - 1.0 if len(inside) > 1 and inside[0] > 0 else None}


def _degradation(rows: Sequence[Plain]) -> dict[str, Any] | None:
    """How much of what was seen in sample was left out of sample, over all windows."""
    seen = [(row["in_sample"]["sharpe"], row["out_of_sample"]["sharpe"]) for row in rows if "in_sample" in row]
    if not seen:
        return None
    inside, outside = (float(np.mean(column)) for column in zip(*seen, strict=True))
    return {
        "mean_sharpe_in_sample": inside,
        "mean_sharpe_out_of_sample": outside,
        "kept": outside / inside if inside > 0 else None,
        "windows_with_a_loss": sum(sharpe < 0 for _, sharpe in seen),
    }

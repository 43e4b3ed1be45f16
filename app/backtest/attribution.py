"""What each strategy of a shared account earned: its own fills, and its own holdings at each session's close."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from app.backtest.statistics.trades import slippage_of
from app.domain.order import Side
from app.engine.costs import CostModel
from app.engine.decision import Sleeve
from app.engine.ledger import Execution

_ZERO = Decimal(0)


@dataclass(slots=True, kw_only=True)
class SleeveResult:
    """One sleeve's part in a run; money in account currency. cash: what its fills brought and cost, commissions included.
    units: held, by symbol. values: its holdings at each session's close. traded_value: sum of quantity * price over its fills.
    trades: round trips closed. slippage: the constant part, as in `app.backtest.driver.Run`."""

    strategy: str
    budget_fraction: float
    cash: Decimal = _ZERO
    fills: int = 0
    trades: int = 0
    traded_value: Decimal = _ZERO
    commissions: Decimal = _ZERO
    slippage: Decimal = _ZERO
    units: dict[str, Decimal] = field(default_factory=dict)
    values: list[Decimal] = field(default_factory=list)

    @property
    def profit(self) -> Decimal:
        """What it earned, holdings at the last close: the profits of all sleeves are the account's."""
        return self.cash + (self.values[-1] if self.values else _ZERO)

    def book(self, execution: Execution, costs: CostModel) -> None:
        """Take in its next execution."""
        fill = execution.fill
        value, sign = fill.quantity * fill.price, 1 if fill.side is Side.BUY else -1
        self.cash -= sign * value + fill.commission
        self.fills += 1
        self.traded_value += value
        self.commissions += fill.commission
        self.slippage += slippage_of(execution, costs)
        self.units[fill.symbol] = self.units.get(fill.symbol, _ZERO) + sign * fill.quantity
        if self.units[fill.symbol] == 0:
            del self.units[fill.symbol]
            self.trades += 1

    def mark(self, price_of: Callable[[str], Decimal]) -> None:
        """Value the holdings at a session's close."""
        self.values.append(sum((units * price_of(symbol) for symbol, units in self.units.items()), _ZERO))


class Attribution:
    """Gives each execution to the sleeve it is of. Without sleeves there is nothing to tell apart, and no result."""

    def __init__(self, sleeves: Sequence[Sleeve], costs: CostModel) -> None:
        self.results = [SleeveResult(strategy=one.strategy, budget_fraction=one.budget_fraction) for one in sleeves]
        self._of = {result.strategy: result for result in self.results}
        self._costs = costs

    def book(self, execution: Execution) -> None:
        """Take in the next execution."""
        if self._of:
            self._of[execution.strategy].book(execution, self._costs)

    def mark(self, price_of: Callable[[str], Decimal]) -> None:
        """Value all holdings at a session's close."""
        for result in self.results:
            result.mark(price_of)

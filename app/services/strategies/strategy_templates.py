"""What `trader strategy new` writes: a working strategy, and its test."""

from __future__ import annotations

_HEAD = '''"""{title}: my own strategy. `trader strategy show {name}` describes it; run its test with: pytest {directory}"""

from __future__ import annotations

'''

VECTOR = (
    _HEAD
    + '''from app.domain.exits import ExitPolicy
from app.indicators.window import change, mean
from app.strategies.columns import VOTE, by_symbol, votes
from app.strategies.strategy import Parameter


class {title}:
    """+1 while the close is above its mean and rose over the last bars, -1 while it is below its mean."""

    name = "{name}"
    doc = "Buys a rising close above its mean, sells below the mean."
    parameters = (
        Parameter(name="length", default=20, low=2, high=500, doc="bars of the mean"),
        Parameter(name="span", default=3, low=1, high=100, doc="bars of the rise"),
    )
    exits = ExitPolicy(stop_loss_fraction=0.05, take_profit_fraction=0.10)

    def threshold(self, values):
        """The score from which it acts: half a vote."""
        return VOTE

    def memory(self, values):
        """How many bars the newest score depends on."""
        return max(values["length"], values["span"] + 1)

    def columns(self, panel, values):
        """What a person sees beside the chart. Column t may use bars up to t only; `app.indicators` keeps to that."""

        def compute(bars):
            return {{
                "close": bars.close,
                "mean": mean(bars.close, values["length"]),
                "rise": change(bars.close, values["span"]),
            }}

        return by_symbol(panel, compute)

    def score(self, columns, values):
        """-1..1 for each bar, from its own row of columns."""
        close, average, rise = columns["close"], columns["mean"], columns["rise"]
        return votes((close > average) & (rise > 0), close < average, close, average, rise)


STRATEGY = {title}()
'''
)

CLASS = (
    _HEAD
    + '''from collections import deque

from app.domain.exits import ExitPolicy
from app.strategies.class_strategy import class_strategy
from app.strategies.strategy import Parameter


class {title}:
    """Buys a close above the mean of the last closes, sells one below it."""

    name = "{name}"
    parameters = (Parameter(name="length", default=20, low=2, high=500, doc="closes of the mean"),)
    exits = ExitPolicy(stop_loss_fraction=0.05, take_profit_fraction=0.10)

    def __init__(self, length):
        """One instance sees the bars of one symbol, oldest first."""
        self.closes = deque(maxlen=length)

    def on_bar(self, bar, position):
        """The score after this bar: +1 to hold, -1 to leave, 0 for nothing, None while nothing can be said.

        bar: timestamp, open, high, low, close, volume. position: 1.0 while the scores so far ask for a holding, else 0.0.
        """
        self.closes.append(bar.close)
        if len(self.closes) < self.closes.maxlen:
            return None
        average = sum(self.closes) / len(self.closes)
        if bar.close > average:
            return 1.0
        return -1.0 if bar.close < average else 0.0

    @staticmethod
    def memory(values):
        """How many bars the newest score depends on."""
        return values["length"]


STRATEGY = class_strategy({title})
'''
)

TEST = '''"""{name} keeps the laws of a strategy: it never looks ahead, and it remembers no more than it declares."""

import numpy as np
from {name} import STRATEGY

from app.strategies.laws import broken_laws, random_panel
from app.strategies.strategy import checked, evaluated


def test_it_keeps_the_laws():
    assert broken_laws(STRATEGY, checked(STRATEGY, {{}})) == ()


def test_it_buys_and_sells():
    values = checked(STRATEGY, {{}})
    _, score = evaluated(STRATEGY, random_panel(2, 500), values)
    known = score[np.isfinite(score)]
    assert (known >= STRATEGY.threshold(values)).any() and (known <= -STRATEGY.threshold(values)).any()
'''

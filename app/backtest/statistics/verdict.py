"""One verdict from all the evidence: PASS, WARN or FAIL with the reasons. Pure: the same evidence, the same verdict.

The levels are the customary 5 % of each test. PASS needs every check to pass, so that a result without an edge gets it with at
most the probability of the strictest one; what is missing warns, and never passes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from app.backtest.statistics.bootstrap import Intervals
from app.backtest.statistics.luck import Plateau, RandomEntry
from app.backtest.statistics.overfitting import (
    Moments,
    Overfitting,
    deflated_sharpe,
    expected_maximum,
    minimum_track_record_length,
)
from app.domain.verdict import Check, Level, Verdict

SIGNIFICANCE = 0.05
MINIMUM_OBSERVATIONS = 250  # a year of sessions
MINIMUM_TRADES = 30
PLATEAU_SHARE = 0.5
COST_MULTIPLES = (2, 3)


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What is known of a result; None where it is not.

    returns: moments of its returns per observation. periods_per_year: observations a year. trades: closed round trips.
    trials, effective_trials: configurations evaluated on this data by anybody, and how many independent ones they amount to.
    parameters: how many numbers could have been chosen. superiority: p-value of the SPA test over the trials. stressed: total
    return by cost multiple.
    """

    returns: Moments
    periods_per_year: float
    trades: int
    trials: int
    effective_trials: float
    parameters: int
    intervals: Intervals | None = None
    overfitting: Overfitting | None = None
    superiority: float | None = None
    random_entry: RandomEntry | None = None
    plateau: Plateau | None = None
    stressed: Mapping[int, float] | None = None


def judge(evidence: Evidence) -> Verdict:
    """Every check, in the order in which a person should read them."""
    checks: tuple[Callable[[Evidence], Check], ...] = (
        _observations,
        _trades,
        _deflated_sharpe,
        _interval,
        _superiority,
        _overfitting,
        _random_entry,
        _plateau,
        _cost_stress,
    )
    return Verdict(checks=tuple(check(evidence) for check in checks))


def null_variance(of: Moments) -> float:
    """Sampling variance of a Sharpe ratio whose true value is zero. What the best of the trials is deflated by: the spread
    over the trials themselves would take true differences between them (a set ruined by costs) for luck."""
    return 1.0 / (of.observations - 1) if of.observations > 1 else math.inf


def _observations(evidence: Evidence) -> Check:
    count = evidence.returns.observations
    enough = count >= MINIMUM_OBSERVATIONS
    said = f"{count} returns" if enough else f"{count} returns are too few to judge by; test {MINIMUM_OBSERVATIONS} or more"
    return _check("observations", Level.PASS if enough else Level.WARN, count, MINIMUM_OBSERVATIONS, said)


def _trades(evidence: Evidence) -> Check:
    enough = evidence.trades >= MINIMUM_TRADES
    said = f"{evidence.trades} closed trades"
    if not enough:
        said += f" are too few to judge by; test a longer span or more symbols, until there are {MINIMUM_TRADES}"
    return _check("trades", Level.PASS if enough else Level.WARN, evidence.trades, MINIMUM_TRADES, said)


def _deflated_sharpe(evidence: Evidence) -> Check:
    of, year = evidence.returns, math.sqrt(evidence.periods_per_year)
    variance = null_variance(of)
    luck = expected_maximum(evidence.effective_trials) * math.sqrt(variance) if math.isfinite(variance) else 0.0
    figure = deflated_sharpe(of, trials=evidence.effective_trials, variance=variance) if of.observations > 1 else 0.5
    level = Level.PASS if figure >= 1 - SIGNIFICANCE else Level.WARN if figure >= 0.5 else Level.FAIL
    said = (
        f"a Sharpe ratio of {of.sharpe_ratio * year:.2f} a year where the best of {evidence.trials} trials "
        f"({evidence.effective_trials:.0f} independent) would show {luck * year:.2f} by luck: "
        f"the true one is above that with probability {figure:.3f}"
    )
    needed = minimum_track_record_length(of, luck)
    if level is not Level.PASS and needed > of.observations:
        said += (
            f"; {needed:.0f} returns like these would be needed" if math.isfinite(needed) else "; no length of data would do"
        )
    return _check("deflated_sharpe", level, figure, 1 - SIGNIFICANCE, said)


def _interval(evidence: Evidence) -> Check:
    found = evidence.intervals
    if found is None:
        return _missing(
            "bootstrap_interval", 0.0, "the interval of the Sharpe ratio is not known: it needs returns above -100 %"
        )
    year, sharpe = math.sqrt(evidence.periods_per_year), found.sharpe_ratio
    level = Level.PASS if sharpe.low > 0.0 else Level.WARN if sharpe.estimate > 0.0 else Level.FAIL
    said = (
        f"resampled in blocks, the Sharpe ratio lies between {sharpe.low * year:.2f} and {sharpe.high * year:.2f} a year, the "
        f"total return between {found.total_return.low:.1%} and {found.total_return.high:.1%}, the deepest drawdown between "
        f"{found.max_drawdown.low:.1%} and {found.max_drawdown.high:.1%} ({found.level:.0%} of {found.draws} draws)"
    )
    return _check("bootstrap_interval", level, sharpe.low * year, 0.0, said)


def _superiority(evidence: Evidence) -> Check:
    p = evidence.superiority
    if p is None:
        if evidence.trials <= 1:
            return _check("superior_ability", Level.PASS, None, SIGNIFICANCE, "one configuration was tried: nothing was chosen")
        wanted = f"the returns of the {evidence.trials} trials on this data are not at hand for the SPA test"
        return _missing("superior_ability", SIGNIFICANCE, f"{wanted}; run them as one `trader sweep`")
    level = Level.PASS if p <= SIGNIFICANCE else Level.WARN if p <= 0.5 else Level.FAIL
    said = f"the best of the trials looks so good by luck with probability {p:.3f} (Hansen's SPA test)"
    return _check("superior_ability", level, p, SIGNIFICANCE, said)


def _overfitting(evidence: Evidence) -> Check:
    """Ranks alone say little where all sets earn much the same; there it must do that the chosen one hardly ever loses."""
    found = evidence.overfitting
    if found is None:
        if evidence.trials <= 1:
            return _check("overfitting", Level.PASS, None, 0.2, "one configuration was tried: nothing was chosen")
        wanted = f"the returns of the {evidence.trials} trials on this data are not at hand for the probability of overfitting"
        return _missing("overfitting", 0.2, f"{wanted}; run them as one `trader sweep`")
    sound = found.probability <= 0.2 or found.loss <= SIGNIFICANCE
    level = Level.PASS if sound else Level.FAIL if found.probability > 0.5 and found.loss > 0.25 else Level.WARN
    said = (
        f"chosen on one half of the data, the best set ranks in the lower half on the other with probability "
        f"{found.probability:.2f} and loses there with probability {found.loss:.2f} ({found.splits} splits)"
    )
    return _check("overfitting", level, found.probability, 0.2, said)


def _random_entry(evidence: Evidence) -> Check:
    found = evidence.random_entry
    if found is None:
        return _missing("random_entry", SIGNIFICANCE, "the trades could not be compared with random ones: none was closed")
    p = found.probability
    # The best of n independent tries reaches p by luck with probability 1 - (1 - p)^n (Sidak).
    adjusted = -math.expm1(max(evidence.effective_trials, 1.0) * math.log1p(-min(p, 1.0 - 1e-12)))
    level = Level.PASS if adjusted <= SIGNIFICANCE else Level.WARN if p <= 0.5 else Level.FAIL
    said = (
        f"as many holdings, as long, at random times do as well with probability {p:.2g}, the best of all trials with "
        f"{adjusted:.2g} (ours {found.own:.1%}, the middle of {found.draws} draws {found.median:.1%})"
    )
    return _check("random_entry", level, adjusted, SIGNIFICANCE, said)


def _plateau(evidence: Evidence) -> Check:
    found = evidence.plateau
    if evidence.parameters == 0:
        return _check("parameter_plateau", Level.PASS, None, PLATEAU_SHARE, "there are no parameters that were chosen")
    if found is None:
        return _missing(
            "parameter_plateau",
            PLATEAU_SHARE,
            "no neighbouring parameters were tried on this data; run `trader sweep` around these",
        )
    level = Level.PASS if found.share >= PLATEAU_SHARE else Level.WARN
    said = f"{found.share:.0%} of {found.neighbours} neighbouring parameter sets reach half of the Sharpe ratio or more"
    return _check("parameter_plateau", level, found.share, PLATEAU_SHARE, said)


def _cost_stress(evidence: Evidence) -> Check:
    found = evidence.stressed
    if found is None or any(multiple not in found for multiple in COST_MULTIPLES):
        return _missing("cost_stress", 0.0, "not run with higher costs; give it costs (slippage, commission) and run it again")
    twice, thrice = (found[multiple] for multiple in COST_MULTIPLES)
    level = Level.PASS if min(twice, thrice) > 0.0 else Level.WARN if twice > 0.0 else Level.FAIL
    said = f"with twice the costs it earns {twice:.1%}, with three times {thrice:.1%}"
    return _check("cost_stress", level, thrice, 0.0, said)


def _missing(name: str, threshold: float, sentence: str) -> Check:
    return _check(name, Level.WARN, None, threshold, sentence)


def _check(name: str, level: Level, figure: float | None, threshold: float, sentence: str) -> Check:
    known = figure is not None and math.isfinite(figure)
    if figure is not None and not known:
        level = Level.FAIL  # a figure that is not a number supports nothing
    return Check(
        name=name,
        level=level,
        figure=float(figure) if known and figure is not None else None,
        threshold=threshold,
        sentence=sentence,
    )

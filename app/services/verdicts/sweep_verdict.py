"""The verdict on the best of a sweep: judged with everything it was chosen from, over the whole of the bars."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal

import numpy as np

from app.backtest.compiled.evaluation import evaluate
from app.backtest.compiled.instrument import Setup, exits_of, instrument, run, votes_of
from app.backtest.statistics.luck import Plateau, Stay
from app.domain.panel import Panel
from app.domain.trial import data_set
from app.services.verdicts.outcome_verdict import times
from app.services.verdicts.verdict_service import Result
from app.strategies.strategy import Strategy, Values

MOST_SETS = 5_000  # their returns of five years of sessions: 50 MB
Progress = Callable[[int, int, str], None]


def sweep_result(
    strategy: Strategy,
    panel: Panel,
    sets: Sequence[Values],
    chosen: Values,
    setup: Setup,
    *,
    start: int = 0,
    threads: int = 1,
    source: str = "sweep",
    plateau: Plateau | None = None,
    seed: int = 7,
    progress: Progress = lambda _done, _total, _message: None,
) -> Result:
    """What came of `chosen` from bar `start` of `panel` on, ready to be judged among `sets`, those it was chosen from, each of
    which is run again. The bars before only feed the columns.

    sets: complete and checked. With more than MOST_SETS the tests of the whole choice are left out, and the verdict says so.
    plateau: as in `Result`.
    progress comes after every few sets; what it raises ends the work."""
    among = [*sets] if len(sets) <= MOST_SETS else []
    if dict(chosen) not in [dict(values) for values in among]:
        among.append(chosen)
    stop = len(panel) - 1
    found = evaluate(strategy, panel, among, setup, start=start, stop=stop, threads=threads, progress=progress)
    own = next(number for number, values in enumerate(among) if dict(values) == dict(chosen))

    def rerun(multiple: int) -> float:
        dearer = replace(setup, costs=times(setup.costs, multiple))
        return float(np.prod(1.0 + evaluate(strategy, panel, [chosen], dearer, start=start, stop=stop).returns[0]) - 1.0)

    many = len(among) > 1
    return Result(
        data_set=data_set(panel.slice(start, len(panel))),
        strategy=strategy.name,
        values=dict(chosen),
        setup=setup.named(),
        source=source,
        returns=found.returns[own],
        periods_per_year=found.year.periods,
        trades=int(found.trades[own]),
        round_trip_cost=_round_trip_cost(setup),
        prices=panel.open[:, start:],
        stays=stays_of(strategy, panel, chosen, setup, start=start),
        returns_of_sets=found.returns.T if many else None,
        sets=among if many else (),
        plateau=plateau,
        rerun=rerun if _costs(setup) > Decimal(0) else None,
        seed=seed,
    )


def stays_of(strategy: Strategy, panel: Panel, values: Values, setup: Setup, *, start: int = 0) -> list[Stay]:
    """Its closed trades on decisions from bar `start` on, which counts as bar 0; each symbol by itself with an equal part of
    the capital."""
    exits = exits_of(strategy.exits)
    stop, target = exits["stop_loss_fraction"], exits["take_profit_fraction"]
    terms, weight = replace(setup, stop_loss_fraction=stop, take_profit_fraction=target), setup.fraction / len(panel.symbols)
    score = strategy.score(strategy.columns(panel, values), values)
    stays = []
    for row in range(len(panel.symbols)):
        if not np.any(panel.close[row] > 0.0):
            continue
        market = instrument(panel, row)
        votes = votes_of(market, score[row], strategy.threshold(values))
        votes[: int(np.searchsorted(market.place, start))] = 0
        log = run(market, votes, terms, curve=False).trades
        closed = log.exit_bar >= 0
        sides = np.sign(log.quantity[closed]).tolist()
        trips = zip(log.entry_bar[closed].tolist(), log.exit_bar[closed].tolist(), sides, strict=True)
        stays += [
            Stay(symbol=row, entered=entered - start, left=left - start, weight=weight * side) for entered, left, side in trips
        ]
    return stays


def _round_trip_cost(setup: Setup) -> float:
    terms = setup.terms(1.0)
    return 2.0 * (terms.slippage + terms.commission)


def _costs(setup: Setup) -> Decimal:
    costs: Mapping[str, Decimal] = {name: getattr(setup.costs, name) for name in setup.costs.__slots__}
    return sum(costs.values(), Decimal(0))

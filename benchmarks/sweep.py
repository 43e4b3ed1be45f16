"""W1: 1,000 pairs of moving averages over 130,000 minute bars, return, Sharpe ratio and drawdown of each; beside the peers.

`python benchmarks/sweep.py [--rounds 3] [--out results.jsonl]`. Long only, 95 % of the equity, 5 bp a side, filled at the close
of the signal (the only rule all of them have). Peers do a tenth of the pairs: their cost grows with the number.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from decimal import Decimal
from pathlib import Path

import numpy as np
from side_by_side import Message, merged, peer, present, random_walk, table, told
from single import panel_of

PAIRS = np.array([(fast, slow) for fast in range(5, 55, 2) for slow in range(60, 460, 10)])
SHARE = 10  # peers do one pair in so many


def product(data: Path, threads: int) -> None:
    """The contestant of the product, in a process of its own."""
    from measuring import measured, tell

    from app.backtest.compiled.instrument import FillRule, Setup
    from app.backtest.compiled.sweep import sweep
    from app.engine.costs import CostModel
    from app.strategies.sma_cross import SmaCross

    panel = panel_of(dict(np.load(data)))
    setup = Setup(
        costs=CostModel(slippage_bps=Decimal(0), commission_bps=Decimal(5)), fill=FillRule.CLOSE, capital=1.0, fraction=0.95
    )
    sets = [{"fast": fast, "slow": slow} for fast, slow in PAIRS.tolist()]
    run = lambda: sweep(SmaCross(), panel, sets, setup, threads=threads)  # noqa: E731
    found = measured(f"product, {threads} threads", "product", len(sets), "sets", run, runs=5)
    tell({name: found.figures[name].tolist() for name in ("total_return", "max_drawdown")})


def main() -> None:
    """Rounds of all contestants, a table, and the returns compared."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--bars", type=int, default=130_000)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--here", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--threads", type=int, default=2, help=argparse.SUPPRESS)
    wish = parser.parse_args()
    if wish.here:
        product(wish.here, wish.threads)
        return
    with tempfile.TemporaryDirectory() as place:
        whole, part = Path(place) / "whole.npz", Path(place) / "part.npz"
        bars = random_walk(wish.bars)
        np.savez(whole, pairs=PAIRS, **bars)
        np.savez(part, pairs=PAIRS[::SHARE], **bars)
        figures: dict[str, list[Message]] = {}
        peers = present(("raptorbt", "vectorbt", "backtesting"), "W1", wish.out)
        answers: dict[str, Message] = {}
        for _ in range(wish.rounds):
            for threads in (2, 1):
                speed, answers["product"] = told([sys.executable, __file__, "--here", whole, "--threads", str(threads)])
                figures.setdefault(speed["name"], []).append(speed)
            for name in peers:
                speed, answers[name] = peer(name, "sweep", part)
                figures.setdefault(speed["name"], []).append(speed)
    table("W1", [merged(rounds) for rounds in figures.values()], wish.out)
    ours = answers["product"]
    for name, answer in answers.items():
        if name != "product":
            count = len(answer["total_return"])
            apart = np.abs(np.array(ours["total_return"][::SHARE][:count]) - answer["total_return"]).max()
            print(f"largest difference of a return to {name}: {apart:.1e}")
    if "vectorbt" not in answers:
        return
    drawdowns = np.abs(np.array(ours["max_drawdown"][::SHARE]) - answers["vectorbt"]["max_drawdown"]).max()
    returns = np.abs(np.array(ours["total_return"][::SHARE]) - answers["vectorbt"]["total_return"]).max()
    if max(drawdowns, returns) > 1e-9:
        sys.exit(f"the product and vectorbt disagree: returns by {returns:.1e}, drawdowns by {drawdowns:.1e}")


if __name__ == "__main__":
    main()

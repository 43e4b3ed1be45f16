"""What the research kernel is given and what it gives back; see `app.backtest.compiled.kernel`."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from app.domain.bar import Floats

Votes = npt.NDArray[np.int8]
Integers = npt.NDArray[np.int64]

# No reference counts (_nrt): nothing here makes an array, and counting the holders of those it is given, atomically at each
# call of a small function, took two thirds of the time. Divisions as numpy's, because one that may raise keeps the compiler
# from taking several bars at once.
OPTIONS = {"cache": True, "nogil": True, "error_model": "numpy", "_nrt": False}
compiled = njit(**OPTIONS)
OPEN_END, SIGNAL, STOP, TARGET, RUIN = 0, 1, 2, 3, 4


class Bars(NamedTuple):
    """Bars of one instrument, shape (n_bars,), C-contiguous, every price above zero. bits: those of the closes, as whole
    numbers."""

    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats
    bits: Integers


class Terms(NamedTuple):
    """What the kernel is told; fractions of a price or value, money in account currency, 0.0: off.

    step: of the quantity. impact: at the whole volume of a bar. at_close: fill at the close of the voting bar. is_both: a vote
    of -1 goes short. borrow: of the value of a short, for each bar that ends with it.
    """

    capital: float
    fraction: float
    collar: float
    stop: float
    target: float
    step: float
    slippage: float
    impact: float
    commission: float
    per_share: float
    minimum: float
    at_close: bool
    is_both: bool
    borrow: float


class Sums(NamedTuple):
    """What a run came to. equity: at its end. first to fourth: sums of the powers of the bar returns. drawdown: the deepest, a
    magnitude. trades: closed ones; wins: of them, with a profit after costs. held: bars that ended with a holding. commissions:
    currency. logged: rows of the trade log, an open trade among them. last, peak: the newest and the highest equity counted.
    least, greatest: closes of the last trade."""

    equity: float
    first: float
    second: float
    third: float
    fourth: float
    drawdown: float
    trades: float
    wins: float
    held: float
    commissions: float
    logged: float
    last: float
    peak: float
    least: float
    greatest: float


SUMS = len(Sums._fields)
(
    EQUITY, FIRST, SECOND, THIRD, FOURTH, DRAWDOWN, TRADES, WINS, HELD, COMMISSIONS, LOGGED,
    LAST, PEAK, LEAST, GREATEST,
) = range(SUMS)  # fmt: skip

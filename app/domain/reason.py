"""Why each symbol was or was not traded: one reason per symbol and cycle, the same words everywhere."""

from __future__ import annotations

from enum import IntEnum


class Reason(IntEnum):
    """Machine-readable outcome of a decision; `text` explains it to a person."""

    # orders
    BUY_SIGNAL = 0
    SELL_SIGNAL = 1
    STOP_LOSS = 2
    TAKE_PROFIT = 3
    REBALANCE_OUT = 4
    FLATTEN = 5
    PARTIAL_PROFIT = 6
    # nothing to do
    HOLD_BELOW_THRESHOLD = 20
    HOLD_LOW_CONFIDENCE = 21
    HOLD_POSITION = 22
    SELL_WITHOUT_POSITION = 23
    ORDER_PENDING = 24
    EXIT_PENDING = 25
    AWAITING_SLOT = 26
    # inputs refused
    NO_PRICE = 40
    STALE_PRICE = 41
    NOT_TRADABLE = 42
    NO_FORECAST = 43
    NO_VOLATILITY = 44
    # risk refused
    STATE_REDUCING = 60
    STATE_HALTED = 61
    NO_FREE_SLOT = 62
    EXPOSURE_LIMIT = 63
    BUYING_POWER = 64
    SIZE_BELOW_STEP = 65
    TRADED_TODAY = 66
    ENTRIES_TODAY = 67
    EXACT_CHECK = 68
    SYMBOL_DISABLED = 69
    EXTREME_VOLATILITY = 70
    PRICE_DOUBTED = 71
    SLEEVE_BUDGET = 72
    OTHER_SLEEVE = 73

    @property
    def code(self) -> str:
        """The word used by API, database and logs."""
        return self.name.lower()

    @property
    def text(self) -> str:
        """One sentence for a person."""
        return _TEXT[self]


_TEXT = {
    Reason.BUY_SIGNAL: "Expected return and confidence reached the buy thresholds and every risk rule allowed it.",
    Reason.SELL_SIGNAL: "Expected return and confidence reached the sell thresholds; the holding is closed.",
    Reason.STOP_LOSS: "The price fell to the stop-loss of the holding.",
    Reason.TAKE_PROFIT: "The price rose to the take-profit of the holding.",
    Reason.REBALANCE_OUT: "The weakest holding makes room for a symbol expected to earn more after costs.",
    Reason.FLATTEN: "Everything is being sold: the hard daily loss limit or a person asked for it.",
    Reason.PARTIAL_PROFIT: "The price rose to the partial target; a part of the holding is sold.",
    Reason.HOLD_BELOW_THRESHOLD: "The expected return lies between the sell and buy thresholds.",
    Reason.HOLD_LOW_CONFIDENCE: "The models disagree too much: confidence is below the threshold.",
    Reason.HOLD_POSITION: "Already held; nothing asks for an exit.",
    Reason.SELL_WITHOUT_POSITION: "A sell signal without a holding; stocks are never sold short.",
    Reason.ORDER_PENDING: "An earlier order for this symbol is still open.",
    Reason.EXIT_PENDING: "An exit for this holding is already on its way.",
    Reason.AWAITING_SLOT: "Chosen to replace a weaker holding; bought once that sale is filled.",
    Reason.NO_PRICE: "The price is missing, zero, negative or not a number.",
    Reason.STALE_PRICE: "The price is older than the limit.",
    Reason.NOT_TRADABLE: "The venue does not allow trading this symbol now.",
    Reason.NO_FORECAST: "No usable forecast: the model is missing, refused or its answer is not a number.",
    Reason.NO_VOLATILITY: "The volatility of the symbol is unknown, so no size can be justified.",
    Reason.STATE_REDUCING: "The system only reduces risk at present.",
    Reason.STATE_HALTED: "Trading is halted.",
    Reason.NO_FREE_SLOT: "All position slots are taken and no holding is weaker by enough.",
    Reason.EXPOSURE_LIMIT: "The total exposure limit leaves no room.",
    Reason.BUYING_POWER: "Not enough buying power.",
    Reason.SIZE_BELOW_STEP: "The permitted size is below the smallest tradable quantity.",
    Reason.TRADED_TODAY: "Already sold today; a symbol is turned over at most once a day.",
    Reason.ENTRIES_TODAY: "Too many entries in this symbol today.",
    Reason.EXACT_CHECK: "The exact check of the final order refused it.",
    Reason.SYMBOL_DISABLED: "Entered too often in one day; a person has to enable the symbol again.",
    Reason.EXTREME_VOLATILITY: "The symbol moves far more than what its forecast has learned from.",
    Reason.PRICE_DOUBTED: "The price jumped so far that it is not acted on until further readings confirm it.",
    Reason.SLEEVE_BUDGET: "The strategy's share of the account is used up.",
    Reason.OTHER_SLEEVE: "The symbol belongs to another strategy of the account.",
}

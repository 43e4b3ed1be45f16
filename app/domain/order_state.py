"""The life of an intent as a table: (state, event) -> state. Anything else raises.

READY is committed before anything is sent; SENT is claimed by exactly one sender; UNKNOWN waits for a look-up and is
never sent again blind. Terminal states change only by the late facts listed at the end of the table: executions that
surface after the end, and the order itself where we had never seen it at the venue.
"""

from __future__ import annotations

from enum import StrEnum

from app.domain.errors import Conflict


class OrderState(StrEnum):
    """Where an intent stands."""

    READY = "ready"
    SENT = "sent"
    UNKNOWN = "unknown"
    OPEN = "open"
    PARTIALLY_FILLED = "partially_filled"
    FILLED = "filled"
    CANCELED = "canceled"
    EXPIRED = "expired"
    REJECTED = "rejected"


class OrderEvent(StrEnum):
    """What can happen to an intent."""

    CLAIM = "claim"
    LOSE_ANSWER = "lose_answer"
    RETURN_UNSENT = "return_unsent"
    ACCEPT = "accept"
    FILL_PART = "fill_part"
    FILL_ALL = "fill_all"
    CANCEL = "cancel"
    EXPIRE = "expire"
    REJECT = "reject"
    SURFACE = "surface"


TERMINAL = frozenset({OrderState.FILLED, OrderState.CANCELED, OrderState.EXPIRED, OrderState.REJECTED})

_S, _E = OrderState, OrderEvent
_VENUE_FACTS = {
    _E.ACCEPT: _S.OPEN,
    _E.FILL_PART: _S.PARTIALLY_FILLED,
    _E.FILL_ALL: _S.FILLED,
    _E.CANCEL: _S.CANCELED,
    _E.EXPIRE: _S.EXPIRED,
    _E.REJECT: _S.REJECTED,
}

TRANSITIONS: dict[tuple[OrderState, OrderEvent], OrderState] = {
    (_S.READY, _E.CLAIM): _S.SENT,
    (_S.READY, _E.EXPIRE): _S.EXPIRED,
    (_S.SENT, _E.LOSE_ANSWER): _S.UNKNOWN,
    (_S.SENT, _E.RETURN_UNSENT): _S.READY,
    (_S.UNKNOWN, _E.LOSE_ANSWER): _S.UNKNOWN,
    (_S.UNKNOWN, _E.RETURN_UNSENT): _S.READY,
    **{(state, event): then for state in (_S.SENT, _S.UNKNOWN, _S.OPEN) for event, then in _VENUE_FACTS.items()},
    **{(_S.PARTIALLY_FILLED, event): then for event, then in _VENUE_FACTS.items() if event is not _E.ACCEPT},
    (_S.PARTIALLY_FILLED, _E.ACCEPT): _S.PARTIALLY_FILLED,
    # Late facts: an execution may surface after the order was reported canceled or expired.
    (_S.CANCELED, _E.FILL_PART): _S.CANCELED,
    (_S.CANCELED, _E.FILL_ALL): _S.FILLED,
    (_S.EXPIRED, _E.FILL_PART): _S.EXPIRED,
    (_S.EXPIRED, _E.FILL_ALL): _S.FILLED,
    # An order given up as never received, or reported refused, that the venue turns out to know.
    (_S.EXPIRED, _E.SURFACE): _S.OPEN,
    (_S.REJECTED, _E.SURFACE): _S.OPEN,
    # Repeated news of the same end is harmless.
    **{
        (state, event): state
        for state, event in (
            (_S.FILLED, _E.FILL_ALL),
            (_S.CANCELED, _E.CANCEL),
            (_S.EXPIRED, _E.EXPIRE),
            (_S.REJECTED, _E.REJECT),
        )
    },
}


def advance(state: OrderState, event: OrderEvent) -> OrderState:
    """The state after `event`; raises Conflict where the table has no row."""
    try:
        return TRANSITIONS[state, event]
    except KeyError:
        raise Conflict(f"an order that is {state} cannot {event}", code="order_state") from None

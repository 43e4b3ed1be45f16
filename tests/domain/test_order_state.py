"""The life of an intent: only listed steps, ends are ends, and late facts are the one exception."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.domain.errors import Conflict
from app.domain.order_state import TERMINAL, TRANSITIONS, OrderEvent, OrderState, advance

EVENTS = st.lists(st.sampled_from(OrderEvent), max_size=15)
LATE = {
    (OrderState.CANCELED, OrderEvent.FILL_PART): OrderState.CANCELED,
    (OrderState.CANCELED, OrderEvent.FILL_ALL): OrderState.FILLED,
    (OrderState.EXPIRED, OrderEvent.FILL_PART): OrderState.EXPIRED,
    (OrderState.EXPIRED, OrderEvent.FILL_ALL): OrderState.FILLED,
    (OrderState.EXPIRED, OrderEvent.SURFACE): OrderState.OPEN,
    (OrderState.REJECTED, OrderEvent.SURFACE): OrderState.OPEN,
}


@pytest.mark.parametrize("state", OrderState)
@pytest.mark.parametrize("event", OrderEvent)
def test_a_step_is_in_the_table_or_is_refused(state: OrderState, event: OrderEvent) -> None:
    if (state, event) in TRANSITIONS:
        assert advance(state, event) is TRANSITIONS[state, event]
    else:
        with pytest.raises(Conflict):
            advance(state, event)


@settings(deadline=None)
@given(EVENTS)
def test_no_end_is_left_but_by_a_late_fact(events: list[OrderEvent]) -> None:
    state, claims = OrderState.READY, 0
    for event in events:
        try:
            following = advance(state, event)
        except Conflict:
            continue
        if state in TERMINAL and following is not state:
            assert LATE[state, event] is following
        if following is OrderState.READY:
            assert event is OrderEvent.RETURN_UNSENT, "only proof that nothing was sent arms an order again"
            claims -= 1
        claims += event is OrderEvent.CLAIM
        assert claims <= 1, "sent at most once"
        state = following


def test_nothing_but_ready_is_claimed_and_unknown_is_never_sent() -> None:
    assert [s for s, e in TRANSITIONS if e is OrderEvent.CLAIM] == [OrderState.READY]
    assert OrderState.SENT not in {then for (state, _), then in TRANSITIONS.items() if state is OrderState.UNKNOWN}


@pytest.mark.parametrize("state", sorted(TERMINAL))
def test_the_same_end_reported_again_changes_nothing(state: OrderState) -> None:
    again = {
        OrderState.FILLED: OrderEvent.FILL_ALL,
        OrderState.CANCELED: OrderEvent.CANCEL,
        OrderState.EXPIRED: OrderEvent.EXPIRE,
        OrderState.REJECTED: OrderEvent.REJECT,
    }
    assert advance(state, again[state]) is state

"""What a venue's report of an order means for the intent behind it."""

from app.domain.order import VenueOrder
from app.domain.order_state import OrderEvent

_ENDS = {
    "filled": OrderEvent.FILL_ALL,
    "canceled": OrderEvent.CANCEL,
    "replaced": OrderEvent.CANCEL,
    "expired": OrderEvent.EXPIRE,
    "done_for_day": OrderEvent.EXPIRE,
    "rejected": OrderEvent.REJECT,
}


def reported_event(order: VenueOrder) -> OrderEvent:
    """The event a report stands for. A word we do not know counts as still open: the cautious reading, since open
    orders count as exposure and are looked up again. An order whose terms were changed lives on in its successor."""
    end = None if order.replaced_by else _ENDS.get(order.status)
    if end is not None:
        return end
    return OrderEvent.FILL_PART if order.filled_quantity > 0 else OrderEvent.ACCEPT

"""How we talk to Alpaca through the unmodified alpaca-py client: timeouts, no transport retry, errors by reaction.

alpaca-py 0.44 sends without a timeout and repeats POST /orders on 429 and 504; both are switched off here.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from http import HTTPStatus
from json import JSONDecodeError
from typing import TYPE_CHECKING, Any, TypeVar

import requests
from requests.adapters import HTTPAdapter

from app.brokers.call_window import CallWindow
from app.brokers.rate_limit import TokenBucket
from app.domain.errors import OutcomeUnknown, Refused, TryAgain, VenueError
from app.domain.trading_state import VenueHealth
from app.runtime import metrics
from app.runtime.stopwatch import Stopwatch

if TYPE_CHECKING:
    from alpaca.common.rest import RESTClient

T = TypeVar("T")

LONGEST_WAIT_TO_READ_SECONDS = 10.0
LONGEST_WAIT_TO_ACT_SECONDS = 4.0


class _TimedAdapter(HTTPAdapter):
    """Gives every request the same connect and read timeout."""

    def __init__(self, timeout_seconds: float) -> None:
        self._timeout_seconds = timeout_seconds
        super().__init__(max_retries=0, pool_maxsize=8)

    def send(self, request: requests.PreparedRequest, *args: Any, **options: Any) -> requests.Response:
        options["timeout"] = (min(5.0, self._timeout_seconds), self._timeout_seconds)
        return super().send(request, *args, **options)


def harden(client: RESTClient, timeout_seconds: float) -> None:
    """Put timeouts on `client` and take its transport retries away (its constructor ignores a zero)."""
    for scheme in ("http://", "https://"):
        client._session.mount(scheme, _TimedAdapter(timeout_seconds))
    client._retry = 0
    client._retry_codes = []


class AlpacaWire:
    """Runs calls within the request budget, sorts whatever goes wrong, and measures each call under its operation's name."""

    def __init__(self, budget: TokenBucket) -> None:
        self._budget = budget
        self._window = CallWindow()
        self.calls = 0

    def health(self) -> VenueHealth:
        """How the calls of the last five minutes fared."""
        return self._window.health()

    def read(self, operation: str, call: Callable[[], T]) -> T:
        """A call without effect at the venue. Raises Refused (4xx) or TryAgain (anything else)."""
        return self._run(operation, call, has_effect=False)

    def act(self, operation: str, call: Callable[[], T]) -> T:
        """A call that may change something at the venue; besides the above raises OutcomeUnknown when that is unclear."""
        return self._run(operation, call, has_effect=True)

    def _run(self, operation: str, call: Callable[[], T], *, has_effect: bool) -> T:
        # What acts must not leave long after it was decided: a kill in between has to stop it.
        self._budget.take(wait_seconds=LONGEST_WAIT_TO_ACT_SECONDS if has_effect else LONGEST_WAIT_TO_READ_SECONDS)
        self.calls += 1
        outcome, answered, watch = "ok", True, Stopwatch()
        try:
            return call()
        except Exception as error:
            fault = _sorted(error, has_effect=has_effect)
            outcome, answered = fault.code, isinstance(fault, Refused) and fault.code != "venue_unauthorized"
            raise fault from error
        finally:
            self._window.note(good=answered)
            metrics.observe_venue_call(operation, outcome, watch.total())


def _sorted(error: Exception, *, has_effect: bool) -> VenueError:
    from alpaca.common.exceptions import APIError

    if isinstance(error, VenueError):
        return error
    if isinstance(error, APIError):
        return _from_status(error, has_effect)
    if isinstance(error, (requests.ConnectTimeout, requests.exceptions.InvalidURL)) or _never_connected(error):
        return TryAgain(f"the venue cannot be reached: {_brief(error)}")
    if isinstance(error, requests.RequestException) and not isinstance(error, requests.JSONDecodeError):
        kind = OutcomeUnknown if has_effect else TryAgain
        return kind(f"the venue did not answer: {_brief(error)}")
    # Anything else is an answer the client could not read (HTML, empty, truncated, unknown words).
    kind = OutcomeUnknown if has_effect else TryAgain
    return kind(f"the venue's answer is unreadable: {_brief(error)}", code="venue_answer_unreadable")


def _from_status(error: Any, has_effect: bool) -> VenueError:
    status = error.status_code or 0
    message = _message(error)
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return TryAgain(f"the venue asks to slow down: {message}", code="rate_limited", status=status)
    if HTTPStatus.BAD_REQUEST <= status < HTTPStatus.INTERNAL_SERVER_ERROR and status != HTTPStatus.REQUEST_TIMEOUT:
        code = "venue_unauthorized" if status == HTTPStatus.UNAUTHORIZED else "venue_refused"
        return Refused(message, code=code, status=status)
    kind = OutcomeUnknown if has_effect else TryAgain
    return kind(f"the venue failed with status {status}: {message}", status=status)


def _message(error: Any) -> str:
    try:
        return str(error.message)
    except (JSONDecodeError, KeyError, TypeError, AttributeError):
        return str(error)[:200]  # APIError parses its body on access; HTML bodies do not parse


def _never_connected(error: Exception) -> bool:
    """A refused or unresolvable connection: nothing was sent, so nothing can have happened."""
    from urllib3.exceptions import MaxRetryError, NewConnectionError

    reason = error.args[0] if isinstance(error, requests.ConnectionError) and error.args else None
    return isinstance(reason, MaxRetryError) and isinstance(reason.reason, NewConnectionError)


def _brief(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error)[:160]}"


def instant(text: str) -> datetime:
    """An instant as Alpaca writes it, aware UTC."""
    # Alpaca sends nanoseconds; Python reads six digits of a fraction.
    head, dot, tail = text.partition(".")
    if dot:
        digits = tail.rstrip("Z").split("+")[0].split("-")[0]
        text = f"{head}.{digits[:6].ljust(6, '0')}{tail[len(digits) :]}"
    return datetime.fromisoformat(text).astimezone(UTC)

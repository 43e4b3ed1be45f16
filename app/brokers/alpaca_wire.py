"""How we talk to Alpaca through the unmodified alpaca-py client: timeouts, no transport retry, errors by reaction.

alpaca-py 0.44 sends without a timeout and repeats POST /orders on 429 and 504; both are switched off here.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from json import JSONDecodeError
from typing import TYPE_CHECKING, Any, TypeVar

import requests
from requests.adapters import HTTPAdapter

from app.brokers.call_window import CallWindow
from app.brokers.rate_limit import TokenBucket
from app.domain.errors import UNAUTHORIZED, OutcomeUnknown, Refused, TryAgain, VenueError
from app.domain.trading_state import VenueHealth
from app.runtime import metrics
from app.runtime.stopwatch import Stopwatch

if TYPE_CHECKING:
    from alpaca.common.rest import RESTClient

T = TypeVar("T")

RATE_LIMITED = "rate_limited"

LONGEST_WAIT_TO_READ_SECONDS = 10.0
LONGEST_WAIT_TO_ACT_SECONDS = 4.0
SPARED_FOR_ACTS_FRACTION = 0.2  # of the burst; no amount of reading keeps an exit from being sent
LOCKED_OUT_SECONDS = 60.0  # between two tries of refused keys: a venue may lock out who keeps knocking
LONGEST_CLOSED_SECONDS = 120.0
MOST_ANSWER_BYTES = 32 * 1024 * 1024  # the list of all instruments has about ten


class _BoundedAdapter(HTTPAdapter):
    """Gives every request the same connect and read timeout, and takes no more of an answer than `MOST_ANSWER_BYTES`."""

    def __init__(self, timeout_seconds: float) -> None:
        self._timeout_seconds = timeout_seconds
        super().__init__(max_retries=0, pool_maxsize=8)

    def send(self, request: requests.PreparedRequest, *args: Any, **options: Any) -> requests.Response:
        options["timeout"] = (min(5.0, self._timeout_seconds), self._timeout_seconds)
        response = super().send(request, *args, **options)
        body = bytearray()
        for part in response.iter_content(1 << 16):
            body += part
            if len(body) > MOST_ANSWER_BYTES:
                response.close()
                raise requests.exceptions.ContentDecodingError(f"an answer of more than {MOST_ANSWER_BYTES} bytes")
        response._content = bytes(body)
        return response


def harden(client: RESTClient, timeout_seconds: float) -> None:
    """Put timeouts on `client` and take its transport retries away (its constructor ignores a zero)."""
    for scheme in ("http://", "https://"):
        client._session.mount(scheme, _BoundedAdapter(timeout_seconds))
    client._retry = 0
    client._retry_codes = []


class AlpacaWire:
    """Runs calls within the request budget, sorts whatever goes wrong, and measures each call under its operation's name."""

    def __init__(self, budget: TokenBucket, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._budget = budget
        self._monotonic = monotonic
        self._locked_until = monotonic()
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
        if self._monotonic() < self._locked_until:
            raise _locked_out()
        # What acts must not leave long after it was decided: a kill in between has to stop it.
        if has_effect:
            self._budget.take(wait_seconds=LONGEST_WAIT_TO_ACT_SECONDS)
        else:
            self._budget.take(wait_seconds=LONGEST_WAIT_TO_READ_SECONDS, spare_fraction=SPARED_FOR_ACTS_FRACTION)
        self.calls += 1
        outcome, answered, watch = "ok", True, Stopwatch()
        try:
            return call()
        except Exception as error:
            fault = _sorted(error, has_effect=has_effect)
            outcome, answered = fault.code, isinstance(fault, Refused) and fault.code != UNAUTHORIZED
            self._heed(error, fault)
            raise fault from error
        finally:
            self._window.note(good=answered)
            metrics.observe_venue_call(operation, outcome, watch.total())

    def _heed(self, error: Exception, fault: VenueError) -> None:
        """What the venue asks of the calls that follow."""
        if fault.code == UNAUTHORIZED:
            self._locked_until = self._monotonic() + LOCKED_OUT_SECONDS
        elif fault.code == RATE_LIMITED:
            self._budget.close(_closed_seconds(getattr(getattr(error, "response", None), "headers", {})))


def _locked_out() -> Refused:
    message = f"the venue refused our keys; it is asked again once {LOCKED_OUT_SECONDS:.0f} s have passed"
    return Refused(message, code=UNAUTHORIZED, status=HTTPStatus.UNAUTHORIZED.value)


def _closed_seconds(headers: Mapping[str, str]) -> float:
    """How long a venue that answered 429 asks to be left alone, a second and some more so that not all come back at once.
    Its clock is compared with its own clock."""
    wait, now = 0.0, headers.get("Date")
    try:
        if "Retry-After" in headers:
            wait = float(headers["Retry-After"])
        elif now and "X-RateLimit-Reset" in headers:
            wait = float(headers["X-RateLimit-Reset"]) - parsedate_to_datetime(now).timestamp()
        else:
            return 0.0
    except ValueError:
        return LONGEST_CLOSED_SECONDS
    return min(max(wait, 0.0), LONGEST_CLOSED_SECONDS) + random.uniform(1.0, 2.0)


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
        return TryAgain(f"the venue asks to slow down: {message}", code=RATE_LIMITED, status=status)
    if HTTPStatus.BAD_REQUEST <= status < HTTPStatus.INTERNAL_SERVER_ERROR and status != HTTPStatus.REQUEST_TIMEOUT:
        code = UNAUTHORIZED if status == HTTPStatus.UNAUTHORIZED else "venue_refused"
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

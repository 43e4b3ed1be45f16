"""Every error the product raises on purpose, sorted by what the caller does next.

AlphaTraderError
+-- InvalidInput            the caller must change the request         (HTTP 400/422)
|   +-- NotFound            the named thing does not exist             (HTTP 404)
+-- Unauthorized            the caller must show who it is             (HTTP 401)
+-- Forbidden               the caller may not do this                 (HTTP 403)
+-- Conflict                allowed, but not in the present state      (HTTP 409)
+-- Busy                    too often or too many at once: wait        (HTTP 429)
+-- ConfigurationError      a person must mend settings or files
+-- VenueError              something between us and the venue
    +-- TryAgain            proven not done; may be repeated later
    +-- Refused             proven not done; repeating will not help
    +-- OutcomeUnknown      may or may not be done: only ever look it up
"""

UNAUTHORIZED = "venue_unauthorized"  # the code of a call whose keys the venue refused


class AlphaTraderError(Exception):
    """Base of all errors raised on purpose.

    code: stable machine-readable word, as shown by the API.
    """

    code = "internal_error"

    def __init__(self, message: str, *, code: str | None = None, **details: object) -> None:
        super().__init__(message)
        self.message = message
        self.details = details
        if code is not None:
            self.code = code


class InvalidInput(AlphaTraderError):
    """The request itself is wrong; nothing was done."""

    code = "invalid_input"


class NotFound(InvalidInput):
    """The request names something that does not exist."""

    code = "not_found"


class Unauthorized(AlphaTraderError):
    """The caller has not proven who it is."""

    code = "unauthorized"


class Forbidden(AlphaTraderError):
    """The caller is known and may not do this; nothing was done."""

    code = "forbidden"


class Busy(AlphaTraderError):
    """Too often, or too many at once; nothing was done. details: retry_after_seconds."""

    code = "busy"


class Conflict(AlphaTraderError):
    """The request is sound but the present state forbids it; nothing was done."""

    code = "conflict"


class ConfigurationError(AlphaTraderError):
    """Settings or files are wrong; the message names each fault and its mend."""

    code = "configuration_error"


class VenueError(AlphaTraderError):
    """A call to the venue did not succeed."""

    code = "venue_error"


class TryAgain(VenueError):
    """Proven to have had no effect; a later repeat may succeed (rate limit, unreachable venue, failed read)."""

    code = "venue_unavailable"


class Refused(VenueError):
    """Proven to have had no effect and a repeat would be refused again."""

    code = "venue_refused"


class OutcomeUnknown(VenueError):
    """The venue may have acted. Never repeat: look the order up by its client order id."""

    code = "outcome_unknown"

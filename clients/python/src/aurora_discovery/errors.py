"""Errors of the client."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

# Statuses after which the same request may succeed later.
TRANSIENT_STATUSES = frozenset({429, 500, 502, 503, 504})


class DiscoveryError(Exception):
    """The failure of a request, of a verification, or of an operation on a file. Its text is a
    sentence that a person can act on."""

    status: int | None = None
    """The HTTP status, if there was a response."""
    code: str | None = None
    """The error code of the API, if the service sent one."""
    field: str | None = None
    """The key or parameter at fault, if the service named one."""
    retry_after: float | None = None
    """How many seconds to wait before a retry, if the response has `Retry-After`."""

    @property
    def is_transient(self) -> bool:
        """Whether the same request may succeed later."""
        return self.status in TRANSIENT_STATUSES


class RefusedError(DiscoveryError):
    """The service refused the request. `docs/api.md` lists the codes."""

    seq: int | None
    """With `stale_record`: the sequence number of the record that the service has of the peer."""
    nonce: str | None
    """With `stale_signature`: a nonce of the service, to sign in place of the time."""
    timestamp: datetime | None
    """With `stale_signature`: the time of the service."""

    def __init__(self, status: int, body: Mapping[str, Any], retry_after: float | None) -> None:
        """Raises KeyError, TypeError or ValueError if `body` is not that of an error."""
        self.status = status
        self.code = str(body["code"])
        self.field = body.get("field")
        self.retry_after = retry_after
        self.seq = body.get("seq")
        self.nonce = body.get("nonce")
        timestamp = body.get("timestamp")
        # The API writes UTC without a suffix.
        self.timestamp = None if timestamp is None else datetime.fromisoformat(timestamp).replace(tzinfo=UTC)
        super().__init__(f"the service refused: {body['error']} ({self.code}, HTTP {status})")


class UnreachableError(DiscoveryError):
    """The connection could not be established, or broke before the response was complete."""

    def __init__(self, endpoint: str, cause: str) -> None:
        super().__init__(f"{endpoint} can't be reached ({cause}); check the endpoint, and that the service runs")

    @property
    def is_transient(self) -> bool:
        return True


class TimedOutError(DiscoveryError):
    """There was no complete response in time."""

    def __init__(self, endpoint: str, timeout: float) -> None:
        super().__init__(
            f"{endpoint} did not respond within {timeout:g} s; the service may be overloaded, or the network slow"
        )

    @property
    def is_transient(self) -> bool:
        return True


class ProtocolError(DiscoveryError):
    """The response does not conform to the API. Probably another program runs at the endpoint, or a
    proxy in front of the service sent the response."""

    def __init__(self, endpoint: str, status: int, cause: str, retry_after: float | None = None) -> None:
        super().__init__(
            f"{endpoint} responded with HTTP {status} and {cause}; check that it is the endpoint of Aurora Discovery"
        )
        self.status = status
        self.retry_after = retry_after


class InvalidRecordError(DiscoveryError):
    """A signed registration or a message could not be verified."""

    def __init__(self, problem: str, subject: str = "signed registration") -> None:
        super().__init__(f"the {subject} {problem}")


class KeyFileError(DiscoveryError):
    """The key file of a peer cannot be read or written."""

    def __init__(self, path: str, cause: str) -> None:
        super().__init__(f"the key file {path} {cause}")


class TokenFileError(DiscoveryError):
    """The token file of a lease keeper cannot be read or written."""

    def __init__(self, path: str, cause: str) -> None:
        super().__init__(f"the token file {path} {cause}")

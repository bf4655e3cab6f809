"""Errors of the client."""

from __future__ import annotations

# Statuses after which the same request may succeed later.
TRANSIENT_STATUSES = frozenset({429, 500, 502, 503, 504})


class DiscoveryError(Exception):
    """The reason why a request failed, as a sentence that a person can act on."""

    status: int | None = None
    """The HTTP status, if there was a response."""
    code: str | None = None
    """The error code of the API, if the service sent one."""
    field: str | None = None
    """The key or parameter at fault, if the service named one."""
    retry_after: float | None = None
    """When to retry, in seconds, if the service said so."""

    @property
    def is_transient(self) -> bool:
        """Whether the same request may succeed later."""
        return self.status in TRANSIENT_STATUSES


class RefusedError(DiscoveryError):
    """The service refused the request. `docs/api.md` lists the codes."""

    def __init__(self, status: int, message: str, code: str, field: str | None, retry_after: float | None) -> None:
        super().__init__(f"the service refused: {message} ({code}, HTTP {status})")
        self.status = status
        self.code = code
        self.field = field
        self.retry_after = retry_after


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
    """The response does not conform to the API. Another program runs at the endpoint, or a proxy is
    in front of the service."""

    def __init__(self, endpoint: str, status: int, cause: str, retry_after: float | None = None) -> None:
        super().__init__(
            f"{endpoint} responded with HTTP {status} and {cause}; check that it is the endpoint of Aurora Discovery"
        )
        self.status = status
        self.retry_after = retry_after


class TokenFileError(DiscoveryError):
    """The token file of a lease keeper cannot be read or written."""

    def __init__(self, path: str, cause: str) -> None:
        super().__init__(f"the token file {path} {cause}")

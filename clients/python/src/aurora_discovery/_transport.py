"""Requests over HTTP: chooses an endpoint, retries where that is useful, and reads responses.

This module and those that build on it are written once, as coroutines. `AsyncClient` awaits them.
`Client` runs them with an `Io` whose methods block instead of suspending (see `_blocking.run`).
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import urlencode, urlsplit

from .errors import DiscoveryError, ProtocolError, RefusedError

DEFAULT_TIMEOUT = 10.0
DEFAULT_PATIENCE = 30.0
DEFAULT_RETRIES = 3

# A longer response is an error. A page of the API has at most 1 MiB of peers.
MAX_RESPONSE_BYTES = 8 * 1024 * 1024

# The upper bound of the random part of the wait before the first retry, in seconds. It doubles with
# each further retry.
_FIRST_CEILING = 0.2
# The maximum of that upper bound. Longer waits would delay callers without relieving the service
# further.
_HIGHEST_CEILING = 10.0
# The minimum number of seconds before a client returns to the endpoint that it started at. The maximum is
# twice as long. The time is random, so that the clients of an endpoint that was down do not return to it
# all at once.
_MIN_ABSENCE = 300.0


@dataclass(frozen=True)
class Request:
    """An HTTP request to one endpoint. With a body it is a POST, and otherwise a GET."""

    endpoint: str
    path: str
    body: bytes | None = None

    @property
    def url(self) -> str:
        return f"{self.endpoint}/{self.path}"


@dataclass(frozen=True)
class Response:
    """A response with its complete body. The names of headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Stream(Protocol):
    """A response body that is read as it arrives."""

    @property
    def content_type(self) -> str: ...

    async def read(self) -> bytes:
        """The next bytes, or no bytes at the end of the stream. Raises DiscoveryError if the
        connection breaks or is silent for too long."""
        ...

    async def close(self) -> None: ...


class Io(Protocol):
    """Sends requests and waits. `exchange` and `open` raise UnreachableError, TimedOutError and
    ProtocolError."""

    async def exchange(self, request: Request, timeout: float) -> Response: ...

    async def open(self, request: Request, timeout: float, silence: float) -> Stream | Response:
        """Opens a stream, whose reads may take up to `silence` seconds. A response that is not 2xx is
        returned complete."""
        ...

    async def sleep(self, seconds: float) -> None: ...


@dataclass(frozen=True)
class Retry:
    """The retry policy of a client."""

    retries: int = DEFAULT_RETRIES
    patience: float = DEFAULT_PATIENCE

    def wait(self, failed: int, elapsed: float, error: DiscoveryError) -> float | None:
        """The seconds before the next attempt, or None if there is none. `failed` rounds of attempts
        have been made in `elapsed` seconds, and the last attempt ended with `error`."""
        if failed > self.retries or not error.is_transient:
            return None
        # All clients that were refused may have received the same `Retry-After`. The jitter on top
        # spreads their retries out.
        wait = (error.retry_after or 0.0) + full_jitter(failed, _FIRST_CEILING, _HIGHEST_CEILING)
        return wait if elapsed + wait < self.patience else None


class Endpoints:
    """The URLs of a service. All requests go to the current one. When a request fails, but may
    succeed at another endpoint, the next URL of the list becomes the current one. After 5 to 10
    minutes, the client returns to the URL that it started at, so that an endpoint that was down gets
    its clients back."""

    def __init__(self, urls: str | Sequence[str]) -> None:
        self._urls = [_check(url) for url in ([urls] if isinstance(urls, str) else urls)]
        if not self._urls:
            raise ValueError("a client needs at least one endpoint")
        # Each client starts at a random endpoint, so that the clients are distributed over all
        # endpoints.
        self._first = self._current = random.randrange(len(self._urls))
        # When the client returns to the endpoint that it started at, by the monotonic clock. Unused
        # while the client is there.
        self._return_at = 0.0

    def __len__(self) -> int:
        return len(self._urls)

    @property
    def current(self) -> str:
        if self._current != self._first and time.monotonic() >= self._return_at:
            self._current = self._first
        return self._urls[self._current]

    def leave(self, failed: str) -> None:
        """Moves to the next endpoint, unless a concurrent request has left `failed` already."""
        if self.current == failed:
            if self._current == self._first:
                self._return_at = time.monotonic() + _MIN_ABSENCE * (1 + random.random())
            self._current = (self._current + 1) % len(self._urls)


@dataclass(frozen=True)
class Transport:
    """Sends requests to a service."""

    io: Io
    endpoints: Endpoints
    timeout: float
    retry: Retry

    async def get(self, path: str, parameters: Sequence[tuple[str, str]] = ()) -> Response:
        return await self._send(f"{path}?{urlencode(parameters)}" if parameters else path, None)

    async def post(self, path: str, body: bytes, wait: float = 0.0) -> Response:
        """Sends a POST request. The service may delay its response by up to `wait` seconds, in
        addition to the time limit."""
        return await self._send(path, body, wait)

    async def exchange_once(self, path: str) -> tuple[str, Response]:
        """Sends a GET request without retries. A response with any status is a success. Returns the
        endpoint and the response. After a failure that may affect only this endpoint, the next
        request goes to another one."""
        endpoint = self.endpoints.current
        try:
            return endpoint, await self.io.exchange(Request(endpoint, path), self.timeout)
        except DiscoveryError as error:
            self.failed(endpoint, error)
            raise

    async def open(self, path: str, parameters: Sequence[tuple[str, str]], silence: float) -> tuple[str, Stream]:
        """Opens a stream, without retries. Returns the endpoint and the stream. After a failure
        that may affect only this endpoint, the next request goes to another one."""
        endpoint = self.endpoints.current
        request = Request(endpoint, f"{path}?{urlencode(parameters)}")
        try:
            opened = await self.io.open(request, self.timeout, silence)
            if isinstance(opened, Response):
                raise refusal(endpoint, opened)
        except DiscoveryError as error:
            self.failed(endpoint, error)
            raise
        return endpoint, opened

    def failed(self, endpoint: str, error: DiscoveryError) -> bool:
        """Handles the failure of a request to `endpoint`. Moves to the next endpoint if the request
        may succeed there. Returns whether that is so."""
        # A client that is over a rate limit (429) must wait. At another endpoint, it would only
        # evade the limit.
        is_local = error.is_transient and error.status != 429
        if is_local:
            self.endpoints.leave(endpoint)
        return is_local

    async def _send(self, path: str, body: bytes | None, wait_for: float = 0.0) -> Response:
        """Sends a request until it succeeds, fails permanently, or uses up its retries or its time. A
        round has one attempt at each endpoint, without waits in between. The client waits, and counts a
        retry, only after a whole round has failed. An error that another endpoint would return as well
        ends the round early."""
        started = time.monotonic()
        rounds = failed = 0
        while True:
            endpoint = self.endpoints.current
            try:
                return await self._attempt(Request(endpoint, path, body), self.timeout + wait_for)
            except DiscoveryError as failure:
                error = failure
            failed += 1
            elapsed = time.monotonic() - started
            if self.failed(endpoint, error) and failed < len(self.endpoints) and elapsed < self.retry.patience:
                continue
            failed = 0
            rounds += 1
            wait = self.retry.wait(rounds, elapsed, error)
            if wait is None:
                raise error
            await self.io.sleep(wait)

    async def _attempt(self, request: Request, timeout: float) -> Response:
        response = await self.io.exchange(request, timeout)
        if 200 <= response.status < 300:
            return response
        raise refusal(request.endpoint, response)


def full_jitter(failed: int, first: float, highest: float) -> float:
    """A uniform random wait below an upper bound, in seconds. The bound doubles with each failure, from
    `first` to `highest`."""
    return random.random() * min(first * (1 << min(failed - 1, 16)), highest)


def refusal(endpoint: str, response: Response) -> DiscoveryError:
    """The error for a response with an error status."""
    retry_after = _retry_after(response.headers)
    try:
        return RefusedError(response.status, json.loads(response.body), retry_after)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        cause = "a body that is not an error of the API"
        return ProtocolError(endpoint, response.status, cause, retry_after)


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """`Retry-After` in seconds. The API never sends a date, so a date is ignored."""
    text = headers.get("retry-after", "").strip()
    return float(text) if text.isascii() and text.isdigit() else None


def _check(url: str) -> str:
    """`url` without slashes at its end. Raises ValueError if it is not a usable endpoint."""
    parts = urlsplit(url)
    if parts.username or parts.password:
        # Error messages contain the endpoint, so it must not contain a secret.
        raise ValueError("the endpoint must not contain a user name or password: send an authorization header")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"the endpoint {url!r} must be a URL such as http://127.0.0.1:8080 or https://host/stage")
    if parts.query or parts.fragment:
        raise ValueError(f"the endpoint {url!r} must end with its path: no ? and no #")
    return url.rstrip("/")

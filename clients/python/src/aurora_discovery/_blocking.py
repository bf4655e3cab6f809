"""Runs the shared coroutines without an event loop, on httpx's blocking client."""

from __future__ import annotations

import threading
import time
from collections.abc import Coroutine, Iterator
from typing import Any, TypeVar

import httpx

from ._http import failure, headers_of, http_request, too_long
from ._transport import MAX_RESPONSE_BYTES, Request, Response
from .errors import TimedOutError

T = TypeVar("T")


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that never suspends, because its `Io` blocks instead."""
    try:
        coroutine.send(None)
    except StopIteration as finished:
        result: T = finished.value
        return result
    coroutine.close()
    raise RuntimeError("a blocking call suspended")


class Stopped(Exception):
    """A wait was interrupted, because the lease keeper has to stop."""


class BlockingIo:
    """The `Io` of `Client`. Its methods block the calling thread. `sleep` ends early, with
    `Stopped`, when `stop` is set."""

    def __init__(self, http: httpx.Client, stop: threading.Event | None = None) -> None:
        self._http = http
        self._stop = stop

    async def exchange(self, request: Request, timeout: float) -> Response:
        deadline = time.monotonic() + timeout
        try:
            response = self._http.send(http_request(self._http, request, timeout), stream=True)
            try:
                return _read(request, response, deadline, timeout)
            finally:
                response.close()
        except httpx.HTTPError as error:
            raise failure(request.endpoint, error, timeout) from error

    async def open(self, request: Request, timeout: float, silence: float) -> BlockingStream | Response:
        limits = httpx.Timeout(timeout, read=silence)
        try:
            response = self._http.send(http_request(self._http, request, limits), stream=True)
            if response.is_success:
                return BlockingStream(request.endpoint, response, silence)
            try:
                return _read(request, response, time.monotonic() + timeout, timeout)
            finally:
                response.close()
        except httpx.HTTPError as error:
            raise failure(request.endpoint, error, timeout) from error

    async def sleep(self, seconds: float) -> None:
        if self._stop is None:
            time.sleep(seconds)
        elif self._stop.wait(seconds):
            raise Stopped


class BlockingStream:
    """A stream whose reads block."""

    def __init__(self, endpoint: str, response: httpx.Response, silence: float) -> None:
        self._endpoint = endpoint
        self._response = response
        self._silence = silence
        self._chunks: Iterator[bytes] = response.iter_bytes()
        self.content_type: str = response.headers.get("content-type", "")

    async def read(self) -> bytes:
        try:
            return next(self._chunks, b"")
        except httpx.HTTPError as error:
            raise failure(self._endpoint, error, self._silence) from error

    async def close(self) -> None:
        self._response.close()


def _read(request: Request, response: httpx.Response, deadline: float, timeout: float) -> Response:
    body = bytearray()
    for chunk in response.iter_bytes():
        body += chunk
        if len(body) > MAX_RESPONSE_BYTES:
            raise too_long(request, response)
        if time.monotonic() > deadline:
            raise TimedOutError(request.endpoint, timeout)
    return Response(response.status_code, headers_of(response), bytes(body))

"""Sends requests on httpx's asynchronous client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import httpx

from ._http import failure, headers_of, http_request, too_long
from ._transport import MAX_RESPONSE_BYTES, Request, Response
from .errors import TimedOutError


class AsyncIo:
    """The `Io` of `AsyncClient`. Its methods suspend the calling task."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http

    async def exchange(self, request: Request, timeout: float) -> Response:
        try:
            async with asyncio.timeout(timeout):
                response = await self._http.send(http_request(self._http, request, timeout), stream=True)
                return await _read(request, response)
        except TimeoutError:
            raise TimedOutError(request.endpoint, timeout) from None
        except httpx.HTTPError as error:
            raise failure(request.endpoint, error, timeout) from error

    async def open(self, request: Request, timeout: float, silence: float) -> AsyncStream | Response:
        limits = httpx.Timeout(timeout, read=silence)
        try:
            async with asyncio.timeout(timeout):
                response = await self._http.send(http_request(self._http, request, limits), stream=True)
                if response.is_success:
                    return AsyncStream(request.endpoint, response, silence)
                return await _read(request, response)
        except TimeoutError:
            raise TimedOutError(request.endpoint, timeout) from None
        except httpx.HTTPError as error:
            raise failure(request.endpoint, error, timeout) from error

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class AsyncStream:
    """A stream whose reads suspend."""

    def __init__(self, endpoint: str, response: httpx.Response, silence: float) -> None:
        self._endpoint = endpoint
        self._response = response
        self._silence = silence
        self._chunks: AsyncIterator[bytes] = response.aiter_bytes()
        self.content_type: str = response.headers.get("content-type", "")

    async def read(self) -> bytes:
        try:
            return await anext(self._chunks, b"")
        except httpx.HTTPError as error:
            raise failure(self._endpoint, error, self._silence) from error

    async def close(self) -> None:
        await self._response.aclose()


async def _read(request: Request, response: httpx.Response) -> Response:
    body = bytearray()
    try:
        async for chunk in response.aiter_bytes():
            body += chunk
            if len(body) > MAX_RESPONSE_BYTES:
                raise too_long(request, response)
    finally:
        await response.aclose()
    return Response(response.status_code, headers_of(response), bytes(body))

"""The client for asyncio."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from types import TracebackType
from typing import NoReturn, Self

import httpx

from ._asynchronous import AsyncIo
from ._calls import Calls
from ._http import client_options
from ._keeper import EventHandler, Keeper, Signing
from ._transport import DEFAULT_PATIENCE, DEFAULT_RETRIES, DEFAULT_TIMEOUT, Endpoints, Retry, Transport
from ._watch import Watcher
from .errors import DiscoveryError
from .events import WatchEvent
from .requests import DiscoverRequest, RegisterRequest
from .responses import HeartbeatResponse, HeartbeatsResponse, Mailbox, Network, Page, Peer, RegisterResponse
from .secret_key import SecretKey
from .signer import Signer


class AsyncClient:
    """`Client` for asyncio: the same calls, options and errors.

    The service may or may not have carried out a call that was cancelled. It is safe to repeat the
    call.
    """

    def __init__(
        self,
        endpoints: str | Sequence[str],
        *,
        timeout: float = DEFAULT_TIMEOUT,
        retries: int = DEFAULT_RETRIES,
        patience: float = DEFAULT_PATIENCE,
        headers: Mapping[str, str] | None = None,
        verify: ssl.SSLContext | bool = True,
        http_client: httpx.AsyncClient | None = None,
    ) -> None:
        """Creates a client without connecting. See `Client` for the options."""
        endpoint_list = Endpoints(endpoints)
        self._http = http_client or httpx.AsyncClient(**client_options(headers, verify))
        self._owns_http = http_client is None
        self._calls = Calls(Transport(AsyncIo(self._http), endpoint_list, timeout, Retry(retries, patience)))

    @property
    def endpoint(self) -> str:
        """The URL that the next request goes to."""
        return self._calls.transport.endpoints.current

    async def register(self, request: RegisterRequest, *, signer: Signer | None = None) -> RegisterResponse:
        """See `Client.register`."""
        return await self._calls.register(request, signer)

    async def heartbeat(
        self, peer_id: str, *, lease_token: str | None = None, discover: DiscoverRequest | None = None
    ) -> HeartbeatResponse:
        """See `Client.heartbeat`."""
        return await self._calls.heartbeat(peer_id, lease_token, discover)

    async def heartbeats(
        self, peers: Iterable[str | tuple[str, str]], *, discover: DiscoverRequest | None = None
    ) -> HeartbeatsResponse:
        """See `Client.heartbeats`."""
        return await self._calls.heartbeats(peers, discover)

    async def deregister(self, peer_id: str, *, lease_token: str | None = None) -> None:
        """See `Client.deregister`."""
        await self._calls.deregister(peer_id, lease_token)

    async def mail(self, to: str, *, lease_token: str, message: str) -> int:
        """See `Client.mail`."""
        return await self._calls.mail(to, lease_token, message)

    async def mailbox(
        self, peer_id: str, *, lease_token: str, acknowledge: Iterable[str] = (), wait_seconds: int = 0
    ) -> Mailbox:
        """See `Client.mailbox`."""
        return await self._calls.mailbox(peer_id, lease_token, acknowledge, wait_seconds)

    async def discover(self, request: DiscoverRequest | None = None) -> Page:
        """See `Client.discover`."""
        return await self._calls.discover(request or DiscoverRequest())

    async def enumerate(self, request: DiscoverRequest | None = None) -> AsyncIterator[Peer]:
        """See `Client.enumerate`."""
        async for page in self._calls.pages(request or DiscoverRequest()):
            for peer in page.peers:
                yield peer

    def watch(self, request: DiscoverRequest | None = None, *, since: str | None = None) -> AsyncWatch:
        """See `Client.watch`."""
        return AsyncWatch(Watcher(self._calls.transport, request or DiscoverRequest(), since))

    async def network(self) -> Network:
        """See `Client.network`."""
        return await self._calls.network()

    async def health(self) -> str | None:
        """See `Client.health`."""
        return await self._calls.health()

    def keep(
        self,
        registration: RegisterRequest,
        *,
        on_event: EventHandler | None = None,
        token_file: str | os.PathLike[str] | None = None,
        replace: bool = True,
        key: SecretKey | None = None,
        replaces_key: SecretKey | None = None,
        audience: str | None = None,
    ) -> AsyncLeaseKeeper:
        """Starts to keep a peer registered, in a task of the running event loop. See `Client.keep`."""
        signing = Signing(key, replaces_key, audience)
        return AsyncLeaseKeeper(self._calls, Keeper(registration, on_event, token_file, replace, signing))

    async def close(self) -> None:
        """Closes the connections, unless they are those of `http_client`."""
        if self._owns_http:
            await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


class AsyncWatch:
    """The changes of the peers that match, as an asynchronous iterator. See `Watch`.

    If the wait for an event is cancelled, the connection may be lost. The watch then yields
    Interrupted when the next event is requested, reconnects, and misses no change.
    """

    def __init__(self, watcher: Watcher) -> None:
        self._watcher = watcher
        self._has_ended = False

    @property
    def cursor(self) -> str | None:
        """The cursor after the latest event, for `since` of a later watch."""
        return self._watcher.cursor

    async def close(self) -> None:
        """Closes the connection and ends the watch."""
        self._has_ended = True
        await self._watcher.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> WatchEvent:
        if self._has_ended:
            raise StopAsyncIteration
        try:
            return await self._watcher.next_event()
        except DiscoveryError:
            await self.close()
            raise

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


class AsyncLeaseKeeper:
    """Keeps one peer registered, as `LeaseKeeper` does, in a task of the event loop.
    `AsyncClient.keep` creates it. Use it in an `async with` block, or call `stop`."""

    def __init__(self, calls: Calls, keeper: Keeper) -> None:
        self._calls = calls
        self._keeper = keeper
        self._is_released = False
        self._error: BaseException | None = None
        self._task: asyncio.Task[NoReturn] = asyncio.create_task(keeper.keep(calls), name="lease-keeper")

    async def ended(self) -> None:
        """Waits until the keeper stops.

        Raises the exception that stopped it, such as the permanent refusal of the registration, or
        an exception of the event handler.
        """
        await asyncio.wait([self._task])
        self._take_error()
        if self._error:
            raise self._error

    async def stop(self) -> None:
        """Deregisters the peer and stops. A peer that another client has taken over is not
        deregistered.

        Raises what `ended` raises, or DiscoveryError if the peer could not be deregistered.
        """
        self._task.cancel()
        await asyncio.wait([self._task])
        self._take_error()
        if not self._is_released:
            self._is_released = True
            await self._release()
        if self._error:
            raise self._error

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def _release(self) -> None:
        try:
            await self._keeper.release(self._calls)
        except Exception as error:
            # If the keeper has failed before, `stop` raises that first error.
            self._error = self._error or error

    def _take_error(self) -> None:
        if not self._task.cancelled():
            self._error = self._error or self._task.exception()

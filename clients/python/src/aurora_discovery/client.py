"""The blocking client."""

from __future__ import annotations

import os
import ssl
import threading
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Self

import httpx

from ._blocking import BlockingIo, Stopped, run
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


class Client:
    """A client of one service, which threads may share.

    Every request is retried after transient failures (no connection, 429, 500, 502, 503, 504), with
    exponentially growing waits and jitter. Retries are safe: if only the response to an attempt was
    lost, the next attempt has the same effect, or the service refuses it. A call that fails raises
    DiscoveryError, whose `code` says why the service refused the request.
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
        http_client: httpx.Client | None = None,
    ) -> None:
        """Creates a client without connecting.

        `endpoints` is the URL of the service, `http://host:port` or `https://host/stage`, or several
        URLs of the same service. The client starts at a random one, stays with one that works, and moves
        to the next one when a request fails. After 5 to 10 minutes, it returns to the one that it started
        at.

        `timeout` is the time limit of one attempt, and `patience` that of a request with its retries, in
        seconds. `headers` are sent with every request. `verify` determines how certificates are
        verified, as in httpx. With `http_client`, the client uses that HTTP client instead of its own,
        ignores `headers` and `verify`, and leaves closing to the caller.

        Raises ValueError if an endpoint is not an HTTP URL.
        """
        self._endpoints = Endpoints(endpoints)
        self._http = http_client or httpx.Client(**client_options(headers, verify))
        self._owns_http = http_client is None
        self._timeout = timeout
        self._retry = Retry(retries, patience)
        self._calls = self._with(None)

    @property
    def endpoint(self) -> str:
        """The URL that the next request goes to."""
        return self._endpoints.current

    def register(self, request: RegisterRequest, *, signer: Signer | None = None) -> RegisterResponse:
        """Registers a peer, or replaces its registration and starts a new lease. Raises
        DiscoveryError with the code `not_holder` while another client holds the id.

        `signer` signs the registration, and signs it again if the local clock is wrong. If a live
        peer with this id was registered without a signature, `request` needs its `lease_token`,
        which proves that this client holds the id. The code is `name_locked` if the id is locked to
        another key.
        """
        return run(self._calls.register(request, signer))

    def heartbeat(
        self, peer_id: str, *, lease_token: str | None = None, discover: DiscoverRequest | None = None
    ) -> HeartbeatResponse:
        """Renews a lease, or revives a dormant peer, that is, one whose lease has ended but which the
        service still remembers. The code of the error is `peer_not_registered` if the peer has to
        register, and `not_holder` if the token is not the current one."""
        return run(self._calls.heartbeat(peer_id, lease_token, discover))

    def heartbeats(
        self, peers: Iterable[str | tuple[str, str]], *, discover: DiscoverRequest | None = None
    ) -> HeartbeatsResponse:
        """Renews the leases of up to a hundred peers: ids, or pairs of an id and its lease token."""
        return run(self._calls.heartbeats(peers, discover))

    def deregister(self, peer_id: str, *, lease_token: str | None = None) -> None:
        """Deregisters a peer. The code of the error is `peer_not_registered` if the service does
        not know the peer. This also happens if an earlier attempt of the same call removed it and
        the response was lost."""
        run(self._calls.deregister(peer_id, lease_token))

    def mail(self, to: str, *, lease_token: str, message: str) -> int:
        """Leaves a message, which `SignedMessage.sign` has made, in the mailbox of another peer.
        Returns the maximum time that it waits there, in seconds. The code of the error is
        `peer_not_registered` if the receiver is not live, and `no_mailbox` if it does not take
        mail."""
        return run(self._calls.mail(to, lease_token, message))

    def mailbox(
        self, peer_id: str, *, lease_token: str, acknowledge: Iterable[str] = (), wait_seconds: int = 0
    ) -> Mailbox:
        """Fetches the messages in the mailbox of a peer, and acknowledges earlier ones by their
        ids. A message stays there until it is acknowledged, but at most a minute. If the mailbox is
        empty, the service waits for a message for up to `wait_seconds`, in addition to the time
        limit of the client."""
        return run(self._calls.mailbox(peer_id, lease_token, acknowledge, wait_seconds))

    def discover(self, request: DiscoverRequest | None = None) -> Page:
        """Requests one page of live peers."""
        return run(self._calls.discover(request or DiscoverRequest()))

    def enumerate(self, request: DiscoverRequest | None = None) -> Iterator[Peer]:
        """Lists all live peers that match, page by page. A peer that is live during the whole
        enumeration is listed exactly once. The order, the cursor and the fill of `request` are
        ignored."""
        pages = self._calls.pages(request or DiscoverRequest())
        while (page := run(_next_page(pages))) is not None:
            yield from page.peers

    def watch(self, request: DiscoverRequest | None = None, *, since: str | None = None) -> Watch:
        """Watches the peers that match, from now on or from the cursor `since`. The client connects
        when the caller requests the first event. Of `request`, only `archetypes`, `exclude` and
        `view` apply."""
        return Watch(Watcher(self._calls.transport, request or DiscoverRequest(), since))

    def network(self) -> Network:
        """Requests statistics of the whole network."""
        return run(self._calls.network())

    def health(self) -> str | None:
        """Returns the reason why the service is unhealthy, or None if it is healthy. The request is
        not retried."""
        return run(self._calls.health())

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
    ) -> LeaseKeeper:
        """Starts to keep a peer registered, in a thread of its own. See LeaseKeeper.

        Events are passed to `on_event` in that thread. If it raises, the keeper stops.

        `token_file` keeps the lease token on disk, readable only by its owner. A restarted peer is then
        still the holder, from any address, and no client without the token can change the registration.

        With `replace=False`, the keeper does not replace a live registration from the same address, such
        as that of another copy of the program. It waits until that lease ends.

        `key` signs the registration, which locks the name to it: from then on, no client without the key
        can register the name, and a restarted peer needs no token. See KeyFile. `replaces_key` is the
        old key, to which the name is still locked, if `key` is a new one. With `audience`, only the
        service of that name accepts the registration.

        Raises TokenFileError if the token file cannot be read or written.
        """
        signing = Signing(key, replaces_key, audience)
        return LeaseKeeper(self, Keeper(registration, on_event, token_file, replace, signing))

    def close(self) -> None:
        """Closes the connections."""
        if self._owns_http:
            self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _with(self, stop: threading.Event | None) -> Calls:
        return Calls(Transport(BlockingIo(self._http, stop), self._endpoints, self._timeout, self._retry))


class Watch:
    """The changes of the peers that match, as an iterator.

    After a transient failure it yields Interrupted and reconnects without limit. It resumes after
    the last event, so that no change is missed. A permanent failure is raised and ends the watch.
    """

    def __init__(self, watcher: Watcher) -> None:
        self._watcher = watcher
        self._has_ended = False

    @property
    def cursor(self) -> str | None:
        """The cursor after the latest event, for `since` of a later watch."""
        return self._watcher.cursor

    def close(self) -> None:
        """Closes the connection and ends the watch."""
        self._has_ended = True
        run(self._watcher.close())

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> WatchEvent:
        if self._has_ended:
            raise StopIteration
        try:
            return run(self._watcher.next_event())
        except DiscoveryError:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class LeaseKeeper:
    """Keeps one peer registered. It registers the peer, sends heartbeats at the interval that the
    service requests, registers the peer again if the service no longer knows it or its address has
    changed, and retries transient failures without limit. `Client.keep` creates it.

    Use it in a `with` block, or call `stop`, which deregisters the peer. Without either, as after a
    crash, the lease ends by itself.
    """

    def __init__(self, client: Client, keeper: Keeper) -> None:
        self._keeper = keeper
        self._calls = client._with(None)
        self._stop = threading.Event()
        self._error: Exception | None = None
        self._is_released = False
        self._thread = threading.Thread(
            target=self._keep, args=(client._with(self._stop),), name="lease-keeper", daemon=True
        )
        self._thread.start()

    def ended(self, timeout: float | None = None) -> bool:
        """Waits up to `timeout` seconds until the keeper stops by itself. Returns whether it has.

        Raises the permanent refusal of the registration, or the exception of the event handler.
        """
        self._thread.join(timeout)
        if self._error:
            raise self._error
        return not self._thread.is_alive()

    def stop(self) -> None:
        """Deregisters the peer and stops. A peer that another client has taken over is not
        deregistered.

        Raises what `ended` raises, or DiscoveryError if the peer could not be deregistered.
        """
        self._stop.set()
        self._thread.join()
        if not self._is_released:
            self._is_released = True
            self._release()
        if self._error:
            raise self._error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _release(self) -> None:
        try:
            run(self._keeper.release(self._calls))
        except Exception as error:
            # If the keeper has failed before, `stop` raises that first error.
            self._error = self._error or error

    def _keep(self, calls: Calls) -> None:
        try:
            run(self._keeper.keep(calls))
        except Stopped:
            pass
        except Exception as error:
            self._error = error


async def _next_page(pages: AsyncIterator[Page]) -> Page | None:
    return await anext(pages, None)

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

    Requests, except that of `health`, are retried after transient failures (no connection, no
    response in time, 429, 500, 502, 503, 504), with exponentially growing waits and jitter. Retries
    are safe: if only the response to an attempt was lost, the next attempt has the same effect, or
    the service refuses it. A request that fails raises DiscoveryError. If the service refused the
    request, the `code` of the error says why.
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

        `timeout` is the time limit of one attempt, in seconds. When `patience` seconds have passed
        since a request began, it is not attempted again. `headers` are sent with every request.
        `verify` determines how certificates are verified, as in httpx. With `http_client`, the
        client uses that HTTP client instead of its own, ignores `headers` and `verify`, and leaves
        closing to the caller.

        Raises ValueError if there is no endpoint, or if one is not an HTTP URL, or has a user name,
        a password, a query or a fragment.
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
        """Registers a peer, or replaces its registration. Either starts a new lease. The code of
        the error is `not_holder` while another client holds the id, and `name_locked` if the id is
        locked to a key that has not signed the request.

        `signer` signs the registration. It signs again if the local clock is wrong, or if the
        service has a later record of the peer. If a live peer with this id was registered without a
        signature, `request` needs its `lease_token`, which proves that this client holds the id.
        """
        return run(self._calls.register(request, signer))

    def heartbeat(
        self, peer_id: str, *, lease_token: str | None = None, discover: DiscoverRequest | None = None
    ) -> HeartbeatResponse:
        """Renews a lease, or revives a dormant peer, that is, one whose lease has ended but which the
        service still remembers. The code of the error is `peer_not_registered` if the peer has to
        register, and `not_holder` if the token is not the current one, or is missing for a
        token-only peer."""
        return run(self._calls.heartbeat(peer_id, lease_token, discover))

    def heartbeats(
        self, peers: Iterable[str | tuple[str, str]], *, discover: DiscoverRequest | None = None
    ) -> HeartbeatsResponse:
        """Renews the leases of up to a hundred peers: ids, or pairs of an id and its lease token.
        If the service refuses to renew one of them, the call still succeeds, and the result of that
        peer has the error."""
        return run(self._calls.heartbeats(peers, discover))

    def deregister(self, peer_id: str, *, lease_token: str | None = None) -> None:
        """Deregisters a peer. The code of the error is `not_holder` if another client holds the id,
        and `peer_not_registered` if the service does not know the peer. The latter also happens if
        an earlier attempt of the same call removed the peer and the response was lost."""
        run(self._calls.deregister(peer_id, lease_token))

    def mail(self, to: str, *, lease_token: str, message: str) -> int:
        """Leaves a message, which `SignedMessage.sign` has made, in the mailbox of another peer.
        Returns the maximum time that it waits there, in seconds. The code of the error is
        `peer_not_registered` if the receiver or the sender is not live, and `no_mailbox` if it has
        no mailbox. The `field` of the error is `to` if the receiver is at fault."""
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
        """Watches the peers that match. The client connects when the caller requests the first
        event. The watch reports the changes from then on, or those after the cursor `since`. Of
        `request`, only `archetypes`, `exclude` and `view` apply."""
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
        still the holder, from any address. Once Secured is reported, no client without the token
        can change the registration.

        With `replace=False`, the keeper does not replace a live registration from the same address, such
        as that of another copy of the program. It waits until that lease ends. If the keeper has a
        `key`, `replace` has no effect: the keeper replaces a registration whose name is locked to
        that key.

        `key` signs the registration, which locks the name (the id of the peer) to the key: from
        then on, no client without the key can register the name, and a restarted peer needs no
        token. See KeyFile. `replaces_key` is the old key, to which the name is still locked, if
        `key` is a new one. With `audience`, only the service of that name accepts the registration.

        Raises TokenFileError if the token file cannot be read or written.
        """
        signing = Signing(key, replaces_key, audience)
        return LeaseKeeper(self, Keeper(registration, on_event, token_file, replace, signing))

    def close(self) -> None:
        """Closes the connections, unless they are those of `http_client`."""
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
    the last event, so that no change is missed; if the service no longer has the changes since
    then, the watch yields Reset. A permanent failure is raised and ends the watch.
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

    Use it in a `with` block, or call `stop`, which deregisters the peer. If the program ends
    without either, for example in a crash, the lease ends by itself.
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
        """Waits until the keeper stops, but at most `timeout` seconds. Returns whether it has
        stopped.

        Raises the exception that stopped it, such as the permanent refusal of the registration, or
        an exception of the event handler.
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

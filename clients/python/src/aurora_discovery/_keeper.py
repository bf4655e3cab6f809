"""The lease keeper, which both clients share: registers a peer, renews its lease, and recovers from
failures.

The keeper is a loop of steps. Each step registers the peer, updates its registration or sends a
heartbeat, and returns the seconds until the next step:

- After a success: the interval that the service requested, shortened by a random jitter. 0 if the
  registration has to be updated.
- If the service no longer knows the peer, or another client has taken over the id: 0, and the next step
  tries to register the peer.
- If the service refuses a registration because another client holds the id, or another key has
  locked it: the time in `Retry-After`, but at most 300 s, plus a random wait.
- After a failure that may be temporary: a random wait plus the time in `Retry-After`. The upper
  bound of the wait doubles with each failure. `_lease.FailureBackoff` has the bounds, and the waits
  after the lease has ended.

If the service refuses a registration permanently, the step raises the refusal, which ends the
keeper.
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import NoReturn

from ._calls import Calls
from ._lease import FailureBackoff, Lease, ObservedAddress
from .errors import DiscoveryError, RefusedError, TokenFileError
from .events import (
    Deregistered,
    Expired,
    Failed,
    Forgotten,
    KeeperEvent,
    Moved,
    Recovered,
    Refused,
    Registered,
    Renewed,
    Secured,
    TakenOver,
    Unsecured,
)
from .requests import RegisterRequest
from .responses import HeartbeatResponse, RegisterResponse
from .secret_key import SecretKey
from .signer import Signer
from .token_file import TokenFile

EventHandler = Callable[[KeeperEvent], None]

# If the service refuses a registration with one of these statuses, the keeper stops, because a
# retry would be refused too. 403 is not one of them: the service sends it while another client
# holds the id, and the lease of that client may end.
_FINAL_STATUSES = frozenset({400, 401, 404, 405, 413, 501})


class State(Enum):
    """What the keeper knows about the peer's registration."""

    ABSENT = auto()
    """The peer is not registered."""
    UNRESOLVED = auto()
    """A registration was sent, and its result is unknown, for example because no response has
    arrived."""
    HELD_BY_ANOTHER = auto()
    """Another client holds the id, or another key has locked it."""
    HELD = auto()


@dataclass(frozen=True)
class Signing:
    """How the registrations are signed, if there is a key."""

    key: SecretKey | None = None
    replaces: SecretKey | None = None
    audience: str | None = None

    def signer(self, token: str | None) -> Signer | None:
        """The signer for a peer with this token, or with a new token if it is None. None if there is no
        key."""
        if self.key is None:
            return None
        return Signer(self.key, replaces=self.replaces, audience=self.audience, token=token)


class Keeper:
    """Keeps one peer registered. The constructor reads the token file, and checks that it can be
    written."""

    def __init__(
        self,
        registration: RegisterRequest,
        on_event: EventHandler | None,
        token_file: str | os.PathLike[str] | None,
        may_replace: bool,
        signing: Signing,
    ) -> None:
        self._token_file = TokenFile(token_file) if token_file is not None else None
        self._saved_token: str | None = None
        if self._token_file:
            self._saved_token = self._token_file.read()
            self._token_file.check_writable()
        # The registration, with the current token. While the peer is registered, `token_only` has
        # the value that the service accepted last.
        self._registration = registration
        if self._saved_token:
            self._registration = replace(registration, lease_token=self._saved_token)
        self._signer = signing.signer(self._saved_token)
        self._on_event = on_event
        self._may_replace = may_replace
        self._state = State.ABSENT
        self._lease: Lease | None = None
        self._backoff: FailureBackoff | None = None
        self._observed_address = ObservedAddress()
        self._was_taken_over = False
        self._is_secured = False
        # Whether the last update failed. The next update then waits until a heartbeat has succeeded: if
        # the service refuses updates, the keeper must still renew the lease.
        self._update_failed = False

    async def keep(self, calls: Calls) -> NoReturn:
        """Runs steps until one raises, for example because of a permanent refusal."""
        while True:
            await calls.transport.io.sleep(await self._step(calls))

    async def release(self, calls: Calls) -> None:
        """Deregisters the peer, if this keeper holds it."""
        token = self._registration.lease_token
        if self._state is State.HELD_BY_ANOTHER:
            return
        if self._state is State.UNRESOLVED and not self._may_replace and token is None:
            # Without the token, the request could remove the registration of another client at the
            # same address. If this keeper has registered the peer, the lease ends by itself.
            return
        if self._state is not State.ABSENT:
            try:
                if token is not None:
                    # The service treats a deregistration with an old token like one without a token, and
                    # accepts it from the holder's address. It always refuses a heartbeat with an old
                    # token, so the heartbeat shows whether another client holds the id.
                    await calls.heartbeat(self._registration.peer_id, token)
                await calls.deregister(self._registration.peer_id, token)
            except DiscoveryError as error:
                if error.code == "not_holder":
                    self._state = State.HELD_BY_ANOTHER
                    self._notify(TakenOver(str(error)))
                    return
                if error.code != "peer_not_registered":
                    raise
        self._state = State.ABSENT
        self._notify(Deregistered())

    def _notify(self, event: KeeperEvent) -> None:
        """Calls the event handler. An exception in it ends the keeper, and the handler is not called
        again, because its state may be inconsistent."""
        handler, self._on_event = self._on_event, None
        if handler:
            handler(event)
        self._on_event = handler

    async def _step(self, calls: Calls) -> float:
        """Registers the peer, updates its registration, or renews its lease. Returns the seconds until
        the next step."""
        sent_at = time.monotonic()
        try:
            if self._state is not State.HELD:
                lease, event = await self._register(calls, sent_at)
            elif self._needs_update():
                lease, event = await self._update(calls, sent_at)
            else:
                lease, event = await self._renew(calls, sent_at)
        except DiscoveryError as error:
            return self._failed(error)
        return self._succeeded(lease, event)

    async def _register(self, calls: Calls, sent_at: float) -> tuple[Lease, KeeperEvent | None]:
        token_only = await self._must_yield(calls)
        self._registration = replace(self._registration, token_only=token_only)
        self._is_secured = False
        self._state = State.UNRESOLVED
        try:
            response = await calls.register(self._registration, self._signer)
        except DiscoveryError as error:
            if not error.is_transient:
                self._state = State.ABSENT
            raise
        self._was_taken_over = False
        self._registration = replace(self._registration, lease_token=response.lease_token)
        self._observed_address.registered(response.observed_address)
        return _lease(sent_at, response), Registered(response)

    async def _must_yield(self, calls: Calls) -> bool:
        """Whether the registration has to be token-only, so that it does not replace that of
        another client.

        Otherwise, it is not token-only at first, because the service reserves the id of a
        token-only peer for some time after the end of its lease. If the peer crashed before its
        token is on disk, no client could register the id during that time, not even this one.
        """
        if self._signer is None:
            return (not self._may_replace or self._was_taken_over) and await self._is_known(calls)
        if self._was_taken_over:
            # A signed registration replaces even that of another client with the same key, such as
            # a copy of this program. After a takeover, the keeper therefore registers only if the
            # id is free.
            await self._check_is_free(calls)
        return False

    async def _check_is_free(self, calls: Calls) -> None:
        """Sends a heartbeat. Raises RefusedError if another client holds the id, and DiscoveryError
        if the heartbeat fails for another reason."""
        try:
            await calls.heartbeat(self._registration.peer_id, self._registration.lease_token)
        except DiscoveryError as error:
            if error.code != "peer_not_registered":
                raise

    async def _is_known(self, calls: Calls) -> bool:
        """Whether the service knows the id, and this client does not have its current token.

        To find that out, this method sends a heartbeat, which changes nothing if its token is
        wrong. The response is 404 for an unknown id and 403 for a known one. The keeper registers a
        known id token-only, which replaces a dormant peer, but not one that its holder keeps live.
        It does not register an unknown id token-only: if the response were lost, the id would be
        reserved under a token that no client knows.
        """
        own = self._registration.lease_token
        try:
            await calls.heartbeat(self._registration.peer_id, own or secrets.token_urlsafe(16))
        except DiscoveryError as error:
            if error.code in ("not_holder", "peer_not_registered"):
                return error.code == "not_holder"
            raise
        return own is None

    def _needs_update(self) -> bool:
        """Whether the registration has to be updated. It should be token-only exactly if it is
        unsigned and the token is on disk. If it leaves its address out, it should list the address
        at which the service sees the peer. After a failed update, False until a heartbeat has
        succeeded."""
        # A signed registration is not made token-only, because the signature protects the name already.
        differs = self._signer is None and self._registration.token_only != self._is_saved()
        has_moved = self._lease is not None and self._observed_address.has_moved(self._lease.ttl)
        return not self._update_failed and (differs or has_moved)

    async def _update(self, calls: Calls, sent_at: float) -> tuple[Lease, KeeperEvent | None]:
        """Registers the peer again, with its token, to change its registration."""
        self._update_failed = True
        self._observed_address.tried()
        request = replace(self._registration, token_only=self._is_saved(), discover=None)
        response = await calls.register(request, self._signer)
        self._update_failed = False
        self._registration = replace(
            self._registration, token_only=request.token_only, lease_token=response.lease_token
        )
        moved = self._observed_address.registered(response.observed_address)
        return _lease(sent_at, response), Moved(*moved) if moved else None

    async def _renew(self, calls: Calls, sent_at: float) -> tuple[Lease, KeeperEvent | None]:
        registration = self._registration
        response = await calls.heartbeat(registration.peer_id, registration.lease_token, registration.discover)
        if registration.address is None:
            self._observed_address.heartbeat(response.observed_address)
        return _lease(sent_at, response), Renewed(response)

    def _succeeded(self, lease: Lease, event: KeeperEvent | None) -> float:
        self._state, self._lease = State.HELD, lease
        unsaved = self._save_token()
        if event:
            self._notify(event)
        if self._backoff:
            after, self._backoff = self._backoff.duration(), None
            self._notify(Recovered(after))
        if unsaved:
            self._notify(Unsecured(unsaved))
        self._report_secured()
        if self._needs_update():
            return 0.0
        self._update_failed = False
        return lease.pause()

    def _save_token(self) -> TokenFileError | None:
        token = self._registration.lease_token
        if self._token_file and token and token != self._saved_token:
            try:
                self._token_file.write(token)
            except TokenFileError as error:
                return error
            self._saved_token = token
        return None

    def _is_saved(self) -> bool:
        """Whether the current token is on disk."""
        return self._saved_token is not None and self._saved_token == self._registration.lease_token

    def _report_secured(self) -> None:
        was_secured, self._is_secured = self._is_secured, self._registration.token_only and self._is_saved()
        if self._token_file and self._is_secured and not was_secured:
            self._notify(Secured(self._token_file.path))

    def _failed(self, error: DiscoveryError) -> float:
        held = self._state is State.HELD
        if error.code == "peer_not_registered" and held:
            self._state = State.ABSENT
            self._notify(Forgotten())
            return 0.0
        if error.code == "not_holder" and held:
            self._state = State.HELD_BY_ANOTHER
            self._was_taken_over = True
            self._notify(TakenOver(str(error)))
            return 0.0
        if error.code in ("not_holder", "name_locked") and not held:
            self._state = State.HELD_BY_ANOTHER
            self._backoff = self._backoff or FailureBackoff()
            retry_in = self._backoff.after_not_holder(error)
            self._notify(Refused(str(error), retry_in))
            return retry_in
        if not held and isinstance(error, RefusedError) and error.status in _FINAL_STATUSES:
            self._notify(Refused(str(error), None))
            raise error
        return self._retry(error, self._lease if held else None)

    def _retry(self, error: DiscoveryError, lease: Lease | None) -> float:
        self._backoff = self._backoff or FailureBackoff()
        retry_in = self._backoff.after_failure(error, lease)
        has_just_expired = self._backoff.reports_end_of(lease)
        self._notify(Failed(error, retry_in))
        if has_just_expired:
            self._notify(Expired())
        return retry_in


def _lease(sent_at: float, response: RegisterResponse | HeartbeatResponse) -> Lease:
    return Lease(sent_at, response.ttl_seconds, response.heartbeat_interval_seconds)

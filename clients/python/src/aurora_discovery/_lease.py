"""What a lease keeper knows about its lease, its failures and its address."""

from __future__ import annotations

import ipaddress
import random
import time

from ._transport import full_jitter
from .errors import DiscoveryError

# If the service requests a shorter interval between heartbeats than this, in seconds, this one
# applies. So no response can make a peer flood the service.
_SHORTEST_INTERVAL = 0.5
# How much earlier than requested a heartbeat may be sent, as a ratio of the interval. The jitter spreads
# out peers that started together. It never makes a heartbeat late.
_INTERVAL_JITTER = 0.1
# The upper bound of the random wait after the first failure, in seconds. It doubles with each
# further failure. Before the keeper counts a transient failure, the client has used up its own
# retries.
_FIRST_CEILING = 1.0
# While there is no lease: the maximum of that upper bound, in seconds. Unless another client holds
# the id, also the longest `Retry-After` that is honored.
_HIGHEST_CEILING = 60.0
# The longest `Retry-After`, in seconds, that is honored while another client holds the id. That client's
# lease may last longer, but it may also end earlier, because the client can deregister at any time.
_LONGEST_WAIT_FOR_HOLDER = 300.0


class Lease:
    """A lease. Its end is computed on the monotonic clock, from a time before the request was sent,
    so that the service's lease does not end before this one."""

    def __init__(self, sent_at: float, ttl: float, interval: float) -> None:
        self.ttl = ttl
        self.interval = max(interval, _SHORTEST_INTERVAL)
        self._ends = sent_at + ttl

    def has_ended(self) -> bool:
        return self._ends <= time.monotonic()

    def pause(self) -> float:
        """The seconds until the next heartbeat. Jitter only shortens the interval, so that the
        lease still outlasts as many lost heartbeats as the service has planned for."""
        return self.interval * (1 - _INTERVAL_JITTER * random.random())


class FailureBackoff:
    """The failures since the last success."""

    def __init__(self) -> None:
        self._since = time.monotonic()
        self._failures = 0
        self._is_expired = False

    def duration(self) -> float:
        return time.monotonic() - self._since

    def after_failure(self, error: DiscoveryError, lease: Lease | None) -> float:
        """Counts a failure. Returns the seconds until the next attempt.

        Retries are fast at first, so that a running lease may be saved. After the lease has ended,
        they are about as frequent as heartbeats, because fast retries of all clients would overload
        a service that comes back after a long outage.
        """
        self._failures += 1
        highest = lease.interval if lease else _HIGHEST_CEILING
        if lease and lease.has_ended():
            pause = highest * (1 + random.random()) / 2
        else:
            pause = full_jitter(self._failures, _FIRST_CEILING, highest)
        return _after(error, highest, pause)

    def after_not_holder(self, error: DiscoveryError) -> float:
        """Counts a refusal because another client holds the id, or another key has locked it.
        Returns the seconds until the next attempt."""
        self._failures += 1
        pause = full_jitter(self._failures, _FIRST_CEILING, _HIGHEST_CEILING)
        return _after(error, _LONGEST_WAIT_FOR_HOLDER, pause)

    def reports_end_of(self, lease: Lease | None) -> bool:
        """Whether the end of the lease has to be reported, which happens once in a series of
        failures."""
        was_expired = self._is_expired
        self._is_expired |= lease is not None and lease.has_ended()
        return self._is_expired and not was_expired


class ObservedAddress:
    """The address from which the service sees the peer's requests. A change counts as confirmed
    when two consecutive heartbeats have come from the same new address."""

    def __init__(self) -> None:
        self._registered: str | None = None
        self._candidate: str | None = None
        self._is_confirmed = False
        self._tried_at: float | None = None

    def registered(self, observed: str) -> tuple[str, str] | None:
        """Records the address of a registration. Returns the previous one and the new one if they
        differ."""
        previous, self._registered = self._registered, _canonical(observed)
        self._candidate, self._is_confirmed = None, False
        if previous and self._registered and previous != self._registered:
            return previous, self._registered
        return None

    def heartbeat(self, observed: str | None) -> None:
        """Records the address of a heartbeat. Older versions of the service do not report it."""
        seen = _canonical(observed or "")
        # A host with IPv4 and IPv6 may use either for a request. So a change of the address family
        # does not mean that the peer has moved.
        if not (seen and self._registered and seen != self._registered and _family(seen) == _family(self._registered)):
            seen = None
        self._is_confirmed = seen is not None and seen == self._candidate
        self._candidate = seen

    def has_moved(self, lease: float) -> bool:
        """Whether the peer has to register its new address. The keeper tries at most once in
        `lease` seconds, so that a client that alternates between two addresses does not register
        all the time."""
        is_due = self._tried_at is None or time.monotonic() - self._tried_at >= lease
        return self._is_confirmed and is_due

    def tried(self) -> None:
        """Records an attempt to register the new address, if there is one."""
        if self._is_confirmed:
            self._tried_at = time.monotonic()


def _after(error: DiscoveryError, longest: float, pause: float) -> float:
    # The pause on top of `Retry-After` spreads out clients that received the same value.
    return min(error.retry_after or 0.0, longest) + pause


def _canonical(text: str) -> str | None:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    return str(address)


def _family(address: str) -> bool:
    return ":" in address

"""The events of watches and of lease keepers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from .errors import DiscoveryError
from .responses import HeartbeatResponse, Peer, RegisterResponse


@dataclass(frozen=True)
class Started:
    """The watch has begun and will deliver every change after its cursor. A caller that has started
    it without a cursor, and enumerates the peers now, misses no change."""


@dataclass(frozen=True)
class Joined:
    """The peer is listed from now on. The caller may already know it."""

    peer: Peer


@dataclass(frozen=True)
class Changed:
    """The peer registered again with different content. The caller may not know it yet."""

    peer: Peer


@dataclass(frozen=True)
class Left:
    """The peer is no longer listed. The caller may never have seen it."""

    peer_id: str


@dataclass(frozen=True)
class Reset:
    """The service no longer has the changes since the last event, for example because it was
    restarted. Discard the known peers and enumerate again; the watch continues from here."""


@dataclass(frozen=True)
class Interrupted:
    """The connection failed. The watch will reconnect and continue where it was."""

    error: DiscoveryError
    retry_in: float
    """Seconds until the next attempt."""


@dataclass(frozen=True)
class Resumed:
    """The watch is connected again and has missed nothing."""


WatchEvent = Started | Joined | Changed | Left | Reset | Interrupted | Resumed


@dataclass(frozen=True)
class Registered:
    """The peer was registered, for the first time or again after its registration was lost."""

    response: RegisterResponse


@dataclass(frozen=True)
class Renewed:
    """The lease was renewed."""

    response: HeartbeatResponse


@dataclass(frozen=True)
class Secured:
    """The lease token is on disk, and the registration is now token-only."""

    path: Path


@dataclass(frozen=True)
class Unsecured:
    """The lease token could not be written to the token file. Until it is written, the keeper does
    not keep the registration token-only. It retries after each heartbeat."""

    error: DiscoveryError


@dataclass(frozen=True)
class Moved:
    """The service saw the peer at a new address, and the keeper has registered it there."""

    old_address: str
    new_address: str


@dataclass(frozen=True)
class Forgotten:
    """The service no longer knows the peer. The keeper registers it again immediately."""


@dataclass(frozen=True)
class TakenOver:
    """Another client has taken over the id of the peer, for example while the machine of this peer
    slept and its lease had ended. The keeper registers the peer again when the other lease has
    ended, unless `stop` was called."""

    reason: str


@dataclass(frozen=True)
class Failed:
    """A request failed. The keeper will retry."""

    error: DiscoveryError
    retry_in: float
    """Seconds until the next attempt."""


@dataclass(frozen=True)
class Expired:
    """The lease ended before it could be renewed, and other clients no longer see the peer. The
    keeper continues to try."""


@dataclass(frozen=True)
class Recovered:
    """A request succeeded after failures."""

    after: float
    """Seconds since the first failure."""


@dataclass(frozen=True)
class Refused:
    """The service refuses the registration."""

    reason: str
    retry_in: float | None
    """Seconds until the next attempt, if another client holds the id, or another key has locked it.
    None if the refusal is permanent: the keeper then stops."""


@dataclass(frozen=True)
class Deregistered:
    """The keeper has stopped, and its peer is no longer registered."""


KeeperEvent = (
    Registered
    | Renewed
    | Secured
    | Unsecured
    | Moved
    | Forgotten
    | TakenOver
    | Failed
    | Expired
    | Recovered
    | Refused
    | Deregistered
)

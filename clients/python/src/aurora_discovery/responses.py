"""The responses of the API."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Self

# `from_json` makes these objects from the JSON of a response. It raises KeyError, TypeError or
# ValueError if a required key is missing, or a value cannot be converted.
Json = dict[str, Any]


@dataclass(frozen=True)
class Peer:
    """A peer as the service lists it."""

    peer_id: str
    address: str
    port: int
    """0 means that the peer does not accept connections."""
    archetypes: tuple[str, ...] = ()
    last_seen: datetime | None = None
    """When the lease was last acquired or renewed, in UTC. None in the contact view."""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    """The metadata parsed as JSON. Integers keep all digits. Other numbers become doubles, or
    infinite if they are too large for that."""
    metadata_text: str = "{}"
    """The metadata as the peer wrote it, with every digit."""
    expires_in_seconds: int | None = None
    """The seconds until the lease ends. None in the views `legacy` and `contact`."""
    registered_seconds_ago: int | None = None
    """The age of the registration. None in the views `legacy` and `contact`."""
    signed: str | None = field(default=None, repr=False)
    """The signed registration, if the peer has signed it. None in the views `legacy` and `contact`.
    `SignedRecord.verify` verifies it."""

    @classmethod
    def from_json(cls, peer: Json) -> Self:
        last_seen = peer.get("last_seen")
        return cls(
            peer_id=peer["peer_id"],
            address=peer["address"],
            port=peer["port"],
            archetypes=tuple(peer.get("archetypes", ())),
            last_seen=_time(last_seen) if last_seen else None,
            metadata=peer.get("metadata", {}),
            metadata_text=peer.get("metadata_text", "{}"),
            expires_in_seconds=peer.get("expires_in_seconds"),
            registered_seconds_ago=peer.get("registered_seconds_ago"),
            signed=peer.get("signed"),
        )


@dataclass(frozen=True)
class Page:
    """A page of peers."""

    peers: tuple[Peer, ...]
    total: int
    """The number of live peers that match."""
    total_is_estimate: bool = False
    next_cursor: str | None = None
    """The cursor of the next page of an enumeration. None on its last page."""

    @classmethod
    def from_json(cls, page: Json) -> Self:
        return cls(
            peers=tuple(map(Peer.from_json, page["peers"])),
            total=page["total"],
            total_is_estimate=page.get("total_is_estimate", False),
            next_cursor=page.get("next_cursor"),
        )


@dataclass(frozen=True)
class RegisterResponse:
    """The lease that a registration has acquired."""

    peer_id: str
    ttl_expires: datetime
    ttl_seconds: int
    heartbeat_interval_seconds: int
    """How long to wait until the next heartbeat, as the service requests it."""
    observed_address: str
    """The address that the request came from."""
    lease_token: str = field(repr=False)
    """Proves that the caller is the holder. Keep it, and keep it secret."""
    signed_by: str | None = None
    """The key that locks the name, a `did:key`, if the registration was signed."""
    page: Page | None = None
    """The peers, if the request had `discover`."""

    @classmethod
    def from_json(cls, response: Json, own_token: str | None = None) -> Self:
        """`own_token` is the token whose hash was signed. The service does not return it."""
        return cls(
            **_lease(response),
            peer_id=response["peer_id"],
            observed_address=response["observed_address"],
            lease_token=response.get("lease_token") or own_token or response["lease_token"],
            signed_by=response.get("signed_by"),
            page=_page(response),
        )


@dataclass(frozen=True)
class HeartbeatResponse:
    """The lease that a heartbeat has renewed."""

    peer_id: str
    ttl_expires: datetime
    ttl_seconds: int
    heartbeat_interval_seconds: int
    """How long to wait until the next heartbeat, as the service requests it."""
    observed_address: str | None = None
    """The address that the request came from."""
    page: Page | None = None
    """The peers, if the request had `discover`."""

    @classmethod
    def from_json(cls, response: Json) -> Self:
        return cls(
            **_lease(response),
            peer_id=response["peer_id"],
            observed_address=response.get("observed_address"),
            page=_page(response),
        )


@dataclass(frozen=True)
class Mail:
    """A message in a mailbox."""

    id: str
    """The id with which the receiver acknowledges the message."""
    sender: str
    """The sender, whose lease token the service has checked."""
    message: str
    """The message, which `SignedMessage.verify` verifies."""
    sent_seconds_ago: int

    @classmethod
    def from_json(cls, mail: Json) -> Self:
        return cls(mail["id"], mail["from"], mail["message"], mail["sent_seconds_ago"])


@dataclass(frozen=True)
class Mailbox:
    """The messages that wait in a mailbox."""

    mail: tuple[Mail, ...]
    next_poll_seconds: int
    """How long the client should wait before the next request for mail, in seconds. 0 if the
    service lets requests wait for mail, unless the service is stopping."""

    @classmethod
    def from_json(cls, response: Json) -> Self:
        return cls(tuple(map(Mail.from_json, response["mail"])), response["next_poll_seconds"])


@dataclass(frozen=True)
class HeartbeatResult:
    """The result for one peer of a heartbeat for many: a lease, or an error with its code."""

    peer_id: str
    ttl_expires: datetime | None = None
    ttl_seconds: int | None = None
    heartbeat_interval_seconds: int | None = None
    error: str | None = None
    code: str | None = None

    @classmethod
    def from_json(cls, result: Json) -> Self:
        if "error" in result:
            return cls(peer_id=result["peer_id"], error=result["error"], code=result["code"])
        return cls(peer_id=result["peer_id"], **_lease(result))


@dataclass(frozen=True)
class HeartbeatsResponse:
    """The results of a heartbeat for many peers, in the order of the request."""

    renewed: int
    results: tuple[HeartbeatResult, ...]
    observed_address: str | None = None
    page: Page | None = None

    @classmethod
    def from_json(cls, response: Json) -> Self:
        return cls(
            renewed=response["renewed"],
            results=tuple(map(HeartbeatResult.from_json, response["results"])),
            observed_address=response.get("observed_address"),
            page=_page(response),
        )


@dataclass(frozen=True)
class Network:
    """Statistics of the whole network."""

    peers: int
    archetypes: Mapping[str, int]
    """The number of live peers of each of the 100 most frequent archetypes."""
    at_risk: tuple[str, ...]
    """Sentences that describe risks to the network."""
    minutes: int | None = None
    """The period that the rates below cover, in minutes."""
    joins_per_minute: float | None = None
    leaves_per_minute: float | None = None
    expiries_per_minute: float | None = None
    revivals_per_minute: float | None = None
    undiscovered_ratio: float | None = None
    """The fraction of live peers, 0 to 1, that no page has listed within the last lease
    duration."""

    @classmethod
    def from_json(cls, network: Json) -> Self:
        optional = (
            "minutes",
            "joins_per_minute",
            "leaves_per_minute",
            "expiries_per_minute",
            "revivals_per_minute",
            "undiscovered_ratio",
        )
        return cls(
            peers=network["peers"],
            archetypes={entry["archetype"]: entry["peers"] for entry in network["archetypes"]},
            at_risk=tuple(network["at_risk"]),
            **{name: network.get(name) for name in optional},
        )


def _lease(response: Json) -> Json:
    return {
        "ttl_expires": _time(response["ttl_expires"]),
        "ttl_seconds": response["ttl_seconds"],
        "heartbeat_interval_seconds": response["heartbeat_interval_seconds"],
    }


def _page(response: Json) -> Page | None:
    return Page.from_json(response) if "peers" in response else None


def _time(text: str) -> datetime:
    # The API writes UTC without a suffix.
    return datetime.fromisoformat(text).replace(tzinfo=UTC)

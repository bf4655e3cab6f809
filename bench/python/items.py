"""The items of peers, as in `crates/dynamodb`."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from typing import Any

import table
from body import Registration, normal
from source import SOURCE_BYTES, is_loopback, text_of, wide_network

REVIVAL_WINDOW_MILLIS = 24 * 3_600 * 1_000
# A peer's markers expire this much later than its item, so that heartbeats rarely have to renew them.
MARKER_SLACK_SECONDS = 2 * 86_400
# After this many leases without a proof of its holder, any client may replace a live peer.
UNPROVEN_LEASES = 12
HOLDER_BYTES = 25
GENERATION_BYTES = 8

log = logging.getLogger(__name__)
compact = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


@dataclass(slots=True)
class Stored:
    """A peer's item, and the fields that the rules use. Times are in milliseconds since 1970."""

    item: dict[str, Any]
    expires_at: int
    last_seen: int
    registered_at: int
    # When a request last proved that its sender is the holder.
    proven_at: int
    ttl_seconds: int
    # The source of the registration, and the hash of its token.
    holder: bytes
    generation: bytes
    # When its markers expire, in seconds since 1970.
    marked_until: int

    def source(self) -> bytes:
        return self.holder[:SOURCE_BYTES]

    def is_live(self, now: int) -> bool:
        return now < self.expires_at

    def is_known(self, now: int) -> bool:
        return now < self.known_until()

    def known_until(self) -> int:
        return self.expires_at + REVIVAL_WINDOW_MILLIS

    def is_abandoned(self, now: int) -> bool:
        return now - self.proven_at >= UNPROVEN_LEASES * self.ttl_seconds * 1_000

    def proof_is_due(self, now: int) -> bool:
        """Whether a heartbeat that proves its holder has to store the time of the proof."""
        return now - self.proven_at > self.ttl_seconds * 1_000

    def archetypes(self) -> list[str]:
        names: list[str] = json.loads(self.item["reg"])["archetypes"]
        return names


def read(item: dict[str, Any] | None) -> Stored | None:
    """The fields of an item; `None` if there is no item, or if it can't be read."""
    if item is None:
        return None
    try:
        stored = Stored(
            item,
            int(item["expires_at"]),
            int(item["seen"]),
            int(item["since"]),
            int(item["proven"]),
            int(item["lease"]),
            bytes(item["holder"]),
            bytes(item["gen"]),
            int(item["marked"]),
        )
        if len(stored.holder) != HOLDER_BYTES or len(stored.generation) != GENERATION_BYTES:
            raise ValueError("holder or gen is of a wrong length")
    except (KeyError, TypeError, ValueError) as error:
        table.counts["dynamodb_unreadable_items_total"] += 1
        log.warning("an item can't be read and is ignored: %r", error)
        return None
    return stored


def peer_item(registration: Registration, holder: bytes, generation: bytes, now: int) -> dict[str, Any]:
    expires_at = now + registration.ttl_seconds * 1_000
    ttl = evictable_at(expires_at)
    address, archetypes = compact(registration.address), compact(registration.archetypes)
    body = f'{{"address":{address},"port":{registration.port},"archetypes":{archetypes},'
    body += f'"metadata":{registration.metadata}}}'
    return {
        "peer_id": registration.peer_id,
        "reg": body,
        "expires_at": expires_at,
        "seen": now,
        "since": now,
        "proven": now,
        "lease": registration.ttl_seconds,
        "holder": holder,
        "gen": generation,
        "marked": ttl + MARKER_SLACK_SECONDS,
        "ttl": ttl,
        **index_keys(registration.peer_id, holder[:SOURCE_BYTES]),
    }


def index_keys(peer_id: str, source: bytes) -> dict[str, Any]:
    """The attributes that list a peer in the index."""
    key = table.range_key_of(peer_id, wide_network(source))
    return {"lane": table.lane_of("", key), "h": key}


def markers(item: dict[str, Any], archetypes: list[str]) -> list[dict[str, Any]]:
    """The items that list a peer in the index: one for each archetype, and one for its source. The
    peers of loopback are not bounded, so they need no marker of their source."""
    peer_id, source = item["peer_id"], bytes(item["holder"])[:SOURCE_BYTES]
    keys = [(marker_key(name, peer_id), table.lane_of(normal(name), item["h"])) for name in archetypes]
    if not is_loopback(source):
        keys.append((f"  {text_of(source)} {peer_id}", source_lane(source)))
    return [
        {"peer_id": key, "lane": lane, "h": item["h"], "gen": item["gen"], "ttl": item["marked"]} for key, lane in keys
    ]


def marker_key(archetype: str, peer_id: str) -> str:
    return f" {normal(archetype)} {peer_id}"


def source_lane(source: bytes) -> str:
    """The index key of the peers of a source."""
    return f" {text_of(source)}"


def evictable_at(expires_at: int) -> int:
    """When the service may delete a peer's item, in seconds since 1970."""
    return (expires_at + REVIVAL_WINDOW_MILLIS) // 1_000 + 1

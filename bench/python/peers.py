"""The items of peers, and the rules for registering and renewing them, as in `crates/dynamodb`."""

from __future__ import annotations

import hashlib
import json
import logging
import random
import secrets
import time
from dataclasses import dataclass
from typing import Any

import table
from body import Refusal, Registration

MAX_PEERS = 2_000_000
FULL_RETRY_SECONDS = 30
REVIVAL_WINDOW_MILLIS = 24 * 3_600 * 1_000
# A peer's markers expire this much later than its item, so that heartbeats rarely have to renew them.
MARKER_SLACK_SECONDS = 2 * 86_400
# The maximum number of attempts if other processes change the peer at the same time.
MAX_ATTEMPTS = 64
MAX_PAUSE_EXPONENT = 6
HOLDER_BYTES = 25
SOURCE_BYTES = 9
TOKEN_HASH_BYTES = 16
TOKEN_BYTES = 16
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
    ttl_seconds: int
    # The source of the registration, and the hash of its token.
    holder: bytes
    generation: bytes
    # When its markers expire, in seconds since 1970.
    marked_until: int

    def is_live(self, now: int) -> bool:
        return now < self.expires_at

    def is_known(self, now: int) -> bool:
        return now < self.expires_at + REVIVAL_WINDOW_MILLIS

    def archetypes(self) -> list[str]:
        names: list[str] = json.loads(self.item["reg"])["archetypes"]
        return names


@dataclass(slots=True)
class Claim:
    """A client's proof that it is the holder."""

    source: bytes
    token: bytes | None

    def proves(self, stored: Stored) -> bool:
        return self.token == stored.holder[SOURCE_BYTES:]

    def admits(self, stored: Stored) -> bool:
        return self.source == stored.holder[:SOURCE_BYTES] or self.proves(stored)


@dataclass(slots=True)
class Renewed:
    """A lease that was renewed."""

    ttl_seconds: int
    registered_at: int
    revived: bool


def register(registration: Registration, source: bytes, now: int) -> str:
    """Writes the markers, then the peer, then deletes markers that are no longer needed. Returns the lease
    token.

    Because of this order, a crash can leave markers without a peer, which every read ignores, but never a
    peer without its markers.
    """
    claim = Claim(source, hash_of(registration.lease_token) if registration.lease_token else None)
    fresh, generation = secrets.token_urlsafe(TOKEN_BYTES), secrets.token_bytes(GENERATION_BYTES)
    found = table.get(registration.peer_id)
    for attempt in range(MAX_ATTEMPTS):
        current = read(found)
        check_holder(current, claim, now)
        kept = current is not None and current.is_known(now) and claim.proves(current)
        token = registration.lease_token if kept and registration.lease_token else fresh
        item = peer_item(registration, source + hash_of(token), generation, now)
        table.put_all(markers(item, registration.archetypes))
        try:
            table.put(item, **condition_for(found, current, claim, now))
        except table.ConditionFailed as conflict:
            found = item_after_conflict(conflict, registration.peer_id, attempt)
            # An attempt may time out although DynamoDB has written the item. Its retry then fails
            # the condition. The item then has the generation of this registration, and the
            # registration succeeded.
            if found is None or found.get("gen") != generation:
                continue
        if current is not None:
            drop_markers(current, registration.archetypes)
        return token
    raise TimeoutError("too many clients register this peer at the same time")


def renew(peer_id: str, now: int) -> Renewed:
    """Renews the lease of a peer. Writes the item only if its lease has to be extended."""
    found = table.get(peer_id)
    revived = False
    for attempt in range(MAX_ATTEMPTS):
        stored = read(found)
        if stored is None or not stored.is_known(now):
            raise Refusal(404, "peer_not_registered", "no such peer is registered here; register it first")
        revived = revived or not stored.is_live(now)
        renewed = Renewed(stored.ttl_seconds, stored.registered_at, revived)
        if stored.expires_at >= now + stored.ttl_seconds * 1_000:
            return renewed
        try:
            write_renewal(stored, now)
        except table.ConditionFailed as conflict:
            found = item_after_conflict(conflict, peer_id, attempt)
            continue
        return renewed
    raise TimeoutError("too many clients change this peer at the same time")


def write_renewal(stored: Stored, now: int) -> None:
    """Writes a lease that is a third longer than requested, so that the next heartbeat causes no
    write."""
    ttl_millis = stored.ttl_seconds * 1_000
    expires_at = now + ttl_millis + ttl_millis // 3
    item = stored.item | {
        "expires_at": expires_at,
        "seen": max(now, stored.last_seen),
        "ttl": evictable_at(expires_at),
    }
    listed = "lane" in item
    if not listed or item["ttl"] > stored.marked_until:
        item |= index_keys(item["peer_id"])
        item["marked"] = item["ttl"] + MARKER_SLACK_SECONDS
        table.put_all(markers(item, stored.archetypes()))
    if not listed:
        table.put(item, **unchanged(stored))
        return
    table.update(
        item["peer_id"],
        UpdateExpression="SET expires_at = :expires_at, seen = :seen, #ttl = :ttl, marked = :marked",
        ConditionExpression="gen = :gen AND expires_at < :expires_at",
        ExpressionAttributeNames={"#ttl": "ttl"},
        ExpressionAttributeValues={
            ":expires_at": expires_at,
            ":seen": item["seen"],
            ":ttl": item["ttl"],
            ":marked": item["marked"],
            ":gen": stored.generation,
        },
    )


def check_holder(current: Stored | None, claim: Claim, now: int) -> None:
    """Raises Refusal for a client that may not replace a live peer, and for a new peer if the registry
    is full."""
    if current is None or not current.is_live(now):
        if table.size.at_least(MAX_PEERS):
            raise Refusal(503, "registry_full", "the registry accepts no new peers", retry_after=FULL_RETRY_SECONDS)
    elif not claim.admits(current):
        until = timestamp(current.expires_at)
        raise Refusal(
            403,
            "not_holder",
            f"the peer is held by another client until {until} UTC; its holder is identified by the address that it "
            "registered from or by its lease_token",
        )


def condition_for(found: dict[str, Any] | None, current: Stored | None, claim: Claim, now: int) -> dict[str, Any]:
    """The condition that the item is unchanged when the peer is written."""
    if found is None:
        return {"ConditionExpression": "attribute_not_exists(peer_id)"}
    if current is None and "gen" not in found:
        return {"ConditionExpression": "attribute_not_exists(gen)"}
    # A client that may replace the peer only because its lease ended must not do so after a
    # heartbeat has revived it.
    if current is not None and not current.is_live(now) and not claim.admits(current):
        return unchanged(current)
    return same(found["gen"])


def same(generation: Any) -> dict[str, Any]:
    return {"ConditionExpression": "gen = :gen", "ExpressionAttributeValues": {":gen": generation}}


def unchanged(stored: Stored) -> dict[str, Any]:
    return {
        "ConditionExpression": "gen = :gen AND expires_at = :expires_at",
        "ExpressionAttributeValues": {":gen": stored.generation, ":expires_at": stored.expires_at},
    }


def item_after_conflict(conflict: table.ConditionFailed, peer_id: str, attempt: int) -> dict[str, Any] | None:
    """The current item after a failed condition. At the first attempt, the error contains it. Later
    attempts read it after a random pause."""
    if attempt == 0 and conflict.item is not None:
        return conflict.item
    time.sleep(random.randrange(1 << min(attempt, MAX_PAUSE_EXPONENT)) / 1_000)
    return table.get(peer_id)


def drop_markers(replaced: Stored, kept: list[str]) -> None:
    """Deletes the markers that the replaced registration had and the new one does not have. A
    failure does not fail the registration, because every read ignores markers that remain."""
    peer_id = replaced.item["peer_id"]
    for archetype in replaced.archetypes():
        if archetype not in kept:
            try:
                table.delete(marker_key(archetype, peer_id), **same(replaced.generation))
            except table.ConditionFailed:
                pass
            except table.FAILURES as error:
                log.warning("an obsolete marker remains until its time to live ends: %s", error)


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
        "lease": registration.ttl_seconds,
        "holder": holder,
        "gen": generation,
        "marked": ttl + MARKER_SLACK_SECONDS,
        "ttl": ttl,
        **index_keys(registration.peer_id),
    }


def markers(item: dict[str, Any], archetypes: list[str]) -> list[dict[str, Any]]:
    """The items that list a peer in the index, one for each archetype."""
    peer_id, position = item["peer_id"], item["h"]
    return [
        {
            "peer_id": marker_key(archetype, peer_id),
            "lane": table.lane_of(archetype, position),
            "h": position,
            "gen": item["gen"],
            "ttl": item["marked"],
        }
        for archetype in archetypes
    ]


def marker_key(archetype: str, peer_id: str) -> str:
    return f" {archetype} {peer_id}"


def index_keys(peer_id: str) -> dict[str, Any]:
    position = table.position_of(peer_id)
    return {"lane": table.lane_of("", position), "h": position}


def evictable_at(expires_at: int) -> int:
    """When the service may delete a peer's item, in seconds since 1970."""
    return (expires_at + REVIVAL_WINDOW_MILLIS) // 1_000 + 1


def hash_of(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()[:TOKEN_HASH_BYTES]


def timestamp(millis: int) -> str:
    """A time in the format of the API."""
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(millis // 1_000))

"""How peers lie in the table and who may change them: registering and renewing, as `crates/dynamodb` does both."""

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
# Markers outlive the peer's item, so that heartbeats rarely have to renew them.
MARKER_SLACK_SECONDS = 2 * 86_400
# How often a call begins anew because another process changed the peer meanwhile.
RACES = 64
LONGEST_RACE_PAUSE = 6
HOLDER_BYTES = 25
SOURCE_BYTES = 9
TOKEN_HASH_BYTES = 16
TOKEN_BYTES = 16
GENERATION_BYTES = 8

log = logging.getLogger(__name__)
compact = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


@dataclass(slots=True)
class Stored:
    """A peer's item, and what the rules read of it. Times are in milliseconds since 1970."""

    item: dict[str, Any]
    expires_at: int
    last_seen: int
    registered_at: int
    ttl_seconds: int
    # Where the registration came from, and the hash of its token.
    holder: bytes
    generation: bytes
    # Until when its markers stand, in seconds since 1970.
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
    """What a caller shows for being the holder."""

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


def register(asked: Registration, source: bytes, now: int) -> str:
    """Writes the markers, then the peer, then drops markers that it no longer needs. Answers the lease's token.

    A crash on the way leaves markers without a peer, which every read passes over; never a peer without its markers.
    """
    claim = Claim(source, hash_of(asked.lease_token) if asked.lease_token else None)
    fresh, generation = secrets.token_urlsafe(TOKEN_BYTES), secrets.token_bytes(GENERATION_BYTES)
    found = table.get(asked.peer_id)
    for lost in range(RACES):
        standing = read(found)
        refuse_strangers(standing, claim, now)
        kept = standing is not None and standing.is_known(now) and claim.proves(standing)
        token = asked.lease_token if kept and asked.lease_token else fresh
        item = peer_item(asked, source + hash_of(token), generation, now)
        table.put_all(markers(item, asked.archetypes))
        try:
            table.put(item, **still(found, standing, claim, now))
        except table.Lost as race:
            found = found_after(race, asked.peer_id, lost)
            # An attempt that timed out may have been carried out all the same.
            if found is None or found.get("gen") != generation:
                continue
        if standing is not None:
            drop_markers(standing, asked.archetypes)
        return token
    raise TimeoutError("too many callers register this peer at once")


def renew(peer_id: str, now: int) -> Renewed:
    """A read, and a write only where the lease that stands does not reach far enough."""
    found = table.get(peer_id)
    revived = False
    for lost in range(RACES):
        stored = read(found)
        if stored is None or not stored.is_known(now):
            raise Refusal(404, "peer_not_registered", "no such peer is registered here; register it first")
        revived = revived or not stored.is_live(now)
        renewed = Renewed(stored.ttl_seconds, stored.registered_at, revived)
        if stored.expires_at >= now + stored.ttl_seconds * 1_000:
            return renewed
        try:
            write_renewal(stored, now)
        except table.Lost as race:
            found = found_after(race, peer_id, lost)
            continue
        return renewed
    raise TimeoutError("too many callers change this peer at once")


def write_renewal(stored: Stored, now: int) -> None:
    """Writes a lease that reaches a third further than asked for, so that the next heartbeat need not write."""
    ttl_millis = stored.ttl_seconds * 1_000
    expires_at = now + ttl_millis + ttl_millis // 3
    item = stored.item | {
        "expires_at": expires_at,
        "seen": max(now, stored.last_seen),
        "ttl": forgotten_at(expires_at),
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


def refuse_strangers(standing: Stored | None, claim: Claim, now: int) -> None:
    """Refuses who may not replace a live peer, and newcomers where there is no room for any."""
    if standing is None or not standing.is_live(now):
        if table.size.at_least(MAX_PEERS):
            raise Refusal(503, "registry_full", "the registry accepts no new peers", retry_after=FULL_RETRY_SECONDS)
    elif not claim.admits(standing):
        until = written(standing.expires_at)
        raise Refusal(
            403,
            "not_holder",
            f"the peer is held by another client until {until} UTC; its holder is identified by the address that it "
            "registered from or by its lease_token",
        )


def still(found: dict[str, Any] | None, standing: Stored | None, claim: Claim, now: int) -> dict[str, Any]:
    """The condition that what was found still stands when the peer is written."""
    if found is None:
        return {"ConditionExpression": "attribute_not_exists(peer_id)"}
    if standing is None and "gen" not in found:
        return {"ConditionExpression": "attribute_not_exists(gen)"}
    # Who may replace it only because its lease ended must not replace it once a heartbeat revives it.
    if standing is not None and not standing.is_live(now) and not claim.admits(standing):
        return unchanged(standing)
    return same(found["gen"])


def same(generation: Any) -> dict[str, Any]:
    return {"ConditionExpression": "gen = :gen", "ExpressionAttributeValues": {":gen": generation}}


def unchanged(stored: Stored) -> dict[str, Any]:
    return {
        "ConditionExpression": "gen = :gen AND expires_at = :expires_at",
        "ExpressionAttributeValues": {":gen": stored.generation, ":expires_at": stored.expires_at},
    }


def found_after(race: table.Lost, peer_id: str, lost: int) -> dict[str, Any] | None:
    """What stands there after a write was refused: at first the refusal says, later a pause parts the two that race."""
    if lost == 0 and race.item is not None:
        return race.item
    time.sleep(random.randrange(1 << min(lost, LONGEST_RACE_PAUSE)) / 1_000)
    return table.get(peer_id)


def drop_markers(replaced: Stored, kept: list[str]) -> None:
    """One that stays behind is passed over by every read, so a failure here is no failure of the registration."""
    peer_id = replaced.item["peer_id"]
    for archetype in replaced.archetypes():
        if archetype not in kept:
            try:
                table.delete(marker_key(archetype, peer_id), **same(replaced.generation))
            except table.Lost:
                pass
            except table.FAILURES as error:
                log.warning("a marker that nothing needs stays until its time to live ends: %s", error)


def read(item: dict[str, Any] | None) -> Stored | None:
    """What the rules need of an item; nothing where there is none, or where it can't be read."""
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
        log.warning("an item can't be read and is passed over: %r", error)
        return None
    return stored


def peer_item(asked: Registration, holder: bytes, generation: bytes, now: int) -> dict[str, Any]:
    expires_at = now + asked.ttl_seconds * 1_000
    ttl = forgotten_at(expires_at)
    address, archetypes = compact(asked.address), compact(asked.archetypes)
    body = f'{{"address":{address},"port":{asked.port},"archetypes":{archetypes},"metadata":{asked.metadata}}}'
    return {
        "peer_id": asked.peer_id,
        "reg": body,
        "expires_at": expires_at,
        "seen": now,
        "since": now,
        "lease": asked.ttl_seconds,
        "holder": holder,
        "gen": generation,
        "marked": ttl + MARKER_SLACK_SECONDS,
        "ttl": ttl,
        **index_keys(asked.peer_id),
    }


def markers(item: dict[str, Any], archetypes: list[str]) -> list[dict[str, Any]]:
    """The items by which a peer is found, one for each archetype."""
    peer_id, place = item["peer_id"], item["h"]
    return [
        {
            "peer_id": marker_key(archetype, peer_id),
            "lane": table.lane_of(archetype, place),
            "h": place,
            "gen": item["gen"],
            "ttl": item["marked"],
        }
        for archetype in archetypes
    ]


def marker_key(archetype: str, peer_id: str) -> str:
    return f" {archetype} {peer_id}"


def index_keys(peer_id: str) -> dict[str, Any]:
    place = table.place_of(peer_id)
    return {"lane": table.lane_of("", place), "h": place}


def forgotten_at(expires_at: int) -> int:
    """When the service may delete a peer's item, in seconds since 1970."""
    return (expires_at + REVIVAL_WINDOW_MILLIS) // 1_000 + 1


def hash_of(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()[:TOKEN_HASH_BYTES]


def written(millis: int) -> str:
    """A time as the contract writes it."""
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(millis // 1_000))

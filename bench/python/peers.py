"""The rules for registering and renewing peers, as in `crates/registry` and `crates/dynamodb`."""

from __future__ import annotations

import hashlib
import logging
import random
import secrets
import time
from dataclasses import dataclass
from typing import Any

import bound
import table
from body import Refusal, Registration
from items import (
    GENERATION_BYTES,
    MARKER_SLACK_SECONDS,
    Stored,
    evictable_at,
    index_keys,
    marker_key,
    markers,
    peer_item,
    read,
)
from source import SOURCE_BYTES, is_near

MAX_PEERS = 2_000_000
# The maximum number of attempts if other processes change the peer at the same time.
MAX_ATTEMPTS = 64
MAX_PAUSE_EXPONENT = 6
TOKEN_HASH_BYTES = 16
TOKEN_BYTES = 16

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Claim:
    """What a client presents to prove that it is the holder. `token` is the hash of its lease token."""

    source: bytes
    token: bytes | None

    def has_token_of(self, stored: Stored) -> bool:
        return self.token == stored.holder[SOURCE_BYTES:]

    def may_replace(self, stored: Stored) -> bool:
        """Whether the client may replace a live peer. A wrong token counts as no token."""
        return self.source == stored.source() or self.has_token_of(stored)

    def proves(self, stored: Stored) -> bool:
        """Whether a heartbeat comes from the holder. Without a token, any client may renew a peer, but
        only a client in the network of the holder counts as the holder."""
        return self.has_token_of(stored) or is_near(self.source, stored.source())


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
    table.blocks.read_if_due()
    claim = claim_of(source, registration.lease_token)
    fresh, generation = secrets.token_urlsafe(TOKEN_BYTES), secrets.token_bytes(GENERATION_BYTES)
    found = table.get(registration.peer_id)
    for attempt in range(MAX_ATTEMPTS):
        current = read(found)
        check_holder(current, claim, now)
        if current is None or not current.is_live(now) or current.source() != source:
            bound.check_source(source, registration.peer_id, now)
        kept = current is not None and current.is_known(now) and claim.has_token_of(current)
        token = registration.lease_token if kept and registration.lease_token else fresh
        item = peer_item(registration, source + hash_of(token), generation, now)
        table.put_all(markers(item, registration.archetypes))
        try:
            table.put(item, **condition_for(found, current, claim))
        except table.ConditionFailed as conflict:
            found = item_after_conflict(conflict, registration.peer_id, attempt)
            # An attempt may time out although DynamoDB has written the item. Its retry then fails
            # the condition. The item then has the generation of this registration, and the
            # registration succeeded.
            if found is None or found.get("gen") != generation:
                continue
        if current is not None:
            drop_markers(current, registration.archetypes)
        bound.record(registration.peer_id, source, item["expires_at"])
        return token
    raise TimeoutError("too many clients register this peer at the same time")


def renew(peer_id: str, lease_token: str | None, source: bytes, now: int) -> Renewed:
    """Renews the lease of a peer. Writes the item only if its lease has to be extended, or if the time
    of the proof has to be stored."""
    table.blocks.read_if_due()
    claim = claim_of(source, lease_token)
    found = table.get(peer_id)
    revived = False
    for attempt in range(MAX_ATTEMPTS):
        stored = read(found)
        if stored is None or not stored.is_known(now):
            raise Refusal(404, "peer_not_registered", "no such peer is registered here; register it first")
        # A client whose token is wrong has lost the name to another client.
        if claim.token is not None and not claim.has_token_of(stored):
            raise not_holder(stored, now)
        proven = claim.proves(stored)
        revived = revived or not stored.is_live(now)
        renewed = Renewed(stored.ttl_seconds, stored.registered_at, revived)
        lasts = stored.expires_at >= now + stored.ttl_seconds * 1_000
        if lasts and not (proven and stored.proof_is_due(now)):
            return renewed
        try:
            write_renewal(stored, proven, now)
        except table.ConditionFailed as conflict:
            found = item_after_conflict(conflict, peer_id, attempt)
            continue
        return renewed
    raise TimeoutError("too many clients change this peer at the same time")


def write_renewal(stored: Stored, proven: bool, now: int) -> None:
    """Writes a lease that is a third longer than requested, so that the next heartbeat causes no
    write. No time moves back."""
    ttl_millis = stored.ttl_seconds * 1_000
    expires_at = max(now + ttl_millis + ttl_millis // 3, stored.expires_at)
    item = stored.item | {
        "expires_at": expires_at,
        "seen": max(now, stored.last_seen),
        "proven": max(now, stored.proven_at) if proven else stored.proven_at,
        "ttl": evictable_at(expires_at),
    }
    listed = "lane" in item
    if not listed or item["ttl"] > stored.marked_until:
        item |= index_keys(item["peer_id"], stored.source())
        item["marked"] = item["ttl"] + MARKER_SLACK_SECONDS
        table.put_all(markers(item, stored.archetypes()))
    if listed:
        update_lease(item, stored.generation, proven)
    else:
        table.put(item, **unchanged(stored))
    bound.record(item["peer_id"], stored.source(), expires_at)


def update_lease(item: dict[str, Any], generation: bytes, proven: bool) -> None:
    """Writes the lease of an item, and the time of the proof if there is one. The condition is that
    the registration is the same, and that the times in the table are not newer."""
    change = "SET expires_at = :expires_at, seen = :seen, #ttl = :ttl, marked = :marked"
    condition = "gen = :gen AND expires_at <= :expires_at"
    values = {
        ":expires_at": item["expires_at"],
        ":seen": item["seen"],
        ":ttl": item["ttl"],
        ":marked": item["marked"],
        ":gen": generation,
    }
    if proven:
        change += ", proven = :proven"
        condition += " AND (attribute_not_exists(proven) OR proven <= :proven)"
        values[":proven"] = item["proven"]
    table.update(
        item["peer_id"],
        UpdateExpression=change,
        ConditionExpression=condition,
        ExpressionAttributeNames={"#ttl": "ttl"},
        ExpressionAttributeValues=values,
    )


def check_holder(current: Stored | None, claim: Claim, now: int) -> None:
    """Raises Refusal for a client that may not replace a live peer, and for a peer that is not live if
    the registry is full."""
    if current is None or not current.is_live(now):
        if table.size.at_least(MAX_PEERS):
            message = "the maximum number of peers is reached; try again later"
            raise Refusal(503, "registry_full", message, retry_after=bound.FULL_RETRY_SECONDS)
    elif not claim.may_replace(current) and not current.is_abandoned(now):
        raise not_holder(current, now)


def not_holder(stored: Stored, now: int) -> Refusal:
    until = timestamp(stored.expires_at if stored.is_live(now) else stored.known_until())
    return Refusal(
        403,
        "not_holder",
        f"the registration is held until {until} UTC, and longer if it is renewed; send its lease_token, use another "
        "peer_id, or wait until then",
    )


def condition_for(found: dict[str, Any] | None, current: Stored | None, claim: Claim) -> dict[str, Any]:
    """The condition under which the peer is written: no other registration has changed the item since it
    was read. For some clients, no heartbeat may have changed it either."""
    if found is None:
        return {"ConditionExpression": "attribute_not_exists(peer_id)"}
    if current is None and "gen" not in found:
        return {"ConditionExpression": "attribute_not_exists(gen)"}
    # A client that may replace the peer only because its lease ended, or because its holder has not
    # proved itself for long, must not do so after a heartbeat has changed that.
    if current is not None and not claim.may_replace(current):
        return unchanged(current)
    return same(found["gen"])


def same(generation: Any) -> dict[str, Any]:
    return {"ConditionExpression": "gen = :gen", "ExpressionAttributeValues": {":gen": generation}}


def unchanged(stored: Stored) -> dict[str, Any]:
    return {
        "ConditionExpression": "gen = :gen AND expires_at = :expires_at AND proven = :proven",
        "ExpressionAttributeValues": {
            ":gen": stored.generation,
            ":expires_at": stored.expires_at,
            ":proven": stored.proven_at,
        },
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
    kept_keys = [marker_key(archetype, peer_id) for archetype in kept]
    for archetype in replaced.archetypes():
        key = marker_key(archetype, peer_id)
        if key not in kept_keys:
            try:
                table.delete(key, **same(replaced.generation))
            except table.ConditionFailed:
                pass
            except table.FAILURES as error:
                log.warning("an obsolete marker remains until its time to live ends: %s", error)


def claim_of(source: bytes, lease_token: str | None) -> Claim:
    return Claim(source, hash_of(lease_token) if lease_token else None)


def hash_of(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()[:TOKEN_HASH_BYTES]


def timestamp(millis: int) -> str:
    """A time in the format of the API."""
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(millis // 1_000))

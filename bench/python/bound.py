"""The bound on the live peers of one source, as in `crates/dynamodb`.

There is no counter, because every registration would have to write it. Instead, the markers of the
source are listed. Only if there are too many, their peers are read, to count those that are live.

The index lists a peer only some time after it was written. A process therefore also counts what it
wrote in the last seconds.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass

import items
import table
from body import Refusal
from source import is_loopback

# The maximum number of live peers of one source.
MAX_PEERS_PER_SOURCE = int(os.environ.get("AURORA_MAX_PEERS_PER_SOURCE", 1_024))
# The number of markers that are listed is at most this multiple of the bound.
MAX_COUNTED = 4
# The maximum number of peers that are read.
MAX_READ = 100
RECENT_SECONDS = 5
FULL_RETRY_SECONDS = 30


@dataclass(slots=True)
class Recent:
    """A peer that this process has written in the last seconds."""

    written_at: float
    source: bytes
    expires_at: int

    def is_live_at(self, source: bytes, now: int) -> bool:
        return self.source == source and now < self.expires_at


# By the ids of the peers, oldest first.
recent: dict[str, Recent] = {}


def record(peer_id: str, source: bytes, expires_at: int) -> None:
    drop_expired()
    recent.pop(peer_id, None)
    recent[peer_id] = Recent(time.monotonic(), source, expires_at)


def check_source(source: bytes, newcomer: str, now: int) -> None:
    """Raises Refusal if the source already has as many live peers as it may have. `newcomer` is the id
    of the peer that it would have in addition."""
    if is_loopback(source):
        return
    drop_expired()
    listed = table.peers_in(items.source_lane(source), MAX_COUNTED * MAX_PEERS_PER_SOURCE)
    # This is an upper bound of the live peers, which usually saves the other steps.
    if len(listed) + len(recent) < MAX_PEERS_PER_SOURCE:
        return
    # At first, every listed peer is assumed to be live.
    written = {peer_id for peer_id, each in recent.items() if each.is_live_at(source, now)} - {newcomer}
    if len(written.union(listed)) < MAX_PEERS_PER_SOURCE:
        return
    if len(listed) > MAX_READ:
        raise Refusal(501, "not_available_here", "estimating the peers of a source is not part of this comparison")
    unknown = [peer_id for peer_id in listed if peer_id not in recent]
    live = written | live_peers(source, unknown, now)
    if len(live - {newcomer}) >= MAX_PEERS_PER_SOURCE:
        message = "the maximum number of peers that registered from this address is reached; "
        message += "deregister peers that have ended, or try again later"
        raise Refusal(503, "registry_full", message, retry_after=FULL_RETRY_SECONDS)


def live_peers(source: bytes, peer_ids: list[str], now: int) -> set[str]:
    """Which of these peers are live, and registered from the source."""
    peers = [items.read(item) for item in table.get_all(peer_ids)]
    return {peer.item["peer_id"] for peer in peers if peer and peer.is_live(now) and peer.source() == source}


def drop_expired() -> None:
    oldest = time.monotonic() - RECENT_SECONDS
    while recent:
        peer_id = next(iter(recent))
        if recent[peer_id].written_at >= oldest:
            return
        del recent[peer_id]

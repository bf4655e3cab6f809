"""A registry of peers on FastAPI, with the operations of the service: leases, archetypes, random samples.
It keeps everything in the memory of one process."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import FastAPI, HTTPException, Query
from pydantic import BaseModel, Field

SWEEP_SECONDS = 5.0
Name = Annotated[str, Field(min_length=1, max_length=128)]


class Registration(BaseModel):
    peer_id: Name
    address: Annotated[str, Field(max_length=255)]
    port: Annotated[int, Field(ge=0, le=65535)]
    archetypes: Annotated[list[Name], Field(max_length=32)] = []
    metadata: dict[str, Any] = {}
    ttl_seconds: Annotated[int, Field(ge=30, le=3600)] = 300


class Heartbeat(BaseModel):
    peer_id: Name


@dataclass(slots=True)
class Peer:
    registration: Registration
    expires_at: float


class Members:
    """The ids of an archetype's peers, in a list, so that a sample takes constant time."""

    def __init__(self) -> None:
        self.ids: list[str] = []
        self.positions: dict[str, int] = {}

    def add(self, peer_id: str) -> None:
        if peer_id not in self.positions:
            self.positions[peer_id] = len(self.ids)
            self.ids.append(peer_id)

    def remove(self, peer_id: str) -> None:
        position = self.positions.pop(peer_id)
        last = self.ids.pop()
        if last != peer_id:
            self.ids[position] = last
            self.positions[last] = position

    def sample(self, count: int) -> list[str]:
        return random.sample(self.ids, min(count, len(self.ids)))


peers: dict[str, Peer] = {}
members: dict[str, Members] = {}


def remove(peer_id: str) -> None:
    for archetype in set(peers.pop(peer_id).registration.archetypes):
        members[archetype].remove(peer_id)


async def sweep() -> None:
    while True:
        await asyncio.sleep(SWEEP_SECONDS)
        now = time.time()
        for peer_id in [peer_id for peer_id, peer in peers.items() if peer.expires_at <= now]:
            remove(peer_id)


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    sweeper = asyncio.create_task(sweep())
    yield
    sweeper.cancel()


app = FastAPI(lifespan=lifespan)


@app.post("/register")
async def register(registration: Registration) -> dict[str, Any]:
    peer_id = registration.peer_id
    if peer_id in peers:
        remove(peer_id)
    expires_at = time.time() + registration.ttl_seconds
    peers[peer_id] = Peer(registration, expires_at)
    for archetype in registration.archetypes:
        members.setdefault(archetype, Members()).add(peer_id)
    return {"peer_id": peer_id, "ttl_seconds": registration.ttl_seconds, "expires_at": expires_at}


@app.post("/heartbeat")
async def heartbeat(beat: Heartbeat) -> dict[str, Any]:
    peer = peers.get(beat.peer_id)
    now = time.time()
    if peer is None or peer.expires_at <= now:
        raise HTTPException(404, "no such peer is registered here")
    peer.expires_at = now + peer.registration.ttl_seconds
    return {"peer_id": beat.peer_id, "expires_at": peer.expires_at}


@app.get("/discover")
async def discover(
    archetype: str, limit: Annotated[int, Query(ge=1, le=1000)] = 1000, exclude: str | None = None
) -> dict[str, Any]:
    now = time.time()
    found: list[dict[str, Any]] = []
    of_archetype = members.get(archetype)
    # One more than the limit, because the caller may be among them.
    for peer_id in of_archetype.sample(limit + 1) if of_archetype else []:
        peer = peers[peer_id]
        if peer_id != exclude and peer.expires_at > now and len(found) < limit:
            found.append({"peer_id": peer_id, "address": peer.registration.address, "port": peer.registration.port})
    return {"peers": found, "count": len(found)}

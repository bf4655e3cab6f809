"""Kills Valkey servers while clients register and discover peers."""

from __future__ import annotations

import http.client
import random
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Literal

from lib.api import Api
from lib.service import Service
from lib.valkey import Cluster, holds, server_program, wait_for

Victim = Literal["primary", "replica"]
REGISTERING_CLIENTS = 8
# When registrations succeed again, the clients continue for AFTERWARDS_SECONDS, and until at least
# LOADED_SECONDS after the kill.
AFTERWARDS_SECONDS = 1.0
LOADED_SECONDS = 4.5
# For this long after the kill, requests that were in progress at the kill may still be acknowledged.
SETTLED_SECONDS = 0.2
KEYS = "{aurora:default}:leases"


@dataclass
class Round:
    """What happened in one round. Times are in seconds since the kill."""

    acknowledged: list[tuple[float, float]]
    """When each registration was acknowledged, and how long it took."""
    refused: int
    discovers: list[tuple[float, float, bool]]
    """When each discover ended, how long it took, and whether it succeeded."""
    lost: int
    """The number of registrations of this and all earlier rounds that were acknowledged, but are missing in
    Valkey, plus the number of those that are not listed."""

    @property
    def pause_seconds(self) -> float:
        """The longest time between two consecutive acknowledged registrations."""
        times = sorted(at for at, _ in self.acknowledged)
        return max(later - earlier for earlier, later in pairwise(times))

    @property
    def failed_discovers(self) -> int:
        """The number of discovers that failed."""
        return sum(not succeeded for _, _, succeeded in self.discovers)


class Load:
    """Clients that register and discover until `stop` is called."""

    def __init__(self, address: str, first: int) -> None:
        self.address = address
        self.lock = threading.Lock()
        self.next = first
        self.names: list[str] = []
        self.acknowledged: list[tuple[float, float]] = []
        self.refused = 0
        self.discovers: list[tuple[float, float, bool]] = []
        self.stopping = threading.Event()
        self.threads = [threading.Thread(target=self.register) for _ in range(REGISTERING_CLIENTS)]
        self.threads.append(threading.Thread(target=self.discover))
        for thread in self.threads:
            thread.start()

    def register(self) -> None:
        """Registers new peers, one after the other."""
        api = Api(self.address)
        while not self.stopping.is_set():
            with self.lock:
                name = f"peer-{self.next}"
                self.next += 1
            sent = time.monotonic()
            succeeded = succeeds(lambda name=name: api.register(peer_id=name, ttl_seconds=3600).status)
            ended = time.monotonic()
            with self.lock:
                if succeeded:
                    self.names.append(name)
                    self.acknowledged.append((ended, ended - sent))
                else:
                    self.refused += 1
            if not succeeded:
                time.sleep(0.02)

    def discover(self) -> None:
        """Discovers peers ten times a second."""
        api = Api(self.address)
        while not self.stopping.is_set():
            sent = time.monotonic()
            succeeded = succeeds(lambda: api.discover(limit=20).status)
            ended = time.monotonic()
            self.discovers.append((ended, ended - sent, succeeded))
            time.sleep(0.1)

    def has_acknowledged_after(self, moment: float) -> bool:
        """Whether a registration was acknowledged after a moment."""
        with self.lock:
            return bool(self.acknowledged) and self.acknowledged[-1][0] > moment

    def stop(self) -> None:
        """Ends the clients."""
        self.stopping.set()
        for thread in self.threads:
            thread.join()


def succeeds(request: object) -> bool:
    """Whether a request gets the status 200."""
    assert callable(request)
    try:
        return bool(request() == 200)
    except (OSError, http.client.HTTPException, ValueError):
        return False


def rounds(victim: Victim, count: int, directory: Path) -> Iterator[Round]:
    """Starts the servers and the service, and yields each round as it ends."""
    cluster = Cluster(server_program(), directory)
    try:
        with Service(*cluster.serve_options(), "--max-peers", "10000000") as service:
            names: set[str] = set()
            first = 0
            for _ in range(count):
                load = Load(service.address, first)
                try:
                    killed_at = kill(cluster, victim, load)
                finally:
                    load.stop()
                first = load.next
                names.update(load.names)
                yield Round(
                    acknowledged=[(at - killed_at, took) for at, took in load.acknowledged],
                    refused=load.refused,
                    discovers=[(at - killed_at, took, succeeded) for at, took, succeeded in load.discovers],
                    lost=len(names - stored(cluster)) + len(names - listed(service)),
                )
    finally:
        cluster.stop()


def kill(cluster: Cluster, victim: Victim, load: Load) -> float:
    """Kills a server under load. When registrations succeed again, ends the load and starts the server.
    Returns the time of the kill."""
    time.sleep(random.uniform(0.5, 1.5))
    primary = cluster.primary()
    replicas = [server for server in cluster.servers if server is not primary]
    killed = primary if victim == "primary" else random.choice(replicas)
    killed_at = time.monotonic()
    killed.kill()
    settled = killed_at + SETTLED_SECONDS
    wait_for("registrations succeed again", lambda: load.has_acknowledged_after(settled))
    time.sleep(max(AFTERWARDS_SECONDS, killed_at + LOADED_SECONDS - time.monotonic()))
    load.stop()
    cluster.heal(killed)
    return killed_at


def stored(cluster: Cluster) -> set[str]:
    """The ids of the peers that the primary stores."""
    return {peer.decode() for peer in cluster.primary().command("HKEYS", KEYS)}


def listed(service: Service) -> set[str]:
    """The ids of the peers that the service lists. Waits until the service is ready, because it may be
    reading all peers again."""
    api = Api(service.address)
    wait_for("the service is ready", lambda: holds(lambda: api.health().status == 200))
    return {peer["peer_id"] for peer in api.all_peers()}

"""Attacks on clients that follow changes, and attacks by one source at full speed."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from string import ascii_lowercase

from lib.api import Api
from lib.attack import http1
from lib.attack.crowd import Plan, Repeat
from lib.attack.honest import LEASE_SECONDS
from lib.attack.kernel import held_by
from lib.attack.scene import Attack, Form, Scene, until
from lib.attack.watcher import Watcher
from lib.namespace import disconnect

ATTACKER = "10.50.0.1"
HONEST = "10.4.0.1"
SMALL_METADATA, LARGE_METADATA = 200, 3_900
PIPELINED = 16
# Defaults of the service.
KEEP_ALIVE_SECONDS, WRITE_TIMEOUT_SECONDS = 15.0, 30.0
# How much later than its time limit a connection may be closed, because the service examines its
# connections only at intervals.
SLACK_SECONDS = 5.0


def changing(peer: str) -> bytes:
    """Registrations of one peer, each with different metadata, so that each is a change in whichever
    order they arrive."""
    return b"".join(http1.registration(peer, letter * SMALL_METADATA) for letter in ascii_lowercase)


class Followers:
    """An honest client that keeps a cursor, and one that watches. Neither may miss an honest peer."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._api = Api(f"127.0.0.1:{scene.port}", HONEST)
        self._cursor = self._api.discover(since="now").body["since"]
        self._watcher = Watcher(scene.port, HONEST, archetype="followed")
        self._register("followed")

    def has_lost(self) -> bool:
        """Whether the cursor from before the attack has expired."""
        return self._api.discover(since=self._cursor, limit=1).status != 200

    def check(self) -> None:
        """Registers a second peer after the attack. The clients must have received this change and the one
        from before the attack."""
        # The service may have closed the connection, which was idle during the attack.
        self._api.close()
        self._register("followed-later")
        wanted = {"followed", "followed-later"}
        until(60.0, lambda: wanted <= self._watcher.seen)
        for peer in sorted(wanted - self._watcher.seen):
            self._scene.failures.append(f"a watcher lost the change of {peer}")
        self._scene.expect(not self._watcher.resets, "a watcher was told that changes were lost")
        self._watcher.stop()
        self._check_cursor(wanted)

    def _register(self, peer: str) -> None:
        response = self._api.register(peer_id=peer, port=9000, ttl_seconds=LEASE_SECONDS, archetypes=["followed"])
        self._scene.expect(response.status == 200, f"the registration of {peer} got {response.status}")
        self._scene.registered.add(peer)

    def _check_cursor(self, wanted: set[str]) -> None:
        seen: set[str] = set()
        cursor = self._cursor
        while not wanted <= seen:
            page = self._api.discover(since=cursor, limit=1000)
            if page.status != 200:
                self._scene.failures.append(f"`since` lost the changes: {page.status} {page.body['code']}")
                return
            seen |= {peer["peer_id"] for peer in page.body["joined"] + page.body["changed"]}
            cursor = page.body["since"]
            if not page.body["more"]:
                break
        self._scene.expect(wanted <= seen, f"`since` lost the changes of {sorted(wanted - seen)}")


class ChangeFlush(Attack):
    name = "change-flush"
    title = "one peer registers again at full speed, with other metadata each time"

    def plans(self, form: Form) -> list[Plan]:
        return [Plan((ATTACKER,), 4, message=Repeat(changing("flusher")))]

    def prepare(self, scene: Scene) -> None:
        self._followers = Followers(scene)

    def observe(self, scene: Scene) -> None:
        """Continues until the change log, which holds 65,536 changes, has dropped those from before the
        attack, or until a time limit."""
        began = time.monotonic()
        if until(2.0 if scene.form.short else 45.0, self._followers.has_lost):
            scene.notes.append(f"flushed {time.monotonic() - began:.0f} s after the measurement")

    def check(self, scene: Scene) -> None:
        self._followers.check()


@dataclass(frozen=True)
class Changes:
    """Each message is a registration that changes one of `peers` peers."""

    peers: int

    def __call__(self, number: int) -> bytes:
        text = "abcdefgh"[number // self.peers % 8] * LARGE_METADATA
        return http1.registration(f"changing-{number % self.peers}", text)


class WatchAmplification(Attack):
    name = "watch-amplification"
    title = "200 watchers, 50 changes of 4 KiB a second"
    watchers, changes = 200, 50
    sources = tuple(f"10.60.{network}.1" for network in range(20))

    def plans(self, form: Form) -> list[Plan]:
        return [
            Plan((ATTACKER,), 1, message=Changes(self.changes), pause=1 / self.changes),
            Plan(self.sources, self.watchers, opening=http1.get("/watch")),
        ]

    def prepare(self, scene: Scene) -> None:
        self._followers = Followers(scene)

    def observe(self, scene: Scene) -> None:
        received = scene.crowds[1].stop().received_bytes
        scene.notes.append(f"{received / scene.form.seconds / 1e6:.1f} MB/s to the watchers")

    def check(self, scene: Scene) -> None:
        self._followers.check()


class VanishedWatchers(Attack):
    name = "vanished-watchers"
    title = "the machines of 200 watchers vanish"
    watchers, network = 200, "10.61.0.0/16"
    sources = tuple(f"10.61.{network}.1" for network in range(20))

    def plans(self, form: Form) -> list[Plan]:
        return [Plan(self.sources, self.watchers, opening=http1.get("/watch"))]

    def observe(self, scene: Scene) -> None:
        disconnect(self.network)
        began = time.monotonic()
        # The next keep-alive gets no acknowledgement, so the service closes the connection after the write
        # timeout.
        limit = KEEP_ALIVE_SECONDS + WRITE_TIMEOUT_SECONDS + SLACK_SECONDS
        ended = until(limit, lambda: held_by(scene.port, self.sources) == 0)
        left = held_by(scene.port, self.sources)
        scene.expect(ended, f"{left} watchers that vanished are still held after {limit:.0f} s")
        scene.notes.append(f"{left} held {time.monotonic() - began:.0f} s after they vanished")


class FullSpeed(Attack):
    """One source sends as many requests as the service accepts."""

    def __init__(self, kind: str, request: Callable[[int], bytes]) -> None:
        self.name = f"full-speed-{kind}"
        self.title = f"one source sends {kind} requests at full speed, {PIPELINED} at a time on 8 connections"
        self._message = b"".join(request(number) for number in range(PIPELINED))

    def plans(self, form: Form) -> list[Plan]:
        return [Plan((ATTACKER,), 8, message=Repeat(self._message))]

    def observe(self, scene: Scene) -> None:
        requests = scene.crowds[0].stop().sent_bytes / len(self._message) * PIPELINED
        scene.notes.append(f"{requests:,.0f} requests")


def registration(number: int) -> bytes:
    return http1.registration(f"fast-{number}", "x" * 200, ttl_seconds=LEASE_SECONDS)


def discover(path: str, number: int) -> bytes:
    return http1.get(path)


def heartbeat(number: int) -> bytes:
    return http1.post("/heartbeat", {"peer_id": f"filler-{number}"})


def full_speed() -> list[Attack]:
    return [
        FullSpeed("register", registration),
        FullSpeed("discover", partial(discover, "/discover?limit=50")),
        FullSpeed("large-discover", partial(discover, "/discover?limit=1000")),
        FullSpeed("heartbeat", heartbeat),
        FullSpeed("health", partial(discover, "/health")),
    ]

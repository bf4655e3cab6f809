"""Well-behaved clients, which measure what an attack does to them: members that send heartbeats at a fixed rate, and
newcomers that connect, register and discover. Each of the two kinds runs in its own process."""

from __future__ import annotations

import http.client
import itertools
import json
import select
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection as Pipe
from typing import Protocol

from lib.api import Api
from lib.attack import http1
from lib.attack.crowd import SPAWN
from lib.probe import quantile

# Each source is in another network, because the service also limits the networks of clients.
MEMBER_SOURCES = [f"10.1.{network}.1" for network in range(1, 11)]
MEMBERS_PER_SOURCE = 5
HEARTBEATS_PER_SECOND = 500
NEWCOMERS_PER_SECOND = 5
# A response that arrives later than this counts as missing. The limit is longer than any pause of the
# machine. The p99 shows responses that are only slow.
TIMEOUT_SECONDS = 60.0
LEASE_SECONDS = 3600
START_SECONDS = 60.0
RECEIVE_BYTES = 1 << 16


@dataclass
class Experience:
    """What the clients of one process measured in one period."""

    # In seconds, from when each request was due until its response.
    latencies: list[float] = field(default_factory=list)
    # One line for each request that got no response, or not the expected one.
    failures: list[str] = field(default_factory=list)
    # The peers whose registration was acknowledged.
    registered: list[str] = field(default_factory=list)

    @property
    def p99(self) -> float:
        return quantile(sorted(self.latencies), 0.99)


class Population(Protocol):
    """Honest clients of one process."""

    # The peers that these clients registered when they started.
    registered: list[str]

    def period(self, seconds: float) -> Experience: ...


class Clients:
    """A population in its own process."""

    def __init__(self, start: Callable[[int, str], Population], port: int, discover: str) -> None:
        ours, theirs = SPAWN.Pipe()
        self._pipe: Pipe = ours
        self._process = SPAWN.Process(target=serve, args=(theirs, start, port, discover), daemon=True)
        self._process.start()
        self.joined: list[str] = self._receive(START_SECONDS).registered

    def begin(self, seconds: float) -> None:
        self._seconds = seconds
        self._pipe.send(seconds)

    def end(self) -> Experience:
        return self._receive(self._seconds + 3 * TIMEOUT_SECONDS)

    def stop(self) -> None:
        self._process.kill()
        self._process.join()

    def _receive(self, seconds: float) -> Experience:
        if not self._pipe.poll(seconds):
            raise TimeoutError(f"the honest clients report nothing after {seconds:.0f} s")
        received: Experience = self._pipe.recv()
        return received


def serve(pipe: Pipe, start: Callable[[int, str], Population], port: int, discover: str) -> None:
    clients = start(port, discover)
    pipe.send(Experience(registered=clients.registered))
    while True:
        pipe.send(clients.period(pipe.recv()))


@dataclass(eq=False)
class Member:
    peer: str
    source: str
    socket: socket.socket | None = None
    # When the request that waits for a response was due.
    due: float | None = None
    received: bytes = b""


class Members:
    """Members that send heartbeats in an open loop, each on its own connection."""

    def __init__(self, port: int, discover: str) -> None:
        self._port = port
        self._members = [
            Member(f"member-{source}-{number}", source)
            for number, source in itertools.product(range(MEMBERS_PER_SOURCE), MEMBER_SOURCES)
        ]
        self.registered = [member.peer for member in self._members]
        for member in self._members:
            api = Api(f"127.0.0.1:{port}", member.source)
            expect_ok(api.register(peer_id=member.peer, port=9000, ttl_seconds=LEASE_SECONDS).status)
            api.close()
            member.socket = self._connect(member)

    def period(self, seconds: float) -> Experience:
        seen = Experience()
        started = time.perf_counter() + 0.05
        schedule = [
            (started + number / HEARTBEATS_PER_SECOND, self._members[number % len(self._members)])
            for number in range(int(seconds * HEARTBEATS_PER_SECOND))
        ]
        # The due times of requests that cannot be sent yet, because their member still waits for an
        # earlier response. Latency counts from the due time, so this delay is part of the result.
        late: dict[Member, list[float]] = {member: [] for member in self._members}
        position, end = 0, started + seconds + TIMEOUT_SECONDS
        while (now := time.perf_counter()) < end:
            while position < len(schedule) and schedule[position][0] <= now:
                due, member = schedule[position]
                late[member].append(due)
                position += 1
                self._send_next(member, late[member], seen)
            waiting = {member.socket: member for member in self._members if member.due is not None and member.socket}
            if position == len(schedule) and not waiting:
                return seen
            until = schedule[position][0] if position < len(schedule) else end
            # `select` can wait for less than a millisecond, which `epoll` cannot.
            readable, _, _ = select.select(list(waiting), [], [], max(0.0, until - time.perf_counter()))
            for ready in readable:
                self._receive(waiting[ready], seen)
                self._send_next(waiting[ready], late[waiting[ready]], seen)
        self._give_up(late, seen)
        return seen

    def _send_next(self, member: Member, late: list[float], seen: Experience) -> None:
        while late and member.due is None:
            member.due = late.pop(0)
            try:
                member.socket = member.socket or self._connect(member)
                member.socket.sendall(http1.post("/heartbeat", {"peer_id": member.peer}))
            except OSError as error:
                self._fail(member, seen, f"a heartbeat could not be sent: {error}")

    def _receive(self, member: Member, seen: Experience) -> None:
        assert member.socket is not None and member.due is not None
        try:
            chunk = member.socket.recv(RECEIVE_BYTES)
        except OSError as error:
            return self._fail(member, seen, f"a heartbeat got no response: {error}")
        if not chunk:
            return self._fail(member, seen, "a heartbeat got no response: the service closed the connection")
        member.received += chunk
        length = http1.response_length(member.received)
        if length is None:
            return None
        seen.latencies.append(time.perf_counter() - member.due)
        if http1.status(member.received) != 200:
            seen.failures.append(f"a heartbeat got {member.received[:400]!r}")
        member.received, member.due = member.received[length:], None
        return None

    def _fail(self, member: Member, seen: Experience, failure: str) -> None:
        assert member.due is not None
        seen.latencies.append(time.perf_counter() - member.due)
        seen.failures.append(failure)
        if member.socket is not None:
            member.socket.close()
        member.socket, member.due, member.received = None, None, b""

    def _give_up(self, late: dict[Member, list[float]], seen: Experience) -> None:
        for member in self._members:
            if member.due is not None:
                self._fail(member, seen, f"a heartbeat got no response within {TIMEOUT_SECONDS:.0f} s")
            for due in late[member]:
                seen.latencies.append(time.perf_counter() - due)
                seen.failures.append("a heartbeat could not be sent, since the one before got no response")

    def _connect(self, member: Member) -> socket.socket:
        opened = socket.create_connection(
            ("127.0.0.1", self._port), timeout=TIMEOUT_SECONDS, source_address=(member.source, 0)
        )
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return opened


class Newcomers:
    """Clients that come one after the other, each from its own address. Their registrations must get the status
    `expected`."""

    def __init__(self, port: int, discover: str, expected: int) -> None:
        self._address = f"127.0.0.1:{port}"
        self._discover = discover
        self._expected = expected
        self._number = 0
        self.registered: list[str] = []

    def period(self, seconds: float) -> Experience:
        seen = Experience()
        started = time.perf_counter()
        for number in range(int(seconds * NEWCOMERS_PER_SECOND)):
            due = started + number / NEWCOMERS_PER_SECOND
            if time.perf_counter() > started + seconds + TIMEOUT_SECONDS:
                seen.failures.append("a newcomer was not served, since those before took too long")
                continue
            time.sleep(max(0.0, due - time.perf_counter()))
            self._come(seen)
            seen.latencies.append(time.perf_counter() - due)
        return seen

    def _come(self, seen: Experience) -> None:
        self._number += 1
        peer = f"newcomer-{self._number}"
        api = Api(self._address, source_of(self._number), TIMEOUT_SECONDS)
        try:
            registered = api.register(peer_id=peer, port=9000, ttl_seconds=LEASE_SECONDS, archetypes=["newcomer"])
            if registered.status != self._expected:
                seen.failures.append(f"a newcomer's registration got {registered.status} {registered.body}")
                return
            if registered.status == 200:
                seen.registered.append(peer)
            status, _, content = api.exchange("GET", self._discover)
            if status != 200:
                seen.failures.append(f"a newcomer's discover got {status} {content[:200]!r}")
            elif not json.loads(content)["count"]:
                seen.failures.append("a newcomer's discover listed no peer")
        except (OSError, http.client.HTTPException) as error:
            seen.failures.append(f"a newcomer got no response: {error!r}")
        finally:
            api.close()


def source_of(newcomer: int) -> str:
    return f"10.2.{newcomer // 250}.{newcomer % 250 + 1}"


def expect_ok(status: int) -> None:
    if status != 200:
        raise RuntimeError(f"a registration before the attack got {status}")

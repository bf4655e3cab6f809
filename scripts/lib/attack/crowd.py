"""Many connections with the same behaviour, driven by one process at a low priority."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import select
import socket
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection as Pipe

SPAWN = multiprocessing.get_context("spawn")
START_SECONDS = 30.0
STOP_SECONDS = 30.0
TICK_SECONDS = 0.01
READ_BYTES = 1 << 18
CLOSED = select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR


@dataclass(frozen=True)
class Repeat:
    """Makes the same bytes for every message."""

    content: bytes

    def __call__(self, number: int) -> bytes:
        return self.content


@dataclass(frozen=True)
class Plan:
    """What each connection of a crowd does."""

    sources: tuple[str, ...]
    connections: int
    # Sent once, after the connection is open.
    opening: bytes = b""
    # The bytes of a connection's `number`th message, from 0.
    message: Callable[[int], bytes] | None = None
    # Seconds from one message of a connection to the next; 0 means as fast as the service reads.
    pause: float = 0.0
    reads: bool = True
    # The size of the socket's receive buffer, or None for the system's.
    receive_buffer: int | None = None
    # How fast connections are opened, and reopened after the service has closed them.
    opens_per_second: int = 500


@dataclass
class Counts:
    opened: int = 0
    closed_by_service: int = 0
    sent_bytes: int = 0
    received_bytes: int = 0

    def __str__(self) -> str:
        megabytes = f"{self.sent_bytes / 1e6:,.1f} MB sent, {self.received_bytes / 1e6:,.1f} MB received"
        return f"{self.opened:,} connections opened, {self.closed_by_service:,} closed by the service, {megabytes}"


class Crowd:
    """The process of a crowd, which waits for `attack`. It ends with its `with` block."""

    def __init__(self, plan: Plan, port: int) -> None:
        ours, theirs = SPAWN.Pipe()
        self._pipe: Pipe = ours
        self._process = SPAWN.Process(target=run, args=(plan, port, theirs), daemon=True)
        self._process.start()
        theirs.close()
        self._counts: Counts | None = None
        self._await("started")

    def attack(self) -> None:
        """Begins the attack. Returns when the crowd has tried to open as many connections as it plans."""
        self._pipe.send("attack")
        self._await("connected")

    def _await(self, event: str) -> None:
        if not self._pipe.poll(START_SECONDS):
            raise TimeoutError(f"the attackers have not {event} after {START_SECONDS:.0f} s")
        self._pipe.recv()

    def stop(self) -> Counts:
        if self._counts is None:
            self._pipe.send("stop")
            if not self._pipe.poll(STOP_SECONDS):
                raise TimeoutError(f"the attackers have not stopped after {STOP_SECONDS:.0f} s")
            self._counts = self._pipe.recv()
            self._process.join()
        return self._counts

    def __enter__(self) -> Crowd:
        return self

    def __exit__(self, *error: object) -> None:
        if self._process.is_alive() and self._counts is None:
            self._process.kill()
        self._process.join()


def run(plan: Plan, port: int, pipe: Pipe) -> None:
    # Real attackers have machines of their own. Here, the attackers share the processors with the
    # service and the honest clients. With SCHED_IDLE, this process takes almost no processor time from
    # the others: it runs when a processor would otherwise be idle.
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    pipe.send("started")
    pipe.recv()
    members = Members(plan, port)
    while not pipe.poll():
        members.step()
        if members.all_tried():
            pipe.send("connected")
            break
    while not pipe.poll():
        members.step()
    pipe.send(members.counts)


@dataclass(eq=False)
class Member:
    socket: socket.socket
    unsent: memoryview
    connected: bool = False
    messages: int = 0
    interest: int = field(default=0)


class Members:
    """The connections of a crowd, on one epoll instance."""

    def __init__(self, plan: Plan, port: int) -> None:
        self.counts = Counts()
        self._plan = plan
        self._port = port
        self._sources = itertools.cycle(plan.sources)
        self._epoll = select.epoll()
        self._members: dict[int, Member] = {}
        self._waiting: deque[tuple[float, Member]] = deque()
        self._started = time.monotonic()
        self._opens = 0
        self._buffer = bytearray(READ_BYTES)

    def all_tried(self) -> bool:
        return self._opens >= self._plan.connections

    def step(self) -> None:
        self._open_missing()
        self._end_pauses()
        for descriptor, events in self._epoll.poll(TICK_SECONDS):
            member = self._members.get(descriptor)
            if member is not None and not self._serve(member, events):
                self._remove(member)

    def _open_missing(self) -> None:
        # A rate limit: the number of opens that the time since the start permits, less those made.
        allowed = int((time.monotonic() - self._started) * self._plan.opens_per_second) - self._opens
        missing = self._plan.connections - len(self._members)
        for _ in range(min(missing, max(allowed, 0))):
            self._open()
        if missing <= 0:
            # A crowd that opened no connections for a while must not open them all at once later.
            self._started = time.monotonic() - self._opens / self._plan.opens_per_second

    def _open(self) -> None:
        self._opens += 1
        opened = socket.socket()
        opened.setblocking(False)
        if self._plan.receive_buffer is not None:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self._plan.receive_buffer)
        try:
            opened.bind((next(self._sources), 0))
            opened.connect_ex(("127.0.0.1", self._port))
        except OSError:
            opened.close()
            return
        member = Member(opened, memoryview(self._plan.opening))
        self._members[opened.fileno()] = member
        member.interest = select.EPOLLOUT | CLOSED | (select.EPOLLIN if self._plan.reads else 0)
        self._epoll.register(opened, member.interest)

    def _serve(self, member: Member, events: int) -> bool:
        """Handles the events of a connection. Returns whether it is still open."""
        try:
            if events & select.EPOLLIN:
                self._read(member)
            if events & CLOSED:
                return False
            if events & select.EPOLLOUT:
                self._write(member)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return True

    def _read(self, member: Member) -> None:
        # With MSG_TRUNC, Linux drops the bytes without copying them.
        received = member.socket.recv_into(self._buffer, READ_BYTES, socket.MSG_TRUNC)
        if received == 0:
            raise ConnectionResetError
        self.counts.received_bytes += received

    def _write(self, member: Member) -> None:
        if not member.connected:
            member.connected = True
            self.counts.opened += 1
        if not member.unsent and self._plan.message is not None:
            member.unsent = memoryview(self._plan.message(member.messages))
            member.messages += 1
        if member.unsent:
            sent = member.socket.send(member.unsent)
            self.counts.sent_bytes += sent
            member.unsent = member.unsent[sent:]
        if not member.unsent:
            self._after_message(member)

    def _after_message(self, member: Member) -> None:
        if self._plan.message is None:
            self._watch_for_writing(member, False)
        elif self._plan.pause:
            self._watch_for_writing(member, False)
            self._waiting.append((time.monotonic() + self._plan.pause, member))

    def _end_pauses(self) -> None:
        while self._waiting and self._waiting[0][0] <= time.monotonic():
            _, member = self._waiting.popleft()
            if member.socket.fileno() >= 0:
                self._watch_for_writing(member, True)

    def _watch_for_writing(self, member: Member, wanted: bool) -> None:
        interest = member.interest | select.EPOLLOUT if wanted else member.interest & ~select.EPOLLOUT
        if interest != member.interest:
            member.interest = interest
            self._epoll.modify(member.socket, interest)

    def _remove(self, member: Member) -> None:
        self.counts.closed_by_service += member.connected
        del self._members[member.socket.fileno()]
        # Closing also removes it from the epoll instance.
        member.socket.close()

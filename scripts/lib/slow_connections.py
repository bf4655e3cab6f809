"""Thousands of connections that are idle or very slow."""

from __future__ import annotations

import itertools
import selectors
import socket
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from enum import Enum

# One source address has too few ports for many thousand connections to one server.
SOURCES = [f"127.0.0.{host}" for host in range(2, 22)]
# The number of connections to open between two checks of those already open.
BURST = 100
TICKS_PER_SECOND = 20


class Habit(Enum):
    """The behaviour of a connection after it is open."""

    IDLE = "idle"
    SLOW_HEAD = "slow head"
    SLOW_BODY = "slow body"


REQUESTS = {
    Habit.IDLE: b"",
    Habit.SLOW_HEAD: b"POST /heartbeat HTTP/1.1\r\nhost: a\r\nx-slow: ",
    Habit.SLOW_BODY: b"POST /heartbeat HTTP/1.1\r\nhost: a\r\ncontent-length: 16000\r\n\r\n",
}


@dataclass(eq=False)
class Member:
    socket: socket.socket
    habit: Habit
    opened: float


@dataclass
class Tally:
    opened: int = 0
    cut_off: Counter[Habit] = field(default_factory=Counter)
    longest: dict[Habit, float] = field(default_factory=dict)
    # The minimum number of open connections since all were opened.
    least_held: int = 0


class Crowd:
    """Holds `size` connections from a separate thread. Replaces each connection that the server
    closes."""

    def __init__(self, port: int, size: int) -> None:
        self.tally = Tally()
        self._port = port
        self._size = size
        self._selector = selectors.DefaultSelector()
        self._members: set[Member] = set()
        self._sources = itertools.cycle(SOURCES)
        self._habits = itertools.cycle([Habit.IDLE, Habit.SLOW_HEAD, Habit.IDLE, Habit.SLOW_BODY])
        self._complete = threading.Event()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._hold)

    def gather(self, seconds: float) -> None:
        """Waits until all connections are open."""
        self._thread.start()
        if not self._complete.wait(seconds):
            self.disperse()
            raise TimeoutError(f"{len(self._members)} of {self._size} connections open after {seconds:.0f} s")

    def disperse(self) -> None:
        self._over.set()
        self._thread.join()
        for member in self._members:
            member.socket.close()
        self._selector.close()

    def _hold(self) -> None:
        for tick in itertools.count():
            started = time.monotonic()
            self._top_up()
            self._notice_cut_off()
            self._send_a_byte_each(tick)
            if self._over.wait(max(0.0, 1 / TICKS_PER_SECOND - (time.monotonic() - started))):
                return

    def _top_up(self) -> None:
        missing = self._size - len(self._members)
        if missing <= 0 and not self._complete.is_set():
            self.tally.least_held = len(self._members)
            self._complete.set()
        if self._complete.is_set():
            self.tally.least_held = min(self.tally.least_held, len(self._members))
        for _ in range(min(missing, BURST)):
            self._open()

    def _open(self) -> None:
        habit = next(self._habits)
        try:
            connection = socket.create_connection(
                ("127.0.0.1", self._port), timeout=5, source_address=(next(self._sources), 0)
            )
            connection.setblocking(False)
            connection.send(REQUESTS[habit])
        except OSError:
            return
        member = Member(connection, habit, time.monotonic())
        self._members.add(member)
        self._selector.register(connection, selectors.EVENT_READ, member)
        self.tally.opened += 1

    def _notice_cut_off(self) -> None:
        for key, _ in self._selector.select(0):
            member: Member = key.data
            try:
                ended = not member.socket.recv(4096)
            except BlockingIOError:
                continue
            except OSError:
                ended = True
            if ended:
                self._part_with(member)

    def _send_a_byte_each(self, tick: int) -> None:
        for number, member in enumerate(tuple(self._members)):
            if member.habit is Habit.IDLE or (number + tick) % TICKS_PER_SECOND:
                continue
            try:
                member.socket.send(b"x")
            except OSError:
                self._part_with(member)

    def _part_with(self, member: Member) -> None:
        lasted = time.monotonic() - member.opened
        self.tally.cut_off[member.habit] += 1
        self.tally.longest[member.habit] = max(lasted, self.tally.longest.get(member.habit, 0.0))
        self._selector.unregister(member.socket)
        member.socket.close()
        self._members.discard(member)

    def oldest(self, habit: Habit) -> float:
        """The age, in seconds, of the oldest open connection with this behaviour."""
        opened = [member.opened for member in tuple(self._members) if member.habit is habit]
        return time.monotonic() - min(opened, default=time.monotonic())

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


class Behaviour(Enum):
    """What a connection does after it is open."""

    IDLE = "idle"
    SLOW_HEAD = "slow head"
    SLOW_BODY = "slow body"


REQUESTS = {
    Behaviour.IDLE: b"",
    Behaviour.SLOW_HEAD: b"POST /heartbeat HTTP/1.1\r\nhost: a\r\nx-slow: ",
    Behaviour.SLOW_BODY: b"POST /heartbeat HTTP/1.1\r\nhost: a\r\ncontent-length: 16000\r\n\r\n",
}


@dataclass(eq=False)
class Connection:
    socket: socket.socket
    behaviour: Behaviour
    opened: float


@dataclass
class Counts:
    opened: int = 0
    closed: Counter[Behaviour] = field(default_factory=Counter)
    longest: dict[Behaviour, float] = field(default_factory=dict)
    # The minimum number of open connections since all were opened.
    min_open: int = 0


class SlowConnections:
    """Keeps `size` connections open from a separate thread. Replaces each connection that the server
    closes."""

    def __init__(self, port: int, size: int) -> None:
        self.counts = Counts()
        self._port = port
        self._size = size
        self._selector = selectors.DefaultSelector()
        self._connections: set[Connection] = set()
        self._sources = itertools.cycle(SOURCES)
        self._behaviours = itertools.cycle([Behaviour.IDLE, Behaviour.SLOW_HEAD, Behaviour.IDLE, Behaviour.SLOW_BODY])
        self._all_open = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def open_all(self, seconds: float) -> None:
        """Starts the thread, and waits until it has opened all connections."""
        self._thread.start()
        if not self._all_open.wait(seconds):
            self.close_all()
            raise TimeoutError(f"{len(self._connections)} of {self._size} connections open after {seconds:.0f} s")

    def close_all(self) -> None:
        self._stopping.set()
        self._thread.join()
        for connection in self._connections:
            connection.socket.close()
        self._selector.close()

    def _run(self) -> None:
        for tick in itertools.count():
            started = time.monotonic()
            self._top_up()
            self._remove_closed()
            self._send_bytes(tick)
            if self._stopping.wait(max(0.0, 1 / TICKS_PER_SECOND - (time.monotonic() - started))):
                return

    def _top_up(self) -> None:
        missing = self._size - len(self._connections)
        if missing <= 0 and not self._all_open.is_set():
            self.counts.min_open = len(self._connections)
            self._all_open.set()
        if self._all_open.is_set():
            self.counts.min_open = min(self.counts.min_open, len(self._connections))
        for _ in range(min(missing, BURST)):
            self._open()

    def _open(self) -> None:
        behaviour = next(self._behaviours)
        try:
            opened = socket.create_connection(
                ("127.0.0.1", self._port), timeout=5, source_address=(next(self._sources), 0)
            )
            opened.setblocking(False)
            opened.send(REQUESTS[behaviour])
        except OSError:
            return
        connection = Connection(opened, behaviour, time.monotonic())
        self._connections.add(connection)
        self._selector.register(opened, selectors.EVENT_READ, connection)
        self.counts.opened += 1

    def _remove_closed(self) -> None:
        for key, _ in self._selector.select(0):
            connection: Connection = key.data
            try:
                ended = not connection.socket.recv(4096)
            except BlockingIOError:
                continue
            except OSError:
                ended = True
            if ended:
                self._remove(connection)

    def _send_bytes(self, tick: int) -> None:
        for number, connection in enumerate(tuple(self._connections)):
            if connection.behaviour is Behaviour.IDLE or (number + tick) % TICKS_PER_SECOND:
                continue
            try:
                connection.socket.send(b"x")
            except OSError:
                self._remove(connection)

    def _remove(self, connection: Connection) -> None:
        lasted = time.monotonic() - connection.opened
        self.counts.closed[connection.behaviour] += 1
        self.counts.longest[connection.behaviour] = max(lasted, self.counts.longest.get(connection.behaviour, 0.0))
        self._selector.unregister(connection.socket)
        connection.socket.close()
        self._connections.discard(connection)

    def oldest(self, behaviour: Behaviour) -> float:
        """The age, in seconds, of the oldest open connection with this behaviour."""
        opened = [connection.opened for connection in tuple(self._connections) if connection.behaviour is behaviour]
        return time.monotonic() - min(opened, default=time.monotonic())

"""Slow readers: the service must serve one that reads steadily, and disconnect one that hardly reads."""

from __future__ import annotations

import socket
import threading
import time

from lib.attack import http1
from lib.attack.connections import SMALL_BUFFER
from lib.attack.crowd import Plan
from lib.attack.kernel import held_by
from lib.attack.scene import Attack, Form, Scene, until

STEADY_SOURCE = "10.50.0.1"
# 256 kbit/s.
STEADY_BYTES_PER_SECOND = 32_000
STEADY_TICK_SECONDS = 0.05
TRICKLES = {
    # A page that does not fit into the kernel's buffers, and one that does.
    "large": ("10.51.0.1", "/discover?limit=1000"),
    "small": ("10.52.0.1", "/discover?limit=20"),
}
TRICKLE_BYTES, TRICKLE_SECONDS = 10, 0.5


class SlowReaders(Attack):
    name = "slow-readers"
    title = "one client reads a page at 256 kbit/s; two others read 10 bytes each half second"

    def __init__(self, short: bool) -> None:
        # The page is so large that the steady reader takes more than twice the write timeout for it.
        self._write_timeout, peers = (3, 250) if short else (15, 1_000)
        self._page = f"/discover?limit={peers}"
        self.options = ("--write-timeout", str(self._write_timeout))

    def plans(self, form: Form) -> list[Plan]:
        return []

    def prepare(self, scene: Scene) -> None:
        self._ended = threading.Event()
        # Whether this process was paused for so long that the steady reader did not read steadily.
        self._was_paused = False
        self._received = b""
        self._steady = threading.Thread(target=self._read_steadily, args=(scene.port,), daemon=True)
        self._steady.start()
        for source, path in TRICKLES.values():
            reader = request(scene.port, source, path)
            threading.Thread(target=self._trickle, args=(reader,), daemon=True).start()

    def _read_steadily(self, port: int) -> None:
        with request(port, STEADY_SOURCE, self._page) as opened:
            opened.settimeout(30)
            due = read = time.monotonic()
            while http1.response_length(self._received) is None:
                due += STEADY_TICK_SECONDS
                time.sleep(max(0.0, due - time.monotonic()))
                self._was_paused |= time.monotonic() - read > self._write_timeout / 2
                try:
                    chunk = opened.recv(int(STEADY_BYTES_PER_SECOND * STEADY_TICK_SECONDS))
                except OSError:
                    return
                if not chunk:
                    return
                self._received += chunk
                read = time.monotonic()

    def _trickle(self, opened: socket.socket) -> None:
        with opened:
            while not self._ended.wait(TRICKLE_SECONDS):
                try:
                    opened.recv(TRICKLE_BYTES)
                except OSError:
                    return

    def observe(self, scene: Scene) -> None:
        self._steady.join()
        complete = http1.response_length(self._received) is not None
        scene.expect(complete or self._was_paused, f"the steady reader was cut after {len(self._received):,} bytes")
        scene.notes.append(f"steady reader: {len(self._received):,} bytes, {'all' if complete else 'cut'}")
        for size, (source, _) in TRICKLES.items():
            self._await_cut(scene, size, source)
        self._ended.set()

    def _await_cut(self, scene: Scene, size: str, source: str) -> None:
        # The service has normally disconnected this reader by now, because the steady reader took
        # more than two write timeouts.
        cut = until(60.0, lambda: held_by(scene.port, (source,)) == 0)
        scene.expect(cut, f"a reader of 20 bytes a second of a {size} page is still connected")
        scene.notes.append(f"trickling reader of a {size} page: {'cut' if cut else 'still connected'}")


def request(port: int, source: str, path: str) -> socket.socket:
    opened = socket.socket()
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER)
    opened.bind((source, 0))
    opened.connect(("127.0.0.1", port))
    opened.sendall(http1.get(path))
    return opened

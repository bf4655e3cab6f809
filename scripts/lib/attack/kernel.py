"""Measurements from the kernel of memory, connections and processors."""

from __future__ import annotations

import os
import re
import socket
import threading
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from lib.service import Service

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
SAMPLE_SECONDS = 0.1
# States of /proc/net/tcp in which a process holds a connection.
ESTABLISHED, CLOSE_WAIT = "01", "08"
IDLE, IOWAIT = 3, 4


def tcp_memory() -> int:
    """Bytes in the buffers of all TCP sockets of the machine."""
    found = re.search(r"^TCP:.* mem (\d+)", Path("/proc/net/sockstat").read_text(), re.MULTILINE)
    assert found
    return int(found[1]) * PAGE_BYTES


def connections_held(port: int) -> Counter[str]:
    """The connections that the process behind a port of loopback holds open, by client address."""
    held: Counter[str] = Counter()
    local = f"0100007F:{port:04X}"
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        # A connection without an inode belongs to no process: it is closed, or not accepted yet.
        if fields[1] == local and fields[3] in (ESTABLISHED, CLOSE_WAIT) and fields[9] != "0":
            held[socket.inet_ntoa(bytes.fromhex(fields[2][:8])[::-1])] += 1
    return held


def held_by(port: int, sources: tuple[str, ...]) -> int:
    held = connections_held(port)
    return sum(held[source] for source in set(sources))


def written_bytes(service: Service) -> int:
    """Bytes that the process has written to storage."""
    found = re.search(r"^write_bytes: (\d+)", Path(f"/proc/{service.pid}/io").read_text(), re.MULTILINE)
    assert found
    return int(found[1])


@dataclass(frozen=True)
class Usage:
    """The largest growth of memory since the monitor's start, in bytes, and the mean load since then."""

    process_bytes: int
    tcp_bytes: int
    # The load of all processors together, 0 to 1.
    busy: float
    # The service's load, as a ratio of one processor.
    service_cpu: float
    written_per_second: float


class Monitor:
    """Samples the memory while an attack runs."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._process_before = service.resident_bytes()
        self._tcp_before = tcp_memory()
        self._process_most = self._process_before
        self._tcp_most = self._tcp_before
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()
        self._restart_load()

    def _restart_load(self) -> None:
        self._started = time.monotonic()
        self._cpu = processor_times()
        self._service_cpu = self._service.cpu_seconds()
        self._written = written_bytes(self._service)

    def _sample(self) -> None:
        while not self._stopping.wait(SAMPLE_SECONDS):
            self._process_most = max(self._process_most, self._service.resident_bytes())
            self._tcp_most = max(self._tcp_most, tcp_memory())

    def end(self) -> Usage:
        self._stopping.set()
        self._thread.join()
        seconds = time.monotonic() - self._started
        total, idle = (now - before for now, before in zip(processor_times(), self._cpu, strict=True))
        return Usage(
            self._process_most - self._process_before,
            self._tcp_most - self._tcp_before,
            1 - idle / max(total, 1),
            (self._service.cpu_seconds() - self._service_cpu) / seconds,
            (written_bytes(self._service) - self._written) / seconds,
        )


def processor_times() -> tuple[int, int]:
    """The ticks of all processors so far: the total, and the idle ones."""
    ticks = [int(value) for value in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    return sum(ticks), ticks[IDLE] + ticks[IOWAIT]

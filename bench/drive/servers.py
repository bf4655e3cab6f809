"""The servers to measure: the service with registered peers, the baseline, and Redis."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from lib.api import Api
from lib.service import Service, wait_until

from drive import TARGET

LEASE_SECONDS = 3600
# The type of a Linux clock that counts the processor time of a process.
CPUCLOCK_SCHED = 2
TOOL = TARGET / "release" / "aurora-bench"


class Measured(Protocol):
    """A server under load: its address, and its processor time."""

    @property
    def address(self) -> str: ...
    def cpu_seconds(self) -> float: ...


class Process:
    """A helper server on loopback, killed at the end of its `with` block."""

    def __init__(self, port: int, process: subprocess.Popen[str]) -> None:
        self.port = port
        self.process = process

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def cpu_seconds(self) -> float:
        return cpu_seconds(self.process.pid)


def cpu_seconds(pid: int) -> float:
    """The processor time of all threads of a process."""
    # Computes the Linux clock id for the processor time of another process. The times in /proc have a
    # resolution of hundredths of a second, which is too coarse for a few hundred requests.
    return time.clock_gettime((~pid << 3) | CPUCLOCK_SCHED)


@contextmanager
def scratch() -> Iterator[Path]:
    """A temporary directory on the disk that is measured. The system's temporary directory is not
    suitable, because it may be in memory."""
    parent = TARGET / "bench"
    parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=parent) as folder:
        yield Path(folder)


@contextmanager
def filled(peers: int, *options: str) -> Iterator[Service]:
    """The service on disk with `peers` peers, like those of legacy clients. Their leases outlast the
    run."""
    with scratch() as folder, Service(*options, data=folder / "data") as service:
        fill(service, peers)
        yield service


def fill(service: Service, peers: int, first: int = 0) -> None:
    if peers:
        tool(
            "fill",
            f"--target={service.address}",
            f"--first={first}",
            f"--count={peers}",
            f"--ttl-seconds={LEASE_SECONDS}",
        )


@contextmanager
def baseline(service: Service, member: str, discover: str) -> Iterator[Process]:
    """The baseline: a server that sends constant responses, as long as the service's responses to these
    two requests."""
    api = Api(service.address)
    heartbeat_bytes, headers = length_and_headers(api, "POST", "/heartbeat", {"peer_id": member})
    discover_bytes, discover_headers = length_and_headers(api, "GET", discover, None)
    sizes = [
        f"--heartbeat-bytes={heartbeat_bytes}",
        f"--discover-bytes={discover_bytes}",
        f"--request-id-bytes={len(headers['x-request-id'])}",
    ]
    process = subprocess.Popen([str(TOOL), "bare", *sizes], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout
        line = process.stdout.readline()
        found = re.search(r":(\d+)$", line.strip())
        assert found, line
        server = Process(int(found[1]), process)
        expect_same(server, "POST", "/heartbeat", headers)
        expect_same(server, "GET", "/discover", discover_headers)
        yield server
    finally:
        process.kill()
        process.wait()


def expect_same(baseline: Process, method: str, path: str, expected: dict[str, str]) -> None:
    """Checks that the baseline sends the same headers as the service, of the same length. Otherwise
    the comparison would be unfair."""
    _, headers = length_and_headers(Api(baseline.address), method, path, None)
    if {name: len(value) for name, value in headers.items()} != {name: len(value) for name, value in expected.items()}:
        raise SystemExit(f"{path}: the baseline's headers are {headers}, the service's {expected}")


def length_and_headers(api: Api, method: str, path: str, body: object) -> tuple[int, dict[str, str]]:
    status, headers, content = api.exchange(method, path, body)
    if status != 200:
        raise SystemExit(f"{method} {path} returned {status}: {content[:200]!r}")
    return len(content), {name.lower(): value for name, value in headers.items()}


@contextmanager
def redis() -> Iterator[Process]:
    """Redis with the durability of a registration: every write is synced before the response."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with scratch() as folder:
        durable = ["--appendonly", "yes", "--appendfsync", "always", "--save", ""]
        location = ["--bind", "127.0.0.1", "--port", str(port), "--dir", str(folder)]
        process = subprocess.Popen(["redis-server", *durable, *location], stdout=subprocess.DEVNULL, text=True)
        try:
            wait_until("redis listens", lambda: is_listening(port), 10)
            yield Process(port, process)
        finally:
            process.kill()
            process.wait()


def is_listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def tool(*arguments: str) -> Any:
    """Runs one of the load tools, and returns the JSON that it prints."""
    run = subprocess.run([str(TOOL), *arguments], check=True, capture_output=True, text=True)
    return json.loads(run.stdout)


def write_ids(path: Path, count: int) -> None:
    with path.open("w") as file:
        subprocess.run([str(TOOL), "ids", f"--count={count}"], check=True, stdout=file)

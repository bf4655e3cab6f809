"""Measures systems with the same operations, one at a time."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from drive.process import NotAvailable, System
from drive.servers import TOOL
from drive.systems import NOT_DRIVEN

CONNECTIONS = 32
# The rates of the open loop, in requests per second, which even the slowest system can serve.
RENEWALS, GETS, JOINS = 800, 150, 50
OPEN_LOOP_SECONDS = 2
# The number of connections on which peers join while a system is killed.
JOINING = 8
KILL_AFTER_SECONDS = (0.7, 1.3)


@dataclass
class Load:
    """A closed loop of one duty."""

    per_second: float
    cpu_us: float
    bytes: float


@dataclass
class Result:
    """What was measured of one system."""

    name: str
    version: str
    keeps: str
    peers: int = 0
    # The number of peers in a response to a get, and the bytes of that response.
    page: dict[str, int] = field(default_factory=dict)
    bytes_per_peer: float = 0
    loads: dict[str, list[Load]] = field(default_factory=dict)
    # The 99th percentile in the open loop, in microseconds.
    renew_p99_us: list[float] = field(default_factory=list)
    get_p99_us: list[float] = field(default_factory=list)
    back_seconds: float | None = None
    joined: int = 0
    lost: int | None = None


class Comparison:
    """The systems to compare. All of them run, but each is paused while another one is measured."""

    def __init__(self) -> None:
        self.running: list[System] = []
        self.results: list[Result] = []
        self.reasons: dict[str, str] = dict(NOT_DRIVEN)

    def start(self, kind: type[System], folder: Path, peers: int) -> None:
        """Starts a system, and lets its peers join."""
        folder.mkdir()
        # One of the systems runs as another user, who must be able to enter the directory.
        folder.chmod(0o755)
        started = time.monotonic()
        try:
            system = kind(folder)
        except NotAvailable as reason:
            self.reasons[kind.name] = str(reason)
            return report(f"{kind.name}: {reason}")
        self.running.append(system)
        try:
            system.start()
            empty = system.resident_bytes()
            result = Result(kind.name, system.version(), kind.keeps)
            if system.has_state:
                result.peers = system.fill(peers)
                result.bytes_per_peer = (system.resident_bytes() - empty) / result.peers
            result.page = system.ready()
        except (OSError, RuntimeError, subprocess.CalledProcessError) as error:
            self.running.remove(system)
            system.kill()
            text = str(error).strip().splitlines()
            self.reasons[kind.name] = text[0] if text else type(error).__name__
            return report(f"{kind.name}: {error}")
        system.pause()
        self.results.append(result)
        seconds = time.monotonic() - started
        return report(f"{kind.name}: {result.peers} peers after {seconds:.1f} s, a page has {result.page}")

    def rounds(self, count: int, seconds: float) -> None:
        """Measures all systems in turn. Each round starts with a different system."""
        pairs = list(zip(self.running, self.results, strict=True))
        for number in range(count):
            report(f"round {number + 1} of {count}")
            shift = number * len(pairs) // count
            for system, result in pairs[shift:] + pairs[:shift]:
                system.resume()
                for duty in system.duties:
                    result.loads.setdefault(duty, []).append(closed_loop(system, result.peers, duty, seconds))
                open_loop(system, result)
                system.pause()

    def kill_all(self) -> None:
        """Kills each system while peers join, and starts it again."""
        for system, result in zip(self.running, self.results, strict=True):
            system.resume()
            if system.has_state:
                crash(system, result)
                report(f"{system.name}: back after {result.back_seconds:.2f} s, {result.lost} of {result.joined} lost")
            system.kill()

    def stop(self) -> None:
        for system in self.running:
            system.kill()

    def raw(self) -> dict[str, Any]:
        return {"results": [asdict(result) for result in self.results], "not_started": self.reasons}


def parsed(raw: dict[str, Any]) -> list[Result]:
    """The results of a run, from what `Comparison.raw` returned."""
    results = []
    for fields in raw["results"]:
        loads = {duty: [Load(**load) for load in loads] for duty, loads in fields["loads"].items()}
        results.append(Result(**{**fields, "loads": loads}))
    return results


def closed_loop(system: System, peers: int, duty: str, seconds: float) -> Load:
    before = system.cpu_seconds()
    new = [f"--first={system.next_peer}", f"--count={system.most_joins}"] if duty == "join" else []
    size = [f"--peers={max(peers, 1)}", f"--connections={CONNECTIONS}", f"--seconds={seconds}"]
    seen = system.tool("drive", f"--duty={duty}", *size, *new)
    cpu = system.cpu_seconds() - before
    if seen["failed"]:
        raise SystemExit(f"{system.name}: {seen['failed']} of {seen['sent']} {duty} requests failed")
    if duty == "join":
        system.next_peer += seen["sent"]
    return Load(seen["per_second"], cpu * 1e6 / seen["sent"], seen["bytes"])


def open_loop(system: System, result: Result) -> None:
    """Renewals at a fixed rate, while other peers join and get peers. PeerJS only renews, because
    its connections for renewals can neither join nor get peers."""
    mixed = [f"--discovers={GETS}", f"--registers={JOINS}", f"--first-new={system.next_peer}"]
    load = [f"--heartbeats={RENEWALS}", *(mixed if system.protocol != "peerjs" else [])]
    size = [f"--peers={max(result.peers, 1)}", f"--connections={CONNECTIONS}", f"--seconds={OPEN_LOOP_SECONDS}"]
    seen = system.tool("openloop", *load, *size)
    failed = sum(kind["failed"] + kind["refused"] for kind in seen.values() if isinstance(kind, dict))
    if failed or seen["unanswered"]:
        raise SystemExit(f"{system.name}: {failed} requests failed, {seen['unanswered']} got no response")
    system.next_peer += seen["register"]["sent"]
    result.renew_p99_us.append(seen["heartbeat"]["p99_us"])
    if seen["discover"]["sent"]:
        result.get_p99_us.append(seen["discover"]["p99_us"])


def crash(system: System, result: Result) -> None:
    """Kills a system while peers join, starts it again, and counts the peers whose join was
    acknowledged, but that the system no longer knows."""
    joined = system.folder / "joined"
    load = [f"--first={system.next_peer}", f"--count={system.most_joins}", f"--connections={JOINING}", "--seconds=10"]
    command = [str(TOOL), "drive", *system.target(), "--duty=join", *load, f"--joined={joined}"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    time.sleep(random.uniform(*KILL_AFTER_SECONDS))
    system.kill()
    killed = time.monotonic()
    process.wait()
    system.start()
    result.back_seconds = time.monotonic() - killed
    seen = json.loads(subprocess.check_output([str(TOOL), "known", *system.target(), str(joined)], text=True))
    result.joined = seen["joined"]
    result.lost = seen["joined"] - seen["known"]


def report(line: str) -> None:
    print(line, file=sys.stderr)

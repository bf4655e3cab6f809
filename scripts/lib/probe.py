"""What well-behaved peers experience: heartbeats at a fixed rate, each peer's from a process of its own."""

from __future__ import annotations

import math
import multiprocessing
import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from lib.api import Api

RATE = 200
WINDOW_SECONDS = 3.0


@dataclass(frozen=True)
class Window:
    p50: float
    p99: float
    failed: int


@dataclass(frozen=True)
class Experience:
    """Seconds of latency: the median over windows of what each window saw."""

    p50: float
    p99: float
    failed: int


def experiences(addresses: Sequence[str], peer_id: str, windows: int) -> list[Experience]:
    """Sends heartbeats of `peer_id` to all of these services at the same time, for `windows` windows, so that whatever
    else this machine does meets them alike. Latency counts from when a heartbeat was due.
    """
    with multiprocessing.get_context("spawn").Pool(len(addresses)) as processes:
        watching = [(address, peer_id, windows) for address in addresses]
        # One at a time for each process, or one of them could get two.
        return [summary(seen) for seen in processes.starmap(watch, watching, chunksize=1)]


def summary(windows: list[Window]) -> Experience:
    return Experience(
        median(window.p50 for window in windows),
        median(window.p99 for window in windows),
        sum(window.failed for window in windows),
    )


def watch(address: str, peer_id: str, windows: int) -> list[Window]:
    api = Api(address)
    api.heartbeat(peer_id)
    return [watch_window(api, peer_id) for _ in range(windows)]


def watch_window(api: Api, peer_id: str) -> Window:
    latencies: list[float] = []
    failed = 0
    started = time.perf_counter()
    for number in range(int(RATE * WINDOW_SECONDS)):
        due = started + number / RATE
        time.sleep(max(0.0, due - time.perf_counter()))
        failed += api.heartbeat(peer_id).status != 200
        latencies.append(time.perf_counter() - due)
    latencies.sort()
    return Window(rank(latencies, 0.5), rank(latencies, 0.99), failed)


def rank(ordered: list[float], share: float) -> float:
    return ordered[max(0, math.ceil(len(ordered) * share) - 1)]

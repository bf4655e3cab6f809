"""Measures the latency of a well-behaved peer, which sends heartbeats at a fixed rate from a separate process."""

from __future__ import annotations

import math
import multiprocessing
import time
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
class Latencies:
    """Latencies in seconds. Each is the median, over all windows, of the value within a window. `failed` is
    the total of all windows."""

    p50: float
    p99: float
    failed: int


def measure_heartbeats(address: str, peer_id: str, windows: int) -> Latencies:
    """Sends heartbeats of `peer_id` for `windows` windows. Latency is measured from the time when a
    heartbeat was due."""
    with multiprocessing.get_context("spawn").Pool(1) as process:
        measured = process.starmap(send_heartbeats, [(address, peer_id, windows)])[0]
    return Latencies(
        median(window.p50 for window in measured),
        median(window.p99 for window in measured),
        sum(window.failed for window in measured),
    )


def send_heartbeats(address: str, peer_id: str, windows: int) -> list[Window]:
    api = Api(address)
    api.heartbeat(peer_id)
    return [measure_window(api, peer_id) for _ in range(windows)]


def measure_window(api: Api, peer_id: str) -> Window:
    latencies: list[float] = []
    failed = 0
    started = time.perf_counter()
    for number in range(int(RATE * WINDOW_SECONDS)):
        due = started + number / RATE
        time.sleep(max(0.0, due - time.perf_counter()))
        failed += api.heartbeat(peer_id).status != 200
        latencies.append(time.perf_counter() - due)
    latencies.sort()
    return Window(quantile(latencies, 0.5), quantile(latencies, 0.99), failed)


def quantile(ordered: list[float], share: float) -> float:
    return ordered[max(0, math.ceil(len(ordered) * share) - 1)]

"""Closed-loop load: wrk for HTTP, redis-benchmark for Redis."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

from drive.servers import Measured, Process

SCRIPTS = Path(__file__).resolve().parents[1] / "wrk"
WRK = ["wrk", "-t1", "--timeout", "10s", "-s"]
REDIS_BYTES = 250


@dataclass(frozen=True)
class Run:
    """The results of one run: responses per second, the server's processor time per response in
    microseconds, latencies, and the number of failed requests."""

    per_second: float
    cpu_us: float
    p50_us: float
    p99_us: float
    failed: int


def run(server: Measured, script: str, connections: int, seconds: int, *arguments: object) -> Run:
    """One run of wrk with one thread and keep-alive connections."""
    load = [*WRK, f"{script}.lua"]
    size = [f"-c{connections}", f"-d{seconds}s"]
    before = server.cpu_seconds()
    out = subprocess.run(
        [*load, *size, f"http://{server.address}", "--", *map(str, arguments)],
        cwd=SCRIPTS,  # where the scripts find report.lua
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    cpu = server.cpu_seconds() - before
    seen = json.loads(out.strip().splitlines()[-1])
    requests = seen["requests"]
    return Run(
        requests / seen["seconds"],
        cpu * 1e6 / max(requests, 1),
        seen["p50_us"],
        seen["p99_us"],
        seen["failed"],
    )


def redis_sets(server: Process, connections: int, seconds: float) -> Run:
    """Durable SETs of 250 B to random keys for about `seconds`, with Redis's own tool."""
    # redis-benchmark takes a number of requests, not a duration. A short run estimates the rate.
    guess = redis_benchmark(server, connections, 10_000)
    return redis_benchmark(server, connections, max(10_000, int(guess.per_second * seconds)))


def redis_benchmark(server: Process, connections: int, requests: int) -> Run:
    where = ["redis-benchmark", "-p", str(server.port), "-c", str(connections), "-n", str(requests)]
    what = ["-t", "set", "-d", str(REDIS_BYTES), "-r", "1000000", "--csv"]
    before = server.cpu_seconds()
    out = subprocess.run([*where, *what], check=True, capture_output=True, text=True).stdout
    cpu = server.cpu_seconds() - before
    header, values = (line.split(",") for line in out.strip().splitlines()[-2:])
    seen = dict(zip((name.strip('"') for name in header), (value.strip('"') for value in values), strict=True))
    p50_us, p99_us = (float(seen[f"{name}_latency_ms"]) * 1e3 for name in ("p50", "p99"))
    return Run(float(seen["rps"]), cpu * 1e6 / requests, p50_us, p99_us, 0)

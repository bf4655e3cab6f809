"""The tables of the comparison."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from statistics import median

from lib.document import machine

from drive.comparison import GETS, JOINS, RENEWALS, Load, Result
from drive.result import median_ratio

DUTIES = {"join": "join", "renew": "renew", "get": "get 50", "both": "renew and get 50 in one request"}
NONE = "–"
Figure = Callable[[Load], float]


def tables(results: list[Result], ours: str, reasons: dict[str, str], million: dict[str, float]) -> str:
    """The tables in Markdown. `million` has the bytes per peer of runs with a million peers, by name."""
    base = next(result for result in results if result.name == ours)
    rate = f"{RENEWALS + GETS + JOINS:,}"
    parts = [
        f"{datetime.now(UTC):%Y-%m-%d}, {machine()}, {rounds(base)} rounds",
        versions(results),
        "Requests per second with 32 connections, and in brackets the ratio to the first row:",
        by_duty(results, base, lambda load: load.per_second, thousands),
        "Processor time of the server for one request, in microseconds, with the same ratio:",
        by_duty(results, base, lambda load: load.cpu_us, lambda value: f"{value:.1f}"),
        "Bytes on the wire for one request and its response, counted in the client's socket:",
        by_duty(results, base, lambda load: load.bytes, lambda value: f"{value:,.0f}", ratio=False),
        f"Latency at {rate} requests per second (open loop), memory, and what `kill -9` costs:",
        rest(results, million),
    ]
    if reasons:
        parts.append("Not compared: " + "; ".join(f"{name} ({reason})" for name, reason in reasons.items()) + ".")
    return "\n\n".join(parts)


def rounds(base: Result) -> int:
    return len(base.renew_p99_us)


def versions(results: list[Result]) -> str:
    rows = [
        [result.name, result.version, result.keeps, f"{result.peers:,}" if result.peers else NONE, page(result)]
        for result in results
    ]
    return table(["system", "version", "keeps its peers", "peers", "peers in a page"], rows)


def page(result: Result) -> str:
    return f"{result.page['peers']:,}" if result.peers else NONE


def by_duty(
    results: list[Result], base: Result, figure: Figure, show: Callable[[float], str], ratio: bool = True
) -> str:
    def cell(result: Result, duty: str) -> str:
        loads = result.loads.get(duty)
        if not loads:
            return NONE
        values = [figure(load) for load in loads]
        shown = show(median(values))
        if not ratio or result is base:
            return shown
        return f"{shown} ({median_ratio(values, [figure(load) for load in base.loads[duty]]):.2f})"

    rows = [[result.name, *(cell(result, duty) for duty in DUTIES)] for result in results]
    return table(["system", *DUTIES.values()], rows)


def rest(results: list[Result], million: dict[str, float]) -> str:
    def row(result: Result) -> list[str]:
        known = result.lost is not None and result.joined > 0
        return [
            result.name,
            milliseconds(result.renew_p99_us),
            milliseconds(result.get_p99_us),
            f"{result.bytes_per_peer:,.0f} B" if result.peers else NONE,
            f"{million[result.name]:,.0f} B" if result.name in million else NONE,
            f"{result.back_seconds:.2f} s" if result.back_seconds is not None else NONE,
            f"{result.lost:,} of {result.joined:,}" if known else NONE,
        ]

    head = ["system", "p99 of a renewal", "p99 of a get", "memory of a peer", "at a million peers"]
    return table([*head, "back after", "acknowledged joins lost"], [row(result) for result in results])


def milliseconds(values: list[float]) -> str:
    return f"{median(values) / 1e3:.1f} ms" if values else NONE


def thousands(value: float) -> str:
    return f"{value / 1e3:.1f}k" if value >= 1e3 else f"{value:.0f}"


def table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)

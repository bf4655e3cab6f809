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
# By the name of the system and the duty.
Ratios = dict[tuple[str, str], float]


# The largest difference between the ratios of two runs that counts as agreement.
AGREEMENT = 0.15


def tables(
    results: list[Result],
    bases: dict[str, str],
    reasons: dict[str, str],
    million: dict[str, float],
    earlier: list[Result] | None,
) -> str:
    """The tables in Markdown. `bases` has the name of the system that each system is compared with.
    `million` has the bytes per peer of runs with a million peers, by name. `earlier` has the results of
    an earlier run, whose ratios are compared with those of this run."""
    rate = f"{RENEWALS + GETS + JOINS:,}"
    parts = [
        f"{datetime.now(UTC):%Y-%m-%d}, {machine()}, {rounds(results)} rounds",
        versions(results),
        "Requests per second with 32 connections. In brackets is the ratio to the service with the embedded"
        " store, or to the service in memory for systems that keep nothing on disk:",
        by_duty(results, ratios(results, bases, per_second), per_second, thousands),
        "Processor time of the server for one request, in microseconds, with the same ratio:",
        by_duty(results, ratios(results, bases, cpu_us), cpu_us, lambda value: f"{value:.1f}"),
        "Bytes on the wire for one request and its response, counted in the client's socket:",
        by_duty(results, {}, lambda load: load.bytes, lambda value: f"{value:,.0f}"),
        f"Latency at {rate} requests per second (open loop), memory, and what `kill -9` costs:",
        rest(results, million),
    ]
    if earlier:
        parts.append(agreement(results, earlier, bases))
    if reasons:
        parts.append("Not compared: " + "; ".join(f"{name} ({reason})" for name, reason in reasons.items()) + ".")
    return "\n\n".join(parts)


def rounds(results: list[Result]) -> int:
    return len(results[0].renew_p99_us)


def per_second(load: Load) -> float:
    return load.per_second


def cpu_us(load: Load) -> float:
    return load.cpu_us


def ratios(results: list[Result], bases: dict[str, str], figure: Figure) -> Ratios:
    """For each system and duty, the median of the ratios to the base of the system, round by round."""
    found: Ratios = {}
    by_name = {result.name: result for result in results}
    for result in results:
        base = by_name.get(bases.get(result.name, ""))
        if base is None:
            continue
        for duty, loads in result.loads.items():
            under = [figure(load) for load in base.loads[duty]]
            found[result.name, duty] = median_ratio([figure(load) for load in loads], under)
    return found


def agreement(results: list[Result], earlier: list[Result], bases: dict[str, str]) -> str:
    """How far the ratios of two runs agree, in a sentence."""

    def compared(figure: Figure) -> str:
        now, before = ratios(results, bases, figure), ratios(earlier, bases, figure)
        changes = {key: abs(now[key] / before[key] - 1) for key in now if key in before}
        name, duty = max(changes, key=lambda key: changes[key])
        close = sum(change <= AGREEMENT for change in changes.values())
        return f"{close} of {len(changes)} (the largest difference is {changes[name, duty]:.0%}: {name}, {duty})"

    return (
        f"Between this run and an earlier one, ratios that differ by at most {AGREEMENT:.0%}: of processor"
        f" time {compared(cpu_us)}; of requests per second {compared(per_second)}."
    )


def versions(results: list[Result]) -> str:
    rows = [
        [result.name, result.version, result.keeps, f"{result.peers:,}" if result.peers else NONE, page(result)]
        for result in results
    ]
    return table(["system", "version", "keeps its peers", "peers", "peers in a page"], rows)


def page(result: Result) -> str:
    return f"{result.page['peers']:,}" if result.peers else NONE


def by_duty(results: list[Result], ratios: Ratios, figure: Figure, show: Callable[[float], str]) -> str:
    def cell(result: Result, duty: str) -> str:
        loads = result.loads.get(duty)
        if not loads:
            return NONE
        shown = show(median(figure(load) for load in loads))
        ratio = ratios.get((result.name, duty))
        return shown if ratio is None else f"{shown} ({ratio:.2f})"

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

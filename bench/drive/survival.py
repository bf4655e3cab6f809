"""Kills one of two services that share a Valkey server, while clients that know the URLs of both keep
peers registered."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from datetime import UTC, datetime
from typing import Any

from lib.api import Api
from lib.document import machine, set_into_document
from lib.service import Service
from lib.valkey import standalone, wait_for

from drive import ROOT, chart
from drive.result import RESULTS
from drive.servers import TOOL, scratch

DOCUMENT = ROOT / "docs" / "isolation.md"
PICTURE = ROOT / "docs" / "pictures" / "survival.svg"
PEERS, CLIENTS = 10_000, 500
LEASE = 60
# When the service is killed and started again, and when the run ends, in seconds.
KILL, RESTART, END = 30, 30 + 2 * LEASE, 30 + 3 * LEASE
# The number of peers in the short form.
SHORT_PEERS = 500
# The counts that the tool prints.
REGISTERED, RENEWED, LOST, FAILED, REFUSED = range(5)


def run(short: bool) -> None:
    """Runs the benchmark and prints the figures. If the run is not short, also writes the figures and
    the picture into the documentation."""
    peers = SHORT_PEERS if short else PEERS
    seen = measure(peers)
    rows = table(seen)
    print(rows)
    if short:
        return
    set_into_document("survival", rows, DOCUMENT)
    PICTURE.write_text(picture(seen))
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "survival.json").write_text(json.dumps({"machine": machine(), **seen}, indent=None) + "\n")


def measure(peers: int) -> dict[str, Any]:
    """One run. Returns, for each second, the counts of the clients and the number of peers that the
    surviving service lists."""
    with scratch() as folder, standalone(folder / "valkey") as valkey:
        store = ["--store", "valkey", "--valkey-url", valkey.url, "--max-peers", "1000000"]
        with Service(*store) as survivor, Service(*store) as victim:
            services = [victim, survivor]
            arguments = [f"--peers={peers}", f"--clients={CLIENTS}", f"--ttl-seconds={LEASE}", f"--seconds={END}"]
            arguments += [f"--endpoint={service.url}" for service in services]
            tool = subprocess.Popen([str(TOOL), "keepers", *arguments], stdout=subprocess.PIPE, text=True)
            try:
                assert tool.stdout
                if tool.stdout.readline().strip() != "ready":
                    raise SystemExit("the peers could not be registered")
                began = time.monotonic()
                wait_for("both list all peers", lambda: all(len(listed(service)) == peers for service in services))
                live = observe(began, survivor, victim, store)
                out, _ = tool.communicate(timeout=60)
            finally:
                tool.kill()
                tool.wait()
    seen: dict[str, Any] = json.loads(out)
    return {**seen, "live": live}


def observe(began: float, survivor: Service, victim: Service, store: list[str]) -> list[tuple[float, int]]:
    """Kills the victim and starts it again. Returns how many peers the survivor listed, each second."""
    live = []
    is_killed = False
    restarted = None
    try:
        while (second := time.monotonic() - began) < END:
            if second >= KILL and not is_killed:
                print("killed one service", file=sys.stderr)
                victim.kill()
                is_killed = True
            if second >= RESTART and restarted is None:
                restarted = Service(*store, port=victim.port)
            live.append((round(second, 2), len(listed(survivor))))
            time.sleep(max(0.0, began + len(live) - time.monotonic()))
    finally:
        if restarted is not None:
            restarted.kill()
    return live


def listed(service: Service) -> set[str]:
    """The ids of all peers that a service lists."""
    api = Api(service.address)
    try:
        return {peer["peer_id"] for peer in api.all_peers()}
    finally:
        api.close()


def table(seen: dict[str, Any]) -> str:
    """The figures of the run."""
    seconds = seen["seconds"]
    fewest = min(count for _, count in seen["live"])
    counts = seconds[-1]["counts"]
    before, after, last = (seconds[at]["clients"] for at in (KILL - 2, RESTART - 2, -1))
    pairs = "; ".join(" and ".join(map(str, pair)) for pair in (before, after, last))
    rows = {
        f"fewest of {seen['peers']:,} peers that the other service listed in any second": f"{fewest:,}",
        "leases that ended or were forgotten": counts[LOST],
        "registrations that were repeated, or refused": f"{counts[REGISTERED] - seen['peers']}, {counts[REFUSED]}",
        "heartbeats that were renewed": f"{counts[RENEWED]:,}",
        "heartbeats that failed at both services": counts[FAILED],
        "clients at the killed and at the other service before, while it was away, in the end": pairs,
    }
    lines = [f"| {what} | {value} |" for what, value in rows.items()]
    return "\n".join([f"{datetime.now(UTC):%Y-%m-%d}, {machine()}", "", "| what | seen |", "|---|---|", *lines])


def picture(seen: dict[str, Any]) -> str:
    """The chart of the run over time."""
    seconds, peers, clients = seen["seconds"], seen["peers"], seen["clients"]

    def rate(kind: int) -> list[tuple[float, float]]:
        counts = [second["counts"][kind] for second in seconds]
        return [(at + 1, float(counts[at] - counts[at - 1])) for at in range(1, len(counts))]

    def at_service(number: int) -> list[tuple[float, float]]:
        return [(at + 1, float(second["clients"][number])) for at, second in enumerate(seconds)]

    renewed = rate(RENEWED)
    top = max(value for _, value in renewed) * 1.1
    live = [(at, float(count)) for at, count in seen["live"]]
    panels = [
        chart.Panel("peers that the other service lists", {"live": live}, peers * 1.1, [0, peers / 2, peers]),
        chart.Panel(
            f"clients at each service, of {clients}",
            {"the killed service": at_service(0), "the other service": at_service(1)},
            clients * 1.05,
            [0, clients / 2, clients],
        ),
        chart.Panel(
            "heartbeats per second",
            {"renewed": renewed, "failed at both services": rate(FAILED)},
            top,
            [0, round(top / 2.2, -1), round(top / 1.1, -1)],
        ),
    ]
    title = f"{peers:,} peers with leases of {LEASE} s on two services, one Valkey server"
    return chart.draw(title, panels, 0, END, 30, {float(KILL): "killed", float(RESTART): "started again"})

"""A flood of new peers from many networks on a registry that already has its maximum number of peers."""

from __future__ import annotations

import re
import urllib.request
from dataclasses import dataclass

from lib.api import Api
from lib.attack import http1
from lib.attack.crowd import Plan
from lib.attack.honest import LEASE_SECONDS, MEMBER_SOURCES, MEMBERS_PER_SOURCE
from lib.attack.scene import FILLERS, Attack, Form, Scene, until
from lib.service import Service, wait_until

REGISTRATIONS, SHORT_REGISTRATIONS = 1_000_000, 20_000
# The time limit for all registrations of the flood: enough for a service that handles 5,000 a second.
TIMEOUT_SECONDS = 200.0
BATCH = 16
PREFIX = "flood-"
REFUSED = re.compile(r'^aurora_refusals_total\{code="registry_full"\} (\d+)', re.MULTILINE)
METRICS = re.compile(r"http://[\d.:]+/metrics")


@dataclass(frozen=True)
class Flood:
    """Makes batches of registrations. No connection repeats a name."""

    def __call__(self, number: int) -> bytes:
        first = number * BATCH
        return b"".join(http1.registration(f"{PREFIX}{name}") for name in range(first, first + BATCH))


class FullRegistry(Attack):
    name = "full-registry"
    title = "8 networks register a million newcomers in a full registry, without a limit of their rates"
    options = (
        "--max-peers",
        str(FILLERS + MEMBERS_PER_SOURCE * len(MEMBER_SOURCES)),
        "--metrics-listen",
        "127.0.0.1:0",
        "--request-rate",
        "0",
    )
    newcomers_get = 503
    # The service has no rate limit in this attack, so the flood takes all processor time that is left.
    is_limited = False
    sources = tuple(f"10.70.{network}.1" for network in range(8))

    def plans(self, form: Form) -> list[Plan]:
        return [Plan(self.sources, len(self.sources), message=Flood())]

    def observe(self, scene: Scene) -> None:
        wanted = SHORT_REGISTRATIONS if scene.form.short else REGISTRATIONS
        until(TIMEOUT_SECONDS, lambda: refused(scene.service) >= wanted)
        count = refused(scene.service)
        scene.expect(count >= wanted, f"only {count:,} registrations were refused because the registry is full")
        scene.notes.append(f"{count:,} registrations refused because the registry is full")

    def check(self, scene: Scene) -> None:
        admitted = [peer["peer_id"] for peer in Api(scene.service.address).all_peers()]
        admitted = [peer for peer in admitted if peer.startswith(PREFIX)]
        scene.expect(not admitted, f"{len(admitted):,} newcomers were admitted")
        source = MEMBER_SOURCES[0]
        again = Api(scene.service.address, source).register(
            peer_id=f"member-{source}-0", port=9000, ttl_seconds=LEASE_SECONDS
        )
        scene.expect(again.status == 200, f"a member that registers again got {again.status}")


def refused(service: Service) -> int:
    """The number of registrations that the service refused because the registry is full, by its own
    count."""
    found: list[str] = []

    def is_announced() -> bool:
        found[:] = METRICS.findall("\n".join(service.output))
        return bool(found)

    wait_until("the service prints the address of its metrics", is_announced, 60.0)
    with urllib.request.urlopen(found[0], timeout=30) as response:
        count = REFUSED.search(response.read().decode())
    return int(count[1]) if count else 0

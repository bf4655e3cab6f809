"""Runs one attack on one service, and measures its effect on honest clients."""

from __future__ import annotations

import socket
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from lib.api import Api
from lib.attack import http1
from lib.attack.crowd import Crowd, Plan
from lib.attack.honest import LEASE_SECONDS, Clients, Members, Newcomers, Population
from lib.attack.kernel import Monitor, Usage, held_by
from lib.namespace import set_packet_bytes
from lib.service import Service

# Peers that fill the registry, with metadata so large that a page of them has 1 MB.
FILLERS, FILLER_METADATA = 1_000, "x" * 900
FILLER_SOURCES = [f"10.3.0.{host}" for host in range(1, 21)]
DISCOVER = "/discover?limit=20"


@dataclass(frozen=True)
class Form:
    """How long and how large the attacks are."""

    short: bool
    # How long the load lasts, both without and with each attack.
    seconds: float


SHORT = Form(True, 2.0)
LONG = Form(False, 15.0)


@dataclass
class Scene:
    """The parts of a run that an attack uses."""

    service: Service
    form: Form
    crowds: list[Crowd] = field(default_factory=list)
    # Other measurements of the attack, for the table.
    notes: list[str] = field(default_factory=list)
    # The honest peers that the attack itself registered.
    registered: set[str] = field(default_factory=set)
    # What the service lost, or kept for too long.
    failures: list[str] = field(default_factory=list)

    @property
    def port(self) -> int:
        return self.service.port

    def expect(self, holds: bool, failure: str) -> None:
        if not holds:
            self.failures.append(failure)


class Attack:
    """An attack on the service: what the attackers do, and the conditions that must hold in
    addition to the latency of honest clients."""

    name: str
    title: str
    options: tuple[str, ...] = ()
    # The maximum packet size (MTU) of the clients' network. The default is that of Ethernet.
    packet_bytes: int = 1_500
    # The request with which newcomers discover peers.
    discover: str = DISCOVER
    # Whether rate limits apply to the attackers. If so, the latency of honest clients has to meet
    # the target.
    is_limited: bool = True
    # The status that the newcomers' registrations must get.
    newcomers_get: int = 200

    def plans(self, form: Form) -> list[Plan]:
        raise NotImplementedError

    def prepare(self, scene: Scene) -> None:
        """Runs before the attack, without load."""

    def observe(self, scene: Scene) -> None:
        """Runs at the end of the attack, while the attackers are still there."""

    def check(self, scene: Scene) -> None:
        """Runs after the attack."""


@dataclass
class Outcome:
    """The results of an attack."""

    attack: Attack
    without: float
    attacked: float
    newcomer_without: float
    newcomer_attacked: float
    usage: Usage
    connections_held: int
    peers_held: int
    # Requests of honest clients without a response or with an unexpected one.
    refused: int
    notes: list[str]
    # The refused requests by kind, and the failures that the attack itself found.
    failures: list[str]


def attacked(attack: Attack, form: Form) -> Outcome:
    """Runs an attack against a new service, kills the service, and checks that nothing acknowledged was
    lost."""
    set_packet_bytes(attack.packet_bytes)
    with tempfile.TemporaryDirectory(prefix="aurora-attack-") as folder:
        data = Path(folder) / "data"
        with Service(*attack.options, data=data) as service, honest_clients(service, attack) as clients:
            outcome, acknowledged = run(attack, Scene(service, form), clients)
            service.kill()
        with Service(*attack.options, data=data) as service:
            listed = {peer["peer_id"] for peer in Api(service.address).all_peers()}
            report_lost(acknowledged - listed, "after kill -9", outcome.failures)
    return outcome


@contextmanager
def honest_clients(service: Service, attack: Attack) -> Iterator[list[Clients]]:
    fill(service.port)
    kinds: list[Callable[[int, str], Population]] = [Members, partial(Newcomers, expected=attack.newcomers_get)]
    clients = [Clients(kind, service.port, attack.discover) for kind in kinds]
    try:
        yield clients
    finally:
        for each in clients:
            each.stop()


def run(attack: Attack, scene: Scene, clients: list[Clients]) -> tuple[Outcome, set[str]]:
    attack.prepare(scene)
    begin(clients, scene.form)
    without = end(clients)
    with ExitStack() as stack:
        plans = attack.plans(scene.form)
        # The crowds start before the measurement, because the start of a process takes a core for some time.
        scene.crowds = [stack.enter_context(Crowd(plan, scene.port)) for plan in plans]
        monitor = Monitor(scene.service)
        begin(clients, scene.form)
        for crowd in scene.crowds:
            crowd.attack()
        during = end(clients)
        usage = monitor.end()
        held = sum(held_by(scene.port, plan.sources) for plan in plans)
        attack.observe(scene)
        scene.notes += [str(crowd.stop()) for crowd in scene.crowds]
    acknowledged = {peer for each in clients for peer in each.joined}
    acknowledged |= {peer for seen in (without, during) for peer in seen.registered} | set(fillers())
    attack.check(scene)
    acknowledged |= scene.registered
    listed = {peer["peer_id"] for peer in Api(scene.service.address).all_peers()}
    report_lost(acknowledged - listed, "after the attack", scene.failures)
    outcome = Outcome(
        attack,
        without.p99,
        during.p99,
        without.newcomer_p99,
        during.newcomer_p99,
        usage,
        held,
        len(listed - acknowledged),
        len(without.failures + during.failures),
        scene.notes,
        scene.failures + refusals(without) + refusals(during),
    )
    return outcome, acknowledged


@dataclass
class Measured:
    """What members and newcomers measured in a period: the p99 of each, in seconds, and the failures."""

    p99: float
    newcomer_p99: float
    failures: list[str]
    registered: list[str]


def begin(clients: list[Clients], form: Form) -> None:
    for each in clients:
        each.begin(form.seconds)


def end(clients: list[Clients]) -> Measured:
    members, newcomers = (each.end() for each in clients)
    return Measured(
        members.p99,
        newcomers.p99,
        members.failures + newcomers.failures,
        members.registered + newcomers.registered,
    )


def refusals(measured: Measured) -> list[str]:
    """One line for each kind of failure."""
    return [f"{count} × {failure}" for failure, count in Counter(measured.failures).items()]


def report_lost(lost: set[str], when: str, failures: list[str]) -> None:
    failures += [f"{peer} was acknowledged and is not listed {when}" for peer in sorted(lost)]


def fillers() -> list[str]:
    return [f"filler-{number}" for number in range(FILLERS)]


def fill(port: int) -> None:
    """Registers the fillers, source by source."""
    names = fillers()
    for number, source in enumerate(FILLER_SOURCES):
        own = names[number :: len(FILLER_SOURCES)]
        with socket.create_connection(("127.0.0.1", port), timeout=30, source_address=(source, 0)) as opened:
            opened.sendall(
                b"".join(http1.registration(peer, FILLER_METADATA, ttl_seconds=LEASE_SECONDS) for peer in own)
            )
            await_responses(opened, len(own))


def await_responses(opened: socket.socket, count: int) -> None:
    received = b""
    while count:
        received += opened.recv(1 << 16)
        while (length := http1.response_length(received)) is not None:
            if http1.status(received) != 200:
                raise RuntimeError(f"a registration before the attack got {received[:400]!r}")
            received, count = received[length:], count - 1


def until(seconds: float, holds: object) -> bool:
    """Waits until a condition holds, for at most `seconds`. Returns whether it holds."""
    assert callable(holds)
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            return False
        time.sleep(0.1)
    return True

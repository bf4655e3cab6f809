"""Attacks on names: takeovers, replays and downgrades. Also requests that the service must refuse,
because their source or their key is blocked, or because the API key lacks a scope."""

from __future__ import annotations

import hashlib
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lib.api import Api, Response
from lib.attack.record import Key, record, rotation, sequence
from lib.service import Service, wait_until

# The neighbour has the same address as the victim, as behind a NAT.
VICTIM, NEIGHBOUR = "10.1.0.1", "10.1.0.1"
ATTACKER = "10.2.0.1"
NAME, TOKEN = "victim", "the-token-of-the-victim"
OWNER, THIEF = Key(1), Key(2)
PORT, STOLEN_PORT = 9000, 6666
# The name of a dormant peer stays locked for as long as the peer was live, which is one lease here. This
# lease is so long that all attempts are made before the lock ends, even on a busy machine.
DORMANT_LEASE_SECONDS = 20
BLOCKED_SOURCES = [f"10.2.0.{host}" for host in range(1, 51)]


@dataclass
class Finding:
    """What attackers tried, and what they achieved."""

    statuses: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    note: str = ""

    def refused(self, what: str, response: Response, *codes: str) -> None:
        """Records an attempt. It must have been refused with one of these codes."""
        code = "accepted" if response.status == 200 else response.body["code"]
        self.statuses[code] += 1
        if code not in codes:
            self.failures.append(f"{what} got {response.status} {code}")

    def expect(self, holds: bool, failure: str) -> None:
        if not holds:
            self.failures.append(failure)

    def __str__(self) -> str:
        counts = ", ".join(f"{count:,} {code}" for code, count in sorted(self.statuses.items()))
        parts = [f"{self.statuses.total():,} attempts ({counts})", self.note, f"{len(self.failures)} failures"]
        return "; ".join(part for part in parts if part)


def check(name: str) -> Finding:
    finding = Finding()
    ATTACKS[name](finding)
    return finding


def register(api: Api, **more: Any) -> Response:
    """The victim's registration."""
    return api.call("POST", "/register", {"signed": record(OWNER, NAME, TOKEN, port=PORT, **more)})


@contextmanager
def victim(*options: str, data: Path | None = None, **more: Any) -> Iterator[Service]:
    """Starts a service, and registers the victim with it."""
    with Service(*options, data=data) as service:
        registered = register(Api(service.address, VICTIM), **more)
        if registered.status != 200:
            raise RuntimeError(f"the victim got {registered.status}: {registered.body}")
        yield service


def listed(service: Service) -> dict[str, object] | None:
    peers = Api(service.address).discover(view="full").body["peers"]
    return next((peer for peer in peers if peer["peer_id"] == NAME), None)


def public_record(service: Service) -> object:
    peer = listed(service)
    if peer is None or "signed" not in peer:
        raise RuntimeError("the victim's record is not listed")
    return peer["signed"]


def take_over(service: Service, finding: Finding, source: str, token: str | None = None) -> None:
    """Tries to take the name without its key in several ways, with a stolen token if there is one."""
    api, seq = Api(service.address, source), sequence()
    mine: dict[str, Any] = {"port": STOLEN_PORT}
    proof = {} if token is None else {"lease_token": token}
    finding.refused("an unsigned registration", api.register(peer_id=NAME, **mine, **proof), "name_locked")
    token_only = api.register(peer_id=NAME, token_only=True, **mine, **proof)
    finding.refused("a token-only registration", token_only, "name_locked")
    for what, text, code in (
        ("another key", record(THIEF, NAME, "t", **mine), "name_locked"),
        ("a forged signature", record(THIEF, NAME, "t", kid=OWNER.did, **mine), "invalid_signature"),
        (
            "a rotation by the new key itself",
            record(THIEF, NAME, "t", seq=seq, replaces=rotation(THIEF, NAME, THIEF, seq), **mine),
            "name_locked",
        ),
        (
            "a forged rotation",
            record(THIEF, NAME, "t", seq=seq, replaces=rotation(THIEF, NAME, THIEF, seq, kid=OWNER.did), **mine),
            "invalid_signature",
        ),
    ):
        finding.refused(what, api.call("POST", "/register", {"signed": text, **proof}), code)
    if token is None:
        finding.refused("a heartbeat", api.heartbeat(NAME), "not_holder")
        finding.refused("a deregistration", api.deregister(NAME), "not_holder")


def expect_unchanged(service: Service, finding: Finding) -> None:
    peer = listed(service)
    finding.expect(peer is not None and peer["port"] == PORT, f"the victim is listed as {peer}")


def hijack_live(finding: Finding) -> None:
    with victim() as service:
        take_over(service, finding, ATTACKER)
        expect_unchanged(service, finding)


def hijack_behind_nat(finding: Finding) -> None:
    with victim() as service:
        take_over(service, finding, NEIGHBOUR)
        expect_unchanged(service, finding)


def hijack_dormant(finding: Finding) -> None:
    with victim("--ttl-min", "1", ttl_seconds=DORMANT_LEASE_SECONDS) as service:
        waited = wait_until("the victim is dormant", lambda: listed(service) is None, 3 * DORMANT_LEASE_SECONDS)
        finding.note = f"dormant after {waited:.0f} s"
        take_over(service, finding, ATTACKER)
        body = {"peer_id": NAME, "lease_token": TOKEN}
        revived = Api(service.address, VICTIM).call("POST", "/heartbeat", body)
        finding.expect(revived.status == 200, f"the victim's heartbeat got {revived.status}")
        expect_unchanged(service, finding)


def hijack_after_restart(finding: Finding) -> None:
    with tempfile.TemporaryDirectory(prefix="aurora-identity-") as folder:
        data = Path(folder) / "data"
        with victim(data=data) as service:
            service.kill()
        with Service(data=data) as service:
            take_over(service, finding, ATTACKER)
            expect_unchanged(service, finding)


def stolen_token(finding: Finding) -> None:
    with victim() as service:
        take_over(service, finding, ATTACKER, TOKEN)
        expect_unchanged(service, finding)


def replay_here(finding: Finding) -> None:
    with victim() as service:
        signed, api = public_record(service), Api(service.address, ATTACKER)
        finding.refused("a replay of a live peer", api.call("POST", "/register", {"signed": signed}), "stale_record")
        left = Api(service.address, VICTIM).call("POST", "/deregister", {"peer_id": NAME, "lease_token": TOKEN})
        finding.expect(left.status == 200, f"the victim's deregistration got {left.status}")
        again = api.call("POST", "/register", {"signed": signed})
        finding.refused("a replay of a deregistered peer", again, "stale_record")
        finding.expect(listed(service) is None, "the deregistered peer is listed")


def replay_after_eviction(finding: Finding) -> None:
    with keys(ops="admin") as options, victim(*options) as service:
        signed, operator = public_record(service), Api(service.address, key="ops")
        operator.call("POST", "/admin/evict", {"peer_id": NAME})
        api = Api(service.address, ATTACKER)
        # The service accepts the record, because it is recent and signed by the owner. The attacker
        # gains one lease, which only the owner can renew.
        replayed = api.call("POST", "/register", {"signed": signed})
        finding.note = f"the record alone got {replayed.status}, for one lease"
        expect_unchanged(service, finding)
        finding.refused("a heartbeat of the replayed record", api.heartbeat(NAME), "not_holder")
        block = {"key": OWNER.did, "reason": "stolen", "duration_seconds": 60}
        operator.call("POST", "/admin/block", block)
        blocked = api.call("POST", "/register", {"signed": signed})
        finding.refused("a replay of a blocked key", blocked, "blocked")


def replay_elsewhere(finding: Finding) -> None:
    with victim("--audience", "here", aud="here") as service, Service("--audience", "there") as other:
        signed = public_record(service)
        replayed = Api(other.address, ATTACKER).call("POST", "/register", {"signed": signed})
        finding.refused("a replay at another service", replayed, "invalid_signature")
        with Service() as nameless:
            replayed = Api(nameless.address, ATTACKER).call("POST", "/register", {"signed": signed})
            finding.refused("a replay at a service without a name", replayed, "invalid_signature")


def blocked_source(finding: Finding) -> None:
    with keys(ops="admin") as options, victim(*options) as service:
        for source in BLOCKED_SOURCES:
            Api(service.address, source).register(peer_id=source)
        operator = Api(service.address, key="ops")
        block = {"source": "10.2.0.0/16", "reason": "an attack", "duration_seconds": 60}
        evicted = operator.call("POST", "/admin/block", block).body["evicted"]
        finding.note = f"{evicted} peers evicted at once"
        finding.expect(evicted == len(BLOCKED_SOURCES), f"only {evicted} peers were evicted")
        for source in BLOCKED_SOURCES:
            api = Api(service.address, source)
            for number in range(20):
                finding.refused("a registration", api.register(peer_id=f"{source}-{number}"), "blocked")
            finding.refused("a heartbeat", api.heartbeat(NAME), "blocked")
        expect_unchanged(service, finding)


def missing_scope(finding: Finding) -> None:
    with keys(reader="read", writer="write", ops="admin") as options, Service(*options, *REQUIRE) as service:
        requests = {
            "read": ("GET", "/discover", None),
            "write": ("POST", "/register", {"peer_id": NAME}),
            "admin": ("POST", "/admin/evict", {"peer_id": NAME}),
        }
        for holder, scope in (("reader", "read"), ("writer", "write"), ("ops", "admin")):
            for needed, (method, path, body) in requests.items():
                response = Api(service.address, ATTACKER, key=holder).call(method, path, body)
                if needed == scope:
                    finding.expect(response.status == 200, f"{holder} got {response.status} from {path}")
                else:
                    finding.refused(f"{path} with the key of {holder}", response, "forbidden")
        for key in (None, "unknown"):
            for method, path, body in requests.values():
                response = Api(service.address, ATTACKER, key=key).call(method, path, body)
                finding.refused(f"{path} with the key {key}", response, "unauthorized")


REQUIRE = ("--require-key", "read,write")


@contextmanager
def keys(**scopes: str) -> Iterator[tuple[str, str]]:
    """Yields the options of a service that accepts an API key for each of these names, with the scope given
    for it. The text of a key is its name."""
    with tempfile.TemporaryDirectory(prefix="aurora-identity-") as folder:
        path = Path(folder) / "keys"
        lines = [f"{name} {scope} {hashlib.sha256(name.encode()).hexdigest()}" for name, scope in scopes.items()]
        path.write_text("\n".join(lines))
        yield "--keys", str(path)


ATTACKS: dict[str, Callable[[Finding], None]] = {
    "hijack-live": hijack_live,
    "hijack-dormant": hijack_dormant,
    "hijack-after-restart": hijack_after_restart,
    "hijack-behind-nat": hijack_behind_nat,
    "stolen-token": stolen_token,
    "replay-here": replay_here,
    "replay-after-eviction": replay_after_eviction,
    "replay-elsewhere": replay_elsewhere,
    "blocked-source": blocked_source,
    "missing-scope": missing_scope,
}

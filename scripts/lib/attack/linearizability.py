"""Sends concurrent requests for one name. Their responses must be possible in some sequential order of
the requests (see `history`), also if two services on one store handle them."""

from __future__ import annotations

import itertools
import json
import random
import select
import socket
import time
from dataclasses import dataclass, replace

from lib.api import Api
from lib.attack import http1
from lib.attack.history import Call, is_linearizable
from lib.attack.scene import Form
from lib.attack.stores import in_memory, on_dynamodb, on_valkey

CLIENTS, CALLS_PER_CLIENT = 6, 5
# The last byte of each client's address. Two clients each share an address, so that each may replace the
# other's registration.
HOSTS = [1, 1, 2, 2, 3, 3]
SHARES = {"register": 40, "heartbeat": 20, "deregister": 20, "discover": 20}
RESPONSE_SECONDS = 30.0
# How long after a response another service on the same store may list what was there before.
LAG_SECONDS = 5.0
SHORT_HISTORIES, LONG_HISTORIES = 150, 1_000
ON_DYNAMODB = "linearizability-dynamodb"
STORES = {"": in_memory, "-valkey": on_valkey, "-dynamodb": on_dynamodb}
CHECKS = {f"linearizability{suffix}": store for suffix, store in STORES.items()}


@dataclass
class Tally:
    histories: int
    calls: int
    overlapping: int
    failures: list[str]


def check(name: str, form: Form, seed: int) -> Tally:
    """Runs histories. Each has its own name and its own addresses. If two services share a store,
    every second history uses both services, and the others use only the first."""
    random.seed(seed)
    tally = Tally(SHORT_HISTORIES if form.short else LONG_HISTORIES, 0, 0, [])
    with CHECKS[name]() as services:
        ports = [service.port for service in services]
        for number in range(tally.histories):
            # The index of a DynamoDB table, and that of another service on Valkey, contain a registration
            # only after a moment. A discover there need not find the newest registration.
            is_shared = number % 2 == 1 and len(ports) > 1
            finds_newest = not is_shared and name != ON_DYNAMODB
            history = History(ports if is_shared else ports[:1], number, finds_newest)
            calls = history.run()
            if name != ON_DYNAMODB:
                calls += history.end(ports)
            tally.calls += len(calls)
            tally.overlapping += sum(overlaps(call, calls) for call in calls)
            if accepts_a_wrong_response(calls):
                tally.failures.append(f"history {number}: the check accepts a wrong response")
            if not is_linearizable(calls):
                lines = "\n    ".join(map(str, sorted(calls, key=lambda call: call.sent)))
                tally.failures.append(f"history {number} of seed {seed} is not linearizable:\n    {lines}")
    return tally


def accepts_a_wrong_response(calls: list[Call]) -> bool:
    """Tests the check itself: returns whether it accepts a history in which one response was made
    wrong on purpose."""
    first, *others = calls
    wrong = replace(first, listed=0) if first.operation == "discover" else replace(first, status=599)
    return is_linearizable([wrong, *others])


def overlaps(call: Call, calls: list[Call]) -> bool:
    return any(other is not call and other.sent < call.received and call.sent < other.received for other in calls)


class Client:
    """One client, with at most one request at a time."""

    def __init__(self, port: int, source: str) -> None:
        self.source = source
        self.left = CALLS_PER_CLIENT
        self.socket = socket.create_connection(
            ("127.0.0.1", port), timeout=RESPONSE_SECONDS, source_address=(source, 0)
        )
        self.call: Call | None = None
        self.received = b""


class History:
    """Concurrent requests for one name to the services at `ports`."""

    def __init__(self, ports: list[int], number: int, discovers: bool) -> None:
        self._name = f"name-{number}"
        self._shares = SHARES if discovers else {**SHARES, "discover": 0}
        self._clients = [
            Client(port, f"10.{100 + number // 250}.{number % 250}.{host}")
            for host, port in zip(HOSTS, itertools.cycle(ports))
        ]
        self._tokens: list[str] = []
        self._calls: list[Call] = []

    def run(self) -> list[Call]:
        random.shuffle(self._clients)
        for client in self._clients:
            self._send(client)
        while open_clients := {client.socket: client for client in self._clients if client.call}:
            readable, _, _ = select.select(list(open_clients), [], [], RESPONSE_SECONDS)
            if not readable:
                raise TimeoutError(f"a request got no response within {RESPONSE_SECONDS:.0f} s")
            for ready in readable:
                self._receive(open_clients[ready])
        for client in self._clients:
            client.socket.close()
        return self._calls

    def end(self, ports: list[int]) -> list[Call]:
        """Requests the lists of the services after the last response. Repeats the requests for some
        seconds, until the lists are possible."""
        end = time.monotonic() + LAG_SECONDS
        while True:
            listed = [self._listed(port) for port in ports]
            if is_linearizable(self._calls + listed) or time.monotonic() > end:
                return listed
            time.sleep(0.01)

    def _listed(self, port: int) -> Call:
        source = self._clients[0].source
        sent = time.perf_counter()
        api = Api(f"127.0.0.1:{port}", source)
        status, _, content = api.exchange("GET", f"/discover?archetype={self._name}")
        api.close()
        ports = [peer["port"] for peer in json.loads(content)["peers"]]
        return Call("discover", source, None, 0, sent, time.perf_counter(), status, listed=next(iter(ports), None))

    def _send(self, client: Client) -> None:
        operation = random.choices(list(self._shares), list(self._shares.values()))[0]
        token = random.choice(self._tokens) if self._tokens and random.random() < 0.4 else None
        port = random.randrange(1, 65_536)
        body: dict[str, object] = {"peer_id": self._name, **({"lease_token": token} if token else {})}
        if operation == "register":
            body |= {"port": port, "archetypes": [self._name], "ttl_seconds": 3600}
        discover = http1.get(f"/discover?archetype={self._name}")
        request = discover if operation == "discover" else http1.post(f"/{operation}", body)
        client.left -= 1
        client.call = Call(operation, client.source, token, port, time.perf_counter(), 0.0, 0)
        client.socket.sendall(request)

    def _receive(self, client: Client) -> None:
        assert client.call is not None
        chunk = client.socket.recv(1 << 16)
        received = time.perf_counter()
        if not chunk:
            raise ConnectionResetError(f"the service closed a connection during {client.call}")
        client.received += chunk
        if http1.response_length(client.received) is None:
            return
        body = json.loads(http1.body(client.received))
        call = replace(client.call, received=received, status=http1.status(client.received))
        if call.operation == "register" and call.status == 200:
            call = replace(call, new_token=body["lease_token"])
            self._tokens.append(call.new_token)
        if call.operation == "discover":
            call = replace(call, listed=next((peer["port"] for peer in body["peers"]), None))
        self._calls.append(call)
        client.received, client.call = b"", None
        if client.left:
            self._send(client)

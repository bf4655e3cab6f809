"""The life of a peer, request by request. Between some requests, the check changes the peer's items
directly in the table, for example to end a lease."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from ipaddress import IPv4Address
from typing import Any

from drive.cases import PEER
from drive.functions import dynamodb

# NEIGHBOUR is in the same /24 as HOME.
HOME, NEIGHBOUR, OTHER_SOURCE, FULL_SOURCE = "203.0.113.7", "203.0.113.99", "198.51.100.1", "192.0.2.50"
HOUR = 3_600
# The maximum number of live peers of one source during the check. It is small, so that `Table.fill`
# reaches it with few peers, and larger than the number of peers that the other steps register.
BOUND = 8
# The possible intervals, in seconds, that the service requests until the next heartbeat, for a
# lease of 300 s.
THIRD, JITTERED, STEADY = range(100, 101), range(80, 101), range(120, 150)


@dataclass
class Table:
    """The check's own access to the table that both functions use."""

    endpoint: str
    name: str

    def items_of(self, peer: str) -> dict[str, dict[str, Any]]:
        items = dynamodb(self.endpoint, "Scan", {"TableName": self.name, "ConsistentRead": True})["Items"]
        keyed = {item["peer_id"]["S"]: item for item in items}
        return {key: item for key, item in keyed.items() if key == peer or key.endswith(f" {peer}")}

    def forget(self, peer: str) -> None:
        for key in self.items_of(peer):
            dynamodb(self.endpoint, "DeleteItem", {"TableName": self.name, "Key": {"peer_id": {"S": key}}})

    def change(self, expression: str, **values: int | bytes) -> None:
        """Changes the peer's item directly in the table."""
        request = {"TableName": self.name, "Key": {"peer_id": {"S": PEER}}, "UpdateExpression": expression}
        typed = {
            f":{name}": {"N": str(value)} if isinstance(value, int) else binary(value) for name, value in values.items()
        }
        dynamodb(self.endpoint, "UpdateItem", request | ({"ExpressionAttributeValues": typed} if typed else {}))

    def put(self, item: dict[str, Any]) -> None:
        dynamodb(self.endpoint, "PutItem", {"TableName": self.name, "Item": item})

    def fill(self, source: str, live: int) -> None:
        """Adds `BOUND` peers of a source. Of these, `live` are live, and the others are dormant. They are
        copies of the peer that the check itself puts into the table: a function also counts the peers that
        it has just written, and these are not among them."""
        item = self.items_of(PEER)[PEER]
        packed = bytes([4, 0, 0, 0, 0]) + IPv4Address(source).packed
        holder = packed + base64.b64decode(item["holder"]["B"])[len(packed) :]
        for number in range(BOUND):
            expires_at = int((time.time() + (HOUR if number < live else -HOUR)) * 1000)
            copy = item | {
                "peer_id": {"S": f"full-{number}"},
                "holder": binary(holder),
                "h": binary(number.to_bytes(8)),
                "expires_at": {"N": str(expires_at)},
            }
            marker = {name: copy[name] for name in ("h", "gen", "ttl")}
            self.put(copy)
            self.put(marker | {"peer_id": {"S": f"  {source} full-{number}"}, "lane": {"S": f" {source}"}})

    def set_proof(self, seconds_ago: int) -> None:
        """Sets when the holder last proved itself."""
        self.change("SET proven = :then", then=int((time.time() - seconds_ago) * 1000))

    def end_lease(self, seconds_ago: int) -> None:
        self.change("SET expires_at = :then", then=int((time.time() - seconds_ago) * 1000))


@dataclass(frozen=True)
class Step:
    """One request in a peer's life. `before` changes the table before the request. `in_between` changes
    it during the request, before the function's first put."""

    what: str
    status: int
    path: str = "/heartbeat"
    source: str = HOME
    archetypes: tuple[str, ...] = ("pepino", "ethics")
    with_token: bool = False
    with_wrong_token: bool = False
    before: Callable[[Table], None] | None = None
    in_between: Callable[[Table], None] | None = None
    interval: range = JITTERED


REGISTER = Step("register, new, 2 archetypes", 200, "/register", interval=THIRD)
LIFE = [
    REGISTER,
    Step("heartbeat that is written", 200),
    Step("heartbeat that is saved", 200),
    replace(REGISTER, what="register again, 1 archetype dropped and 1 new", archetypes=("pepino", "memory")),
    replace(REGISTER, what="register without archetypes", archetypes=()),
    replace(REGISTER, what="register again with archetypes"),
    replace(REGISTER, what="register by a stranger", status=403, source=OTHER_SOURCE),
    replace(REGISTER, what="register from elsewhere with the token", source=OTHER_SOURCE, with_token=True),
    replace(REGISTER, what="register from the former address", status=403),
    replace(REGISTER, what="register from the same address without the token", source=OTHER_SOURCE),
    Step("heartbeat of a dormant peer", 200, before=lambda table: table.end_lease(HOUR)),
    replace(REGISTER, what="register over a dormant peer", before=lambda table: table.end_lease(HOUR)),
    replace(
        REGISTER,
        what="register over a dormant peer that is revived meanwhile",
        status=403,
        source=OTHER_SOURCE,
        before=lambda table: table.end_lease(HOUR),
        in_between=lambda table: table.end_lease(-HOUR),
    ),
    replace(
        REGISTER,
        what="register that loses a race",
        in_between=lambda table: table.change("SET gen = :other", other=bytes(8)),
    ),
    Step(
        "heartbeat that has to renew the markers",
        200,
        before=lambda table: table.change("SET expires_at = :soon, marked = :now", **due()),
    ),
    Step(
        "heartbeat of a peer that is off the index",
        200,
        before=lambda table: table.change("SET expires_at = :soon REMOVE lane, h", soon=due()["soon"]),
    ),
    Step("heartbeat that stores a proof", 200, before=lambda table: table.set_proof(HOUR // 4)),
    Step("heartbeat without a proof", 200, source=OTHER_SOURCE, before=lambda table: table.set_proof(HOUR // 4)),
    Step("heartbeat from the holder's network", 200, source=NEIGHBOUR),
    Step(
        "heartbeat with the token from elsewhere",
        200,
        source=OTHER_SOURCE,
        with_token=True,
        before=lambda table: table.set_proof(HOUR // 4),
    ),
    Step(
        "heartbeat without a proof that is written",
        200,
        source=OTHER_SOURCE,
        before=lambda table: table.change("SET expires_at = :soon", soon=due()["soon"]),
    ),
    Step("heartbeat with a wrong token", 403, with_wrong_token=True),
    Step(
        "heartbeat with a wrong token, of a dormant peer",
        403,
        with_wrong_token=True,
        before=lambda table: table.end_lease(HOUR),
    ),
    Step("heartbeat without a proof of a dormant peer", 200, source=OTHER_SOURCE),
    replace(REGISTER, what="register from the holder's network", status=403, source=NEIGHBOUR),
    replace(REGISTER, what="register with a wrong token", with_wrong_token=True),
    Step(
        "heartbeat of a steady peer",
        200,
        before=lambda table: table.change("SET since = :past", past=int((time.time() - HOUR) * 1000)),
        interval=STEADY,
    ),
    replace(
        REGISTER,
        what="register over an unproven peer that proves itself meanwhile",
        status=403,
        source=OTHER_SOURCE,
        before=lambda table: table.set_proof(2 * HOUR),
        in_between=lambda table: table.set_proof(0),
    ),
    replace(
        REGISTER,
        what="register over an unproven peer",
        source=OTHER_SOURCE,
        before=lambda table: table.set_proof(2 * HOUR),
    ),
    Step("heartbeat of a forgotten peer", 404, before=lambda table: table.end_lease(25 * HOUR)),
    replace(REGISTER, what="register over a forgotten peer", source=OTHER_SOURCE, with_token=True),
    Step("heartbeat of an unreadable peer", 404, before=lambda table: table.change("REMOVE holder")),
    replace(REGISTER, what="register over an unreadable peer"),
    replace(
        REGISTER,
        what="register over something without a generation",
        before=lambda table: table.change("REMOVE holder, gen"),
    ),
    replace(
        REGISTER,
        what="register from a full source",
        status=503,
        source=FULL_SOURCE,
        with_token=True,
        before=lambda table: table.fill(FULL_SOURCE, BOUND),
    ),
    replace(
        REGISTER,
        what="register from a source with a dormant peer",
        source=FULL_SOURCE,
        with_token=True,
        before=lambda table: table.fill(FULL_SOURCE, BOUND - 1),
    ),
]


def binary(value: bytes) -> dict[str, str]:
    return {"B": base64.b64encode(value).decode()}


def due() -> dict[str, int]:
    """Values for `Table.change`: `soon`, the end of a lease that ends in a minute, in milliseconds,
    and `now`, the end of markers that end at present, in seconds."""
    return {"soon": int((time.time() + 60) * 1000), "now": int(time.time())}

"""The life of a peer, request by request. Between some requests, the check changes the peer's items
directly in the table, for example to end a lease."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from drive.cases import PEER
from drive.functions import dynamodb

HOME, OTHER_SOURCE = "203.0.113.7", "198.51.100.1"
HOUR = 3_600
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
            f":{name}": {"N": str(value)} if isinstance(value, int) else {"B": base64.b64encode(value).decode()}
            for name, value in values.items()
        }
        dynamodb(self.endpoint, "UpdateItem", request | ({"ExpressionAttributeValues": typed} if typed else {}))

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
    Step(
        "heartbeat of a steady peer",
        200,
        before=lambda table: table.change("SET since = :past", past=int((time.time() - HOUR) * 1000)),
        interval=STEADY,
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
]


def due() -> dict[str, int]:
    """Values for `Table.change`: `soon`, the end of a lease that ends in a minute, in milliseconds,
    and `now`, the end of markers that end at present, in seconds."""
    return {"soon": int((time.time() + 60) * 1000), "now": int(time.time())}

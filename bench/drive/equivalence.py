"""Checks whether two functions behave the same. On one table, both must send the same responses, make
the same DynamoDB calls, and leave the same items. Each function must also renew the peers that the
other one registered, and must not let other clients replace them."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from drive.cases import GOOD_REGISTRATIONS, HEARTBEATS, PEER, REGISTRATIONS, legacy_registration
from drive.functions import Function, RuntimeApi, create_table, event, started
from drive.life import BOUND, HOME, LIFE, OTHER_SOURCE, Step, Table
from drive.recorder import Call, Recorder

# The parts of a response that do not depend on time or chance.
COMPARED_KEYS = ("message", "peer_id", "ttl_seconds", "observed_address", "code", "field")
RANDOM_HEADERS = ("x-request-id", "retry-after")
MILLIS, SECONDS = ("expires_at", "seen", "since", "proven"), ("ttl", "marked")
# The maximum difference between two times that should be equal, on a busy machine. Differences that the
# rules intend are larger.
SLACK_SECONDS = 10
SOURCE_BYTES = 9
# For how many seconds a function uses the list of blocks that it has read.
BLOCKS_SECONDS = 8


@dataclass
class Response:
    """A function's response, and the DynamoDB calls that it made for it."""

    status: int
    headers: dict[str, str]
    body: dict[str, Any]
    calls: list[Call]

    def comparable(self) -> Any:
        headers = {name: value for name, value in self.headers.items() if name not in RANDOM_HEADERS}
        return (
            self.status,
            headers,
            sorted(self.headers),
            sorted(self.body),
            {key: self.body.get(key) for key in COMPARED_KEYS},
        )

    def effects(self) -> Any:
        return [call.shape() for call in self.calls], self.usage()

    def usage(self) -> dict[str, Any]:
        read, written = (sum(call.units for call in self.calls if call.reads is reads) for reads in (True, False))
        return {"calls": [call.action for call in self.calls], "read units": read, "write units": written}


@dataclass
class Side:
    """One of the two functions, with its own connection to the table."""

    name: str
    api: RuntimeApi
    recorder: Recorder
    # How often the function has read the list of blocks.
    block_reads: int = 0

    def call(self, path: str, body: dict[str, Any] | str, source: str = HOME, method: str = "POST") -> Response:
        return self.handle(event(path, body, source, method))

    def handle(self, request: dict[str, Any]) -> Response:
        self.recorder.take_calls()
        response = self.api.response_to(request)
        body = json.loads(response["body"]) if response["body"] else {}
        multiple = response.get("multiValueHeaders", {})
        headers = response["headers"] | {name: values[0] for name, values in multiple.items()}
        # Which requests read the list of blocks depends on time: those that arrive some seconds after the
        # last read. These reads are therefore only counted, and `check_block_reads` checks their number.
        calls = self.recorder.take_calls()
        self.block_reads += sum(call.reads_blocks for call in calls)
        return Response(response["statusCode"], headers, body, [call for call in calls if not call.reads_blocks])


def check(ours: Function, theirs: Function, endpoint: str) -> dict[str, Any]:
    """Compares the functions, and ends the benchmark if they differ. Returns the DynamoDB calls of each
    operation, which are the same for both."""
    operations: dict[str, Any] = {}
    # The function that runs first creates the table's secret, so each function runs first once.
    for number, pair in enumerate([(ours, theirs), (theirs, ours)]):
        table = Table(endpoint, f"bench-equivalence-{number}")
        create_table(endpoint, table.name)
        with side(pair[0], table) as one, side(pair[1], table) as other:
            for each in (one, other):
                warm_up(each)
            check_block_reads(one, other)
            check_responses(one, other)
            check_items(one, other, table)
            operations = check_lives(one, other, table)
            check_interoperability(one, other, lister=one if pair[0] is ours else other)
    return operations


@contextmanager
def side(function: Function, table: Table) -> Iterator[Side]:
    recorder = Recorder(table.endpoint)
    # Only errors are logged: the check makes items unreadable on purpose, and the functions would warn
    # about each.
    settings = {"AURORA_TABLE": table.name, "AURORA_DYNAMODB_ENDPOINT": recorder.endpoint, "AURORA_LOG": "error"}
    settings["AURORA_MAX_PEERS_PER_SOURCE"] = str(BOUND)
    try:
        with started(replace(function, settings=function.settings | settings)) as (api, _, _):
            yield Side(function.name, api, recorder)
    finally:
        recorder.close()


def warm_up(each: Side) -> None:
    """Sends a registration and a heartbeat, so that a process makes the DynamoDB calls whose results it
    caches: those for the table's secret and for the number of peers."""
    peer = {"peer_id": f"warm-{each.recorder.server_port}"}
    for path in ("/register", "/heartbeat"):
        expect(f"{path} by {each.name}", each.call(path, peer).status, 200)
        expect(f"reads of the list of blocks by {each.name}, after {path}", each.block_reads, 1)


def check_block_reads(one: Side, other: Side) -> None:
    """Both must read the list of blocks again after some seconds."""
    time.sleep(BLOCKS_SECONDS)
    for each in (one, other):
        for _ in range(2):
            each.call("/heartbeat", {"peer_id": f"warm-{each.recorder.server_port}"})
            expect(f"reads of the list of blocks by {each.name}, after {BLOCKS_SECONDS} s", each.block_reads, 2)


def check_responses(one: Side, other: Side) -> None:
    """Both must reject invalid requests in the same way, before they make any DynamoDB call."""
    cases = [("/register", body, "POST") for body in REGISTRATIONS]
    cases += [("/heartbeat", body, "POST") for body in HEARTBEATS]
    cases += [("/register", "", "GET"), ("/heartbeat", "", "GET"), ("/nowhere", "{}", "POST")]
    for path, body, method in cases:
        responses = [each.call(path, body, method=method) for each in (one, other)]
        what = f"{method} {path} {body[:80]}"
        expect_same(what, one, other, *[response.comparable() for response in responses])
        rejected = responses[0].status >= 400 and not any(response.calls for response in responses)
        expect(f"{what} is rejected without a DynamoDB call", rejected, True)


def check_items(one: Side, other: Side, table: Table) -> None:
    """For each valid registration, both must write the same items."""
    for body, source in GOOD_REGISTRATIONS:
        left = []
        for each in (one, other):
            began = time.time()
            response = each.call("/register", body, source)
            expect(f"{body[:80]} registered by {each.name}", response.status, 200)
            left.append((response.comparable(), response.effects(), state(table, began)))
            table.forget(PEER)
        expect_same(f"register {body[:80]}", one, other, *left)


def check_lives(one: Side, other: Side, table: Table) -> dict[str, Any]:
    """Runs the life of a peer once with each function. Both must make the same calls in the same order,
    use the same units and leave the same items."""
    lives = [life(each, table) for each in (one, other)]
    for step, first, second in zip(LIFE, *lives, strict=True):
        expect_same(step.what, one, other, first[1:], second[1:])
    return {step.what: results[0] for step, results in zip(LIFE, lives[0], strict=True)}


def life(each: Side, table: Table) -> list[tuple[Any, ...]]:
    """For each step: its calls and units, the response, whether the token is the same, and the
    items afterwards."""
    steps, token = [], ""
    for step in LIFE:
        if step.before:
            step.before(table)
        each.recorder.before_put = step.in_between and partial(step.in_between, table)
        body = body_of(step, token)
        began = time.time()
        response = each.call(step.path, body, step.source)
        expect(f"{step.what} by {each.name}", response.status, step.status)
        if response.status == 200:
            expect(
                f"interval after {step.what} by {each.name}",
                response.body["heartbeat_interval_seconds"] in step.interval,
                True,
            )
        previous, token = token, response.body.get("lease_token", token)
        steps.append(
            (response.usage(), response.comparable(), previous == token, response.effects(), state(table, began))
        )
    table.forget(PEER)
    return steps


def body_of(step: Step, token: str) -> dict[str, Any]:
    body: dict[str, Any] = {"peer_id": PEER}
    if step.path == "/register":
        body = legacy_registration(PEER) | {"archetypes": step.archetypes}
    if step.with_token:
        body |= {"lease_token": token}
    if step.with_wrong_token:
        body |= {"lease_token": "wrong"}
    return body


def check_interoperability(one: Side, other: Side, lister: Side) -> None:
    """Checks that each function renews a peer that the other one registered, rejects other clients that
    want to replace it, and accepts its token. `lister` must list the peers of both functions."""
    for first, second in ((one, other), (other, one)):
        peer = f"by-{first.recorder.server_port}"
        what = f"a peer registered by {first.name}, at {second.name}"
        token = first.call("/register", legacy_registration(peer)).body["lease_token"]
        expect(f"{what}: heartbeat", second.call("/heartbeat", {"peer_id": peer}).status, 200)
        expect(f"{what}: saved heartbeat", second.call("/heartbeat", {"peer_id": peer}).usage()["write units"], 0)
        expect(
            f"{what}: register by a stranger",
            second.call("/register", legacy_registration(peer), OTHER_SOURCE).status,
            403,
        )
        for sent, status in ((token, 200), ("wrong", 403)):
            beat = {"peer_id": peer, "lease_token": sent}
            expect(f"{what}: heartbeat with a token", second.call("/heartbeat", beat, OTHER_SOURCE).status, status)
        proven = second.call("/register", legacy_registration(peer) | {"lease_token": token}, OTHER_SOURCE)
        expect(f"{what}: register with the token", (proven.status, proven.body.get("lease_token")), (200, token))
        expect(f"{what}: back from the former address", first.call("/register", legacy_registration(peer)).status, 403)
    for archetype in ("pepino", "ethics"):
        query = {"multiValueQueryStringParameters": {"archetype": [archetype]}}
        listed = {
            peer["peer_id"]: peer for peer in lister.handle(event("/discover", "", method="GET") | query).body["peers"]
        }
        for each in (one, other):
            peer = f"by-{each.recorder.server_port}"
            found = {key: value for key, value in listed.get(peer, {}).items() if key != "last_seen"}
            expect(
                f"{archetype}: the peer registered by {each.name} as {lister.name} lists it",
                found,
                legacy_registration(peer),
            )


def state(table: Table, began: float) -> dict[str, dict[str, Any]]:
    """The items of the peer, with times relative to the request, and without random values."""
    return {key: dict(sorted(plain(item, began).items())) for key, item in table.items_of(PEER).items()}


def plain(item: dict[str, Any], began: float) -> dict[str, Any]:
    left = {name: next(iter(value.items())) for name, value in item.items()}
    for name in left.keys() & {*MILLIS, *SECONDS}:
        moment = int(left[name][1]) / (1000 if name in MILLIS else 1)
        left[name] = Moment(moment - began)
    if "gen" in left:
        left["gen"] = len(base64.b64decode(left["gen"][1]))
    if "holder" in left:
        holder = base64.b64decode(left["holder"][1])
        left["holder"] = (holder[:SOURCE_BYTES], len(holder))
    return left


class Moment(float):
    """Seconds since a request. Two values count as equal if they differ by at most `SLACK_SECONDS`."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Moment) and abs(float(self) - float(other)) <= SLACK_SECONDS

    __hash__ = None  # type: ignore[assignment]


def expect_same(what: str, one: Side, other: Side, first: Any, second: Any) -> None:
    if first != second:
        raise SystemExit(f"{what} differs:\n  {one.name}: {first}\n  {other.name}: {second}")


def expect(what: str, found: Any, expected: Any) -> None:
    if found != expected:
        raise SystemExit(f"{what}: got {found}, expected {expected}")

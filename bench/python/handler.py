"""What `bootstrap` does for a registration and a heartbeat, as a Python function does it with boto3.

The duties are the same: bodies checked by the contract's rules, the holder rule, markers written before the peer, lease
tokens, heartbeats that are written only when due. `bench/serverless` checks on one table that they are, before it
measures. What no registration and no heartbeat of the benchmark asks for is left out: other routes, a discover that
rides along, heartbeats for many peers, HTTP APIs and function URLs, settings.
"""

from __future__ import annotations

import base64
import json
import logging
import os
import random
import secrets
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import body
import peers
import table
from body import VISIBLE, Refusal
from peers import compact

HEARTBEAT_INTERVAL_MAX_SECONDS = 200
HEARTBEAT_INTERVAL_MIN_SECONDS = 10
# By up to this part of itself an interval is drawn shorter.
JITTER_PART = 5
# After so many leases a peer counts as steady.
STEADY_LEASES = 3
# A line of figures after so many requests or seconds.
REQUESTS_PER_LINE = 100
SECONDS_PER_LINE = 60
FUNCTION = os.environ.get("AWS_LAMBDA_FUNCTION_NAME", "")
# Where requests come from that come from nowhere: an address for documentation.
NOWHERE = "192.0.2.0"
HEADERS = {
    "content-type": "application/json",
    "cache-control": "no-store",
    "access-control-allow-origin": "*",
    "access-control-allow-methods": "GET,POST,OPTIONS",
    "access-control-allow-headers": "Content-Type,X-Amz-Date,Authorization,X-Api-Key",
    "access-control-expose-headers": "Retry-After,x-request-id",
    "access-control-max-age": "86400",
}

log = logging.getLogger(__name__)


def lambda_handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    started = time.perf_counter()
    request_id = name_of(event, context)
    headers = HEADERS | {"x-request-id": request_id}
    try:
        status, answer = 200, route(event)
    except Exception as error:
        refusal = refusal_of(error, request_id)
        status, answer = refusal.status, {"error": str(refusal), "code": refusal.code}
        if refusal.field is not None:
            answer["field"] = refusal.field
        if refusal.retry_after is not None:
            # Those who were refused in one second must not come back in one.
            headers["retry-after"] = str(random.randint(refusal.retry_after, 2 * refusal.retry_after))
        if status == 405:
            headers["allow"] = "POST, OPTIONS"
    figures.answered(event["resource"], status, time.perf_counter() - started)
    return {"statusCode": status, "headers": headers, "body": compact(answer), "isBase64Encoded": False}


def route(event: dict[str, Any]) -> dict[str, Any]:
    call = ROUTES.get(event["resource"])
    if call is None:
        raise Refusal(404, "not_found", f"there is no path {event['resource'][:64]}")
    if event["httpMethod"] != "POST":
        raise Refusal(405, "method_not_allowed", f"{event['resource']} accepts POST, not {event['httpMethod']}")
    sent = event["body"] or ""
    if event.get("isBase64Encoded"):
        sent = parsed(bytes.decode, base64.b64decode(sent))
    source = event["requestContext"]["identity"].get("sourceIp") or NOWHERE
    return call(sent, source, time.time_ns() // 1_000_000)


def register(sent: str, source: str, now: int) -> dict[str, Any]:
    asked = parsed(body.registration, sent)
    address = body.canonical(source)
    observed = str(address)
    if asked.address is None:
        asked.address = observed
    token = peers.register(asked, source_bytes(address), now)
    return {
        "message": "Peer registered successfully",
        "peer_id": asked.peer_id,
        "ttl_expires": peers.written(now + asked.ttl_seconds * 1_000),
        "ttl_seconds": asked.ttl_seconds,
        "heartbeat_interval_seconds": third_of(asked.ttl_seconds),
        "observed_address": observed,
        "lease_token": token,
    }


def heartbeat(sent: str, source: str, now: int) -> dict[str, Any]:
    peer_id = parsed(body.heartbeat, sent)
    lease = peers.renew(peer_id, now)
    steady = not lease.revived and now - lease.registered_at >= STEADY_LEASES * lease.ttl_seconds * 1_000
    return {
        "message": "Heartbeat updated",
        "peer_id": peer_id,
        "timestamp": peers.written(now),
        "ttl_expires": peers.written(now + lease.ttl_seconds * 1_000),
        "ttl_seconds": lease.ttl_seconds,
        "heartbeat_interval_seconds": next_interval(lease.ttl_seconds, steady),
    }


def parsed(read: Callable[[Any], Any], sent: Any) -> Any:
    try:
        return read(sent)
    except (ValueError, RecursionError) as error:
        raise Refusal(400, "invalid_body", f"the body is not a JSON object: {error}") from error


def source_bytes(address: body.Address) -> bytes:
    """A byte that tells the kind, and an IPv4 address, or the /64 of an IPv6 address: what one subscriber gets."""
    if address.version == 4:
        return b"\x04" + bytes(4) + address.packed
    return b"\x06" + address.packed[:8]


def third_of(ttl_seconds: int) -> int:
    """When the first heartbeat of a lease is wanted."""
    return max(1, min(ttl_seconds // 3, HEARTBEAT_INTERVAL_MAX_SECONDS))


def next_interval(ttl_seconds: int, steady: bool) -> int:
    """When a further heartbeat is wanted: drawn anew each time, later of who has shown that its heartbeats arrive."""
    third = latest = third_of(ttl_seconds)
    if steady:
        latest = max(third, min((ttl_seconds - 1) // 2, HEARTBEAT_INTERVAL_MAX_SECONDS))
    earliest = max(latest - latest // JITTER_PART, min(HEARTBEAT_INTERVAL_MIN_SECONDS, third))
    return random.randint(earliest, latest)


def name_of(event: dict[str, Any], context: Any) -> str:
    """The gateway's name for a request, or else the invocation's."""
    for name in (event["requestContext"].get("requestId"), context.aws_request_id):
        if name and VISIBLE.fullmatch(name):
            return str(name)
    return secrets.token_hex(8)


def refusal_of(error: Exception, request_id: str) -> Refusal:
    """What a caller is told, and nothing of the cause where something broke: that goes to the log."""
    if isinstance(error, Refusal):
        return error
    retry_after = table.retry_after(error)
    if retry_after is not None:
        log.warning("request %s refused: %s", request_id, error)
        message = "the service is temporarily unable to handle this request; try again later"
        return Refusal(503, "unavailable", message, retry_after=retry_after)
    log.error("request %s failed", request_id, exc_info=error)
    return Refusal(500, "internal", "Internal server error")


class Figures:
    """Counts answers, and writes a line of figures where one is due."""

    def __init__(self) -> None:
        self.told: Counter[str] = Counter()
        self.begin()

    def begin(self) -> None:
        self.answers: Counter[str] = Counter()
        self.sum = self.slowest = 0.0
        self.since, self.requests = time.monotonic(), 0

    def answered(self, resource: str, status: int, seconds: float) -> None:
        name = "Failures" if status >= 500 else "Refusals" if status >= 400 else COUNTED[resource]
        self.answers[name] += 1
        self.requests += 1
        self.sum += seconds
        self.slowest = max(self.slowest, seconds)
        if self.requests >= REQUESTS_PER_LINE or time.monotonic() - self.since >= SECONDS_PER_LINE:
            self.write()
            self.begin()

    def write(self) -> None:
        line = {"FunctionName": FUNCTION, **dict.fromkeys(FIGURES, 0), **self.answers, "Requests": self.requests}
        line |= {"SumMillis": self.sum * 1e3, "SlowestMillis": self.slowest * 1e3}
        line |= {name: int(count - self.told[name]) for name, count in table.counts.items()}
        self.told = table.counts.copy()
        print(json.dumps(line), flush=True)


ROUTES = {"/register": register, "/heartbeat": heartbeat}
COUNTED = {"/register": "Registrations", "/heartbeat": "Heartbeats"}
FIGURES = ("Registrations", "Heartbeats", "Refusals", "Failures")
figures = Figures()

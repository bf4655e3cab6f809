"""Registration and heartbeat as `bootstrap` implements them, in Python with boto3.

The behaviour is the same: validation of bodies, the holder rule, lease tokens, markers (the items
that list a peer in the index) that are written before the peer, heartbeats that are written only
when a lease or a proof of its holder is due, the bound on the peers of a source, and the list of
blocks that is read again every few seconds. `bench/serverless` verifies this on one table before
it measures.

It omits everything that no request of the benchmark uses: other routes, a discover within a
heartbeat, heartbeats for many peers, signed and token-only registrations, mailboxes, requests of
web pages, blocks, items of earlier releases, the estimate of the peers of a source with more than
a hundred, the eviction of dormant peers from a crowded source, HTTP APIs and function URLs, and
settings except the bound that the check sets.
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
from items import compact
from source import source_of

HEARTBEAT_INTERVAL_MAX_SECONDS = 200
HEARTBEAT_INTERVAL_MIN_SECONDS = 10
# An interval is shortened by a random part of it, at most 1/JITTER_PART.
JITTER_PART = 5
# A peer counts as steady after this many leases.
STEADY_LEASES = 3
# The counts are logged after this many requests or seconds.
REQUESTS_PER_LINE = 100
SECONDS_PER_LINE = 60
FUNCTION = os.environ.get("AWS_LAMBDA_FUNCTION_NAME", "")
# The source of requests without one: an address reserved for documentation.
UNKNOWN_SOURCE = "192.0.2.0"
HEADERS = {
    "content-type": "application/json",
    "cache-control": "no-store",
    "access-control-allow-origin": "*",
}
FAILURE_HEADERS = {"access-control-expose-headers": "Retry-After,x-request-id"}

log = logging.getLogger(__name__)


def lambda_handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    started = time.perf_counter()
    request_id = request_id_of(event, context)
    headers = HEADERS | {"x-request-id": request_id}
    try:
        status, response = 200, route(event)
    except Exception as error:
        refusal = refusal_of(error, request_id)
        status, response = refusal.status, {"error": str(refusal), "code": refusal.code}
        headers |= FAILURE_HEADERS
        if refusal.field is not None:
            response["field"] = refusal.field
        if refusal.retry_after is not None:
            # The time is random, so that clients that were rejected at the same time do not retry
            # at the same time.
            headers["retry-after"] = str(random.randint(refusal.retry_after, 2 * refusal.retry_after))
        if status == 405:
            headers["allow"] = "POST, OPTIONS"
    figures.record(event["resource"], status, time.perf_counter() - started)
    return {"statusCode": status, "headers": headers, "body": compact(response), "isBase64Encoded": False}


def route(event: dict[str, Any]) -> dict[str, Any]:
    handler = ROUTES.get(event["resource"])
    if handler is None:
        raise Refusal(404, "not_found", f"there is no path {event['resource'][:64]}")
    if event["httpMethod"] != "POST":
        raise Refusal(405, "method_not_allowed", f"{event['resource']} accepts POST, not {event['httpMethod']}")
    text = event["body"] or ""
    if event.get("isBase64Encoded"):
        text = parsed(bytes.decode, base64.b64decode(text))
    source = event["requestContext"]["identity"].get("sourceIp") or UNKNOWN_SOURCE
    return handler(text, source, time.time_ns() // 1_000_000)


def register(text: str, source: str, now: int) -> dict[str, Any]:
    registration = parsed(body.registration, text)
    address = body.canonical(source)
    observed = str(address)
    if registration.address is None:
        registration.address = observed
    token = peers.register(registration, source_of(address), now)
    return {
        "message": "Peer registered successfully",
        "peer_id": registration.peer_id,
        "ttl_expires": peers.timestamp(now + registration.ttl_seconds * 1_000),
        "ttl_seconds": registration.ttl_seconds,
        "heartbeat_interval_seconds": third_of(registration.ttl_seconds),
        "observed_address": observed,
        "lease_token": token,
    }


def heartbeat(text: str, source: str, now: int) -> dict[str, Any]:
    peer_id, lease_token = parsed(body.heartbeat, text)
    address = body.canonical(source)
    lease = peers.renew(peer_id, lease_token, source_of(address), now)
    steady = not lease.revived and now - lease.registered_at >= STEADY_LEASES * lease.ttl_seconds * 1_000
    return {
        "message": "Heartbeat updated",
        "peer_id": peer_id,
        "timestamp": peers.timestamp(now),
        "ttl_expires": peers.timestamp(now + lease.ttl_seconds * 1_000),
        "ttl_seconds": lease.ttl_seconds,
        "heartbeat_interval_seconds": next_interval(lease.ttl_seconds, steady),
        "observed_address": str(address),
    }


def parsed(read: Callable[[Any], Any], text: Any) -> Any:
    try:
        return read(text)
    except (ValueError, RecursionError) as error:
        raise Refusal(400, "invalid_body", f"the body is not a JSON object: {error}") from error


def third_of(ttl_seconds: int) -> int:
    """How long the peer should wait until the first heartbeat of a lease, in seconds: a third of
    the lease, but at most HEARTBEAT_INTERVAL_MAX_SECONDS."""
    return max(1, min(ttl_seconds // 3, HEARTBEAT_INTERVAL_MAX_SECONDS))


def next_interval(ttl_seconds: int, steady: bool) -> int:
    """How long the peer should wait until the next heartbeat, in seconds. The value is random, and
    larger for steady peers."""
    third = latest = third_of(ttl_seconds)
    if steady:
        latest = max(third, min((ttl_seconds - 1) // 2, HEARTBEAT_INTERVAL_MAX_SECONDS))
    earliest = max(latest - latest // JITTER_PART, min(HEARTBEAT_INTERVAL_MIN_SECONDS, third))
    return random.randint(earliest, latest)


def request_id_of(event: dict[str, Any], context: Any) -> str:
    """The request id of the gateway, or else of the invocation."""
    for name in (event["requestContext"].get("requestId"), context.aws_request_id):
        if name and VISIBLE.fullmatch(name):
            return str(name)
    return secrets.token_hex(8)


def refusal_of(error: Exception, request_id: str) -> Refusal:
    """The response to an error. The cause of an internal failure is only logged."""
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
    """Counts responses, and logs the counts when they are due."""

    def __init__(self) -> None:
        self.logged: Counter[str] = Counter()
        self.begin()

    def begin(self) -> None:
        self.responses: Counter[str] = Counter()
        self.sum = self.slowest = 0.0
        self.since, self.requests = time.monotonic(), 0

    def record(self, resource: str, status: int, seconds: float) -> None:
        name = "Failures" if status >= 500 else "Refusals" if status >= 400 else COUNTED[resource]
        self.responses[name] += 1
        self.requests += 1
        self.sum += seconds
        self.slowest = max(self.slowest, seconds)
        if self.requests >= REQUESTS_PER_LINE or time.monotonic() - self.since >= SECONDS_PER_LINE:
            self.write()
            self.begin()

    def write(self) -> None:
        line = {"FunctionName": FUNCTION, **dict.fromkeys(FIGURES, 0), **self.responses, "Requests": self.requests}
        line |= {"SumMillis": self.sum * 1e3, "SlowestMillis": self.slowest * 1e3}
        line |= {name: int(count - self.logged[name]) for name, count in table.counts.items()}
        self.logged = table.counts.copy()
        print(json.dumps(line), flush=True)


ROUTES = {"/register": register, "/heartbeat": heartbeat}
COUNTED = {"/register": "Registrations", "/heartbeat": "Heartbeats"}
FIGURES = ("Registrations", "Heartbeats", "Refusals", "Failures")
figures = Figures()

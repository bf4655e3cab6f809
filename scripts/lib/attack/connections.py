"""Attacks with many connections, with large headers, and with responses that the client does not
read."""

from __future__ import annotations

from dataclasses import dataclass

from lib.attack import http1, http2
from lib.attack.crowd import Plan
from lib.attack.kernel import held_by
from lib.attack.scene import Attack, Form, Scene

# About the smallest receive buffer that Linux grants, so that what the attacker does not read stays at
# the service.
SMALL_BUFFER = 4096
PAGE = "/discover?limit=1000"


LARGE_FIELD = b"v" * 3_900
# How many times the header block of a request refers to the large field. FEW is the largest number
# for which the HTTP/2 library does not close the connection. With MANY, the header block almost fills a
# frame.
FEW, MANY = 15, 12_000
BATCH = 64


@dataclass(frozen=True)
class HeaderFlood:
    """Batches of requests whose headers refer to one large field again and again."""

    references: int
    batch: int

    def __call__(self, number: int) -> bytes:
        block = http2.get("/health")
        if number == 0:
            block += http2.added_to_table(b"x", LARGE_FIELD)
            return http2.request(http2.stream_id(0), block + http2.INDEXED_ENTRY * self.references)
        block += http2.INDEXED_ENTRY * self.references
        first = (number - 1) * self.batch + 1
        return b"".join(http2.request(http2.stream_id(first + place), block) for place in range(self.batch))


class HeaderAmplification(Attack):
    def __init__(self, connections: int, references: int) -> None:
        self.name = f"hpack-{connections}" + ("-few" if references == FEW else "")
        self.title = f"{connections} connections whose requests refer {references:,} times to a 3.9 kB header (HPACK)"
        self._connections = connections
        self._message = HeaderFlood(references, BATCH if references == FEW else 1)

    def plans(self, form: Form) -> list[Plan]:
        return [
            Plan(
                ("10.50.0.1",),
                self._connections,
                opening=http2.opening(http2.DEFAULT_WINDOW),
                message=self._message,
                opens_per_second=2_000,
            )
        ]


class UnreadPages(Attack):
    name = "unread-pages"
    title = "1,500 connections of one address request pages of 1 MB and read nothing"
    # With packets of this size, the kernel accepts a whole page into its buffers, as it does after a
    # while for a distant client with a fast network.
    packet_bytes = 65_536

    def plans(self, form: Form) -> list[Plan]:
        return [
            Plan(
                ("10.50.0.1",),
                1_500,
                opening=http1.get(PAGE),
                reads=False,
                receive_buffer=SMALL_BUFFER,
                opens_per_second=1_500,
            )
        ]


class ConnectionFlood(Attack):
    name = "connection-flood"
    title = "one address opens all 3,000 connections, and opens them again when they are closed"
    max_connections = 3_000
    options = ("--max-connections", str(max_connections))

    def plans(self, form: Form) -> list[Plan]:
        return [Plan(("10.50.0.1",), self.max_connections, opens_per_second=6_000)]


class NetworkFlood(Attack):
    name = "network-flood"
    title = "250 addresses of one /24 open all 3,000 connections, and open them again when they are closed"
    max_connections = 3_000
    options = ("--max-connections", str(max_connections))
    sources = tuple(f"10.50.0.{host}" for host in range(1, 251))
    # One network may hold a quarter of all connections. The check also counts those that the service is
    # about to close, and permits half as many of them: three eighths in total. Without the limit per
    # network, the flood would hold all connections.
    share = max_connections * 3 // 8

    def plans(self, form: Form) -> list[Plan]:
        return [Plan(self.sources, self.max_connections, opens_per_second=6_000)]

    def observe(self, scene: Scene) -> None:
        held = held_by(scene.port, self.sources)
        scene.expect(held <= self.share, f"the network holds {held} connections; at most {self.share} are its share")


@dataclass(frozen=True)
class PageRequests:
    """Requests for pages, each on its own stream."""

    at_first: int = 32

    def __call__(self, number: int) -> bytes:
        if number == 0:
            return b"".join(self._request(stream) for stream in range(self.at_first))
        return self._request(self.at_first + number)

    def _request(self, stream: int) -> bytes:
        return http2.request(http2.stream_id(stream), http2.get(PAGE))


class StalledStreams(Attack):
    name = "stalled-streams"
    title = "8 sources with HTTP/2 windows of 0 request pages of 1 MB on 1,024 streams"
    discover = "/discover"

    def plans(self, form: Form) -> list[Plan]:
        sources = tuple(f"10.50.{network}.1" for network in range(8))
        return [Plan(sources, 32, opening=http2.opening(0), message=PageRequests(), pause=0.1)]

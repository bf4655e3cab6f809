"""An HTTP proxy in front of a service. On demand, it delays or refuses requests, and loses or rewrites
responses."""

from __future__ import annotations

import contextlib
import http.client
import re
import socket
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

# The time limit of a request to the service, in seconds: longer than any request of a scenario
# takes.
UPSTREAM_SECONDS = 60.0
INTERVAL = re.compile(rb'"heartbeat_interval_seconds":\d+')


@dataclass
class Fault:
    """What happens to the next requests for a path, or for any path if it is empty."""

    path: str = ""
    times: int = 1
    status: int | None = None
    """Respond with this status, without forwarding the request."""
    retry_after: int | None = None
    delay_seconds: float = 0.0
    """Wait before the request is forwarded."""
    lose_response: bool = False
    """Forward the request, and then close the connection without a response."""


@dataclass
class Seen:
    """A request that the proxy has received. Times are those of the monotonic clock."""

    path: str
    received: float
    responded: float | None = None
    """The time just before the first byte of the response was sent, so that a client cannot react
    earlier."""


@dataclass
class Proxy:
    """One endpoint. `upstream` may change while it runs."""

    upstream: str
    prefix: str = ""
    """The prefix of all paths of the endpoint."""
    heartbeat_interval: int | None = None
    """The interval that responses request in place of the service's own."""
    replace: tuple[str, str] = ("", "")
    """Text to replace in responses."""
    is_dead: bool = False
    """Connections are closed without a response."""
    seen: list[Seen] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._lock = threading.Condition()
        self._faults: list[Fault] = []
        self._is_held = False
        self._in_flight = 0
        self._connections: set[socket.socket] = set()
        handler = type("Handler", (_Handler,), {"proxy": self})
        self._server = _Server(("127.0.0.1", 0), handler)
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}{self.prefix}"

    def add(self, fault: Fault) -> None:
        with self._lock:
            self._faults.append(fault)

    def hold(self) -> None:
        """Holds new requests back, and returns when no earlier one is in progress, streams excepted."""
        with self._lock:
            self._is_held = True
            if not self._lock.wait_for(lambda: self._in_flight == 0, UPSTREAM_SECONDS):
                raise TimeoutError("a request did not end")

    def release(self) -> None:
        """Forwards the requests that are held back."""
        with self._lock:
            self._is_held = False
            self._lock.notify_all()

    def cut(self) -> None:
        """Closes all open connections."""
        with self._lock:
            for connection in self._connections:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self.release()
        self._server.shutdown()
        self._server.server_close()
        self.cut()

    # The methods below are called by the handler.

    def opened(self, connection: socket.socket) -> None:
        with self._lock:
            self._connections.add(connection)

    def closed(self, connection: socket.socket) -> None:
        with self._lock:
            self._connections.discard(connection)

    def begin(self, path: str, is_stream: bool) -> tuple[Seen, Fault]:
        """Records a request, and waits while requests are held back. Returns the record and the fault
        that applies to the request. Raises ConnectionAbortedError, and records nothing, if the endpoint
        is dead: it may have been killed while the request arrived."""
        with self._lock:
            if self.is_dead:
                raise ConnectionAbortedError
            seen = Seen(path, time.monotonic())
            self.seen.append(seen)
            self._lock.wait_for(lambda: not self._is_held)
            # A stream does not end, so `hold` must not wait for it.
            self._in_flight += not is_stream
            for fault in self._faults:
                if fault.path in ("", path):
                    fault.times -= 1
                    if fault.times == 0:
                        self._faults.remove(fault)
                    return seen, fault
        return seen, Fault()

    def end(self, is_stream: bool) -> None:
        with self._lock:
            self._in_flight -= not is_stream
            self._lock.notify_all()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Logs nothing: a client may close its connection."""


class _Handler(BaseHTTPRequestHandler):
    proxy: Proxy
    seen: Seen | None = None

    def setup(self) -> None:
        super().setup()
        self.proxy.opened(self.connection)

    def finish(self) -> None:
        self.proxy.closed(self.connection)
        with contextlib.suppress(OSError):
            super().finish()

    def do_GET(self) -> None:
        self._handle()

    def do_POST(self) -> None:
        self._handle()

    def log_message(self, format: str, *args: object) -> None:
        """Logs nothing: scenarios report what matters."""

    def _handle(self) -> None:
        if self.proxy.is_dead:
            return
        if not self.path.startswith(f"{self.proxy.prefix}/"):
            self._respond(404, {}, b"no such path")
            return
        path = self.path.removeprefix(self.proxy.prefix).partition("?")[0].strip("/")
        is_stream = path == "watch"
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        self.seen, fault = self.proxy.begin(path, is_stream)
        try:
            time.sleep(fault.delay_seconds)
            if fault.status is not None:
                self._refuse(fault.status, fault.retry_after)
            else:
                self._forward(body, is_stream, fault.lose_response)
        finally:
            self.proxy.end(is_stream)

    def _refuse(self, status: int, retry_after: int | None) -> None:
        headers = {} if retry_after is None else {"retry-after": str(retry_after)}
        self._respond(status, headers, b'{"error":"injected by the test","code":"unavailable"}')

    def _forward(self, body: bytes, is_stream: bool, lose_response: bool) -> None:
        upstream = http.client.HTTPConnection(self.proxy.upstream, timeout=UPSTREAM_SECONDS)
        try:
            upstream.request(self.command, self.path, body or None, {"content-type": "application/json"})
            response = upstream.getresponse()
            headers = {name: value for name, value in response.getheaders() if name in ("content-type", "retry-after")}
            if is_stream and response.status == 200:
                self._stream(response, headers)
            else:
                content = self._rewrite(response.read())
                if not lose_response:
                    self._respond(response.status, headers, content)
        except OSError:
            # The service is down, so the client gets no response.
            self.close_connection = True
        finally:
            upstream.close()

    def _stream(self, response: http.client.HTTPResponse, headers: dict[str, str]) -> None:
        self._head(200, headers)
        while chunk := response.read1(65_536):
            self.wfile.write(self._rewrite(chunk))

    def _rewrite(self, content: bytes) -> bytes:
        old, new = self.proxy.replace
        if old:
            content = content.replace(old.encode(), new.encode())
        if self.proxy.heartbeat_interval is not None:
            interval = f'"heartbeat_interval_seconds":{self.proxy.heartbeat_interval}'
            content = INTERVAL.sub(interval.encode(), content)
        return content

    def _respond(self, status: int, headers: dict[str, str], content: bytes) -> None:
        self._head(status, {**headers, "content-length": str(len(content))})
        self.wfile.write(content)

    def _head(self, status: int, headers: dict[str, str]) -> None:
        if self.seen:
            self.seen.responded = time.monotonic()
        # Each connection carries one request, as in HTTP/1.0.
        self.send_response_only(status)
        for name, value in {**headers, "connection": "close"}.items():
            self.send_header(name, value)
        self.end_headers()

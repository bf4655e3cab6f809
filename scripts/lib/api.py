"""A keep-alive client of the service's HTTP API."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

REQUEST_SECONDS = 30.0


@dataclass(frozen=True)
class Response:
    status: int
    headers: http.client.HTTPMessage
    body: Any


class Api:
    """One connection, opened when needed. Connection errors are raised as OSError or HTTPException."""

    def __init__(
        self, address: str, source: str | None = None, seconds: float = REQUEST_SECONDS, key: str | None = None
    ) -> None:
        """Sends requests from the local address `source` and with the API key `key`, if they are given,
        and waits at most `seconds` for each response."""
        self._headers = {"Content-Type": "application/json"}
        if key is not None:
            self._headers["Authorization"] = f"Bearer {key}"
        origin = None if source is None else (source, 0)
        self._connection = http.client.HTTPConnection(address, timeout=seconds, source_address=origin)

    def close(self) -> None:
        self._connection.close()

    def register(self, **registration: Any) -> Response:
        return self.call("POST", "/register", registration)

    def heartbeat(self, peer_id: str) -> Response:
        return self.call("POST", "/heartbeat", {"peer_id": peer_id})

    def deregister(self, peer_id: str) -> Response:
        return self.call("POST", "/deregister", {"peer_id": peer_id})

    def discover(self, **parameters: Any) -> Response:
        return self.call("GET", "/discover?" + urlencode(parameters))

    def health(self) -> Response:
        return self.call("GET", "/health")

    def all_peers(self) -> Iterator[dict[str, Any]]:
        """Every live peer, page by page."""
        parameters: dict[str, Any] = {"order": "all", "limit": 1000}
        while True:
            page = self.discover(**parameters)
            if page.status != 200:
                raise RuntimeError(f"/discover returned {page.status}: {page.body}")
            yield from page.body["peers"]
            if "next_cursor" not in page.body:
                return
            parameters["cursor"] = page.body["next_cursor"]

    def call(self, method: str, path: str, body: object = None) -> Response:
        status, headers, content = self.exchange(method, path, body)
        return Response(status, headers, json.loads(content) if content else None)

    def exchange(self, method: str, path: str, body: object = None) -> tuple[int, http.client.HTTPMessage, bytes]:
        """The status, the headers, and the body as received."""
        content = None if body is None else json.dumps(body).encode()
        try:
            self._connection.request(method, path, content, self._headers)
            response = self._connection.getresponse()
            return response.status, response.headers, response.read()
        except (OSError, http.client.HTTPException):
            self._connection.close()
            raise

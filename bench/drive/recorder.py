"""A proxy in front of a DynamoDB stand-in that records each call and the units billed for it."""

from __future__ import annotations

import http.client
import json
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

TARGET_HEADER = "X-Amz-Target"
BLOCKS_KEY = " blocks"
OPTIONS = ("ConsistentRead", "IndexName", "Limit", "ReturnValuesOnConditionCheckFailure")
# Placeholders of names and values in an expression. Their choice does not matter, so they are replaced
# before a comparison.
ALIAS = re.compile(r"#\w+")
VALUE = re.compile(r":\w+")


@dataclass
class Call:
    """One call to DynamoDB, and its response."""

    action: str
    request: dict[str, Any]
    response: dict[str, Any]

    @property
    def units(self) -> float:
        consumed = self.response.get("ConsumedCapacity") or []
        each = consumed if isinstance(consumed, list) else [consumed]
        return float(sum(one["CapacityUnits"] for one in each))

    @property
    def reads(self) -> bool:
        return self.action in ("GetItem", "BatchGetItem", "Query", "Scan")

    @property
    def reads_blocks(self) -> bool:
        """Whether the call reads the list of blocks."""
        return self.action == "GetItem" and self.request["Key"]["peer_id"]["S"] == BLOCKS_KEY

    def shape(self) -> Any:
        """The call without its values and placeholders, so that two calls with the same expressions
        and the same attributes are equal. A key condition keeps its values, which are the same for
        both functions: the lane of a source and the ends of the range."""
        names = self.request.get("ExpressionAttributeNames", {})
        values = self.request.get("ExpressionAttributeValues", {})
        expressions = {
            key: ALIAS.sub(lambda alias: names[alias[0]], self.request[key])
            for key in ("ConditionExpression", "UpdateExpression", "KeyConditionExpression")
            if key in self.request
        }
        for key, text in expressions.items():
            if key == "KeyConditionExpression":
                expressions[key] = VALUE.sub(lambda value: str(values[value[0]]), text)
            else:
                expressions[key] = VALUE.sub("?", text)
        options = {key: self.request.get(key) for key in OPTIONS}
        return self.action, expressions, options, [types(item) for item in self.items()]

    def items(self) -> list[dict[str, Any]]:
        """The items and the keys that the call contains."""
        items = [self.request[key] for key in ("Item", "Key") if key in self.request]
        for requests in self.request.get("RequestItems", {}).values():
            if self.action == "BatchGetItem":
                items += requests["Keys"]
            else:
                items += [request["PutRequest"]["Item"] for request in requests]
        return items


class Recorder(ThreadingHTTPServer):
    """Listens on loopback; functions use its address as DynamoDB's."""

    daemon_threads = True

    def __init__(self, endpoint: str) -> None:
        super().__init__(("127.0.0.1", 0), ProxyHandler)
        parts = urlsplit(endpoint)
        self.upstream = (parts.hostname or "", parts.port or 80)
        self.calls: list[Call] = []
        # Runs once, before the next put is passed on. This simulates another process that writes first.
        self.before_put: Callable[[], None] | None = None
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def take_calls(self) -> list[Call]:
        """Returns the calls since the last invocation of this method, and forgets them."""
        calls, self.calls = self.calls, []
        return calls

    def handle_error(self, request: object, client_address: object) -> None:
        """Logs nothing: a function that is killed breaks its connections."""

    def close(self) -> None:
        self.shutdown()
        self.server_close()


class ProxyHandler(BaseHTTPRequestHandler):
    """One connection of a function to its table."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1
    server: Recorder

    def setup(self) -> None:
        super().setup()
        self.upstream = http.client.HTTPConnection(*self.server.upstream)

    def finish(self) -> None:
        self.upstream.close()
        super().finish()

    def do_POST(self) -> None:
        sent = self.rfile.read(int(self.headers["Content-Length"]))
        action = self.headers[TARGET_HEADER].rpartition(".")[2]
        if action == "PutItem" and (change := self.server.before_put):
            self.server.before_put = None
            change()
        self.upstream.request("POST", "/", sent, dict(self.headers.items()))
        response = self.upstream.getresponse()
        body = response.read()
        self.server.calls.append(Call(action, json.loads(sent), json.loads(body)))
        self.send_response(response.status)
        for name in ("Content-Type", "x-amz-crc32", "x-amzn-RequestId"):
            if value := response.getheader(name):
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        """Logs nothing: the check has its own output."""


def types(item: dict[str, Any]) -> dict[str, list[str]]:
    return {name: list(value) for name, value in item.items()}

"""Runs functions as Lambda does: as processes that request events from a local Runtime API. Measures the
processor time that they use."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from drive.servers import Process

TIMEOUT_SECONDS = 30.0
LAMBDA_TIMEOUT_MS = 30_000
INVOCATION = "/2018-06-01/runtime/invocation/"


@dataclass(frozen=True)
class Function:
    """A program that Lambda would start, and its variables in addition to those that Lambda sets
    for every function."""

    name: str
    command: list[str]
    folder: Path
    settings: dict[str, str]


class RuntimeApi(ThreadingHTTPServer):
    """Lambda's Runtime API for one function: next, response, error, init error."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), RuntimeHandler)
        self.first_request_at: float | None = None
        self.requested = threading.Event()
        self.events: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self.responses: queue.SimpleQueue[Any] = queue.SimpleQueue()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def invoke(self, event: dict[str, Any]) -> dict[str, Any]:
        """Returns the function's response. A status other than 200 ends the benchmark."""
        response = self.response_to(event)
        if response.get("statusCode") != 200:
            raise SystemExit(f"{event['resource']}: the function responded {response}")
        return response

    def response_to(self, event: dict[str, Any]) -> dict[str, Any]:
        """Returns the function's response, whatever its status."""
        self.events.put(json.dumps(event).encode())
        response = self.responses.get(timeout=TIMEOUT_SECONDS)
        if not isinstance(response, dict):
            raise SystemExit(f"{event['resource']}: the function responded {response}")
        return response

    def handle_error(self, request: object, client_address: object) -> None:
        """Logs nothing: a function that is killed breaks its connections."""

    def close(self) -> None:
        self.events.put(None)
        self.shutdown()
        self.server_close()


class RuntimeHandler(BaseHTTPRequestHandler):
    """One connection of a function to its Runtime API."""

    protocol_version = "HTTP/1.1"
    # Buffers writes, so that head and body are sent together. Otherwise the body would wait for the
    # acknowledgement of the head.
    wbufsize = -1
    server: RuntimeApi

    def do_GET(self) -> None:
        if self.server.first_request_at is None:
            self.server.first_request_at = time.monotonic()
            self.server.requested.set()
        event = self.server.events.get()
        if event is None:
            return
        self.send_response(200)
        self.send_header("Lambda-Runtime-Aws-Request-Id", f"8476a536-e9f4-11e8-9739-{time.monotonic_ns():012x}")
        self.send_header("Lambda-Runtime-Deadline-Ms", str(int(time.time() * 1000) + LAMBDA_TIMEOUT_MS))
        self.send_header("Lambda-Runtime-Invoked-Function-Arn", "arn:aws:lambda:us-east-1:123456789012:function:a")
        self.send_header("Content-Type", "application/json")
        self.finish_with(event)

    def do_POST(self) -> None:
        self.server.responses.put(json.loads(self.body()))
        self.send_response(202)
        self.finish_with(b'{"status":"OK"}')

    def body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        chunks = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(chunks)

    def finish_with(self, body: bytes) -> None:
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        """Logs nothing: the benchmark has its own output."""


@contextmanager
def started(function: Function) -> Iterator[tuple[RuntimeApi, Process, float]]:
    """Starts the function. When it requests its first event, yields its Runtime API, its process, and
    the seconds since its start."""
    api = RuntimeApi()
    began = time.monotonic()
    process = subprocess.Popen(
        function.command,
        cwd=function.folder,
        env={**environment(api.server_port), **function.settings},
        stdout=subprocess.DEVNULL,
        text=True,
    )
    try:
        if not api.requested.wait(TIMEOUT_SECONDS) or api.first_request_at is None:
            raise SystemExit(f"{function.name} requested no event")
        yield api, Process(api.server_port, process), api.first_request_at - began
    finally:
        process.kill()
        process.wait()
        api.close()


def environment(port: int) -> dict[str, str]:
    """The environment that Lambda sets, with credentials that a stand-in does not check."""
    return {
        "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{port}",
        "AWS_LAMBDA_FUNCTION_NAME": "aurora-discovery-bench",
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "128",
        "AWS_LAMBDA_LOG_GROUP_NAME": "/aws/lambda/aurora-discovery-bench",
        "AWS_LAMBDA_LOG_STREAM_NAME": "bench",
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "local",
        "AWS_SECRET_ACCESS_KEY": "local",
        "PATH": os.environ["PATH"],
    }


def event(path: str, body: dict[str, Any] | str, source: str = "203.0.113.7", method: str = "POST") -> dict[str, Any]:
    """An event that a REST API sends to a function, in the format that AWS documents."""
    headers = {
        "Accept": "*/*",
        "Content-Type": "application/json",
        "Host": "70ixmpl4fl.execute-api.us-east-1.amazonaws.com",
    }
    headers |= {"User-Agent": "python-requests/2.32", "X-Forwarded-For": source, "X-Forwarded-Proto": "https"}
    return {
        "resource": path,
        "path": path,
        "httpMethod": method,
        "headers": headers,
        "multiValueHeaders": {name: [value] for name, value in headers.items()},
        "queryStringParameters": None,
        "multiValueQueryStringParameters": None,
        "pathParameters": None,
        "stageVariables": None,
        "requestContext": {
            "resourcePath": path,
            "httpMethod": method,
            "path": f"/dev{path}",
            "accountId": "123456789012",
            "protocol": "HTTP/1.1",
            "stage": "dev",
            "requestTimeEpoch": int(time.time() * 1000),
            "requestId": f"{time.monotonic_ns():08x}-e9f4-11e8-9739-2dfe598c3fcd",
            "identity": {"sourceIp": source, "userAgent": "python-requests/2.32"},
            "domainName": "70ixmpl4fl.execute-api.us-east-1.amazonaws.com",
            "apiId": "70ixmpl4fl",
        },
        "body": body if isinstance(body, str) else json.dumps(body),
        "isBase64Encoded": False,
    }


def create_table(endpoint: str, name: str) -> None:
    """Creates the table on a stand-in, with the keys and the index that the CloudFormation stack
    gives it."""
    index = {
        "IndexName": "LastSeenIndex",
        "KeySchema": keys("lane", "h"),
        "Projection": {"ProjectionType": "KEYS_ONLY"},
    }
    types = {"peer_id": "S", "lane": "S", "h": "B"}
    table = {
        "TableName": name,
        "BillingMode": "PAY_PER_REQUEST",
        "KeySchema": keys("peer_id"),
        "AttributeDefinitions": [{"AttributeName": name, "AttributeType": kind} for name, kind in types.items()],
        "GlobalSecondaryIndexes": [index],
    }
    dynamodb(endpoint, "CreateTable", table)


def dynamodb(endpoint: str, action: str, body: dict[str, Any]) -> Any:
    """Calls a DynamoDB stand-in and returns its response."""
    headers = {
        "X-Amz-Target": f"DynamoDB_20120810.{action}",
        "Content-Type": "application/x-amz-json-1.0",
        "Authorization": "AWS4-HMAC-SHA256 Credential=local/20260101/us-east-1/dynamodb/aws4_request, "
        "SignedHeaders=host, Signature=0",
    }
    request = urllib.request.Request(endpoint, json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as response:
        return json.load(response)


def keys(hashed: str, ranged: str | None = None) -> list[dict[str, str]]:
    schema = [{"AttributeName": hashed, "KeyType": "HASH"}]
    return schema + ([{"AttributeName": ranged, "KeyType": "RANGE"}] if ranged else [])

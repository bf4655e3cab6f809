"""Requests and responses of HTTP/1.1 as bytes, so that clients spend little processor time."""

from __future__ import annotations

import json

HEAD_END = b"\r\n\r\n"


def get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nhost: a\r\n\r\n".encode()


def post(path: str, body: object) -> bytes:
    content = json.dumps(body).encode()
    return f"POST {path} HTTP/1.1\r\nhost: a\r\ncontent-length: {len(content)}\r\n\r\n".encode() + content


def registration(peer: str, metadata: str = "", **keys: object) -> bytes:
    return post("/register", {"peer_id": peer, "port": 9000, "metadata": {"text": metadata}, **keys})


def response_length(received: bytes) -> int | None:
    """The length of the first response in `received`, or None while it is incomplete."""
    head, found, _ = received.partition(HEAD_END)
    if not found:
        return None
    length = len(head) + len(HEAD_END) + content_length(head)
    return length if len(received) >= length else None


def content_length(head: bytes) -> int:
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line.partition(b":")[2])
    return 0


def status(response: bytes) -> int:
    return int(response[9:12])


def body(response: bytes) -> bytes:
    return response.partition(HEAD_END)[2]

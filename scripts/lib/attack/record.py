"""Signed registrations, made without the project's own code."""

from __future__ import annotations

import base64
import hashlib
import json
import time

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"


class Key:
    """The Ed25519 key whose seed consists of 32 times the byte `seed`."""

    def __init__(self, seed: int) -> None:
        self._private = Ed25519PrivateKey.from_private_bytes(bytes([seed] * 32))
        self.did = did(self._private.public_key().public_bytes_raw())

    def sign(self, kind: str, payload: dict[str, object], kid: str | None = None) -> str:
        """A compact JWS, signed with this key. Its header names this key, or `kid` if that is given."""
        header = {"alg": "Ed25519", "typ": kind, "kid": kid or self.did}
        message = f"{b64(json.dumps(header).encode())}.{b64(json.dumps(payload).encode())}"
        return f"{message}.{b64(self._private.sign(message.encode()))}"


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def did(public: bytes) -> str:
    number, text = int.from_bytes(b"\xed\x01" + public, "big"), ""
    while number:
        number, digit = divmod(number, 58)
        text = ALPHABET[digit] + text
    return f"did:key:z{text}"


def record(key: Key, peer: str, token: str, kid: str | None = None, **more: object) -> str:
    """A signed registration, made now."""
    payload = {"peer_id": peer, "seq": sequence(), "iat": int(time.time()), "token_hash": token_hash(token), **more}
    return key.sign("aurora-peer+jws", payload, kid)


def rotation(old: Key, peer: str, new: Key, seq: int, kid: str | None = None) -> str:
    """The statement, signed by the old key, that the new key replaces it. It is valid only for the
    record with this sequence number."""
    return old.sign("aurora-rotation+jws", {"peer_id": peer, "key": new.did, "seq": seq}, kid)


def sequence() -> int:
    return int(time.time()) * 1_000


def token_hash(token: str) -> str:
    return b64(hashlib.sha256(token.encode()).digest())

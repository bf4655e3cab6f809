"""Compact JWS (RFC 7515), restricted to what signed registrations and messages may use."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from ._did_key import public_bytes
from ._encoding import base64url, from_base64url
from ._json import parse_signed
from .errors import InvalidRecordError
from .secret_key import SecretKey

# The prime of the field of Ed25519.
_P = 2**255 - 19


@dataclass(frozen=True)
class Jws:
    """A JWS whose signature is verified."""

    key: str
    """The key that signed, a `did:key`."""
    payload: bytes


def sign(payload: bytes, typ: str, key: SecretKey) -> str:
    """The JWS of a payload, of the type `typ`."""
    header = json.dumps({"alg": "Ed25519", "typ": typ, "kid": key.public_key}, separators=(",", ":"))
    signed = f"{base64url(header.encode())}.{base64url(payload)}"
    return f"{signed}.{base64url(key.sign(signed.encode()))}"


def verify(text: str, typ: str, subject: str = "signed registration") -> Jws:
    """Verifies a JWS of the type `typ` by the key that its header names.

    Raises InvalidRecordError if it is malformed, has another type, or its signature is wrong. The
    message of the error calls the JWS `subject`.
    """
    if not isinstance(text, str):
        raise InvalidRecordError("is not a text", subject)
    try:
        header_text, payload_text, signature_text = text.split(".")
        header = parse_signed(from_base64url(header_text))
        payload, signature = from_base64url(payload_text), from_base64url(signature_text)
    except ValueError as error:
        raise InvalidRecordError(f"is not a compact JWS ({error})", subject) from None
    try:
        key = _key_of(header, typ)
    except ValueError as error:
        raise InvalidRecordError(str(error), subject) from None
    signed = text.rpartition(".")[0].encode()
    if not _verifies(public_bytes(key), signed, signature):
        raise InvalidRecordError("has a signature that is not by the key that its kid names", subject)
    return Jws(key, payload)


def _key_of(header: dict[str, Any], typ: str) -> str:
    """The key that a header names. Raises ValueError if the header is not accepted."""
    if "crit" in header:
        raise ValueError("has crit in its header, and no extension is supported")
    # RFC 9864 has replaced the name EdDSA by Ed25519, but older libraries still write EdDSA.
    if header.get("alg") not in ("Ed25519", "EdDSA"):
        raise ValueError("has another alg than Ed25519 in its header")
    if header.get("typ") != typ:
        raise ValueError(f"has another typ than {typ} in its header")
    key = header.get("kid")
    try:
        public_bytes(key if isinstance(key, str) else "")
    except ValueError:
        raise ValueError("has no kid in its header that is the did:key of an Ed25519 key") from None
    return str(key)


def _verifies(public: bytes, message: bytes, signature: bytes) -> bool:
    from ._ed25519 import Ed25519PublicKey, InvalidSignature

    if _is_of_small_order(public) or _is_of_small_order(signature[:32]):
        return False
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def _is_of_small_order(point: bytes) -> bool:
    """Whether a point has small order, that is, eight times the point is the neutral element. With such
    a key, one signature is valid for many messages. OpenSSL accepts these keys.

    The y coordinates of these points are 0 (order 4), 1 and -1 (orders 1 and 2), and the roots of
    d y^4 + 2 y^2 - 1 (order 8), with d = -121665/121666.
    """
    y = int.from_bytes(point, "little") & (2**255 - 1)
    return y * (y**2 - 1) * (121_666 * (2 * y**2 - 1) - 121_665 * y**4) % _P == 0

"""Signed registrations of peers, as readers verify them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Self

from . import _jws
from ._encoding import from_base64url
from ._json import parse_signed
from .errors import InvalidRecordError

RECORD_TYPE = "aurora-peer+jws"
ROTATION_TYPE = "aurora-rotation+jws"
# The largest integer that every JSON parser reads exactly.
_MAX_INTEGER = 2**53 - 1
# The last second that `datetime` can represent.
_LATEST = 253_402_300_799
_PEER_ID = re.compile(r"[\x21-\x7e]{1,128}")


@dataclass(frozen=True)
class SignedRecord:
    """A signed registration whose signature has been verified. Its values are those that the peer itself
    has signed. The other values of a listed peer come from the service."""

    text: str = field(repr=False)
    """The compact JWS, as the peer signed it."""
    signed_by: str
    """The key that signed, a `did:key`."""
    peer_id: str
    seq: int
    """The sequence number of this record. A later record of the same peer has a higher one."""
    address: str | None = None
    """None if the service lists the address that it sees."""
    port: int = 0
    """0 means that the peer does not accept connections."""
    archetypes: tuple[str, ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)
    metadata_text: str = "{}"
    """The metadata as the peer wrote it, with every digit."""
    issued_at: datetime | None = None
    """When the record was signed, by the clock of the peer. None if the peer has signed a nonce of the
    service instead, because its clock was wrong."""
    audience: str | None = None
    """The service that the record is for, if it names one."""
    replaces: str | None = None
    """The old key that `signed_by` replaces. It has signed the replacement."""
    mail: bool = False
    """Whether the peer has a mailbox."""

    @classmethod
    def verify(cls, text: str) -> Self:
        """Verifies a record, such as `peer.signed` of the full view.

        Raises InvalidRecordError if the signature is not by the key that the record names, or if the
        service could not have accepted the record.
        """
        jws = _jws.verify(text, RECORD_TYPE)
        try:
            payload = parse_signed(jws.payload)
        except ValueError as error:
            raise InvalidRecordError(f"has a malformed payload ({error})") from None
        _check(payload)
        replaces = payload.get("replaces")
        return cls(
            text=text,
            signed_by=jws.key,
            peer_id=payload["peer_id"],
            seq=payload["seq"],
            address=payload.get("address"),
            port=payload.get("port") or 0,
            archetypes=tuple(payload.get("archetypes") or ()),
            metadata=payload.get("metadata") or {},
            metadata_text=payload["metadata_text"],
            mail=payload.get("mail") is True,
            issued_at=_time(payload.get("iat")),
            audience=payload.get("aud"),
            replaces=None if replaces is None else _old_key(replaces, payload, jws.key),
        )


def _check(payload: dict[str, Any]) -> None:
    def require(name: str, holds: bool) -> None:
        if not holds:
            raise InvalidRecordError(f"has a payload whose {name} breaks its rule")

    def is_optional(name: str, kind: type) -> bool:
        return payload.get(name) is None or isinstance(payload[name], kind)

    require("lease_token", "lease_token" not in payload)
    require("peer_id", isinstance(payload.get("peer_id"), str) and bool(_PEER_ID.fullmatch(payload["peer_id"])))
    require("seq", _is_integer(payload.get("seq"), _MAX_INTEGER))
    require("port", payload.get("port") is None or _is_integer(payload["port"], 65_535))
    archetypes = payload.get("archetypes") or []
    require("archetypes", isinstance(archetypes, list) and all(isinstance(one, str) for one in archetypes))
    require("metadata", is_optional("metadata", dict))
    for name in ("address", "aud", "nonce", "replaces"):
        require(name, is_optional(name, str))
    require("token_hash", _is_hash(payload.get("token_hash")))
    is_dated = payload.get("iat") is not None
    require("iat", is_dated != (payload.get("nonce") is not None))
    require("iat", not is_dated or _is_integer(payload["iat"], _LATEST))


def _is_integer(value: object, highest: int) -> bool:
    return type(value) is int and 0 <= value <= highest


def _time(seconds: int | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def _is_hash(value: object) -> bool:
    try:
        return isinstance(value, str) and len(from_base64url(value)) == 32
    except ValueError:
        return False


def _old_key(text: str, record: dict[str, Any], new_key: str) -> str:
    """Verifies a statement of an old key, which says that `new_key` replaces it in this record.
    Returns the old key. Raises InvalidRecordError if the signature is wrong, or if the statement is
    for another record."""
    rotation = _jws.verify(text, ROTATION_TYPE)
    try:
        payload = parse_signed(rotation.payload)
    except ValueError as error:
        raise InvalidRecordError(f"has a malformed statement in replaces ({error})") from None
    named = (payload.get("peer_id"), payload.get("key"), payload.get("seq"))
    if named != (record["peer_id"], new_key, record["seq"]):
        raise InvalidRecordError("replaces a key by a statement for another record")
    return rotation.key

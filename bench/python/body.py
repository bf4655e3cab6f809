"""Parses request bodies by the rules of the API. A body is validated as a whole before anything changes."""

from __future__ import annotations

import ipaddress
import json
import math
import re
import unicodedata
from dataclasses import dataclass
from typing import Any

MAX_BODY_BYTES = 16 * 1024
MAX_ARCHETYPES = 32
# The default on a table, where each archetype costs two write units.
MAX_ARCHETYPES_ON_TABLE = 8
MAX_ARCHETYPES_BYTES = 1024
MAX_METADATA_BYTES = 4096
MAX_METADATA_LEVELS = 16
TTL_SECONDS = 300
TTL_BOUNDS = (30, 3600)
# Keys of the API that no request of the benchmark has.
OMITTED = ("discover", "mail", "peer_ids", "signed", "token_only")

VISIBLE = re.compile(r"[!-~]{1,128}")
# Characters that are not shown, or that change the order in which others are shown. Joiners are refused
# at the ends only.
INVISIBLE = r"\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\u00ad\u200b\u2060\ufeff"
JOINERS = r"\u200c\u200d"
# 1 to 64 characters, no control characters, no invisible ones, no white space at the ends.
ARCHETYPE = re.compile(rf"(?=[^\s{JOINERS}])[^\x00-\x1f\x7f-\x9f{INVISIBLE}]{{1,64}}(?<=[^\s{JOINERS}])")
LABEL = r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)"
# Excludes names whose last label is a number, because resolvers read these as IPv4 addresses.
NAME = re.compile(rf"(?=.{{1,253}}\Z)(?:{LABEL}\.)*(?!(?:[0-9]+|0[xX][0-9A-Fa-f]*)\.?\Z){LABEL}\.?")
OPENING = re.compile(r"[ \t\n\r]*\{[ \t\n\r]*")
COLON = re.compile(r"[ \t\n\r]*:[ \t\n\r]*")
NEXT = re.compile(r"[ \t\n\r]*([,}])[ \t\n\r]*")
BROADCAST = ipaddress.IPv4Address("255.255.255.255")

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class Refusal(Exception):
    """An error response."""

    def __init__(
        self, status: int, code: str, message: str, field: str | None = None, retry_after: int | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.field, self.retry_after = status, code, field, retry_after


@dataclass(slots=True)
class Registration:
    """What a peer publishes, the lease it requests, and its proof that it is the holder."""

    peer_id: str
    # `None` means the source address of the request.
    address: str | None
    port: int
    archetypes: list[str]
    # The original text.
    metadata: str
    ttl_seconds: int
    lease_token: str | None


class RepeatedKey(ValueError):
    """A JSON object has the same key twice."""


class NumberTooLarge(ValueError):
    """A number does not fit a double."""


def registration(body: str) -> Registration:
    fields = entries(body)
    peer_id = checked_id(fields)
    address = fields.get("address")
    port = fields.get("port")
    archetypes = fields.get("archetypes")
    metadata = fields.get("metadata")
    ttl_seconds = fields.get("ttl_seconds")
    lease_token = fields.get("lease_token")
    checked = Registration(
        peer_id,
        None if address is None else checked_address(address[0]),
        0 if port is None else integer("port", port[0], 0, 65_535),
        [] if archetypes is None else checked_archetypes(archetypes[0]),
        "{}" if metadata is None else checked_metadata(*metadata),
        TTL_SECONDS if ttl_seconds is None else integer("ttl_seconds", ttl_seconds[0], *TTL_BOUNDS),
        None if lease_token is None else checked_token(lease_token[0]),
    )
    refuse_omitted(fields)
    return checked


def heartbeat(body: str) -> tuple[str, str | None]:
    """The id of the peer to renew, and its lease token."""
    fields = entries(body)
    lease_token = fields.get("lease_token")
    checked = checked_id(fields), None if lease_token is None else checked_token(lease_token[0])
    refuse_omitted(fields)
    return checked


def entries(body: str) -> dict[str, tuple[Any, str]]:
    """The value and the original text of each key of a JSON object. A `null` counts as absent."""
    if len(body.encode()) > MAX_BODY_BYTES:
        raise Refusal(413, "body_too_large", f"the body must be at most {MAX_BODY_BYTES} bytes")
    found: dict[str, tuple[Any, str]] = {}
    at = after(OPENING, body, 0)
    if body.startswith("}", at):
        expect_end(body, at + 1)
        return found
    while True:
        key, at = JSON.raw_decode(body, at)
        if not isinstance(key, str):
            raise ValueError("a key must be a string")
        start = after(COLON, body, at)
        value, at = read(key, body, start)
        if key in found:
            raise ValueError(f"it has the key {key[:64]!r} twice")
        found[key] = (value, body[start:at])
        separator = NEXT.match(body, at)
        if separator is None:
            raise ValueError(f"a comma or a closing brace is missing at position {at}")
        at = separator.end()
        if separator[1] == "}":
            expect_end(body, at)
            return {key: entry for key, entry in found.items() if entry[0] is not None}


def read(key: str, body: str, start: int) -> tuple[Any, int]:
    try:
        return (JSON_WITHOUT_REPEATED_KEYS if key == "metadata" else JSON).raw_decode(body, start)
    except RepeatedKey as error:
        raise invalid(key, "must not repeat a key within one object") from error
    except NumberTooLarge as error:
        raise invalid(key[:64], "must not contain a number beyond the range of a double") from error


def after(pattern: re.Pattern[str], body: str, at: int) -> int:
    match = pattern.match(body, at)
    if match is None:
        raise ValueError(f"{body[at : at + 1]!r} is unexpected at position {at}")
    return match.end()


def expect_end(body: str, at: int) -> None:
    if body[at:].strip(" \t\n\r"):
        raise ValueError(f"unexpected text after the object, at position {at}")


def checked_id(fields: dict[str, tuple[Any, str]]) -> str:
    if "peer_id" not in fields:
        raise invalid("peer_id", "is required")
    peer_id = fields["peer_id"][0]
    if not isinstance(peer_id, str) or not VISIBLE.fullmatch(peer_id):
        raise invalid("peer_id", "must be 1 to 128 visible ASCII characters, without spaces")
    return peer_id


def checked_address(text: Any) -> str | None:
    """The address to publish; `None` means the source address of the request."""
    if not isinstance(text, str):
        raise invalid("address", "must be a string of valid Unicode")
    if not text:
        return None
    try:
        address = canonical(text)
    except ValueError:
        if not NAME.fullmatch(text):
            rule = "must be an IPv4 address, an IPv6 address or a DNS name, without a port"
            raise invalid("address", rule) from None
        return text
    if address.is_unspecified:
        return None
    if address.is_link_local:
        raise invalid("address", "must not be a link-local address: it is not reachable from other networks")
    if address.is_multicast or address == BROADCAST:
        raise invalid("address", "must be the address of one host, not a multicast or broadcast address")
    return str(address)


def canonical(text: str) -> Address:
    """An IP address. An IPv4-mapped IPv6 address is converted to IPv4."""
    address = ipaddress.ip_address(text)
    if address.version == 4:
        return address
    if address.scope_id is not None:
        raise ValueError("an address with a zone means nothing on another machine")
    return address.ipv4_mapped or address


def checked_archetypes(names: Any) -> list[str]:
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise invalid("archetypes", "must be a list of strings")
    if len(names) > MAX_ARCHETYPES:
        raise invalid("archetypes", f"must contain at most {MAX_ARCHETYPES} archetypes")
    try:
        size = len("".join(names).encode())
    except UnicodeEncodeError:
        raise invalid("archetypes", "must be a list of strings") from None
    if size > MAX_ARCHETYPES_BYTES:
        raise invalid("archetypes", f"must contain at most {MAX_ARCHETYPES_BYTES} bytes in total")
    if not all(map(ARCHETYPE.fullmatch, names)):
        rule = "must hold 1 to 64 visible characters each, and no white space at the ends"
        raise invalid("archetypes", rule)
    distinct: dict[str, str] = {}
    for name in names:
        distinct.setdefault(normal(name), name)
    if len(distinct) > MAX_ARCHETYPES_ON_TABLE:
        raise invalid("archetypes", f"must have at most {MAX_ARCHETYPES_ON_TABLE} archetypes on this service")
    return list(distinct.values())


def normal(archetype: str) -> str:
    """The form in which archetypes are compared."""
    return unicodedata.normalize("NFC", archetype)


def checked_metadata(value: Any, text: str) -> str:
    if not isinstance(value, dict):
        raise invalid("metadata", "must be a JSON object")
    if len(text.encode()) > MAX_METADATA_BYTES:
        raise invalid("metadata", f"must be at most {MAX_METADATA_BYTES} bytes of JSON")
    # A value cannot be nested deeper than its number of opening brackets. Most values have few brackets,
    # so their depth need not be computed.
    if text.count("{") + text.count("[") > MAX_METADATA_LEVELS and levels(value) > MAX_METADATA_LEVELS:
        raise invalid("metadata", f"must be nested at most {MAX_METADATA_LEVELS} levels deep")
    if "\\u" in text:
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            raise invalid("metadata", "must be valid Unicode, without lone surrogates") from None
    return text


def levels(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + max(map(levels, value.values()), default=0)
    return 1 + max(map(levels, value), default=0) if isinstance(value, list) else 0


def checked_token(token: Any) -> str:
    if not isinstance(token, str) or not VISIBLE.fullmatch(token):
        raise invalid("lease_token", "must be a lease_token that a registration returned")
    return token


def integer(field: str, value: Any, least: int, most: int) -> int:
    """An integer in any notation: in JSON, 9000.0 is an integer."""
    if type(value) is float and value.is_integer():
        value = int(value)
    if type(value) is not int or not least <= value <= most:
        raise invalid(field, f"must be an integer from {least} to {most}")
    return value


def refuse_omitted(fields: dict[str, tuple[Any, str]]) -> None:
    for key in OMITTED:
        if key in fields:
            raise Refusal(501, "not_available_here", f"{key} is not part of this comparison")


def invalid(field: str, rule: str) -> Refusal:
    return Refusal(400, "invalid_field", f"{field} {rule}", field)


def reject_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def reject_repeated_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    together = dict(pairs)
    if len(together) != len(pairs):
        raise RepeatedKey
    return together


def finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise NumberTooLarge
    return number


def finite_integer(text: str) -> int:
    finite(text)
    return int(text)


JSON = json.JSONDecoder(parse_constant=reject_constant, parse_float=finite, parse_int=finite_integer)
JSON_WITHOUT_REPEATED_KEYS = json.JSONDecoder(
    parse_constant=reject_constant,
    parse_float=finite,
    parse_int=finite_integer,
    object_pairs_hook=reject_repeated_keys,
)

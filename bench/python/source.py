"""The sources of requests: an IPv4 address, or the /64 of an IPv6 address, because a subscriber gets a
whole /64.

A source is nine bytes: one for the kind, which is 4 or 6, and eight for the address.
"""

from __future__ import annotations

import ipaddress

from body import Address

SOURCE_BYTES = 9


def source_of(address: Address) -> bytes:
    if address.version == 4:
        return b"\x04" + bytes(4) + address.packed
    return b"\x06" + address.packed[:8]


def text_of(source: bytes) -> str:
    """The source as the keys of items contain it."""
    if source[0] == 4:
        return str(ipaddress.IPv4Address(source[5:]))
    return f"{ipaddress.IPv6Address(source[1:] + bytes(8))}/64"


def is_loopback(source: bytes) -> bool:
    return source[5] == 127 if source[0] == 4 else source[1:] == bytes(8)


def is_near(one: bytes, other: bytes) -> bool:
    """Whether both sources are in the same IPv4 /24 or IPv6 /48."""
    shared = 8 if one[0] == 4 else 7
    return one[:shared] == other[:shared]


def wide_network(source: bytes) -> bytes:
    """The IPv4 /16 or the IPv6 /32, in eight bytes."""
    return b"\0\0\0\1\0\0" + source[5:7] if source[0] == 4 else bytes(4) + source[1:5]

"""Frames of HTTP/2 as bytes: only the parts of the protocol that the attacks need."""

from __future__ import annotations

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HEADERS, SETTINGS, WINDOW_UPDATE = 1, 4, 8
END_STREAM_AND_HEADERS = 0x5
INITIAL_WINDOW_SIZE = 4
MAX_WINDOW = (1 << 31) - 1
DEFAULT_WINDOW = 65_535
# A reference to the first entry of the dynamic table, as one byte.
INDEXED_ENTRY = b"\xbe"
METHOD_GET, SCHEME_HTTP = b"\x82", b"\x86"


def opening(stream_window: int) -> bytes:
    """The start of a connection whose streams have this window. The connection's own window has the maximum
    size."""
    settings = INITIAL_WINDOW_SIZE.to_bytes(2, "big") + stream_window.to_bytes(4, "big")
    window = (MAX_WINDOW - DEFAULT_WINDOW).to_bytes(4, "big")
    return PREFACE + frame(SETTINGS, 0, 0, settings) + frame(WINDOW_UPDATE, 0, 0, window)


def request(stream: int, block: bytes) -> bytes:
    return frame(HEADERS, END_STREAM_AND_HEADERS, stream, block)


def stream_id(number: int) -> int:
    """The id of a client's `number`th stream, from 0."""
    return 2 * number + 1


def get(path: str) -> bytes:
    """The header block of a GET request. It does not change the dynamic table."""
    return METHOD_GET + SCHEME_HTTP + b"\x04" + string(path.encode()) + b"\x01" + string(b"a")


def added_to_table(name: bytes, value: bytes) -> bytes:
    """A header field that is added to the dynamic table as its first entry."""
    return b"\x40" + string(name) + string(value)


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def string(text: bytes) -> bytes:
    return integer(len(text), 7) + text


def integer(value: int, prefix_bits: int) -> bytes:
    """An integer as HPACK writes it after a prefix (RFC 7541, 5.1)."""
    largest = (1 << prefix_bits) - 1
    if value < largest:
        return bytes([value])
    encoded = [largest]
    value -= largest
    while value >= 128:
        encoded.append(value % 128 + 128)
        value //= 128
    return bytes([*encoded, value])

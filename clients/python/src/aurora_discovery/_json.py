"""Parses responses, and keeps the metadata of peers as the text that they wrote."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

_DECODER = json.JSONDecoder()
_SPACE = re.compile(r"[ \t\n\r]*")
# The lists of a response whose elements are peers.
_LISTS = frozenset({"peers", "joined", "changed"})


def parse_response(body: bytes) -> dict[str, Any]:
    """The JSON object in `body`. Each peer with metadata in its lists gets a key `metadata_text`,
    with the text of the metadata.

    Raises ValueError if `body` is not a JSON object, or a peer in its lists is not one.
    """
    text, value = _parse(body)
    for key, start in _members(text, 0):
        if key in _LISTS and isinstance(value[key], list):
            for peer, at in zip(value[key], _elements(text, start), strict=True):
                _add_metadata_text(peer, text, at)
    return value


def parse_peer(body: bytes) -> dict[str, Any]:
    """The peer in `body`, with a key `metadata_text` if it has metadata.

    Raises ValueError if `body` is not a JSON object.
    """
    text, value = _parse(body)
    _add_metadata_text(value, text, 0)
    return value


def parse_signed(body: bytes) -> dict[str, Any]:
    """The JSON object in `body`, which a peer has signed. The object gets a key `metadata_text`
    with the text of its metadata.

    Raises ValueError if `body` is not a JSON object, or if the object repeats a key. JSON parsers
    differ in which of the values of a repeated key they take.
    """
    text, value = _parse(body)
    keys = [key for key, _ in _members(text, 0)]
    if len(keys) != len(value):
        raise ValueError("a repeated key")
    value["metadata_text"] = "{}"
    _add_metadata_text(value, text, 0)
    return value


def _parse(body: bytes) -> tuple[str, dict[str, Any]]:
    text = body.decode().strip(" \t\n\r")
    try:
        value = json.loads(text)
    except RecursionError:
        raise ValueError("too many levels of nesting") from None
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")
    return text, value


def _add_metadata_text(peer: object, text: str, at: int) -> None:
    if not isinstance(peer, dict):
        raise ValueError("a peer that is not a JSON object")
    for key, start in _members(text, at):
        if key == "metadata":
            peer["metadata_text"] = text[start : _DECODER.raw_decode(text, start)[1]]


# `json.loads` has already accepted the text, so the functions below do not check its syntax.


def _members(text: str, at: int) -> Iterator[tuple[str, int]]:
    """The keys of the object at `at`, and where their values start."""
    at = _skip_space(text, at + 1)
    while text[at] != "}":
        key, colon = _DECODER.raw_decode(text, at)
        start = _skip_space(text, _skip_space(text, colon) + 1)
        yield key, start
        at = _next(text, start)


def _elements(text: str, at: int) -> Iterator[int]:
    """Where the elements of the array at `at` start."""
    at = _skip_space(text, at + 1)
    while text[at] != "]":
        yield at
        at = _next(text, at)


def _next(text: str, at: int) -> int:
    """Where the element or key after the value at `at` starts, or the end of the container."""
    end = _skip_space(text, _DECODER.raw_decode(text, at)[1])
    return _skip_space(text, end + 1) if text[end] == "," else end


def _skip_space(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    assert found  # the pattern also matches the empty text
    return found.end()

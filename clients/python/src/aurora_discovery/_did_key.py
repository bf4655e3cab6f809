"""`did:key`, the text of an Ed25519 public key."""

from __future__ import annotations

_ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
# The DID method `key`, and `z`, which marks the text after it as base58btc.
_PREFIX = "did:key:z"
# The multicodec of an Ed25519 public key, as a varint.
_MULTICODEC = b"\xed\x01"
_LENGTH = len(_MULTICODEC) + 32


def did_key(public: bytes) -> str:
    """The text of a public key of 32 bytes."""
    # The first byte is not zero, so the digits of the number represent all bytes.
    number = int.from_bytes(_MULTICODEC + public, "big")
    digits = ""
    while number:
        number, digit = divmod(number, len(_ALPHABET))
        digits = _ALPHABET[digit] + digits
    return _PREFIX + digits


def public_bytes(text: str) -> bytes:
    """The 32 bytes of a `did:key` of an Ed25519 key.

    Raises ValueError for any other text.
    """
    number = 0
    # No valid text is longer. The limit bounds the time that decoding an invalid text takes.
    for character in text.removeprefix(_PREFIX)[: 2 * _LENGTH]:
        number = number * len(_ALPHABET) + _ALPHABET.index(character)
    data = number.to_bytes(_LENGTH, "big") if number.bit_length() <= 8 * _LENGTH else b""
    if not data.startswith(_MULTICODEC) or did_key(data.removeprefix(_MULTICODEC)) != text:
        raise ValueError("not the did:key of an Ed25519 key")
    return data.removeprefix(_MULTICODEC)

"""base64url without padding, as JWS writes it."""

from __future__ import annotations

import base64


def base64url(data: bytes) -> str:
    """`data` as text."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def from_base64url(text: str) -> bytes:
    """The bytes of a text.

    Raises ValueError for a text that `base64url` would not write. Each sequence of bytes therefore has
    exactly one valid text.
    """
    data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    if base64url(data) != text:
        raise ValueError("not base64url without padding")
    return data

"""Messages between peers, as senders sign and receivers verify them."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import Self

from . import _jws
from ._json import parse_signed
from .errors import InvalidRecordError
from .secret_key import SecretKey

MESSAGE_TYPE = "aurora-mail+jws"


@dataclass(frozen=True)
class SignedMessage:
    """A message whose signature has been verified. The caller compares the names, the key and the time with
    what it expects."""

    signed_by: str
    """The key that signed, a `did:key`."""
    sender: str
    to: str
    sid: str
    """The session that the message is part of."""
    kind: str
    """What the message is, such as `offer`. Its key is `type`."""
    sdp: str
    """The session description."""
    issued_at: int
    """When it was signed, in seconds since the Unix epoch."""

    @staticmethod
    def sign(
        key: SecretKey, *, sender: str, to: str, sid: str, kind: str, sdp: str, issued_at: int | None = None
    ) -> str:
        """Signs a message, for `Client.mail`. `sid` has 16 to 64 characters, and `kind` 1 to 16 lowercase
        letters. `issued_at` is in seconds since the Unix epoch, by default now."""
        iat = int(time.time()) if issued_at is None else issued_at
        payload = {"from": sender, "to": to, "sid": sid, "iat": iat, "type": kind, "sdp": sdp}
        return _jws.sign(json.dumps(payload, ensure_ascii=False).encode(), MESSAGE_TYPE, key)

    @classmethod
    def verify(cls, text: str) -> Self:
        """Verifies a message.

        Raises InvalidRecordError if the signature is not by the key that the message names, or if the
        service could not have accepted the message.
        """
        jws = _jws.verify(text, MESSAGE_TYPE)
        try:
            payload = parse_signed(jws.payload)
        except ValueError as error:
            raise InvalidRecordError(f"has a malformed payload ({error})") from None
        for name in ("from", "to", "sid", "type", "sdp", "iat"):
            if type(payload.get(name)) is not (int if name == "iat" else str):
                raise InvalidRecordError(f"has a payload whose {name} breaks its rule")
        return cls(
            signed_by=jws.key,
            sender=payload["from"],
            to=payload["to"],
            sid=payload["sid"],
            kind=payload["type"],
            sdp=payload["sdp"],
            issued_at=payload["iat"],
        )

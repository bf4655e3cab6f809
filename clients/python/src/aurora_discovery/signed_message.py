"""Messages between peers, as senders sign and receivers verify them."""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass
from typing import Self

from . import _jws
from ._json import parse_signed
from .errors import InvalidRecordError
from .secret_key import SecretKey

MESSAGE_TYPE = "aurora-mail+jws"
_SUBJECT = "message"
# The maximum length of a message, in bytes. A message is ASCII.
_MAX_LENGTH = 4096
# The rules of the texts in the payload, as regular expressions. The session description (`sdp`) may
# be any text.
_PEER_ID = r"[!-~]{1,128}"
_TEXTS = {"from": _PEER_ID, "to": _PEER_ID, "sid": r"[!-~]{16,64}", "type": r"[a-z]{1,16}", "sdp": r"(?s:.*)"}
# JSON parsers read integers up to this one exactly.
_MAX_INTEGER = 2**53 - 1


@dataclass(frozen=True)
class SignedMessage:
    """A message whose signature has been verified. The caller has to compare `sender`, `to`,
    `signed_by` and `issued_at` with what it expects."""

    signed_by: str
    """The key that signed, a `did:key`."""
    sender: str
    to: str
    sid: str
    """The session that the message is part of."""
    kind: str
    """What the message is, such as `offer`. Its key in the payload is `type`."""
    sdp: str
    """The session description."""
    issued_at: int
    """When it was signed, in seconds since the Unix epoch."""

    @staticmethod
    def sign(
        key: SecretKey, *, sender: str, to: str, sid: str, kind: str, sdp: str, issued_at: int | None = None
    ) -> str:
        """Signs a message, for `Client.mail`. `sid` has 16 to 64 visible ASCII characters, and
        `kind` 1 to 16 lowercase letters. `issued_at` is in seconds since the Unix epoch, by default
        now."""
        iat = int(time.time()) if issued_at is None else issued_at
        payload = {"from": sender, "to": to, "sid": sid, "iat": iat, "type": kind, "sdp": sdp}
        return _jws.sign(json.dumps(payload, ensure_ascii=False).encode(), MESSAGE_TYPE, key)

    @classmethod
    def verify(cls, text: str) -> Self:
        """Verifies a message.

        Raises InvalidRecordError if the signature is not by the key that the message names, or if the
        service could not have accepted the message.
        """
        if isinstance(text, str) and len(text) > _MAX_LENGTH:
            raise InvalidRecordError(f"has more than {_MAX_LENGTH} bytes", _SUBJECT)
        jws = _jws.verify(text, MESSAGE_TYPE, _SUBJECT)
        try:
            payload = parse_signed(jws.payload)
        except ValueError as error:
            raise InvalidRecordError(f"has a malformed payload ({error})", _SUBJECT) from None
        broken = [name for name, rule in _TEXTS.items() if not _is_text(payload.get(name), rule)]
        iat = payload.get("iat")
        if type(iat) is not int or not 0 <= iat <= _MAX_INTEGER:
            broken.append("iat")
        if broken:
            raise InvalidRecordError(f"has a payload whose {broken[0]} breaks its rule", _SUBJECT)
        return cls(
            signed_by=jws.key,
            sender=payload["from"],
            to=payload["to"],
            sid=payload["sid"],
            kind=payload["type"],
            sdp=payload["sdp"],
            issued_at=payload["iat"],
        )


def _is_text(value: object, rule: str) -> bool:
    return isinstance(value, str) and re.fullmatch(rule, value) is not None

"""Signs registrations."""

from __future__ import annotations

import hashlib
import secrets
import time
from dataclasses import replace
from typing import Any

from . import _jws
from ._encoding import base64url
from .errors import RefusedError
from .requests import RegisterRequest, encode
from .secret_key import SecretKey
from .signed_record import RECORD_TYPE, ROTATION_TYPE

# The maximum number of times that one registration is signed: the first time, once more if the
# local clock is wrong, and once more if the service has a later record of the peer than this client
# knows.
MAX_SIGNED = 3


class Signer:
    """Signs the registrations of one peer with its key. If the local clock is wrong, it uses the time of
    the service. Pass it to `Client.register`. One thread at a time may use it."""

    def __init__(
        self,
        key: SecretKey,
        *,
        replaces: SecretKey | None = None,
        audience: str | None = None,
        token: str | None = None,
    ) -> None:
        """`replaces` is the old key, to which the name is still locked, if `key` is a new one. With
        `audience`, only the service of that name accepts the registrations. `token` is the lease token
        of the peer, if it has one already."""
        self._key = key
        self._replaces = replaces
        self._audience = audience
        self._token = token or secrets.token_urlsafe(16)
        # How far the service's clock is ahead of the local one, in milliseconds.
        self._clock_offset = 0
        self._last_seq = 0

    @property
    def public_key(self) -> str:
        """The public key, as a `did:key`."""
        return self._key.public_key

    @property
    def token(self) -> str:
        """The token with which the peer renews and deregisters. Only its hash is signed."""
        return self._token

    def body(self, request: RegisterRequest, nonce: str | None) -> bytes:
        """The JSON body of a signed registration. With `nonce`, a nonce of the service is signed in
        place of the time."""
        now = _milliseconds() + self._clock_offset
        self._last_seq = seq = max(now, self._last_seq + 1)
        terms: dict[str, Any] = {"seq": seq}
        terms |= {"iat": now // 1_000} if nonce is None else {"nonce": nonce}
        terms["token_hash"] = base64url(hashlib.sha256(self._token.encode()).digest())
        if self._audience is not None:
            terms["aud"] = self._audience
        if self._replaces:
            statement = {"peer_id": request.peer_id, "key": self.public_key, "seq": seq}
            terms["replaces"] = _jws.sign(encode(statement), ROTATION_TYPE, self._replaces)
        public = replace(request, lease_token=None, token_only=False, discover=None).body()
        payload = public[:-1] + b"," + encode(terms)[1:]
        body: dict[str, Any] = {"signed": _jws.sign(payload, RECORD_TYPE, self._key)}
        if request.lease_token is not None:
            body["lease_token"] = request.lease_token
        if request.discover:
            body["discover"] = request.discover.to_json()
        return encode(body)

    def accepted(self) -> None:
        """Records that the service has accepted a registration. The old key is then replaced, so
        later registrations do not mention it."""
        self._replaces = None

    def learns_from(self, error: RefusedError) -> bool:
        """Adopts the sequence number or the time of the service from a refusal. Returns whether signing
        again may help."""
        if error.code == "stale_record" and error.seq is not None:
            self._last_seq = max(self._last_seq, error.seq)
            return True
        if error.code == "stale_signature" and error.timestamp is not None:
            now = int(error.timestamp.timestamp() * 1_000)
            self._clock_offset = now - _milliseconds()
            # A number that was derived from the wrong clock may be too far ahead.
            self._last_seq = min(self._last_seq, now)
            return True
        return False


def _milliseconds() -> int:
    return int(time.time() * 1_000)

"""The keys of signed registrations."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Self

from ._did_key import did_key
from ._encoding import base64url, from_base64url

if TYPE_CHECKING:
    from ._ed25519 import Ed25519PrivateKey

_RULE = "must be a private JSON Web Key of Ed25519 (kty OKP, with x and d)"


class SecretKey:
    """An Ed25519 private key. `repr` hides its value.

    Needs the package `cryptography`, which `pip install 'aurora-discovery[signed]'` installs.
    """

    def __init__(self, private: Ed25519PrivateKey) -> None:
        self._private = private
        self._public = private.public_key().public_bytes_raw()

    @classmethod
    def generate(cls) -> Self:
        """Makes a new key."""
        from ._ed25519 import Ed25519PrivateKey

        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def from_jwk(cls, text: str) -> Self:
        """Reads a private JSON Web Key of Ed25519 (RFC 8037).

        Raises ValueError if the text is not such a key, or if its public part belongs to another key.
        """
        from ._ed25519 import Ed25519PrivateKey

        try:
            jwk = json.loads(text)
            key = cls(Ed25519PrivateKey.from_private_bytes(from_base64url(jwk["d"])))
            is_ours = (jwk["kty"], jwk["crv"], from_base64url(jwk["x"])) == ("OKP", "Ed25519", key._public)
        except (ValueError, KeyError, TypeError, AttributeError):
            raise ValueError(_RULE) from None
        if not is_ours:
            raise ValueError(_RULE)
        return key

    @property
    def public_key(self) -> str:
        """The public key, as a `did:key`."""
        return did_key(self._public)

    def to_jwk(self) -> str:
        """The private key as a JSON Web Key (RFC 8037), which other libraries read."""
        d = base64url(self._private.private_bytes_raw())
        return json.dumps({"kty": "OKP", "crv": "Ed25519", "x": base64url(self._public), "d": d})

    def sign(self, message: bytes) -> bytes:
        """The signature of a message, 64 bytes."""
        return self._private.sign(message)

    def __repr__(self) -> str:
        return f"SecretKey(of {self.public_key})"

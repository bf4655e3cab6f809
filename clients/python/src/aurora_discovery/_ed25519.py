"""Imports Ed25519 from `cryptography`, which only signatures need."""

from __future__ import annotations

try:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
except ImportError as error:
    advice = "run pip install 'aurora-discovery[signed]'"
    raise ImportError(f"signed registrations need the package cryptography: {advice}") from error

__all__ = ["Ed25519PrivateKey", "Ed25519PublicKey", "InvalidSignature"]

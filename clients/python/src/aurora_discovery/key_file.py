"""A file that contains the private key of a peer."""

from __future__ import annotations

import os
from pathlib import Path

from . import _private_file
from .errors import KeyFileError
from .secret_key import SecretKey


class KeyFile:
    """A file with the private key of one peer, as a JSON Web Key. `create` makes it so that only
    its owner may read it (mode 0600). The command `aurora-discovery` and the clients for other
    languages can read the file too."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)

    def read(self) -> SecretKey | None:
        """Reads the key. Returns None if the file does not exist.

        Raises KeyFileError if the file cannot be read, does not contain a private key of Ed25519, or
        other users may read it.
        """
        try:
            text = _private_file.read(self.path)
            if text is None:
                return None
            if _private_file.is_readable_by_others(self.path):
                raise self._error("can be read by other users", "run chmod 600 on it")
            return SecretKey.from_jwk(text)
        except OSError as error:
            raise self._error("cannot be read", error) from error
        except ValueError as error:
            raise self._error("is not a key file", error) from error

    def create(self) -> SecretKey:
        """Makes a new key and writes it to the file, which must not exist.

        Raises KeyFileError if the file exists or cannot be written.
        """
        key = SecretKey.generate()
        try:
            _private_file.create_new(self.path, key.to_jwk())
        except OSError as error:
            raise self._error("cannot be created", error) from error
        return key

    def read_or_create(self) -> SecretKey:
        """Reads the key, or makes one if the file does not exist.

        Raises KeyFileError, as `read` and `create` do.
        """
        return self.read() or self.create()

    def _error(self, problem: str, cause: object) -> KeyFileError:
        return KeyFileError(str(self.path), f"{problem}: {cause}")

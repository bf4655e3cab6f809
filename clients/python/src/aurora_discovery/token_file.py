"""A file that keeps a lease token across restarts."""

from __future__ import annotations

import os
import re
from pathlib import Path

from . import _private_file
from .errors import TokenFileError

_TOKEN = re.compile(r"[\x21-\x7e]{1,128}")


class TokenFile:
    """A file with the lease token of one peer, as text, so that a restarted client can prove that it
    is the holder. `write` creates it so that only its owner may read it (mode 0600)."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)

    def read(self) -> str | None:
        """Reads the token. Returns None if the file does not exist.

        Raises TokenFileError if the file cannot be read or does not contain a token.
        """
        try:
            text = _private_file.read(self.path)
        except OSError as error:
            raise self._error("cannot be read", error) from error
        if text is not None and not _TOKEN.fullmatch(text):
            reason = "remove it to start without one, or name another file"
            raise self._error("does not contain a lease token", reason)
        return text

    def write(self, token: str) -> None:
        """Replaces the file. When the call returns, the token survives a crash and a loss of power. A
        reader sees the old token or the new one, never a part.

        Raises TokenFileError if the file cannot be written. It is then unchanged, unless only the sync
        of its directory failed. In that case it has the new token, which may not survive a loss of
        power.
        """
        try:
            _private_file.replace(self.path, token)
        except OSError as error:
            raise self._error("cannot be written", error) from error

    def check_writable(self) -> None:
        """Checks that the file can be written, without changing it.

        Raises TokenFileError if it cannot.
        """
        try:
            _private_file.check_writable(self.path)
        except OSError as error:
            raise self._error("cannot be written", error) from error

    def _error(self, problem: str, cause: object) -> TokenFileError:
        return TokenFileError(str(self.path), f"{problem}: {cause}")

"""A file that keeps a lease token across restarts."""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path

from .errors import TokenFileError

# A token and white space around it are shorter. The limit applies to files that are not token files,
# some of which have no end.
_MAX_BYTES = 1_024
_TOKEN = re.compile(r"[\x21-\x7e]{1,128}")


class TokenFile:
    """A file with the lease token of one peer, as text, so that a restarted client can prove that it
    is the holder. Only its owner may read it (mode 0600)."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)

    def read(self) -> str | None:
        """Reads the token. A file that does not exist has none.

        Raises TokenFileError if the file cannot be read or does not contain a token.
        """
        try:
            with self.path.open("rb") as file:
                text = file.read(_MAX_BYTES).decode("ascii", "replace").strip()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._error("cannot be read", error) from error
        if not _TOKEN.fullmatch(text):
            reason = "remove it to start without one, or name another file"
            raise self._error("does not contain a lease token", reason)
        return text

    def write(self, token: str) -> None:
        """Replaces the file. When the call returns, the token survives a crash and a loss of power,
        and at no time does the file contain a part of a token.

        Raises TokenFileError if the file cannot be written. It is then unchanged.
        """
        try:
            self._create(f"{token}\n")
            os.replace(self._new_path, self.path)
            self._sync_directory()
        except OSError as error:
            # The error matters more than the file that may be left behind.
            with contextlib.suppress(OSError):
                self._new_path.unlink(missing_ok=True)
            raise self._error("cannot be written", error) from error

    def check_writable(self) -> None:
        """Checks that the file can be written, without changing it.

        Raises TokenFileError if it cannot.
        """
        try:
            if self.path.is_dir():
                # A rename cannot replace a directory.
                raise IsADirectoryError("it is a directory")
            self._create("")
            self._new_path.unlink()
        except OSError as error:
            raise self._error("cannot be written", error) from error

    @property
    def _new_path(self) -> Path:
        """The file that is renamed when it is complete. It is in the same directory, because a
        rename is atomic only within a file system."""
        return self.path.with_name(f"{self.path.name}.new")

    def _create(self, text: str) -> None:
        """Creates and syncs a file. It must not exist yet, so that no other user can prepare a file
        or a link at its path."""
        # A crash may have left one behind.
        self._new_path.unlink(missing_ok=True)
        descriptor = os.open(self._new_path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())

    def _sync_directory(self) -> None:
        """Makes the rename survive a loss of power."""
        if os.name != "posix":
            # Other systems cannot open a directory as a file.
            return
        descriptor = os.open(self.path.parent, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def _error(self, problem: str, cause: object) -> TokenFileError:
        return TokenFileError(str(self.path), f"{problem}: {cause}")

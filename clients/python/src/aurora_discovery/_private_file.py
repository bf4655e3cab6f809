"""Files that only their owner may read (mode 0600). The functions raise OSError if the system
refuses an operation."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

# Keys and tokens are shorter than this limit, in bytes. It keeps a wrong path, such as `/dev/zero`,
# from making the client read forever.
_MAX_BYTES = 1_024


def read(path: Path) -> str | None:
    """The text of a file, cut off at `_MAX_BYTES`, or None if it does not exist."""
    try:
        with path.open("rb") as file:
            return file.read(_MAX_BYTES).decode("ascii", "replace").strip()
    except FileNotFoundError:
        return None


def replace(path: Path, text: str) -> None:
    """Replaces a file. When the call returns, the text survives a crash and a loss of power. A reader
    sees the old text or the new one, never a part."""
    new = _new_path(path)
    try:
        _create(new, f"{text}\n")
        os.replace(new, path)
        _sync_directory(path)
    except OSError:
        # The caller gets the first error, even if the temporary file can't be removed. The next
        # attempt replaces that file.
        with contextlib.suppress(OSError):
            new.unlink(missing_ok=True)
        raise


def create_new(path: Path, text: str) -> None:
    """Creates a file, durably and as a whole. Raises FileExistsError if the path exists."""
    new = _new_path(path)
    _create(new, f"{text}\n")
    try:
        # Creating a link fails if the path exists, while a rename would replace the file there.
        os.link(new, path)
    finally:
        new.unlink(missing_ok=True)
    _sync_directory(path)


def check_writable(path: Path) -> None:
    """Checks that `replace` can replace the file, without changing the file."""
    if path.is_dir():
        # A rename cannot replace a directory.
        raise IsADirectoryError("it is a directory")
    _create(_new_path(path), "")
    _new_path(path).unlink()


def is_readable_by_others(path: Path) -> bool:
    """Whether the mode of a file lets other users read or write it. Only POSIX systems have modes."""
    return os.name == "posix" and path.stat().st_mode & 0o077 != 0


def _new_path(path: Path) -> Path:
    """The temporary file, which gets the name `path` when it is complete. It is in the same
    directory, because a file can be renamed or linked only within its file system."""
    return path.with_name(f"{path.name}.new")


def _create(path: Path, text: str) -> None:
    """Creates and syncs a file. With O_EXCL, opening fails if the path exists. The text can therefore
    not end up in a file, or behind a link, that another user has prepared."""
    # An earlier crash may have left the file behind.
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _sync_directory(path: Path) -> None:
    """Makes a new name in the directory of `path` survive a loss of power."""
    if os.name != "posix":
        # Windows cannot open a directory as a file.
        return
    descriptor = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

"""The library that fakes the wall clock of a process (Debian's package `faketime`)."""

from __future__ import annotations

from pathlib import Path


def library() -> Path | None:
    """Its path for LD_PRELOAD, or None if it is not installed. The command `faketime` is not used, because it
    fails if a killed process with the same id has left its semaphore behind."""
    return next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)

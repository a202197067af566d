"""The temporary file beside an output: whose it is, and whether anybody still writes.

Its writer holds a lock on it, which the system drops when the process ends in any way.
A file without that lock is what a killed process left, and goes when the same output is
written again. On Windows, where a file with such a lock could not take its final name,
nothing is locked and nothing removed.
"""

from __future__ import annotations

import glob
import os
import secrets
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

_SUFFIX = ".partial"
_NAME_CHARACTERS = 50
_RANDOM_BYTES = 8

if sys.platform != "win32":
    import fcntl


@dataclass(frozen=True, slots=True)
class Claim:
    """A temporary file, and the lock that says that it is being written.

    Attributes:
        path: The file.
        file: Opened for writing; may be closed before the claim is given up.
    """

    path: Path
    file: IO[bytes]
    _descriptor: int | None

    def give_up(self) -> None:
        """Let go of the lock; the file stays as it is, wherever it is by now."""
        if self._descriptor is not None:
            with suppress(OSError):
                os.close(self._descriptor)


def claim(final: Path, *, buffer_bytes: int) -> Claim:
    """Create a temporary file beside `final`, and lock it.

    Raises:
        OSError: It cannot be created.
    """
    while True:
        path = _fresh_name(final)
        file: IO[bytes] = path.open("xb", buffering=buffer_bytes)
        try:
            descriptor = _locked(file.fileno())
            if descriptor is None or _is_at(path, descriptor):
                return Claim(path, file, descriptor)
            os.close(descriptor)
        except BaseException:
            file.close()
            with suppress(OSError):
                path.unlink()
            raise
        # Taken for a left one between its creation and its lock.
        file.close()


def sweep(final: Path) -> None:
    """Remove what processes that are gone have left of writing `final`.

    Never raises: what cannot be removed stays.
    """
    with suppress(OSError):
        for path in list(_left(final)):
            with suppress(OSError):
                _remove_if_left(path)


if sys.platform == "win32":

    def _locked(_descriptor: int) -> int | None:
        return None

    def _remove_if_left(_path: Path) -> None:
        pass

else:

    def _locked(descriptor: int) -> int | None:
        """A copy of the descriptor that holds a lock, `None` where there are none.

        A lock lasts until the last copy is closed: with this one the file is ours
        until it has its final name, though it is closed before.
        """
        try:
            # Whoever looks whether the file is left holds the lock for an instant.
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        except OSError:
            # Then nobody else gets one either, and so nobody removes the file.
            return None
        return os.dup(descriptor)

    def _remove_if_left(path: Path) -> None:
        descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_at(path, descriptor):
                path.unlink()
        finally:
            os.close(descriptor)


def _left(final: Path) -> Iterator[Path]:
    pattern = f"{glob.escape(_stem(final))}*{_SUFFIX}"
    length = len(_stem(final)) + 2 * _RANDOM_BYTES + len(_SUFFIX)
    for path in final.parent.glob(pattern):
        if len(path.name) == length:
            yield path


def _fresh_name(final: Path) -> Path:
    random = secrets.token_hex(_RANDOM_BYTES)
    return final.with_name(f"{_stem(final)}{random}{_SUFFIX}")


def _stem(final: Path) -> str:
    return f".{final.name[:_NAME_CHARACTERS]}."


def _is_at(path: Path, descriptor: int) -> bool:
    """Whether the opened file is still the one under its name."""
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False

"""One run at a time: a lock beside the ledger that dies with its process."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sutro_stream.errors import StoreInUseError
from sutro_stream.ledger.database import store_errors

# Somebody who only looks whether a run is writing holds the lock for an instant.
_TRIES = 10
_PAUSE_S = 0.02

if sys.platform == "win32":
    import msvcrt

    # Locked bytes cannot be read; this one lies behind what is written.
    _LOCKED_BYTE = 1 << 20

    def _try_lock(descriptor: int, *, shared: bool) -> None:  # noqa: ARG001
        os.lseek(descriptor, _LOCKED_BYTE, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _try_lock(descriptor: int, *, shared: bool) -> None:
        kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)


@contextmanager
def locked(path: Path, *, ledger: Path) -> Iterator[None]:
    """Hold an exclusive lock on a file that exists for this only.

    The system lets go of it when the process ends in any way, so nothing has to be
    cleared up after a crash. It is no lock on the ledger itself, since closing any
    descriptor of a database file drops what SQLite has locked there.

    Raises:
        StoreInUseError: Somebody else has it.
        StoreError: The file cannot be made.
    """
    descriptor = _acquired(path, ledger)
    try:
        yield
    finally:
        # Removed while it is held: whoever opened this file before will notice
        # that it is no longer the one in place.
        with suppress(OSError):
            path.unlink()
        os.close(descriptor)
        if sys.platform == "win32":
            with suppress(OSError):
                path.unlink()


def _acquired(path: Path, ledger: Path) -> int:
    for remaining in reversed(range(_TRIES)):
        with store_errors(ledger):
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            _try_lock(descriptor, shared=False)
            taken = _is_at(path, descriptor)
        except OSError:
            taken = False
        if taken:
            with suppress(OSError):
                os.ftruncate(descriptor, 0)
                os.lseek(descriptor, 0, os.SEEK_SET)
                os.write(descriptor, b"%d\n" % os.getpid())
            return descriptor
        os.close(descriptor)
        if remaining:
            time.sleep(_PAUSE_S)
    try:
        holder = f"process {int(path.read_text(encoding='ascii'))}"
    except (OSError, ValueError):
        holder = "another process"
    message = (
        f"another run is writing to the ledger {ledger} ({holder}); "
        "wait for it to end, or choose another output"
    )
    raise StoreInUseError(message, path=str(ledger))


def is_locked(path: Path) -> bool:
    """Whether somebody holds the lock at `path`; takes it for an instant."""
    try:
        descriptor = os.open(path, os.O_RDWR)
    except OSError:
        return False
    try:
        _try_lock(descriptor, shared=True)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False


def _is_at(path: Path, descriptor: int) -> bool:
    """Whether the opened file is still the one under its name."""
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False

"""Space for what a deployment keeps, and what is said when there is too little."""

from __future__ import annotations

import errno
import shutil
import sqlite3
from pathlib import Path

from sutro_stream.errors import StoreError
from sutro_stream.wire.api_error import ApiError

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


def disk_free_bytes(folder: Path) -> int:
    """What this process may still write there. Blocking.

    Raises:
        StoreError: It cannot be told.
    """
    try:
        return shutil.disk_usage(folder).free
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        message = f"cannot tell the free space of the data folder {folder}: {reason}"
        raise StoreError(message, path=str(folder)) from error


def check_room(folder: Path, *, floor_bytes: int, needed_bytes: int = 0) -> None:
    """Refuse what would take the space that running jobs need. Blocking.

    Args:
        folder: Of the data.
        floor_bytes: What must stay free.
        needed_bytes: What is about to be written.

    Raises:
        ApiError: 507, there is too little.
        StoreError: The free space cannot be told.
    """
    if disk_free_bytes(folder) - needed_bytes < floor_bytes:
        raise insufficient_storage()


def insufficient_storage() -> ApiError:
    """There is no space for what was sent."""
    return ApiError(
        507,
        "insufficient_storage",
        "the deployment is short of disk space and takes nothing new until its "
        "operator makes room; jobs that it has accepted go on",
    )


def is_lack_of_space(error: BaseException) -> bool:
    """Whether something could not be written because there was no space for it."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno in _FULL:
            return True
        code = getattr(cause, "sqlite_errorcode", None)
        if code is not None and code & 0xFF == sqlite3.SQLITE_FULL:
            return True
        cause = cause.__cause__
    return False

"""What tells a file from others, and from itself before a change."""

from __future__ import annotations

from pathlib import Path


def file_identity(path: Path) -> str:
    """Inode, size and time of the last change of the file at `path`.

    Renaming it changes nothing; writing to it, or putting another in its place, does.

    Raises:
        OSError: It cannot be looked at.
    """
    status = path.stat()
    return f"{status.st_ino} {status.st_size} {status.st_mtime_ns}"

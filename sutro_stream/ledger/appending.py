"""A file that is appended to, and what is in it survives the end of its process.

Both ways lead into the system's cache. Copying into a mapping is the cheaper one, a
tenth of the time of a `write`, which moreover hands the interpreter to whatever other
thread wants it and gets it back only milliseconds later. A mapping needs space that
is there already: on a full disk a copy would end the process.
"""

from __future__ import annotations

import mmap
import os
from contextlib import suppress
from pathlib import Path

_FLAGS = os.O_RDWR | os.O_CREAT | os.O_TRUNC


class AppendedFile:
    """A file of one's own, open for appending.

    Concurrency: one thread.

    Attributes:
        size: What was appended, in bytes. Until it is closed the file may be
            longer, with zeros at its end.
    """

    def __init__(self, path: Path, *, room: int) -> None:
        """Create the file, or begin it anew.

        The cheap way is prepared for `room` bytes; more can be appended.

        Raises:
            OSError: It cannot be created.
        """
        self.size = 0
        self._descriptor = os.open(path, _FLAGS | getattr(os, "O_BINARY", 0), 0o666)
        self._mapping = _mapped(self._descriptor, room)
        self._room = 0 if self._mapping is None else room

    def append(self, data: bytes) -> None:
        """Append all of it, or nothing.

        Raises:
            OSError: It does not fit, or the file is closed; do not append again.
        """
        at = self.size
        end = at + len(data)
        mapping = self._mapping
        if mapping is not None and end <= self._room:
            mapping[at:end] = data
        else:
            self._write(data)
        self.size = end

    def close(self) -> None:
        """Let go of the file, which then has its size; can be called twice."""
        mapping, self._mapping = self._mapping, None
        if mapping is not None:
            mapping.close()
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            if mapping is not None:
                # Zeros at the end are as good, and only take space.
                with suppress(OSError):
                    os.ftruncate(descriptor, self.size)
            os.close(descriptor)

    def _write(self, data: bytes) -> None:
        try:
            os.lseek(self._descriptor, self.size, os.SEEK_SET)
            written = os.write(self._descriptor, data)
            while written < len(data):
                written += os.write(self._descriptor, data[written:])
        except OSError:
            # What lies behind a part of it would not be found again.
            with suppress(OSError):
                os.ftruncate(self._descriptor, self.size)
            raise


def _mapped(descriptor: int, room: int) -> mmap.mmap | None:
    """The file as memory with space for it on the disk; `None` where that fails."""
    allocate = getattr(os, "posix_fallocate", None)
    if allocate is None:
        return None
    try:
        allocate(descriptor, 0, room)
        return mmap.mmap(descriptor, room)
    except (OSError, ValueError):
        with suppress(OSError):
            os.ftruncate(descriptor, 0)
        return None

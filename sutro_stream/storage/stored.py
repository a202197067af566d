"""One thing with bytes, wherever it is."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import BinaryIO, Protocol

from sutro_stream.errors import SourceError, SourceNotFoundError

_BLOCK_BYTES = 1 << 20
_WHOLE_BYTES = 256 << 20
_SAMPLES = 128


class StoredFile(Protocol):
    """A file that was found, and can be read at any place, again and again.

    Concurrency: blocking; from any thread.

    Attributes:
        label: How messages call it: a path, or an address without secrets.
        name: Its last part, whose suffixes tell the format.
        partition: Columns that the names of its folders give all of its rows.
    """

    @property
    def label(self) -> str: ...

    @property
    def name(self) -> str: ...

    @property
    def partition(self) -> Mapping[str, str | None]: ...

    def open(self) -> BinaryIO:
        """Its bytes, at their start; can be sought.

        Raises:
            OSError: It cannot be opened.
        """

    def size(self) -> int:
        """Its bytes.

        Raises:
            OSError: It cannot be looked at.
        """

    def state(self) -> str:
        """What is equal for as long as nobody writes to it; takes no reading.

        Raises:
            OSError: It cannot be looked at.
        """

    def add_to(self, digest: hashlib._Hash) -> None:
        """Put into a digest what is equal when and only when the content is.

        Raises:
            OSError: It cannot be read.
        """


def file_error(
    file: StoredFile, reason: str, *, row_index: int | None = None
) -> SourceError:
    """An error about a file, not raised."""
    return SourceError(f"{file.label}: {reason}", path=file.label, row_index=row_index)


def unreadable(label: str, error: Exception) -> SourceError:
    """The system's refusal to read `label`, as our error, not raised."""
    if isinstance(error, FileNotFoundError):
        message = f"{label}: no such file or folder"
        return SourceNotFoundError(message, path=label)
    return SourceError(f"{label}: cannot be read: {why(error)}", path=label)


def why(error: Exception) -> str:
    """What the system says of an error, as part of a sentence."""
    reason = error.strerror if isinstance(error, OSError) else None
    return (reason or type(error).__name__).lower()


def add_content(digest: hashlib._Hash, file: BinaryIO, size: int) -> None:
    """Put into a digest what a file holds.

    One of up to 256 MiB is read whole, a larger one at 128 places spread evenly, its
    begin and end among them, which takes about a tenth of a second.
    """
    digest.update(b"%d:" % size)
    for start in _starts(size):
        file.seek(start)
        digest.update(file.read(_BLOCK_BYTES))


def _starts(size: int) -> Sequence[int]:
    if size <= _WHOLE_BYTES:
        return range(0, size, _BLOCK_BYTES)
    last = size - _BLOCK_BYTES
    return [last * at // (_SAMPLES - 1) for at in range(_SAMPLES)]

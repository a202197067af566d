"""Input files that have to stay as they are while they are read."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Sequence

from sutro_stream.errors import SourceError
from sutro_stream.storage.stored import StoredFile, file_error, unreadable

# Looked at for each chunk: enough for any usual input, and little for a thousand files.
_FILES_A_LOOK = 16


class UnchangedFiles:
    """The files of one pass, and what they were when it began.

    Concurrency: blocking; from any thread.
    """

    def __init__(self, files: Sequence[StoredFile], *, reading: str) -> None:
        """Look at the files.

        Args:
            files: In reading order.
            reading: See `content_digest`.

        Raises:
            SourceError: One cannot be looked at.
        """
        self._files = files
        self._reading = reading
        self._running = threading.Lock()
        self._next = 0
        self._digest: str | None = None
        self._states = [_state(file) for file in files]

    def digest(self) -> str:
        """A digest of their content, read once.

        Raises:
            SourceError: They are not what they were, or cannot be read.
        """
        with self._running:
            if self._digest is None:
                self._digest = content_digest(self._files, reading=self._reading)
            self._check(range(len(self._files)))
            return self._digest

    def look(self) -> None:
        """See whether some of them, others each time, are what they were.

        Raises:
            SourceError: One is not.
        """
        with self._running:
            first = self._next if self._next < len(self._files) else 0
            self._next = min(first + _FILES_A_LOOK, len(self._files))
            self._check(range(first, self._next))

    def check(self) -> None:
        """See whether all of them are what they were.

        Raises:
            SourceError: One is not.
        """
        with self._running:
            self._check(range(len(self._files)))

    def _check(self, places: range) -> None:
        for place in places:
            file = self._files[place]
            if _state(file) == self._states[place]:
                continue
            # A file that was copied back or only touched is as good.
            states = [_state(other) for other in self._files]
            if self._digest != content_digest(self._files, reading=self._reading):
                raise _changed(file)
            self._states = states


def content_digest(files: Sequence[StoredFile], *, reading: str) -> str:
    """A digest of what the files hold and of how they are read; names do not count.

    Args:
        files: In reading order.
        reading: Everything that changes what rows the same bytes are.

    Raises:
        SourceError: A file cannot be read.
    """
    digest = hashlib.sha256(reading.encode())
    for file in files:
        try:
            file.add_to(digest)
        except OSError as error:
            raise unreadable(file.label, error) from error
    return digest.hexdigest()[:32]


def _state(file: StoredFile) -> str:
    try:
        return file.state()
    except OSError as error:
        raise unreadable(file.label, error) from error


def _changed(file: StoredFile) -> SourceError:
    return file_error(
        file,
        "the file was changed while it was being read, and no output is made of a "
        "mixture; when nobody writes to it any more, give the same command again, with "
        "--reuse to keep what was answered",
    )

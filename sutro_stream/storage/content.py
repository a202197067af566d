"""A digest that tells whether input files are still the same."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from sutro_stream.storage.files import InputFile, unreadable

_BLOCK_BYTES = 1 << 20
_WHOLE_BYTES = 256 << 20
_SAMPLES = 128


def content_digest(files: Sequence[InputFile], *, reading: str) -> str:
    """A digest of what the files hold and of how they are read; names do not count.

    Files of up to 256 MiB are read whole, larger ones at 128 places spread evenly,
    their begin and end among them, which takes about a tenth of a second each.

    Args:
        files: In reading order.
        reading: Everything that changes what rows the same bytes are.

    Raises:
        SourceError: A file cannot be read.
    """
    digest = hashlib.sha256(reading.encode())
    for file in files:
        try:
            _add(digest, file.path)
        except OSError as error:
            raise unreadable(file.label, error) from error
    return digest.hexdigest()[:32]


def _add(digest: hashlib._Hash, path: Path) -> None:
    size = path.stat().st_size
    digest.update(b"%d:" % size)
    with path.open("rb") as file:
        for start in _starts(size):
            _add_block(digest, file, start)


def _starts(size: int) -> Sequence[int]:
    if size <= _WHOLE_BYTES:
        return range(0, size, _BLOCK_BYTES)
    last = size - _BLOCK_BYTES
    return [last * at // (_SAMPLES - 1) for at in range(_SAMPLES)]


def _add_block(digest: hashlib._Hash, file: BinaryIO, start: int) -> None:
    file.seek(start)
    digest.update(file.read(_BLOCK_BYTES))

"""Rows as the JSON that is sent, as they lie in memory: one behind the other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b, sha256
from itertools import chain

import pyarrow as pa
import pyarrow.compute as pc

_KIND = pa.large_string()


@dataclass(frozen=True, slots=True)
class EncodedRows:
    """Consecutive rows, some of which may be refused.

    No row is an object of its own: to count, cut, sign and send them takes what it
    takes to copy their bytes.

    Attributes:
        texts: Large strings: of each row its JSON and a comma; null, with no bytes
            behind it, for a row that is refused.
    """

    texts: pa.ChunkedArray

    @classmethod
    def of(cls, texts: pa.Array) -> EncodedRows:
        """Rows of one array; see `texts`."""
        return cls(pa.chunked_array([texts], _KIND))

    @classmethod
    def joined(cls, parts: Iterable[EncodedRows]) -> EncodedRows:
        """Several, one behind the other."""
        chunks = chain.from_iterable(part.texts.chunks for part in parts)
        return cls(pa.chunked_array(chunks, _KIND))

    def __len__(self) -> int:
        return len(self.texts)

    @property
    def size_bytes(self) -> int:
        """Bytes with what stands between the rows; one for a row that is refused."""
        written = sum(stop - start for _, start, stop in self._extents())
        return written + int(self.texts.null_count)

    def part(self, start: int, stop: int) -> EncodedRows:
        """Those from one offset up to another."""
        return EncodedRows(self.texts.slice(start, stop - start))

    def sendable(self) -> Sequence[int]:
        """Offsets of the rows that are not refused."""
        if not self.texts.null_count:
            return range(len(self))
        offsets: list[int] = pc.indices_nonzero(self.texts.is_valid()).to_pylist()
        return offsets

    def chosen(self, offsets: Sequence[int]) -> EncodedRows:
        """Those at some ascending offsets that are not refused."""
        texts = self.texts
        if len(offsets) < len(self):
            texts = texts.take(pa.array(offsets, pa.int64()))
        return EncodedRows(texts.drop_null() if texts.null_count else texts)

    def values(self) -> list[bytes | None]:
        """JSON of each, `None` for one that is refused."""
        rows = self.texts.cast(pa.large_binary()).to_pylist()
        return [None if row is None else row[:-1] for row in rows]

    def digests(self) -> list[int | None]:
        """A number for each that equal rows share and others practically never do.

        Of 63 bits; `None` for a row that is refused.
        """
        return [None if row is None else _digest(row) for row in self.values()]

    def digest(self) -> str:
        """A short text that tells these rows apart from others."""
        # The C library's: with the processor's help, thrice as fast as Python's own.
        digest = sha256()
        for piece in self._pieces():
            digest.update(piece)
        return digest.hexdigest()[:32]

    def listed(self) -> list[memoryview]:
        """Buffers that joined are the JSON of all rows, with commas between."""
        pieces = list(self._pieces())
        if pieces:
            pieces[-1] = pieces[-1][:-1]
        return pieces

    def _pieces(self) -> Iterator[memoryview]:
        for data, start, stop in self._extents():
            if data is not None and start < stop:
                yield memoryview(data)[start:stop]

    def _extents(self) -> Iterator[tuple[pa.Buffer | None, int, int]]:
        """Where the bytes of each chunk lie; a null has none."""
        for chunk in self.texts.chunks:
            _, places, data = chunk.buffers()
            if len(chunk):
                offsets = memoryview(places).cast("q")
                yield data, offsets[chunk.offset], offsets[chunk.offset + len(chunk)]


def _digest(row: bytes) -> int:
    return int.from_bytes(blake2b(row, digest_size=8).digest(), "little") >> 1

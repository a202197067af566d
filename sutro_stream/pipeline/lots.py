"""Rows cut into lots, one for each job: by number and by size, in stream order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b

from sutro_stream.values.prompts import PromptBatch


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Consecutive rows of one batch.

    Attributes:
        prompts: The batch.
        offsets: Their offsets within it.
        rows: JSON to send for each, `None` for a row that is refused.
    """

    prompts: PromptBatch
    offsets: range
    rows: Sequence[bytes | None]

    @property
    def first_index(self) -> int:
        """0-based position of the first row in the stream."""
        return self.prompts.first_index + self.offsets.start


@dataclass(frozen=True, slots=True, kw_only=True)
class Lot:
    """Consecutive rows that become one job.

    Attributes:
        number: Counts from 0.
        parts: At least one.
    """

    number: int
    parts: Sequence[Part]

    def __len__(self) -> int:
        return sum(len(part.offsets) for part in self.parts)

    @property
    def first_index(self) -> int:
        """0-based position of the first row in the stream."""
        return self.parts[0].first_index

    def rows(self) -> list[bytes | None]:
        """JSON to send for each row, `None` for one that is refused."""
        return [row for part in self.parts for row in part.rows]


class Cutter:
    """Cuts a stream of rows.

    Where a lot ends depends on the rows alone, not on how they arrive: a later run
    over the same input makes the same lots.
    """

    def __init__(self, *, most_rows: int, most_bytes: int) -> None:
        """A cutter.

        Args:
            most_rows: Of a lot.
            most_bytes: Of a lot's JSON; a larger row gets a lot of its own.
        """
        self._most_rows = most_rows
        self._most_bytes = most_bytes
        self._parts: list[Part] = []
        self._rows = 0
        self._bytes = 0
        self._number = 0

    def add(self, prompts: PromptBatch, rows: Sequence[bytes | None]) -> Iterator[Lot]:
        """Take a batch; the lots that are complete with it."""
        start = 0
        for offset, row in enumerate(rows):
            size = 1 if row is None else len(row) + 1
            if self._rows and self._bytes + size > self._most_bytes:
                self._keep(prompts, rows, start, offset)
                start = offset
                yield self._cut()
            self._rows += 1
            self._bytes += size
            if self._rows == self._most_rows:
                self._keep(prompts, rows, start, offset + 1)
                start = offset + 1
                yield self._cut()
        self._keep(prompts, rows, start, len(rows))

    def finish(self) -> Lot | None:
        """What is left."""
        return self._cut() if self._rows else None

    def _keep(
        self, prompts: PromptBatch, rows: Sequence[bytes | None], start: int, stop: int
    ) -> None:
        if start < stop:
            part = Part(
                prompts=prompts, offsets=range(start, stop), rows=rows[start:stop]
            )
            self._parts.append(part)

    def _cut(self) -> Lot:
        lot = Lot(number=self._number, parts=tuple(self._parts))
        self._number += 1
        self._parts, self._rows, self._bytes = [], 0, 0
        return lot


def row_digest(row: bytes) -> int:
    """A number of 63 bits that equal rows share and others practically never do."""
    return int.from_bytes(blake2b(row, digest_size=8).digest(), "little") >> 1


def rows_digest(rows: Sequence[bytes]) -> str:
    """A short text that tells rows apart from others."""
    digest = blake2b(digest_size=16)
    for row in rows:
        digest.update(row)
        digest.update(b"\n")
    return digest.hexdigest()

"""Rows cut into batches, one for each job: by number and by size, in stream order."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sutro_stream.pipeline.encoded_rows import EncodedRows
from sutro_stream.values.prompts import PromptBatch


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Consecutive rows of one job.

    Attributes:
        start: Offset of the first within the batch that becomes a job.
        prompts: The batch that they came with.
        offsets: Their offsets within that.
        rows: What is sent of them.
    """

    start: int
    prompts: PromptBatch
    offsets: range
    rows: EncodedRows

    @property
    def first_index(self) -> int:
        """0-based position of the first row in the stream."""
        return self.prompts.first_index + self.offsets.start


@dataclass(frozen=True, slots=True, kw_only=True)
class JobBatch:
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

    def rows(self) -> EncodedRows:
        """What is sent of them."""
        return EncodedRows.joined(part.rows for part in self.parts)


class Cutter:
    """Cuts a stream of rows.

    Where a batch ends depends on the rows alone, not on how they arrive: a later run
    over the same input makes the same batches.
    """

    def __init__(self, *, most_rows: int, most_bytes: int) -> None:
        """Batches of at most so much JSON; a larger row gets one of its own."""
        self._most_rows = most_rows
        self._most_bytes = most_bytes
        self._parts: list[Part] = []
        self._rows = 0
        self._bytes = 0
        self._number = 0

    def add(self, prompts: PromptBatch, rows: EncodedRows) -> Iterator[JobBatch]:
        """Take a batch; the batches that are complete with it."""
        start = 0
        while start < len(rows):
            stop = min(start + self._most_rows - self._rows, len(rows))
            is_full = self._rows + stop - start == self._most_rows
            size = rows.part(start, stop).size_bytes
            if self._bytes + size > self._most_bytes:
                stop = self._fitting(rows, start, stop)
                is_full = True
            self._keep(prompts, rows, start, stop)
            start = stop
            if is_full:
                yield self._cut()

    def finish(self) -> JobBatch | None:
        """What is left."""
        return self._cut() if self._rows else None

    def _fitting(self, rows: EncodedRows, start: int, stop: int) -> int:
        """Where those that fit end, of some rows that are too many.

        At least one does in a batch that has none.
        """
        least = start if self._rows else start + 1
        return least + bisect_right(
            range(least + 1, stop),
            self._most_bytes - self._bytes,
            key=lambda end: rows.part(start, end).size_bytes,
        )

    def _keep(
        self, prompts: PromptBatch, rows: EncodedRows, start: int, stop: int
    ) -> None:
        if start < stop:
            kept = rows.part(start, stop)
            offsets = range(start, stop)
            self._parts.append(
                Part(start=self._rows, prompts=prompts, offsets=offsets, rows=kept)
            )
            self._rows += len(kept)
            self._bytes += kept.size_bytes

    def _cut(self) -> JobBatch:
        job_batch = JobBatch(number=self._number, parts=tuple(self._parts))
        self._number += 1
        self._parts, self._rows, self._bytes = [], 0, 0
        return job_batch

"""What becomes of rows that could not be read as they should be."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

import pyarrow as pa

from sutro_stream.errors import SourceError
from sutro_stream.flow.meter import Meter
from sutro_stream.values.rows import Refused, RowBatch

OnBadRow: TypeAlias = Literal["refuse", "skip", "stop"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sieve:
    """Takes out what is not to go on.

    Attributes:
        name: Of the input, for messages.
        on_bad_row: Whether a bad row is refused in its place, left out, or the end.
        uses: Columns that prompts are made of, `None` for all. A bad cell of another
            one is carried along as what could be made of it.
    """

    name: str
    on_bad_row: OnBadRow
    uses: frozenset[str] | None

    def sift(self, batch: RowBatch, meter: Meter) -> Iterator[RowBatch]:
        """The rows that go on, numbered by how many went on before.

        Raises:
            SourceError: A row is bad, and that is the end; behind the rows before it.
        """
        if not batch.refused:
            yield _numbered(batch.records, meter)
            return
        uses = self.uses
        bad = [
            (offset, error)
            for offset, error in batch.refused
            if error.field is None or uses is None or error.field in uses
        ]
        meter.cells_replaced += len(batch.refused) - len(bad)
        if not bad or self.on_bad_row == "refuse":
            yield _numbered(batch.records, meter, tuple(bad))
            return
        if self.on_bad_row == "stop":
            at, error = min(bad, key=lambda one: one[0])
            if at:
                yield _numbered(batch.records.slice(0, at), meter)
            raise SourceError(error.message, path=self.name, row_index=meter.rows_read)
        bad_offsets = {offset for offset, _ in bad}
        meter.rows_skipped += len(bad_offsets)
        good = [at for at in range(len(batch)) if at not in bad_offsets]
        if good:
            yield _numbered(batch.records.take(pa.array(good)), meter)


def _numbered(
    records: pa.RecordBatch, meter: Meter, refused: tuple[Refused, ...] = ()
) -> RowBatch:
    return RowBatch(records=records, first_index=meter.rows_read, refused=refused)

"""Answers taken out of a ledger, whatever has become of it."""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path

import pyarrow as pa

from sutro_stream.errors import StoreError
from sutro_stream.ledger.database import (
    Files,
    connect,
    initialize,
    store_errors,
    transaction,
)
from sutro_stream.ledger.reading import read_portions
from sutro_stream.ledger.salvage import drop_unreadable, salvage
from sutro_stream.ledger.spool import Spool, listed_frames
from sutro_stream.values.layout import Shape
from sutro_stream.values.outcomes import OutcomeBatch, Usage

_ADDED = ("output", "error")
_INDEX = "row_index"


class Export:
    """The rows of a ledger that have an outcome, with their input columns.

    Attributes:
        damages: What could not be read, for people; empty for a ledger that is whole.
        rows: How many there are.
        answered: Those among them with an answer.
        schema: Input columns as the run kept them, `output` and `error`. Where there
            are rows whose input was not kept, these have nulls in their place, and
            `row_index`, counted from 0, comes first.
    """

    def __init__(
        self, copy: sqlite3.Connection, spool: Spool, damages: list[str]
    ) -> None:
        self._copy = copy
        self._spool = spool
        self.damages = tuple(damages)
        self.rows, self.answered = copy.execute(
            "SELECT count(*), coalesce(sum(kind IS NULL), 0) FROM rows"
        ).fetchone()
        first = next(listed_frames(copy), None)
        inputs = pa.schema([]) if first is None else spool.read(first).schema
        (has_strays,) = copy.execute(
            "SELECT EXISTS (SELECT * FROM rows WHERE NOT idx < coalesce((SELECT"
            " first_index + rows FROM frames WHERE first_index <= idx ORDER BY"
            " first_index DESC LIMIT 1), 0))"
        ).fetchone()
        self._has_index = bool(has_strays)
        taken = {*_ADDED, *([_INDEX] if has_strays else [])}
        names = [f"input_{name}" if name in taken else name for name in inputs.names]
        self._inputs = pa.schema(
            [field.with_name(name) for field, name in zip(inputs, names, strict=True)]
        )
        index = pa.field(_INDEX, pa.int64())
        self._kept = pa.schema([*([index] if has_strays else []), *self._inputs])
        self._layout = Shape(kind=OutcomeBatch, rows=self._kept).layout()
        self.schema = self._layout.schema

    def batches(self) -> Iterator[pa.RecordBatch]:
        """All rows in the order of the input, about a thousand at a time. Blocking."""
        at = 0
        for frame in listed_frames(self._copy):
            yield from self._rows(at, frame.first_index, None)
            skipped = max(at - frame.first_index, 0)
            records = self._spool.read(frame).slice(skipped)
            start = frame.first_index + skipped
            at = start + records.num_rows
            yield from self._rows(start, at, records)
        (end,) = self._copy.execute("SELECT max(idx) + 1 FROM rows").fetchone()
        yield from self._rows(at, end or 0, None)

    def usages(self) -> dict[str | None, Usage]:
        """Tokens of all answers by the model that gave them; blocking."""
        # The places of an answer's parts in a body: see `encoding`.
        found = self._copy.execute(
            "SELECT json_extract(text, '$[2][3]'), total(input_tokens),"
            " total(output_tokens), total(json_extract(text, '$[2][2][2]'))"
            " FROM (SELECT *, CAST(body AS TEXT) AS text FROM rows"
            " WHERE leader IS NULL) GROUP BY 1"
        )
        return {
            model: Usage(
                input_tokens=int(read),
                output_tokens=int(written),
                cached_tokens=int(cached),
            )
            for model, read, written, cached in found
        }

    def _rows(
        self, start: int, stop: int, records: pa.RecordBatch | None
    ) -> Iterator[pa.RecordBatch]:
        for known in read_portions(self._copy, start, stop):
            if records is None:
                columns = [pa.nulls(len(known), field.type) for field in self._inputs]
            else:
                places = pa.array([row - start for row in known])
                columns = records.take(places).columns
            if self._has_index:
                columns = [pa.array(known, pa.int64()), *columns]
            rows = pa.record_batch(columns, schema=self._kept)
            outcomes = [row.outcome for row in known.values()]
            yield self._layout.answered(rows, outcomes)


@contextmanager
def open_export(path: Path) -> Iterator[Export]:
    """What was answered, from a ledger that is finished or not, damaged or not.

    Blocking; nothing in the ledger is changed, and a run may write to it meanwhile.
    What can be read is copied to the system's folder for temporary files first, so
    that memory does not grow with the rows.

    Raises:
        StoreError: There is no ledger, nor its log.
    """
    files = Files(path)
    with ExitStack() as stack:
        folder = tempfile.TemporaryDirectory(prefix="sutro-stream-")
        place = Path(stack.enter_context(folder)) / "copy"
        with store_errors(place):
            initialize(place, {})
            copy = stack.enter_context(closing(connect(place, writes=True)))
            copy.execute("PRAGMA synchronous = OFF")
            spool = Spool(files.rows)
            stack.callback(spool.close)
            with transaction(copy):
                damages = salvage(files, copy)
                with suppress(StoreError):
                    spool.open_to_read()
                drop_unreadable(copy, spool, damages)
            export = Export(copy, spool, damages)
        yield export

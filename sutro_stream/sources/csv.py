"""Rows from CSV files, every cell as the text in the file."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from functools import partial

import pyarrow as pa

from sutro_stream.formats.chunks import CHUNK_ROWS, check_chunk_rows, project, quoted
from sutro_stream.formats.csv_blocks import open_csv_text
from sutro_stream.formats.csv_options import CsvOptions
from sutro_stream.sources.source import Reader
from sutro_stream.sources.threaded import ReadPlan, open_threaded
from sutro_stream.storage.files import LocalFile, Paths, describe, find_files
from sutro_stream.values.rows import RowBatch

__all__ = ["CSV_SUFFIXES", "CsvOptions", "CsvSource", "plan_csv"]

CSV_SUFFIXES = tuple(
    f".{kind}{packing}" for kind in ("csv", "tsv") for packing in ("", ".gz", ".zst")
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CsvSource:
    """Rows of CSV files, plain or compressed (`.gz`, `.zst`), as text columns.

    Blank lines are no rows.

    Attributes:
        paths: A file, a glob, a folder, or a list of them; all have the same
            columns, in any order.
        options: How the files are written.
        columns: Columns to read, `None` for all.
        chunk_rows: Most rows of a chunk; large rows make smaller chunks.
    """

    paths: Paths
    options: CsvOptions = field(default_factory=CsvOptions)
    columns: Sequence[str] | None = None
    chunk_rows: int = CHUNK_ROWS

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ConfigurationError: A value is out of range.
        """
        check_chunk_rows(self.chunk_rows)

    @property
    def name(self) -> str:
        """See `Source`."""
        return describe(self.paths)

    def open(
        self, columns: frozenset[str] | None
    ) -> AbstractAsyncContextManager[Reader]:
        """See `Source`."""
        return open_threaded(
            partial(self._prepare, columns),
            chunk_rows=self.chunk_rows,
            may_be_empty=False,
            name=self.name,
        )

    def _prepare(self, asked: frozenset[str] | None) -> ReadPlan:
        files = find_files(self.paths, suffixes=CSV_SUFFIXES, kind="CSV")
        return plan_csv(files, self.options, declared=self.columns, asked=asked)


def plan_csv(
    files: Sequence[LocalFile],
    options: CsvOptions,
    *,
    declared: Sequence[str] | None,
    asked: frozenset[str] | None,
) -> ReadPlan:
    """Look at all headers and prepare one pass over the rows. Blocking.

    Args:
        files: At least one.
        options: How they are written.
        declared: Columns the user restricted the source to, `None` for all.
        asked: Columns the pipeline needs, `None` for all.

    Raises:
        SourceError: A file has no header, or the files do not agree.
    """
    names: list[str] = []
    for file in files:
        with open_csv_text(file, options) as text:
            header = text.header()
        # Cells are matched by name: also an unread column must not come twice.
        project(header, declared=None, asked=None, error=file.error)
        names = names or header
        if set(header) != set(names):
            differing = sorted(set(header) ^ set(names))
            raise file.error(
                f"its columns are not those of {files[0].label}: "
                f"only one of the two has {quoted(differing)}"
            )
    kept = project(names, declared=declared, asked=asked, error=files[0].error)
    return ReadPlan(
        schema=pa.schema([(name, pa.string()) for name in kept]),
        row_count=None,
        batches=_batches(files, options, kept),
        files=files,
        reading=options.reading,
    )


def _batches(
    files: Sequence[LocalFile], options: CsvOptions, kept: Sequence[str]
) -> Generator[RowBatch, None, None]:
    first_row = 0
    for file in files:
        with open_csv_text(file, options, first_row=first_row) as text:
            for batch in text.batches(text.header(), kept):
                yield RowBatch(records=batch, first_index=first_row)
                first_row += batch.num_rows

"""Rows of files: one or many, of one format, as one table."""

from __future__ import annotations

from collections.abc import Collection, Generator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, closing
from dataclasses import dataclass, field
from functools import partial
from typing import Literal

import pyarrow as pa

from sutro_stream.errors import ConfigurationError
from sutro_stream.formats.cells import is_nested, json_texts
from sutro_stream.formats.chunks import (
    CHUNK_ROWS,
    assemble,
    check_chunk_rows,
    project,
    quoted,
    there_are,
)
from sutro_stream.formats.csv_options import CsvOptions
from sutro_stream.formats.format import Format, TableFile, Told
from sutro_stream.formats.table import format_called, format_of, format_of_name
from sutro_stream.sources.source import Reader
from sutro_stream.sources.threaded import ReadPlan, open_threaded
from sutro_stream.storage.files import Accept, Paths, describe, find_files
from sutro_stream.storage.stored import StoredFile, file_error
from sutro_stream.values.outcomes import ErrorKind, RowError
from sutro_stream.values.rows import Refused, RowBatch


@dataclass(frozen=True, slots=True, kw_only=True)
class FileSource:
    """Rows of files, in bounded memory.

    Attributes:
        paths: A file, a glob, a folder, or a list of them.
        format: A name of `formats.table`; `None` tells it by name and content.
        options: How text is written, for formats that are text.
        columns: Columns to read, `None` for all.
        union: Whether files may differ: a column that one lacks is null there, and one
            that is of several kinds is text. Otherwise columns of several files are
            matched by name and have to be the same; numbers may differ in width.
        source_column: Name of a column with the name of each row's file; `None` for
            no such column.
        on_bad_row: What becomes of a row that cannot be read: it is refused in its
            place, left out, or the run ends.
        chunk_rows: Most rows of a chunk; large rows make smaller chunks.
    """

    paths: Paths
    format: str | None = None
    options: CsvOptions = field(default_factory=CsvOptions)
    columns: Sequence[str] | None = None
    union: bool = False
    source_column: str | None = None
    on_bad_row: Literal["refuse", "skip", "stop"] = "refuse"
    chunk_rows: int = CHUNK_ROWS

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ConfigurationError: A value is out of range, or no format has that name.
        """
        check_chunk_rows(self.chunk_rows)
        if self.format is not None:
            format_called(self.format)
        if self.on_bad_row not in ("refuse", "skip", "stop"):
            message = f"not 'refuse', 'skip' or 'stop': {self.on_bad_row!r}"
            raise ConfigurationError(f"on_bad_row is {message}")

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
        told = Told()
        files = find_files(self.paths, accept=self._accepted(), told=told)
        return self.plan(files, asked, told)

    def _accepted(self) -> Sequence[Accept]:
        """Which files of a folder are meant, the surest first."""
        if self.format is None:
            return [_is_certain, lambda name: format_of_name(name) is not None]
        form = format_called(self.format)
        # One that is said to be of a format may have any name, but that of another.
        return [
            lambda name: format_of_name(name) is form,
            lambda name: format_of_name(name) is None,
        ]

    def plan(
        self, files: Sequence[StoredFile], asked: frozenset[str] | None, told: Told
    ) -> ReadPlan:
        """Look at all files and prepare one pass over the rows. Blocking.

        Args:
            files: At least one.
            asked: Columns the pipeline needs, `None` for all.
            told: Takes what is to be known.

        Raises:
            SourceError: A file is not of the format, or the files do not agree.
        """
        form = self._format_of(files)
        tables = [
            _Table(file, form.look(file, self.options, told), self.source_column)
            for file in files
        ]
        common = _Common(tables, union=self.union)
        names = common.kept(declared=self.columns, asked=asked)
        counts = [table.table.row_count for table in tables]
        known = [count for count in counts if count is not None]
        schema = pa.schema([(name, common.types[name]) for name in names])
        ambiguous = frozenset[str]().union(*(each.table.ambiguous for each in tables))
        return ReadPlan(
            schema=schema,
            row_count=sum(known) if len(known) == len(counts) else None,
            batches=_batches(tables, schema, self.chunk_rows),
            files=files,
            reading=self._reading(form),
            told=told,
            ambiguous=ambiguous,
        )

    def _format_of(self, files: Sequence[StoredFile]) -> Format:
        if self.format is not None:
            return format_called(self.format)
        found = {format_of(file).name: file for file in files}
        if len(found) > 1:
            titles = " and ".join(sorted(format_called(name).title for name in found))
            raise ConfigurationError(
                f"the input has {titles} files; say which to read with --format"
            )
        return format_called(next(iter(found)))

    def _reading(self, form: Format) -> str:
        """What of it changes the rows, as ledgers have known it since ever."""
        reading = {"csv": self.options.reading, "parquet": form.name}.get(form.name)
        parts = [reading or f"{form.name} {self.options.reading}"]
        if form.name == "parquet" and self.options.encoding_errors == "replace":
            parts.append("text that is none replaced")
        if self.union:
            parts.append("union")
        if self.source_column is not None:
            parts.append(f"source column {self.source_column}")
        if self.on_bad_row == "skip":
            parts.append("bad rows skipped")
        return ", ".join(parts)


def _is_certain(name: str) -> bool:
    """Whether a file of a folder has rows by its name; beside others, .json rarely."""
    form = format_of_name(name)
    return form is not None and form.name != "json"


@dataclass(frozen=True, slots=True)
class _Table:
    """A file that was looked at, with what its place adds to its columns."""

    file: StoredFile
    table: TableFile
    source_column: str | None

    @property
    def fields(self) -> dict[str, pa.DataType]:
        """All columns, by name."""
        fields = {each.name: each.type for each in self.table.schema}
        return fields | dict.fromkeys(self.added, pa.string())

    @property
    def hidden(self) -> dict[str, pa.DataType]:
        """Columns that are there for who names them."""
        return {each.name: each.type for each in self.table.hidden}

    @property
    def added(self) -> dict[str, str | None]:
        """Columns whose value is the same in all rows."""
        there = frozenset(self.table.schema.names)
        partition = self.file.partition.items()
        added = {name: value for name, value in partition if name not in there}
        if self.source_column is not None:
            if self.source_column in there:
                raise file_error(
                    self.file,
                    f"it has a column {self.source_column!r} already; choose another "
                    "name for --source-column",
                )
            added[self.source_column] = self.file.label
        return added


class _Common:
    """The columns of all files together."""

    def __init__(self, tables: Sequence[_Table], *, union: bool) -> None:
        self._tables = tables
        self._union = union
        self.types: dict[str, pa.DataType] = {}

    def kept(
        self, *, declared: Sequence[str] | None, asked: frozenset[str] | None
    ) -> list[str]:
        """The columns to read, in the order of the input; sets their types.

        Raises:
            SourceError: The files do not agree on them, or one that was declared is
                not there.
        """
        first = self._tables[0]
        names = list(
            dict.fromkeys(name for each in self._tables for name in each.fields)
        )
        named = frozenset(declared or ()) | (asked or frozenset())
        hidden = [name for name in first.hidden if name in named]
        kept = project(
            [*names, *hidden],
            declared=declared,
            asked=asked,
            error=partial(file_error, first.file),
        )
        wanted = frozenset(kept)
        for each in self._tables:
            there = each.fields | each.hidden
            if not self._union:
                self._check(each, there, wanted)
            for name in kept:
                if name in there:
                    self._merge(each, name, there[name])
        for name in kept:
            # Where all of them are null.
            self.types.setdefault(name, pa.null())
        return kept

    def _check(
        self, each: _Table, there: Collection[str], wanted: frozenset[str]
    ) -> None:
        missing = [name for name in wanted if name not in there]
        if not missing:
            return
        first = self._tables[0]
        other = first if each is not first else self._with(missing[0])
        raise file_error(
            each.file,
            f"it has no column {quoted(sorted(missing))}, which {other.file.label} has "
            f"({there_are(list(each.fields))}); read them together with --union",
        )

    def _with(self, name: str) -> _Table:
        return next(each for each in self._tables if name in each.fields)

    def _merge(self, each: _Table, name: str, kind: pa.DataType) -> None:
        before = self.types.get(name, kind)
        if before == kind:
            self.types[name] = kind
            return
        pair = [pa.schema([(name, before)]), pa.schema([(name, kind)])]
        try:
            unified = pa.unify_schemas(pair, promote_options="permissive")
        except (pa.ArrowInvalid, pa.ArrowTypeError):
            if self._union:
                self.types[name] = pa.string()
                return
            raise file_error(
                each.file,
                f"column {name!r} is {kind}, but {before} in the files before it; with "
                "--union it is read as text",
            ) from None
        self.types[name] = unified.field(0).type


def _batches(
    tables: Sequence[_Table], schema: pa.Schema, chunk_rows: int
) -> Generator[RowBatch, None, None]:
    first_row = 0
    for each in tables:
        added = each.added
        own = each.fields.keys() - added.keys() | each.hidden.keys()
        there = [name for name in schema.names if name in own]
        batches = each.table.batches(there, first_row=first_row, chunk_rows=chunk_rows)
        with closing(batches):
            for batch in batches:
                rows = _fitted(each, batch, schema, added)
                yield rows
                first_row += len(rows)


def _fitted(
    each: _Table, batch: RowBatch, schema: pa.Schema, added: Mapping[str, str | None]
) -> RowBatch:
    """The rows with the columns of the whole input."""
    if batch.records.schema.equals(schema):
        return batch
    rows = len(batch)
    there = frozenset(batch.records.schema.names)
    columns: list[pa.Array] = []
    refused: list[Refused] = list(batch.refused)
    for target in schema:
        if target.name in added:
            value = pa.scalar(added[target.name], target.type)
            columns.append(pa.repeat(value, rows))
        elif target.name in there:
            column = batch.records.column(target.name)
            columns.append(_cast(each, column, target, refused))
        else:
            columns.append(pa.nulls(rows, target.type))
    return RowBatch(
        records=assemble(columns, schema, rows=rows),
        first_index=batch.first_index,
        refused=tuple(refused),
    )


def _cast(
    each: _Table, column: pa.Array, target: pa.Field, refused: list[Refused]
) -> pa.Array:
    """A column in the type that it has in all files; cells may not fit."""
    if column.type == target.type:
        return column
    if pa.types.is_string(target.type) and is_nested(column.type):
        return json_texts(column).cast(target.type)
    try:
        return column.cast(target.type)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        pass
    cells = []
    for offset in range(len(column)):
        try:
            cells.append(column.slice(offset, 1).cast(target.type)[0].as_py())
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            cells.append(None)
            message = (
                f"{each.file.label}: column {target.name!r}: a value does not fit "
                f"{target.type}, which it is in other files"
            )
            error = RowError(kind=ErrorKind.BAD_ROW, message=message, field=target.name)
            refused.append((offset, error))
    return pa.array(cells, target.type)

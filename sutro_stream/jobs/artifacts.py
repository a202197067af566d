"""Results as files to download, made once for each selection of columns.

An artifact's file bears the hash of its content in its name: what lies there under
a name is complete, never changes, and its ETag is known without reading it.
"""

from __future__ import annotations

import hashlib
import os
import threading
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import IO, TypeAlias

import orjson
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from sutro_stream.errors import StoreError
from sutro_stream.jobs.result_form import OUTPUTS
from sutro_stream.jobs.result_table import ResultTable, Selection, opened

_GROUP_ROWS = 50_000
_GROUP_BYTES = 32 << 20
# On text, level 6 takes four times as long for a seventh less size.
_ZIP_LEVEL = 1

_Write: TypeAlias = Callable[[ResultTable, pa.Schema, IO[bytes]], None]


class ArtifactFormat(StrEnum):
    """Formats of artifacts, by their ending."""

    PARQUET = "parquet"
    CSV_ZIP = "zip"


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """A complete file that never changes.

    Attributes:
        path: Where it lies.
        filename: What it is called towards clients; safe as a name of a file.
        size_bytes: Its size, above 0.
        etag: Strong ETag in its quotes: the SHA-256 of the content.
    """

    path: Path
    filename: str
    size_bytes: int
    etag: str


class Workshop:
    """Where artifacts are made: a few at a time, none of them twice at once.

    One for all jobs of a deployment bounds the memory that making takes.

    Concurrency: blocking; any number of threads.
    """

    def __init__(self, places: int = 2) -> None:
        """Empty.

        Args:
            places: Most artifacts in the making, at least 1.
        """
        self._places = places
        self._busy: set[tuple[str, str]] = set()
        self._changed = threading.Condition()

    @contextmanager
    def place(self, job_id: str, label: str) -> Iterator[None]:
        """Wait for a place, and for who makes the same artifact; then have it."""
        key = job_id, label
        with self._changed:
            self._changed.wait_for(
                lambda: key not in self._busy and len(self._busy) < self._places
            )
            self._busy.add(key)
        try:
            yield
        finally:
            with self._changed:
                self._busy.remove(key)
                self._changed.notify_all()


class Artifacts:
    """The artifacts of one job.

    Concurrency: blocking; any number of threads.
    """

    def __init__(
        self, folder: Path, *, job_id: str, results: Path, workshop: Workshop
    ) -> None:
        """Artifacts made of a file of results.

        Args:
            folder: Where they are kept; made when the first one is.
            job_id: Whose they are.
            results: The file of results.
            workshop: Where they are made.
        """
        self._folder = folder
        self._job_id = job_id
        self._results = results
        self._workshop = workshop

    def parquet(self, selection: Selection) -> Artifact:
        """The results as Parquet, compressed with Snappy; made if need be.

        Raises:
            StoreError: The results cannot be read, or the artifact not written.
        """
        return self._made(selection, ArtifactFormat.PARQUET, _write_parquet)

    def csv_zip(self, selection: Selection) -> Artifact:
        """The results as CSV in a ZIP archive; made if need be.

        The column of the outputs is called like the job. Vectors are JSON text.

        Raises:
            StoreError: The results cannot be read, or the artifact not written.
        """

        def write(table: ResultTable, columns: pa.Schema, file: IO[bytes]) -> None:
            _write_csv_zip(table, columns, file, job_id=self._job_id)

        return self._made(selection, ArtifactFormat.CSV_ZIP, write)

    def find(self, filename: str) -> Artifact | None:
        """The artifact of this name, `None` if there is none of it, or not yet."""
        for kind in ArtifactFormat:
            for inputs in (False, True):
                for logprobs in (False, True):
                    selection = Selection(inputs=inputs, logprobs=logprobs)
                    if self._filename(selection, kind) == filename:
                        return self._found(selection, kind)
        return None

    def _filename(self, selection: Selection, kind: ArtifactFormat) -> str:
        return f"sutro-results~{self._job_id}~{selection.label}.{kind}"

    def _found(self, selection: Selection, kind: ArtifactFormat) -> Artifact | None:
        for path in sorted(self._folder.glob(f"{selection.label}.*.{kind}")):
            with suppress(FileNotFoundError):
                return self._artifact(path, selection, kind)
        return None

    def _artifact(
        self, path: Path, selection: Selection, kind: ArtifactFormat
    ) -> Artifact:
        return Artifact(
            path=path,
            filename=self._filename(selection, kind),
            size_bytes=path.stat().st_size,
            etag=f'"{path.name.split(".")[1]}"',
        )

    def _made(
        self, selection: Selection, kind: ArtifactFormat, write: _Write
    ) -> Artifact:
        found = self._found(selection, kind)
        if found is not None:
            return found
        with self._workshop.place(self._job_id, f"{selection.label}.{kind}"):
            found = self._found(selection, kind)
            return found or self._make(selection, kind, write)

    def _make(
        self, selection: Selection, kind: ArtifactFormat, write: _Write
    ) -> Artifact:
        # One at a time: what lies there was left by a process that died.
        temporary = self._folder / f".{selection.label}.{kind}.partial"
        try:
            self._folder.mkdir(exist_ok=True)
            with temporary.open("w+b") as file, opened(self._results) as table:
                write(table, selection.of(table.schema), file)
                file.flush()
                os.fsync(file.fileno())
                file.seek(0)
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            final = self._folder / f"{selection.label}.{digest}.{kind}"
            temporary.replace(final)
            return self._artifact(final, selection, kind)
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            message = f"cannot write an artifact to {self._folder}: {reason}"
            raise StoreError(message, path=str(self._folder)) from error
        finally:
            with suppress(OSError):
                temporary.unlink()


def _write_parquet(table: ResultTable, columns: pa.Schema, file: IO[bytes]) -> None:
    with pq.ParquetWriter(file, columns, compression="snappy") as writer:
        held: list[pa.RecordBatch] = []
        rows = size = 0
        for batch in table.batches(columns):
            held.append(batch)
            rows += batch.num_rows
            size += batch.nbytes
            if rows >= _GROUP_ROWS or size >= _GROUP_BYTES:
                writer.write_table(pa.Table.from_batches(held), row_group_size=rows)
                held, rows, size = [], 0, 0
        if held:
            writer.write_table(pa.Table.from_batches(held), row_group_size=rows)


def _write_csv_zip(
    table: ResultTable, columns: pa.Schema, file: IO[bytes], *, job_id: str
) -> None:
    schema = _csv_schema(columns, job_id)
    with (
        zipfile.ZipFile(
            file, "w", zipfile.ZIP_DEFLATED, compresslevel=_ZIP_LEVEL
        ) as archive,
        archive.open(f"{job_id}.csv", "w", force_zip64=True) as member,
        pa_csv.CSVWriter(member, schema) as writer,
    ):
        for batch in table.batches(columns):
            arrays = [_csv_cells(column, columns) for column in batch.columns]
            writer.write(pa.RecordBatch.from_arrays(arrays, schema=schema))


def _csv_schema(columns: pa.Schema, job_id: str) -> pa.Schema:
    return pa.schema(
        [
            pa.field(
                job_id if field.name == OUTPUTS else field.name,
                pa.large_string() if pa.types.is_list(field.type) else field.type,
            )
            for field in columns
        ]
    )


def _csv_cells(column: pa.Array, columns: pa.Schema) -> pa.Array:
    cells = column
    if pa.types.is_list(column.type):
        texts = [
            None if vector is None else orjson.dumps(vector).decode()
            for vector in column.to_pylist()
        ]
        cells = pa.array(texts, pa.large_string())
    # An empty line would be no row.
    return cells.fill_null("") if len(columns) == 1 else cells

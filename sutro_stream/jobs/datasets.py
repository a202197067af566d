"""Datasets: Parquet files of one schema that accounts have uploaded.

Files lie under numbers of our own, so no name that somebody chose is ever part of a
path. A file is in place before the database says that it is there.
"""

from __future__ import annotations

import os
import sqlite3
import uuid
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from sutro_stream.errors import StoreError
from sutro_stream.jobs.database import Clock, Database, microseconds, moment, utc_now
from sutro_stream.values.dataset import Dataset, DatasetField, DatasetFile
from sutro_stream.wire.api_error import ApiError, invalid, not_found

_LONGEST_NAME = 255

_DATASETS = (
    "SELECT d.*, count(f.number) AS files, coalesce(sum(f.row_count), 0) AS row_count, "
    "coalesce(sum(f.size_bytes), 0) AS size_bytes FROM datasets d "
    "LEFT JOIN dataset_files f ON f.dataset_id = d.dataset_id WHERE d.account = ? "
)


class DatasetStore:
    """Datasets of all accounts.

    Concurrency: blocking; from any thread. Every method raises `StoreError` when
    database or files cannot be used, and an `ApiError` with status 404 when the
    dataset does not exist or belongs to another account.
    """

    def __init__(
        self, database: Database, root: Path, *, clock: Clock = utc_now
    ) -> None:
        self._database = database
        self._root = root
        self._clock = clock

    def create(self, account: str) -> str:
        """Make an empty dataset and tell its ID."""
        dataset_id = f"dataset-{uuid.uuid4()}"
        now = microseconds(self._clock())
        with self._database.write() as connection:
            connection.execute(
                "INSERT INTO datasets (dataset_id, account, created_us, updated_us) "
                "VALUES (?, ?, ?, ?)",
                (dataset_id, account, now, now),
            )
        return dataset_id

    def add_file(
        self, account: str, dataset_id: str, name: str, source: Path
    ) -> DatasetFile:
        """Add a Parquet file as the last one of a dataset.

        Args:
            account: Whose dataset it is.
            dataset_id: Which.
            name: The file's name, without folders.
            source: The file, on the same file system; moved, or left where it is
                when it is refused.

        Raises:
            ApiError: 404 for an unknown dataset, 409 for a name that is there
                already, 422 for a file that is not Parquet or has other columns.
        """
        _check_name(name)
        with self._database.read() as connection:
            _owned(connection, account, dataset_id)
        found = _inspect(name, source)
        now = self._clock()
        file = DatasetFile(
            file_id=f"file-{uuid.uuid4()}",
            name=name,
            uploaded_at=now,
            rows=found.rows,
            size_bytes=found.size_bytes,
        )
        moved = _Move(source)
        with ExitStack() as undo:
            # Whatever undoes the record, the file must not stay without one.
            undo.callback(moved.back)
            with self._database.write() as connection:
                number = _insert(connection, account, dataset_id, file, found.schema)
                moved.to(self._path(dataset_id, number))
            undo.pop_all()
        return file

    def list(self, account: str) -> Sequence[Dataset]:
        """Datasets of an account, newest first."""
        query = _DATASETS + "GROUP BY d.dataset_id ORDER BY d.sequence DESC"
        with self._database.read() as connection:
            rows = connection.execute(query, (account,)).fetchall()
        return [_dataset(row) for row in rows]

    def get(self, account: str, dataset_id: str) -> Dataset:
        """One dataset."""
        query = _DATASETS + "AND d.dataset_id = ? GROUP BY d.dataset_id"
        with self._database.read() as connection:
            row = connection.execute(query, (account, dataset_id)).fetchone()
        if row is None:
            raise _no_dataset(dataset_id)
        return _dataset(row)

    def files(self, account: str, dataset_id: str) -> Sequence[DatasetFile]:
        """Files of a dataset, in the order of upload."""
        return [_file(row) for row in self._files(account, dataset_id)]

    def contents(
        self, account: str, dataset_id: str
    ) -> tuple[Sequence[DatasetFile], Sequence[DatasetField]]:
        """Files of a dataset in the order of upload, and their columns."""
        fields = self.get(account, dataset_id).fields
        return self.files(account, dataset_id), fields

    def paths(self, account: str, dataset_id: str) -> Sequence[Path]:
        """Where these files lie, in the same order."""
        rows = self._files(account, dataset_id)
        return [self._path(dataset_id, row["number"]) for row in rows]

    def file_path(self, account: str, dataset_id: str, name: str) -> Path:
        """Where one file lies.

        Raises:
            ApiError: 404, the dataset has no file of this name.
        """
        for row in self._files(account, dataset_id):
            if row["name"] == name:
                return self._path(dataset_id, row["number"])
        raise not_found(f"A file of this name in {dataset_id}", code="file_not_found")

    def _files(self, account: str, dataset_id: str) -> Sequence[sqlite3.Row]:
        with self._database.read() as connection:
            _owned(connection, account, dataset_id)
            return connection.execute(
                "SELECT * FROM dataset_files WHERE dataset_id = ? ORDER BY number",
                (dataset_id,),
            ).fetchall()

    def _path(self, dataset_id: str, number: int) -> Path:
        # Only IDs that are in the database come here, all of which we made.
        return self._root / dataset_id / f"{number:06d}.parquet"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """What a file to be added holds."""

    schema: pa.Schema
    rows: int
    size_bytes: int


class _Move:
    """A file on its way to its place, and back if that place is not confirmed."""

    def __init__(self, source: Path) -> None:
        self._source = source
        self._target: Path | None = None

    def to(self, target: Path) -> None:
        """Put the file in place, durably."""
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            _sync(self._source)
            self._source.replace(target)
            self._target = target
            _sync(target.parent)
            _sync(target.parent.parent)
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            message = f"cannot keep a file of a dataset at {target}: {reason}"
            raise StoreError(message, path=str(target)) from error

    def back(self) -> None:
        """Undo it."""
        if self._target is not None:
            with suppress(OSError):
                self._target.replace(self._source)


def _sync(path: Path) -> None:
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except PermissionError:
        # Not every system can open a folder.
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _check_name(name: str) -> None:
    # Clients make paths of it on their side.
    if (
        not name.strip()
        or name in {".", ".."}
        or len(name) > _LONGEST_NAME
        or any(character in "/\\" or not character.isprintable() for character in name)
    ):
        message = "file: give a name of printable characters, without folders"
        raise invalid(message, code="invalid_file_name")


def _inspect(name: str, source: Path) -> _Found:
    try:
        size_bytes = source.stat().st_size
        with pq.ParquetFile(source) as file:
            schema = file.schema_arrow.remove_metadata()
            rows = file.metadata.num_rows
    except (pa.ArrowException, ValueError):
        message = f"file: {name} is not a Parquet file"
        raise invalid(message, code="not_parquet") from None
    except OSError as error:
        # Arrow reports damaged footers as errors of the system, without a number.
        if error.errno is None:
            message = f"file: {name} is not a readable Parquet file"
            raise invalid(message, code="not_parquet") from None
        reason = (error.strerror or str(error)).lower()
        raise StoreError(f"cannot read an uploaded file: {reason}") from error
    if not schema.names:
        raise invalid(f"file: {name} has no columns", code="not_parquet")
    return _Found(schema=schema, rows=rows, size_bytes=size_bytes)


def _insert(
    connection: sqlite3.Connection,
    account: str,
    dataset_id: str,
    file: DatasetFile,
    schema: pa.Schema,
) -> int:
    """Note the file if it fits the dataset; tell its number."""
    dataset = _owned(connection, account, dataset_id)
    known = dataset["arrow_schema"]
    if known is not None and not schema.equals(_schema(known)):
        raise _other_columns(file.name, schema, _schema(known))
    number, taken = connection.execute(
        "SELECT coalesce(max(number), 0) + 1, coalesce(max(name = ?), 0) "
        "FROM dataset_files WHERE dataset_id = ?",
        (file.name, dataset_id),
    ).fetchone()
    if taken:
        message = f"file: {dataset_id} has a file named {file.name} already"
        raise ApiError(409, "duplicate_file", message)
    uploaded = microseconds(file.uploaded_at)
    connection.execute(
        "INSERT INTO dataset_files VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            dataset_id,
            number,
            file.file_id,
            file.name,
            file.rows,
            file.size_bytes,
            uploaded,
        ),
    )
    connection.execute(
        "UPDATE datasets SET updated_us = ?, arrow_schema = ? WHERE dataset_id = ?",
        (uploaded, schema.serialize().to_pybytes(), dataset_id),
    )
    return int(number)


def _owned(
    connection: sqlite3.Connection, account: str, dataset_id: str
) -> sqlite3.Row:
    row: sqlite3.Row | None = connection.execute(
        "SELECT * FROM datasets WHERE dataset_id = ? AND account = ?",
        (dataset_id, account),
    ).fetchone()
    if row is None:
        raise _no_dataset(dataset_id)
    return row


def _no_dataset(dataset_id: str) -> ApiError:
    return not_found(f"Dataset {dataset_id}", code="dataset_not_found")


def _other_columns(name: str, schema: pa.Schema, known: pa.Schema) -> ApiError:
    message = (
        f"file: {name} has other columns than the files before it: "
        f"{_listed(schema)} instead of {_listed(known)}"
    )
    return invalid(message, code="schema_mismatch")


def _listed(schema: pa.Schema) -> str:
    return ", ".join(f"{field.name} {field.type}" for field in schema)


def _schema(kept: bytes) -> pa.Schema:
    return pa.ipc.read_schema(pa.py_buffer(kept))


def _dataset(row: sqlite3.Row) -> Dataset:
    kept = row["arrow_schema"]
    schema = () if kept is None else _schema(kept)
    return Dataset(
        dataset_id=row["dataset_id"],
        account=row["account"],
        created_at=moment(row["created_us"]),
        updated_at=moment(row["updated_us"]),
        fields=tuple(
            DatasetField(name=field.name, type=str(field.type)) for field in schema
        ),
        files=row["files"],
        rows=row["row_count"],
        size_bytes=row["size_bytes"],
    )


def _file(row: sqlite3.Row) -> DatasetFile:
    return DatasetFile(
        file_id=row["file_id"],
        name=row["name"],
        uploaded_at=moment(row["uploaded_us"]),
        rows=row["row_count"],
        size_bytes=row["size_bytes"],
    )

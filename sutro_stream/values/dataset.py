"""Datasets of a deployment: Parquet files of one schema, in the order of upload."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetField:
    """One column that all files of a dataset have.

    Attributes:
        name: The column's name.
        type: Its Arrow type, as Arrow writes it.
    """

    name: str
    type: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetFile:
    """One file of a dataset.

    Attributes:
        file_id: `file-` and a random UUID.
        name: Its name when it was uploaded, without folders.
        uploaded_at: UTC.
        rows: Number of its rows.
        size_bytes: Its size.
    """

    file_id: str
    name: str
    uploaded_at: datetime
    rows: int
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """A dataset as it stands.

    Attributes:
        dataset_id: `dataset-` and a random UUID; never used twice.
        account: Whose it is.
        created_at: UTC.
        updated_at: When the last file came, UTC; `created_at` before the first.
        fields: Columns of its files; empty before the first file.
        files: Number of files.
        rows: Of all files together.
        size_bytes: Of all files together.
    """

    dataset_id: str
    account: str
    created_at: datetime
    updated_at: datetime
    fields: tuple[DatasetField, ...] = ()
    files: int = 0
    rows: int = 0
    size_bytes: int = 0

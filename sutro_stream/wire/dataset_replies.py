"""Bodies of the dataset routes, as JSON-able dictionaries.

Two generations of the API show these in two forms; each reply is the union of both.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sutro_stream.values.dataset import Dataset, DatasetField, DatasetFile
from sutro_stream.wire.replies import Reply, iso_time


def dataset_created(dataset_id: str) -> Reply:
    """A new dataset."""
    return {"dataset_id": dataset_id}


def file_uploaded(dataset_id: str, file: DatasetFile) -> Reply:
    """A file was added."""
    return {
        "message": "File uploaded successfully",
        "dataset_id": dataset_id,
        "file_id": file.file_id,
        "file_name": file.name,
    }


def datasets_listed(datasets: Iterable[Dataset]) -> Reply:
    """All datasets of an account."""
    return {"datasets": [_dataset(entry) for entry in datasets]}


def dataset_files_listed(
    files: Iterable[DatasetFile],
    *,
    fields: Sequence[DatasetField] = (),
    detailed: bool = False,
) -> Reply:
    """The files of a dataset, in the order of upload.

    Args:
        files: In order.
        fields: Their columns; shown in detail only.
        detailed: Objects instead of the plain names that the SDK needs.
    """
    if not detailed:
        return {"files": [file.name for file in files]}
    schema = _schema(fields)
    return {
        "files": [
            {
                "file_name": file.name,
                "file_id": file.file_id,
                "uploaded_at": iso_time(file.uploaded_at),
                "size_bytes": file.size_bytes,
                "row_count": file.rows,
                "schema": schema,
            }
            for file in files
        ]
    }


def _dataset(entry: Dataset) -> Reply:
    created_at = iso_time(entry.created_at)
    return {
        "dataset_id": entry.dataset_id,
        "name": entry.dataset_id,
        "datetime_added": created_at,
        "created_at": created_at,
        "updated_at": iso_time(entry.updated_at),
        "file_count": entry.files,
        "row_count": entry.rows,
        "total_size_bytes": entry.size_bytes,
        "schema": _schema(entry.fields),
    }


def _schema(fields: Sequence[DatasetField]) -> Reply:
    return {"fields": [{"name": field.name, "type": field.type} for field in fields]}

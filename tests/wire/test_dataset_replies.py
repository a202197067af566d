"""Bodies of the dataset routes: the union of two generations."""

from __future__ import annotations

from datetime import UTC, datetime

from sutro_stream.values.dataset import Dataset, DatasetField, DatasetFile
from sutro_stream.wire.dataset_replies import (
    dataset_created,
    dataset_files_listed,
    datasets_listed,
    file_uploaded,
)

WHEN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
TEXT = "2026-01-02T03:04:05.000000Z"
FIELDS = (DatasetField(name="prompt", type="string"),)
SCHEMA = {"fields": [{"name": "prompt", "type": "string"}]}
FILE = DatasetFile(
    file_id="file-1", name="a.parquet", uploaded_at=WHEN, rows=2, size_bytes=9
)


def test_a_new_dataset_tells_its_id() -> None:
    """And nothing else."""
    assert dataset_created("dataset-1") == {"dataset_id": "dataset-1"}


def test_an_upload_tells_the_file() -> None:
    """By ID and name."""
    reply = file_uploaded("dataset-1", FILE)
    assert reply["file_id"] == "file-1"
    assert reply["file_name"] == "a.parquet"


def test_a_dataset_has_the_keys_of_both_generations() -> None:
    """The old command line reads some, the old documentation shows others."""
    dataset = Dataset(
        dataset_id="dataset-1",
        account="alice",
        created_at=WHEN,
        updated_at=WHEN,
        fields=FIELDS,
        files=1,
        rows=2,
        size_bytes=9,
    )
    assert datasets_listed([dataset]) == {
        "datasets": [
            {
                "dataset_id": "dataset-1",
                "name": "dataset-1",
                "datetime_added": TEXT,
                "created_at": TEXT,
                "updated_at": TEXT,
                "file_count": 1,
                "row_count": 2,
                "total_size_bytes": 9,
                "schema": SCHEMA,
            }
        ]
    }


def test_files_are_plain_names() -> None:
    """The SDK makes paths of them."""
    assert dataset_files_listed([FILE], fields=FIELDS) == {"files": ["a.parquet"]}


def test_files_are_shown_in_detail_when_asked() -> None:
    """As the documentation has them."""
    assert dataset_files_listed([FILE], fields=FIELDS, detailed=True) == {
        "files": [
            {
                "file_name": "a.parquet",
                "file_id": "file-1",
                "uploaded_at": TEXT,
                "size_bytes": 9,
                "row_count": 2,
                "schema": SCHEMA,
            }
        ]
    }

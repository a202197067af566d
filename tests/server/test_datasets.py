"""The dataset routes, as older SDKs and plain HTTP use them."""

from __future__ import annotations

from typing import Any

import pytest
from aiohttp import FormData
from aiohttp.test_utils import TestClient


def form(*parts: str, size: int = 3) -> FormData:
    """A form with these parts, in this order."""
    data = FormData(default_to_multipart=True)
    for part in parts:
        if part == "file":
            content = b"x" * size
            data.add_field(
                "file",
                content,
                filename="a.parquet",
                content_type="application/octet-stream",
            )
        else:
            data.add_field(part, "dataset-1")
    return data


async def test_a_dataset_is_made_with_a_get(client: TestClient[Any, Any]) -> None:
    """As old clients do."""
    response = await client.get("/create-dataset")
    assert await response.json() == {"dataset_id": "dataset-1"}


@pytest.mark.parametrize("parts", [("dataset_id", "file"), ("file", "dataset_id")])
async def test_a_file_is_uploaded_as_a_form(
    client: TestClient[Any, Any], fake: Any, parts: tuple[str, ...]
) -> None:
    """Its parts in any order; nothing stays among the uploads."""
    response = await client.post("/v1/upload-to-dataset", data=form(*parts))
    assert response.status == 200
    assert (await response.json())["file_id"] == "file-1"
    assert fake.uploaded == {"a.parquet": b"xxx"}
    assert list(fake.folder.uploads.iterdir()) == []


@pytest.mark.parametrize(
    "parts", [(), ("file",), ("dataset_id",), ("dataset_id", "file", "file")]
)
async def test_a_form_must_be_complete(
    client: TestClient[Any, Any], parts: tuple[str, ...]
) -> None:
    """One ID and one file."""
    data: Any = form(*parts) if parts else b"no form"
    response = await client.post("/v1/upload-to-dataset", data=data)
    assert response.status == (422 if parts else 400)


async def test_a_file_that_is_too_large_is_refused(
    client: TestClient[Any, Any], fake: Any
) -> None:
    """Though the form around it may have a little more."""
    data = form("dataset_id", "file", size=1001)
    response = await client.post("/v1/upload-to-dataset", data=data)
    assert response.status == 413
    assert list(fake.folder.uploads.iterdir()) == []


async def test_datasets_are_listed(client: TestClient[Any, Any]) -> None:
    """By a POST without a body."""
    body = await (await client.post("/v1/list-datasets")).json()
    assert [entry["dataset_id"] for entry in body["datasets"]] == ["dataset-1"]


async def test_files_are_names_or_all_about_them(
    client: TestClient[Any, Any], fake: Any
) -> None:
    """Names, unless details are asked for."""
    fake.uploaded["a.parquet"] = b"xxx"
    asked = {"dataset_id": "dataset-1"}
    names = await client.post("/v1/list-dataset-files", json=asked)
    details = await client.post("/v1/list-dataset-files?detailed=True", json=asked)
    assert await names.json() == {"files": ["a.parquet"]}
    assert (await details.json())["files"][0]["size_bytes"] == 3


async def test_a_file_comes_back_as_it_was(
    client: TestClient[Any, Any], fake: Any
) -> None:
    """Byte for byte."""
    fake.uploaded["a.parquet"] = b"PAR1"
    response = await client.post(
        "/v1/download-from-dataset",
        json={"dataset_id": "dataset-1", "file_name": "a.parquet"},
    )
    assert await response.read() == b"PAR1"

"""Bodies on their way in."""

from __future__ import annotations

import gzip
import json
from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest
from aiohttp.test_utils import TestClient

BODY = json.dumps({"inputs": ["a", "b"]}).encode()


@pytest.mark.parametrize("path", ["/v1/batch-inference", "/batch-inference"])
async def test_an_accepted_job_is_told_by_its_id(
    client: TestClient[Any, Any], fake: Any, job_id: str, path: str
) -> None:
    """With exactly 200, twice in the answer."""
    response = await client.post(path, data=BODY)
    assert response.status == 200
    assert await response.json() == {
        "metadata": {"job_id": job_id, "message": "Job created successfully"},
        "results": job_id,
    }
    assert fake.bodies == [BODY]


async def test_the_body_does_not_stay(client: TestClient[Any, Any], fake: Any) -> None:
    """Nothing lies among the uploads afterwards."""
    await client.post("/v1/batch-inference", data=BODY)
    assert list(fake.folder.uploads.iterdir()) == []


async def test_a_body_may_be_compressed(
    client: TestClient[Any, Any], fake: Any
) -> None:
    """It is stored as it was before."""
    headers = {"Content-Encoding": "gzip"}
    await client.post("/v1/batch-inference", data=gzip.compress(BODY), headers=headers)
    assert fake.bodies == [BODY]


async def test_a_body_that_is_not_what_its_headers_say(
    client: TestClient[Any, Any],
) -> None:
    """Is the client's mistake."""
    response = await client.post(
        "/v1/batch-inference", data=BODY, headers={"Content-Encoding": "gzip"}
    )
    assert response.status == 400
    assert isinstance((await response.json())["detail"], str)


@pytest.mark.parametrize("path", ["/v1/batch-inference", "/v1/upload-to-dataset"])
async def test_a_body_that_says_it_is_too_large(
    client: TestClient[Any, Any], path: str
) -> None:
    """Is refused with 413 before it has come."""
    response = await client.post(path, data=b"x" * 70_000)
    body = await response.json()
    assert (response.status, body["code"]) == (413, "body_too_large")
    assert "1,000 bytes" in body["detail"]


async def test_a_body_that_is_too_large_is_refused_while_it_is_sent(
    client: TestClient[Any, Any], fake: Any
) -> None:
    """The answer does not wait for the end."""
    answered = anyio.Event()

    async def endless() -> AsyncIterator[bytes]:
        yield b"x" * 1001
        await answered.wait()

    response = await client.post("/v1/batch-inference", data=endless())
    answered.set()
    assert response.status == 413
    assert list(fake.folder.uploads.iterdir()) == []


async def test_a_small_bomb_is_refused(client: TestClient[Any, Any]) -> None:
    """What counts is the size after unpacking."""
    response = await client.post(
        "/v1/batch-inference",
        data=gzip.compress(b"x" * 1_000_000),
        headers={"Content-Encoding": "gzip"},
    )
    assert response.status == 413


async def test_the_key_of_a_submission_is_passed_on(
    client: TestClient[Any, Any], fake: Any
) -> None:
    """In its canonical form."""
    key = "A1B2C3D4-0000-4000-8000-000000000000"
    await client.post(
        "/v1/batch-inference", data=BODY, headers={"Idempotency-Key": key}
    )
    assert fake.idempotency_keys == [key.lower()]


async def test_a_key_that_is_no_uuid_is_refused(client: TestClient[Any, Any]) -> None:
    """Before anything is received."""
    response = await client.post(
        "/v1/batch-inference", data=BODY, headers={"Idempotency-Key": "1"}
    )
    assert response.status == 422


async def test_what_became_of_a_submission(
    client: TestClient[Any, Any], job_id: str
) -> None:
    """By its key."""
    key = "a1b2c3d4-0000-4000-8000-000000000000"
    response = await client.get(f"/v1/batch-submissions/{key}")
    assert await response.json() == {
        "idempotency_key": key,
        "status": "ACCEPTED",
        "retryable": False,
        "job_id": job_id,
        "detail": None,
    }

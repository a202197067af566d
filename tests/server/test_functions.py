"""Functions run at once."""

from __future__ import annotations

from typing import Any

import pytest
from aiohttp.test_utils import TestClient

from sutro_stream.wire.api_error import ApiError


async def test_a_function_answers(client: TestClient[Any, Any], fake: Any) -> None:
    """With parsed output, and integers for tokens."""
    response = await client.post(
        "/v1/functions/lead-qualifier/run", json={"input": {"query": "q"}}
    )
    body = await response.json()
    assert fake.function_calls == [("lead-qualifier", {"query": "q"}, True)]
    assert body["output"] == {"label": "yes"}
    assert body["confidence"] == 0.5
    assert body["function"]["revision"] == 7
    assert body["usage"]["input_tokens"] == 3
    assert body["request_id"] == response.headers["X-Request-Id"]


async def test_confidence_can_be_left_out(
    client: TestClient[Any, Any], fake: Any
) -> None:
    """Then it is null."""
    response = await client.post(
        "/v1/functions/f/run", json={"input": "q", "confidence_scoring": False}
    )
    assert (await response.json())["confidence"] is None
    assert fake.function_calls == [("f", "q", False)]


@pytest.mark.parametrize(
    ("body", "status"),
    [(b"{", 400), (b"[]", 422), (b"{}", 422), (b'{"input": 1}', 422)],
)
async def test_a_body_without_an_input_is_refused(
    client: TestClient[Any, Any], body: bytes, status: int
) -> None:
    """Before a model is asked."""
    assert (await client.post("/v1/functions/f/run", data=body)).status == status


async def test_a_rate_limit_says_how_long_to_wait(
    client: TestClient[Any, Any], fake: Any
) -> None:
    """In seconds."""
    fake.failure = ApiError(429, "rate_limited", "x", headers={"Retry-After": "2"})
    response = await client.post("/v1/functions/f/run", json={"input": "q"})
    assert (response.status, response.headers["Retry-After"]) == (429, "2")

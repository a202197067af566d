"""Who gets in."""

from __future__ import annotations

from typing import Any

import pytest
from aiohttp.test_utils import TestClient

KEY = "sk_live_of_alice"


@pytest.mark.parametrize(
    "value", [f"Key {KEY}", f"key {KEY}", f"Bearer {KEY}", f"  KEY   {KEY} "]
)
async def test_a_key_in_use_gets_in(stranger: TestClient[Any, Any], value: str) -> None:
    """With either scheme, in any case; the answer says whose key it is."""
    response = await stranger.get("/v1/auth/check", headers={"Authorization": value})
    assert response.status == 200
    assert await response.json() == {"authenticated": True, "principal": "alice"}


@pytest.mark.parametrize(
    "value",
    [
        None,
        "",
        KEY,
        "Key",
        "Key ",
        f"Basic {KEY}",
        f"Key {KEY} more",
        "Key sk_live_unknown",
    ],
)
async def test_everybody_else_is_refused(
    stranger: TestClient[Any, Any], value: str | None
) -> None:
    """With 401, as JSON, without repeating what was sent."""
    headers = {} if value is None else {"Authorization": value}
    response = await stranger.get("/v1/auth/check", headers=headers)
    body = await response.json()
    assert response.status == 401
    assert body["code"] == "unauthenticated"
    assert isinstance(body["detail"], str)
    assert KEY not in body["detail"]
    assert response.headers["WWW-Authenticate"] == "Key"


@pytest.mark.parametrize("prefix", ["", "/v1"])
async def test_older_clients_ask_in_their_way(
    client: TestClient[Any, Any], prefix: str
) -> None:
    """With and without the version in the path."""
    response = await client.get(f"{prefix}/try-authentication")
    assert await response.json() == {"authenticated": True}


async def test_health_needs_no_key(stranger: TestClient[Any, Any]) -> None:
    """It is for whoever watches the server."""
    response = await stranger.get("/healthz")
    assert response.status == 200
    assert (await response.json())["status"] == "ok"


async def test_health_can_be_asked_for_without_a_body(
    stranger: TestClient[Any, Any],
) -> None:
    """As some watchers do."""
    assert (await stranger.head("/healthz")).status == 200


async def test_quotas_stand_in_the_order_of_priorities(
    client: TestClient[Any, Any],
) -> None:
    """Clients take the place in the list for the priority."""
    body = await (await client.get("/v1/get-quotas")).json()
    assert [entry["priority"] for entry in body["quotas"]] == [0, 1]


async def test_models_and_their_other_names_are_listed(
    client: TestClient[Any, Any],
) -> None:
    """All that a request may name."""
    body = await (await client.get("/v1/models")).json()
    assert [entry["id"] for entry in body["data"]] == ["m", "gpt"]

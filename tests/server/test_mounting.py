"""The application inside another one, and behind a proxy."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import anyio
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from sutro_stream.errors import StoreInUseError
from sutro_stream.server.context import LIVING
from sutro_stream.server.lifetime import kept_open
from sutro_stream.server.routing import application_of, routes_only
from sutro_stream.settings.deployment import DeploymentSettings, ServerSettings

AUTHORIZED = {"Authorization": "Key sk_live_of_alice"}


@asynccontextmanager
async def mounted(app: web.Application) -> AsyncIterator[TestClient[Any, Any]]:
    """A client of an application that has the other below `/batch/`."""
    parent = web.Application()
    parent.add_subapp("/batch/", app)
    async with TestClient(TestServer(parent), headers=AUTHORIZED) as client:
        yield client


async def test_a_mounted_deployment_works_below_its_prefix(
    fake: Any, settings: DeploymentSettings
) -> None:
    """Errors of its part have its form."""
    async with mounted(application_of(fake, settings)) as client:
        check = await client.get("/batch/v1/auth/check")
        assert (await check.json())["authenticated"] is True
        nothing = await client.get("/batch/v1/nothing")
        assert (await nothing.json())["code"] == "not_found"
        other = await client.get("/elsewhere")
        assert other.content_type == "text/plain"


@pytest.mark.usefixtures("succeeded")
async def test_links_of_a_mounted_deployment_have_its_prefix(
    fake: Any, settings: DeploymentSettings, job_id: str
) -> None:
    """They lead where they say."""
    async with mounted(application_of(fake, settings)) as client:
        told = await client.get(f"/batch/v1/jobs/{job_id}/results-url")
        url = (await told.json())["urls"]["get"]
        assert url.startswith(f"{client.make_url('/batch/v1/artifacts/')}")
        async with client.session.get(url) as response:
            assert response.status == 200


@pytest.mark.usefixtures("succeeded")
@pytest.mark.parametrize(
    ("server", "origin"),
    [
        (
            ServerSettings(public_url="https://batch.example.com/api"),
            "https://batch.example.com/api/v1/artifacts/",
        ),
        (
            ServerSettings(trust_forwarded=True),
            "https://outside.example/v1/artifacts/",
        ),
    ],
    ids=["configured", "forwarded"],
)
async def test_links_begin_as_the_operator_says(
    fake: Any,
    settings: DeploymentSettings,
    job_id: str,
    server: ServerSettings,
    origin: str,
) -> None:
    """With a public address, or with what a trusted proxy says."""
    app = application_of(fake, replace(settings, server=server))
    headers = {
        **AUTHORIZED,
        "X-Forwarded-Host": "outside.example, inside.example",
        "X-Forwarded-Proto": "https",
    }
    async with TestClient(TestServer(app), headers=headers) as client:
        told = await client.get(f"/v1/jobs/{job_id}/results-url")
        assert (await told.json())["urls"]["get"].startswith(origin)


async def test_a_deployment_is_closed_by_the_task_that_opened_it(fake: Any) -> None:
    """Whichever task leaves: task groups do not survive anything else."""
    tasks: list[int] = []

    @asynccontextmanager
    async def opening() -> AsyncIterator[Any]:
        async with anyio.create_task_group():
            tasks.append(anyio.get_current_task().id)
            yield fake
            tasks.append(anyio.get_current_task().id)

    context = kept_open(opening)
    async with anyio.create_task_group() as group:
        group.start_soon(context.__aenter__)
    async with anyio.create_task_group() as group:
        group.start_soon(context.__aexit__, None, None, None)
    assert len(tasks) == 2
    assert len(set(tasks)) == 1


async def test_a_deployment_that_cannot_be_opened_says_why() -> None:
    """The application does not start."""

    def opening() -> Any:
        raise StoreInUseError("taken")

    with pytest.raises(StoreInUseError, match="taken"):
        async with kept_open(opening):
            pass


async def test_a_deployment_that_ended_by_itself_is_told(
    fake: Any, settings: DeploymentSettings
) -> None:
    """503 to everybody, the watcher of its health included."""
    fail = anyio.Event()

    @asynccontextmanager
    async def opening() -> AsyncIterator[Any]:
        async with anyio.create_task_group() as group:
            group.start_soon(failing)
            yield fake

    async def failing() -> None:
        await fail.wait()
        raise RuntimeError("broken")

    app = routes_only(settings)

    @asynccontextmanager
    async def living(_: web.Application) -> AsyncIterator[None]:
        async with kept_open(opening) as kept:
            app[LIVING] = kept
            yield

    app.cleanup_ctx.append(living)
    with pytest.raises(ExceptionGroup):
        async with TestClient(TestServer(app), headers=AUTHORIZED) as client:
            assert (await client.get("/healthz")).status == 200
            fail.set()
            await anyio.wait_all_tasks_blocked()
            assert (await client.get("/healthz")).status == 503
            assert (await client.get("/v1/auth/check")).status == 503

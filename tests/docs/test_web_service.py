"""The web service in examples/, in this process and as a program."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import aiohttp
import anyio
import pytest
from aiohttp.test_utils import TestClient, TestServer
from anyio.streams.buffered import BufferedByteReceiveStream

import sutro_stream as ss
from sutro_stream.testing import (
    ChatRequest,
    Hang,
    Reply,
    Script,
    ScriptedChatServer,
    first_of,
    when,
)

ROOT = Path(ss.__file__).parents[1]
PROGRAM = ROOT / "examples" / "web_service.py"
EXAMPLE = runpy.run_path(str(PROGRAM))


def judged(request: ChatRequest) -> Reply:
    """A reader who goes by a single word."""
    sentiment = "negative" if "bad" in request.prompt else "positive"
    return Reply(text=f'{{"sentiment": "{sentiment}"}}')


@asynccontextmanager
async def client_of(script: Script) -> AsyncIterator[TestClient[Any, Any]]:
    """A client of the service, with a scripted model behind it."""
    async with ScriptedChatServer(script) as model:
        app = EXAMPLE["create_app"](ss.ChatEngine(model.base_url, "m"))
        async with TestClient(TestServer(app)) as client:
            yield client


@asynccontextmanager
async def program(model: ScriptedChatServer) -> AsyncIterator[str]:
    """The address of the service, run as its readers run it."""
    command = [sys.executable, "-u", str(PROGRAM), "--port", "0"]
    command += ["--engine", model.base_url, "--model", "m"]
    async with await anyio.open_process(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=None
    ) as process:
        try:
            assert process.stdout is not None
            greeting = BufferedByteReceiveStream(process.stdout)
            await greeting.receive_until(b"http://", 1000)
            yield (await greeting.receive_until(b" ", 1000)).decode()
        finally:
            process.terminate()
            with anyio.fail_after(10):
                assert await process.wait() == 0


async def test_each_text_has_its_line() -> None:
    """With its index, as lines come in the order of answers."""
    texts = [f"good {number}" for number in range(50)] + ["bad"]
    async with client_of(judged) as client:
        response = await client.post("/classify", json=texts)
        lines = [json.loads(line) async for line in response.content]
    assert response.status == 200
    assert response.content_type == "application/x-ndjson"
    assert sorted(lines, key=lambda line: line["index"]) == [
        {
            "index": index,
            "output": {"sentiment": "negative" if text == "bad" else "positive"},
            "error": None,
        }
        for index, text in enumerate(texts)
    ]


async def test_an_answer_does_not_wait_for_the_others() -> None:
    """Its line is there while they are still being worked on."""
    release = anyio.Event()

    def script(request: ChatRequest) -> Reply:
        late = None if "quick" in request.prompt else release
        return Reply(text='{"sentiment": "positive"}', after=late)

    async with client_of(script) as client:
        response = await client.post("/classify", json=["slow", "quick"])
        first = json.loads(await response.content.readline())
        release.set()
        second = json.loads(await response.content.readline())
    assert (first["index"], second["index"]) == (1, 0)


async def test_a_text_that_failed_says_why() -> None:
    """In its line; the others have their answers."""
    odd = when(lambda request: "odd" in request.prompt, Reply(text="Perhaps."))
    async with client_of(first_of(odd, judged)) as client:
        response = await client.post("/classify", json=["odd"])
        line = await response.json(content_type=None)
    assert line["output"] is None
    assert line["error"].startswith("invalid_output: ")


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "not JSON"),
        (b'["cut', "not JSON"),
        (b'["\xff"]', "not JSON"),
        (b'["\\ud800"]', "not JSON"),
        (b'"a text"', "must be a JSON array"),
        (b"{}", "must be a JSON array"),
        (b"[]", "at least one text"),
        (b'["good", 7]', "item 1 is not a text"),
        (b'["good", " "]', "item 1 is not a text, or empty"),
    ],
)
async def test_a_body_without_texts_is_refused(body: bytes, reason: str) -> None:
    """With 400, and what is wrong with it."""
    async with client_of(judged) as client:
        response = await client.post("/classify", data=body)
        assert response.status == 400
        assert reason in (await response.json())["error"]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b'["%b"]' % (b"x" * (1 << 20)), "more than 1,048,576 bytes"),
        (b'["x"%b]' % (b',"x"' * 10_000), "more than 10,000 texts"),
    ],
    ids=["bytes", "texts"],
)
async def test_a_body_that_is_too_large_is_refused(body: bytes, reason: str) -> None:
    """With 413, and the limit."""
    async with client_of(judged) as client:
        response = await client.post("/classify", data=BytesIO(body))
        assert response.status == 413
        assert (await response.json())["error"] == reason


async def test_a_model_out_of_reach_is_not_the_clients_fault() -> None:
    """503, without words that are for the service's owner."""
    async with client_of(lambda _: Reply(status=401)) as client:
        response = await client.post("/classify", json=["good"])
        assert response.status == 503
        assert "key" not in (await response.text())


async def test_a_model_lost_half_way_shows_in_the_last_line() -> None:
    """The status was sent long before."""
    lost = anyio.Event()

    def script(request: ChatRequest) -> Reply:
        if "late" in request.prompt:
            return Reply(status=402, after=lost)
        return judged(request)

    async with client_of(script) as client:
        response = await client.post("/classify", json=["good", "late"])
        first = json.loads(await response.content.readline())
        lost.set()
        (last,) = [json.loads(line) async for line in response.content]
    assert first["index"] == 0
    assert set(last) == {"aborted"}


async def test_the_service_says_that_it_is_up() -> None:
    """For whoever watches it."""
    async with client_of(judged) as client:
        response = await client.get("/healthz")
        assert response.status == 200
        assert await response.json() == {"status": "ok"}


async def test_what_a_client_that_left_had_asked_is_dropped() -> None:
    """At once, without waiting for the next answer; others are served as before."""
    stuck = when(
        lambda request: "stuck" in request.prompt and request.sequence > 0,
        Reply(fault=Hang()),
    )
    async with (
        ScriptedChatServer(first_of(stuck, judged)) as model,
        program(model) as address,
        aiohttp.ClientSession(f"http://{address}") as client,
    ):
        async with client.post("/classify", json=["stuck"] * 100) as response:
            assert await response.content.readline()
            await model.wait_until(lambda seen: seen.in_flight == 8)
            response.close()
        seen = await model.wait_until(lambda seen: seen.in_flight == 0)
        assert seen.disconnected == 8
        async with client.post("/classify", json=["good"]) as response:
            assert (await response.json(content_type=None))["error"] is None

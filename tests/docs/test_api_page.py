"""docs/api.md: each request in it is sent, and answered in the form that it shows."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import anyio
import pytest
from anyio.streams.buffered import BufferedByteReceiveStream

import sutro_stream as ss
from sutro_stream.functions.registry import FunctionRegistry
from sutro_stream.jobs.database import Database
from sutro_stream.jobs.folder import DataFolder
from sutro_stream.jobs.keys import KeyStore
from sutro_stream.wire.routes import ARTIFACT, ROUTES

ROOT = Path(ss.__file__).parents[1]
PAGE = ROOT / "docs" / "api.md"

_ID = re.compile(r"job-[0-9a-f-]{36}")


@dataclass(frozen=True, kw_only=True)
class Example:
    """A request of the page, and the answer it shows."""

    command: str
    answer: str


@dataclass(kw_only=True)
class Request:
    """What a curl command sends."""

    url: str = ""
    method: str | None = None
    headers: dict[str, str] = field(default_factory=dict)
    data: str | aiohttp.FormData | None = None


def examples() -> Iterator[Example]:
    """All of them, in order."""
    pattern = r"(?ms)^```sh\n(curl .*?)^```\n```(?:json|text)\n(.*?)^```"
    for command, answer in re.findall(pattern, PAGE.read_text()):
        yield Example(command=command, answer=answer)


def request_of(command: str, variables: dict[str, str]) -> Request:
    """The command as curl would read it, after the shell."""
    for name, value in variables.items():
        command = command.replace(f"${name}", value)
    words = shlex.split(command.replace("\\\n", " "))[1:]
    request = Request()
    form = aiohttp.FormData(default_to_multipart=True)
    while words:
        word = words.pop(0)
        if word == "-X":
            request.method = words.pop(0)
        elif word == "-H":
            name, _, value = words.pop(0).partition(": ")
            request.headers[name] = value
        elif word == "-d":
            request.data = words.pop(0)
        elif word == "-F":
            name, _, value = words.pop(0).partition("=")
            if value.startswith("@"):
                path = ROOT / value[1:]
                form.add_field(name, path.read_bytes(), filename=path.name)
            else:
                form.add_field(name, value)
            request.data = form
        elif word != "--no-buffer":
            assert not request.url, word
            request.url = word
    return request


def shape(value: Any) -> Any:
    """Its keys, without IDs, and types; of a list, those of its first item."""
    if isinstance(value, dict):
        return {_ID.sub("ID", key): shape(item) for key, item in value.items()}
    if isinstance(value, list):
        return [shape(item) for item in value[:1]]
    return "number" if type(value) in {int, float} else type(value).__name__


@asynccontextmanager
async def deployment(data: Path) -> AsyncIterator[str]:
    """The address of a server on the page's configuration."""
    words = [sys.executable, "-m", "sutro_stream", "serve", "--data-dir", str(data)]
    words += ["--config", "examples/deployment.toml", "--port", "0"]
    async with await anyio.open_process(
        words, cwd=ROOT, stdout=subprocess.PIPE, stderr=None
    ) as process:
        try:
            assert process.stdout is not None
            greeting = BufferedByteReceiveStream(process.stdout)
            await greeting.receive_until(b"http://", 1000)
            yield f"http://{(await greeting.receive_until(b' ', 1000)).decode()}"
        finally:
            process.terminate()
            with anyio.fail_after(20):
                await process.wait()


@pytest.mark.timeout(180)
async def test_every_example_of_the_page_is_answered_as_it_shows(
    tmp_path: Path,
) -> None:
    """On the embedded model: the same keys, and values of the same types."""
    folder = DataFolder(tmp_path)
    folder.prepare()
    with Database(folder.database) as database:
        key, _ = KeyStore(database).create("alice")
    spec = json.loads((ROOT / "examples" / "lead-qualifier.json").read_bytes())
    FunctionRegistry(folder.functions).publish("alice", spec)
    async with deployment(tmp_path) as url, aiohttp.ClientSession() as session:
        variables = {"URL": url, "KEY": key}
        for example in examples():
            request = request_of(example.command, variables)
            method = request.method or ("GET" if request.data is None else "POST")
            async with session.request(
                method, request.url, headers=request.headers, data=request.data
            ) as response:
                text = await response.text()
            if response.content_type == "application/x-ndjson":
                assert text.startswith('{"update_type":"progress","result":0}\n')
                continue
            answer = json.loads(text)
            assert shape(answer) == shape(json.loads(example.answer)), example.command
            if isinstance(answer.get("results"), str):
                variables.setdefault("JOB", answer["results"])
            variables.setdefault("DATASET", answer.get("dataset_id", ""))
            if not variables["DATASET"]:
                del variables["DATASET"]


def test_every_route_is_on_the_page() -> None:
    """By its path, apart from the one that links lead to."""
    text = PAGE.read_text()
    for route in ROUTES:
        path = re.escape(route.path)
        there = re.sub(r"\\{\w+\\}", r"[^\\s`?]+", path)
        assert re.search(there, text), route.path
    assert ARTIFACT not in ROUTES

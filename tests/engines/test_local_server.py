"""The embedded engine's server script, spoken to as its parent does."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import AsyncIterator
from typing import cast

import aiohttp
import anyio
import pytest
import pytest_asyncio
from anyio.abc import ByteReceiveStream, ByteSendStream, Process

from sutro_stream.engines import local_server
from sutro_stream.engines.embedded_model import default_model

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(60)]

COMMAND = [
    *(sys.executable, "-P", str(local_server.__file__)),
    *("--model", str(default_model())),
    *("--parallel", "1", "--context", "256", "--threads", "1"),
]


@pytest_asyncio.fixture
async def process() -> AsyncIterator[Process]:
    """The script, just started with the API key `"secret"`."""
    async with await anyio.open_process(
        COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=None
    ) as process:
        try:
            await orders(process).send(b"secret\n")
            yield process
        finally:
            if process.returncode is None:
                process.kill()


def orders(process: Process) -> ByteSendStream:
    """Where the parent speaks."""
    return cast("ByteSendStream", process.stdin)


async def heard(process: Process) -> str:
    """Everything on standard output, which ends once the address is out."""
    stdout = cast("ByteReceiveStream", process.stdout)
    return b"".join([part async for part in stdout]).decode()


async def test_says_its_address_and_nothing_else(process: Process) -> None:
    """Standard output is one line of JSON and then closed."""
    said = await heard(process)
    assert said.count("\n") == 1
    assert json.loads(said)["address"].startswith("http://127.0.0.1:")


async def test_requests_need_the_key(process: Process) -> None:
    """Other users of the machine are refused."""
    address = json.loads(await heard(process))["address"]
    statuses = []
    async with aiohttp.ClientSession() as session:
        for key in ("secret", "guess"):
            headers = {"Authorization": f"Bearer {key}"}
            async with session.get(f"{address}/metrics", headers=headers) as response:
                statuses.append(response.status)
    assert statuses == [200, 401]


async def test_ends_with_its_input(process: Process) -> None:
    """It ends by itself when nobody holds the other end of its input."""
    await heard(process)
    await orders(process).aclose()
    with anyio.fail_after(2):
        assert await process.wait() == 0


async def test_ends_with_its_input_while_loading(process: Process) -> None:
    """It does not wait for the model to be loaded before it ends."""
    await orders(process).aclose()
    with anyio.fail_after(10):
        assert await process.wait() == 0


async def test_terminates_at_once(process: Process) -> None:
    """A running server follows SIGTERM without delay."""
    await heard(process)
    process.terminate()
    with anyio.fail_after(2):
        await process.wait()

"""The scripted chat server in a process of its own."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from subprocess import PIPE

import aiohttp
import anyio
import orjson
import pytest
from anyio.abc import Process

from sutro_stream.errors import EngineUnavailableError
from sutro_stream.testing import chat_server_process, read_record

BODY = {"model": "any", "messages": [{"role": "user", "content": "hello"}]}


SHOUT = """
from sutro_stream.testing import Reply
def shout(request):
    return Reply(text=request.prompt.upper())
"""


async def started_process(
    *arguments: str, folder: Path | None = None
) -> tuple[Process, str]:
    """A server process that may import from a folder, and its address."""
    command = [sys.executable, "-m", "sutro_stream.testing.chat_server", *arguments]
    path = [str(folder), *sys.path] if folder is not None else sys.path
    process = await anyio.open_process(
        command,
        stdin=PIPE,
        stdout=PIPE,
        stderr=None,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path)},
    )
    assert process.stdout is not None
    announced = orjson.loads(await process.stdout.receive())
    assert announced["pid"] == process.pid
    return process, announced["base_url"]


async def ask(base_url: str) -> tuple[int, str]:
    """Send one request on a connection of its own."""
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{base_url}/chat/completions", json=BODY) as response,
    ):
        return response.status, await response.text()


async def test_answers_and_counts() -> None:
    """The process answers, shows its statistics and clears them."""
    async with chat_server_process("--text", "hi", "--latency-ms", "5") as server:
        status, text = await ask(server.base_url)
        seen = await server.statistics()
        cleared = await server.reset_statistics()
    assert status == 200
    assert orjson.loads(text)["choices"][0]["message"]["content"] == "hi"
    assert (seen.requests, seen.by_status, seen.peak_in_flight) == (1, {200: 1}, 1)
    assert cleared.requests == 0


async def test_runs_an_imported_script(tmp_path: Path) -> None:
    """Any script that can be imported can be run in the process."""
    (tmp_path / "shouting.py").write_text(SHOUT)
    process, base_url = await started_process(
        "--script", "shouting:shout", "--fail-first", "1", folder=tmp_path
    )
    async with process:
        failed, _ = await ask(base_url)
        _, text = await ask(base_url)
        process.terminate()
    assert failed == 503
    assert orjson.loads(text)["choices"][0]["message"]["content"] == "HELLO"


@pytest.mark.parametrize(
    ("arguments", "statuses"),
    [
        (("--rate-steps=1,2@60", "--retry-after-s=1"), [200, 429]),
        (("--rate-per-s=1", "--rate-burst=2"), [200, 200]),
        (("--fail-share=1", "--fail-status=500"), [500, 500]),
        (("--slow-share=1", "--slow-s=0", "--latency-ms=1e9"), [200, 200]),
        (("--best-in-flight=4", "--latency-ms=1"), [200, 200]),
    ],
)
async def test_can_be_in_trouble(
    arguments: tuple[str, ...], statuses: list[int]
) -> None:
    """Limits, chance and overload, from the command line."""
    async with chat_server_process(*arguments) as server:
        assert [(await ask(server.base_url))[0] for _ in statuses] == statuses
        seen = await server.statistics()
    assert (seen.requests, seen.repeated) == (2, 1)


async def test_a_wrong_argument_is_an_error() -> None:
    """A process that does not start is reported instead of waited for."""
    with pytest.raises(EngineUnavailableError):
        async with chat_server_process("--port", "no number"):
            pass


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_stops_on_signals(number: signal.Signals) -> None:
    """SIGTERM and SIGINT end the process quietly."""
    process, _ = await started_process()
    async with process:
        process.send_signal(number)
        with anyio.fail_after(5):
            assert await process.wait() == 0


async def test_stops_with_its_parent() -> None:
    """Asked to exit with its parent, it stops once standard input is closed."""
    process, _ = await started_process("--exit-with-parent")
    async with process:
        assert process.stdin is not None
        await process.stdin.aclose()
        with anyio.fail_after(5):
            assert await process.wait() == 0


async def test_what_was_asked_is_on_disk_when_the_server_is_killed(
    tmp_path: Path,
) -> None:
    """And a server that follows it appends to the same record."""
    record = tmp_path / "asked.jsonl"
    assert read_record(record) == ()
    for _ in range(2):
        async with chat_server_process("--record", str(record)) as server:
            assert (await ask(server.base_url))[0] == 200
            os.kill(server.pid, signal.SIGKILL)
    assert [(each.prompt, each.in_flight) for each in read_record(record)] == [
        ("hello", 1),
        ("hello", 1),
    ]

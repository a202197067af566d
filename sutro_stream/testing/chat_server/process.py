"""The scripted chat server in a process of its own, for benchmarks."""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from subprocess import PIPE

import aiohttp
import anyio
import orjson
from anyio.abc import Process
from anyio.streams.buffered import BufferedByteReceiveStream

from sutro_stream.errors import EngineUnavailableError
from sutro_stream.testing.chat_server.statistics import ChatServerStatistics

_MODULE = "sutro_stream.testing.chat_server"
_START_S = 30.0
_STOP_S = 5.0
_LONGEST_LINE_BYTES = 4096


class ChatServerProcess:
    """A running server process, reached over HTTP.

    Attributes:
        base_url: Address for OpenAI clients, `/v1` included.
        pid: Its process id, for measuring its memory and processor time.
    """

    def __init__(self, *, base_url: str, pid: int) -> None:
        self.base_url = base_url
        self.pid = pid

    async def statistics(self) -> ChatServerStatistics:
        """What the server has seen up to now, this connection included."""
        return await self._call("GET", "/statistics")

    async def reset_statistics(self) -> ChatServerStatistics:
        """Start counting anew, and return the statistics after that."""
        return await self._call("POST", "/statistics/reset")

    async def _call(self, method: str, path: str) -> ChatServerStatistics:
        root = self.base_url.removesuffix("/v1")
        async with (
            aiohttp.ClientSession(raise_for_status=True) as session,
            session.request(method, f"{root}{path}") as response,
        ):
            return ChatServerStatistics.from_json(await response.read())


@asynccontextmanager
async def chat_server_process(*arguments: str) -> AsyncGenerator[ChatServerProcess]:
    """Run `python -m sutro_stream.testing.chat_server` until the block is left.

    The process also ends when this one does, however it ends.

    Args:
        *arguments: Command line arguments, such as `"--latency-ms", "100"`.

    Raises:
        EngineUnavailableError: The process did not start to listen.
    """
    command = [sys.executable, "-m", _MODULE, "--exit-with-parent", *arguments]
    async with await anyio.open_process(
        command, stdin=PIPE, stdout=PIPE, stderr=None
    ) as process:
        try:
            base_url = await _announced_address(process)
            yield ChatServerProcess(base_url=base_url, pid=process.pid)
        finally:
            await _stop(process)


async def _announced_address(process: Process) -> str:
    if process.stdout is None:
        raise AssertionError
    try:
        with anyio.fail_after(_START_S):
            line = await BufferedByteReceiveStream(process.stdout).receive_until(
                b"\n", _LONGEST_LINE_BYTES
            )
    except (anyio.EndOfStream, anyio.IncompleteRead, TimeoutError) as error:
        message = "the scripted chat server did not start; see its error output"
        raise EngineUnavailableError(message) from error
    return str(orjson.loads(line)["base_url"])


async def _stop(process: Process) -> None:
    with anyio.CancelScope(shield=True):
        if process.returncode is None:
            process.terminate()
        with anyio.move_on_after(_STOP_S):
            await process.wait()
        if process.returncode is None:
            process.kill()

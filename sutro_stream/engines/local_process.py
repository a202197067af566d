"""The embedded engine's subprocess: started, watched, stopped."""

from __future__ import annotations

import json
import os
import re
import secrets
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

import aiohttp
import anyio
from anyio.abc import ByteReceiveStream, ByteSendStream, Process
from anyio.streams.buffered import BufferedByteReceiveStream

from sutro_stream.engines import local_server
from sutro_stream.errors import EngineUnavailableError

_GRACE_S = 1.0
_HEALTH_POLL_S = 0.05
_HEALTH_TIMEOUT_S = 5.0
_ANNOUNCEMENT_LIMIT_BYTES = 4096
_LAST_WORDS_BYTES = 4096
_LAST_WORDS_LINES = 8
_LOG_PREFIX = re.compile(r"^[\d.]+ [A-Z] +")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """How the subprocess serves a model.

    Attributes:
        model: GGUF file.
        parallel: Requests worked on at the same time.
        context_tokens: Window of one request.
        threads: Threads to compute in.
        embedding: Whether answers are vectors instead of text.
    """

    model: Path
    parallel: int
    context_tokens: int
    threads: int
    embedding: bool = False

    def command(self) -> list[str]:
        """The command line that starts it."""
        # By path and without the working directory on the module search path:
        # importing this package would cost the start more than the model does.
        options = {
            "--model": self.model,
            "--parallel": self.parallel,
            "--context": self.context_tokens,
            "--threads": self.threads,
        }
        words = [str(word) for option in options.items() for word in option]
        if self.embedding:
            words.append("--embedding")
        return [sys.executable, "-P", str(local_server.__file__), *words]


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalServer:
    """A running subprocess that answers requests.

    Attributes:
        address: `http://127.0.0.1:PORT`.
        api_key: What requests must carry; other users of the machine cannot see it.
        process: The subprocess.
        log: What it wrote to standard error.
    """

    address: str
    api_key: str
    process: Process
    log: IO[bytes]

    async def ending(self, *, within_s: float) -> str | None:
        """How the process ended, `None` when it lives on.

        Args:
            within_s: How long to wait for news of its death, in seconds: a broken
                connection is noticed sooner than the death that broke it.
        """
        with anyio.move_on_after(within_s):
            await self.process.wait()
        if self.process.returncode is None:
            return None
        return _ending(self.process.returncode, self.log)


@asynccontextmanager
async def local_server_process(
    settings: ServerSettings, *, start_timeout_s: float
) -> AsyncIterator[LocalServer]:
    """A server that answers requests until the context is left.

    Leaving takes at most about a second and leaves no process and no file.

    Args:
        settings: What to serve.
        start_timeout_s: Longest wait for the first sign of health, in seconds.

    Raises:
        EngineUnavailableError: The server did not start.
    """
    api_key = secrets.token_urlsafe()
    with tempfile.TemporaryFile() as log:
        process = await _started(settings, log)
        try:
            address = None
            with anyio.move_on_after(start_timeout_s):
                address = await _healthy_address(process, api_key, log)
            if address is None:
                raise EngineUnavailableError(
                    f"the embedded engine did not start within {start_timeout_s:g} s "
                    f"(model {settings.model.name})"
                )
            yield LocalServer(
                address=address, api_key=api_key, process=process, log=log
            )
        finally:
            await _stop(process)


async def _started(settings: ServerSettings, log: IO[bytes]) -> Process:
    # Idle OpenMP threads spin by default, and collapse the rate as soon as another
    # process wants a core. A session of its own keeps the terminal's Ctrl-C from
    # ending the server before the requests that are in flight.
    environment = {**os.environ, "OMP_WAIT_POLICY": "passive"}
    try:
        return await anyio.open_process(
            settings.command(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            env=environment,
            start_new_session=True,
        )
    except OSError as error:
        message = f"the embedded engine's process cannot be started: {error.strerror}"
        raise EngineUnavailableError(message) from error


async def _healthy_address(process: Process, api_key: str, log: IO[bytes]) -> str:
    orders = cast("ByteSendStream", process.stdin)
    announcements = BufferedByteReceiveStream(cast("ByteReceiveStream", process.stdout))
    try:
        await orders.send(api_key.encode() + b"\n")
        line = await announcements.receive_until(b"\n", _ANNOUNCEMENT_LIMIT_BYTES)
    except (anyio.IncompleteRead, anyio.BrokenResourceError) as error:
        await process.wait()
        raise _start_failure(process, log) from error
    address = str(json.loads(line)["address"])
    async with aiohttp.ClientSession(
        trust_env=False, timeout=aiohttp.ClientTimeout(total=_HEALTH_TIMEOUT_S)
    ) as session:
        while not await _is_healthy(session, address):
            if process.returncode is not None:
                raise _start_failure(process, log)
            await anyio.sleep(_HEALTH_POLL_S)
    return address


async def _is_healthy(session: aiohttp.ClientSession, address: str) -> bool:
    try:
        async with session.get(f"{address}/health") as response:
            return response.status == 200
    except (aiohttp.ClientError, TimeoutError):
        return False


async def _stop(process: Process) -> None:
    with anyio.CancelScope(shield=True):
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.terminate()
            with anyio.move_on_after(_GRACE_S):
                await process.wait()
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()
        await process.aclose()


def _start_failure(process: Process, log: IO[bytes]) -> EngineUnavailableError:
    ending = _ending(process.returncode, log)
    return EngineUnavailableError(f"the embedded engine did not start: {ending}")


def _ending(returncode: int | None, log: IO[bytes]) -> str:
    if returncode is not None and returncode < 0:
        how = f"signal {-returncode}, {signal.strsignal(-returncode)}"
    else:
        how = f"exit status {returncode}"
    words = _last_words(log)
    return f"{how}; last words: {words}" if words else how


def _last_words(log: IO[bytes]) -> str:
    """The end of the log on one line; only for a process that has ended."""
    size = log.seek(0, os.SEEK_END)
    log.seek(max(0, size - _LAST_WORDS_BYTES))
    lines = log.read().decode(errors="replace").splitlines()
    words = dict.fromkeys(_LOG_PREFIX.sub("", line).strip() for line in lines)
    words.pop("", None)
    return " | ".join([*words][-_LAST_WORDS_LINES:])

"""A deployment in a process of its own, for tests of what talks to one."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from subprocess import PIPE

import anyio
from anyio.abc import ByteReceiveStream, Process
from anyio.streams.buffered import BufferedByteReceiveStream

from sutro_stream.errors import EngineUnavailableError

_START_S = 60.0
_STOP_S = 15.0
_LONGEST_LINE_BYTES = 4096
_INSTANT = "sutro_stream.testing.instant_deployment"
_ADDRESS = re.compile(rb"https?://[^\s/]+")


class DeploymentProcess:
    """A running `sutro-stream serve`.

    Attributes:
        url: Its address, without `/v1`.
        pid: Its process id.
    """

    def __init__(self, process: Process, *, url: str) -> None:
        self._process = process
        self.url = url
        self.pid = process.pid

    async def kill(self) -> None:
        """End it as a power cut would (SIGKILL), and wait until it is gone."""
        self._process.kill()
        await self._process.wait()

    async def stop(self) -> int:
        """Ask it to end (SIGTERM), wait until it has, and return its exit code."""
        self._process.send_signal(signal.SIGTERM)
        return await self._process.wait()


@asynccontextmanager
async def deployment_process(
    data_dir: Path,
    *,
    config: Path | None = None,
    port: int = 0,
    is_instant: bool = False,
) -> AsyncGenerator[DeploymentProcess]:
    """Run `sutro-stream serve` until the block is left.

    Args:
        data_dir: Folder of its data; made if it is not there.
        config: Its configuration, `None` for the embedded model.
        port: Where it listens, 0 for a free one.
        is_instant: Whether models are an `InstantEngine` each, whatever the
            configuration says of their endpoints: for what a deployment itself costs.

    Raises:
        EngineUnavailableError: It did not start to listen; its error output says why.
    """
    arguments = [f"--data-dir={data_dir}", f"--port={port}"]
    if config is not None:
        arguments.append(f"--config={config}")
    command = _command("serve", *arguments)
    if is_instant:
        command = [sys.executable, "-m", _INSTANT, *arguments]
    async with await anyio.open_process(command, stdout=PIPE, stderr=None) as process:
        if process.stdout is None:
            raise AssertionError
        try:
            # It prints nothing else, so nobody has to go on reading.
            url = await _announced_address(process.stdout)
            yield DeploymentProcess(process, url=url)
        finally:
            await _stop(process)


def create_key(data_dir: Path, account: str) -> str:
    """A new key of an account, made by `sutro-stream keys create`.

    Raises:
        subprocess.CalledProcessError: The command failed.
    """
    command = _command("keys", "create", account, f"--data-dir={data_dir}")
    made = subprocess.run(  # noqa: S603 - our own command
        command, check=True, capture_output=True, text=True
    )
    return made.stdout.strip()


def publish_function(data_dir: Path, account: str, spec: Path) -> None:
    """Publish a Function by `sutro-stream functions publish`.

    Raises:
        subprocess.CalledProcessError: The command failed.
    """
    subprocess.run(  # noqa: S603 - our own command
        _command(
            *("functions", "publish", str(spec)),
            *(f"--account={account}", f"--data-dir={data_dir}"),
        ),
        check=True,
        stdout=PIPE,
    )


def _command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "sutro_stream", *arguments]


async def _announced_address(stdout: ByteReceiveStream) -> str:
    lines = BufferedByteReceiveStream(stdout)
    try:
        with anyio.fail_after(_START_S):
            while True:
                line = await lines.receive_until(b"\n", _LONGEST_LINE_BYTES)
                found = _ADDRESS.search(line)
                if found is not None:
                    return found[0].decode()
    except (anyio.EndOfStream, anyio.IncompleteRead, TimeoutError) as error:
        message = "the deployment did not start; see its error output"
        raise EngineUnavailableError(message) from error


async def _stop(process: Process) -> None:
    with anyio.CancelScope(shield=True):
        if process.returncode is None:
            process.terminate()
        with anyio.move_on_after(_STOP_S):
            await process.wait()
        if process.returncode is None:
            process.kill()

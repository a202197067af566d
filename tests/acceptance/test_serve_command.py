"""`sutro-stream serve` as a process: it starts, answers, and stops in good order."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import anyio
import pytest
from anyio.abc import Process
from anyio.streams.buffered import BufferedByteReceiveStream

from sutro_stream.cli import main
from sutro_stream.jobs.database import Database
from sutro_stream.jobs.folder import DataFolder
from sutro_stream.jobs.keys import KeyStore

# A test run started in the background of a script has SIGINT ignored, and so would
# every process it starts.
_START = (
    "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    "from sutro_stream.cli import main; raise SystemExit(main())"
)


def command(data: Path, *arguments: object) -> list[str]:
    """The command line of a server on a free port."""
    words = ["serve", "--data-dir", data, "--port", "0", *arguments]
    return [sys.executable, "-c", _START, *map(str, words)]


@asynccontextmanager
async def serving(
    data: Path, *arguments: object, **environment: str
) -> AsyncIterator[tuple[Process, str]]:
    """A server that is ready, and its address."""
    async with await anyio.open_process(
        command(data, *arguments),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, **environment},
    ) as process:
        try:
            assert process.stdout is not None
            greeting = BufferedByteReceiveStream(process.stdout)
            await greeting.receive_until(b"http://", 1000)
            address = await greeting.receive_until(b" ", 1000)
            yield process, f"http://{address.decode()}"
        finally:
            if process.returncode is None:
                process.kill()


@pytest.fixture
def key(tmp_path: Path) -> str:
    """A key of a deployment in the folder."""
    folder = DataFolder(tmp_path)
    folder.prepare()
    with Database(folder.database) as database:
        return KeyStore(database).create("alice")[0]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_stops_it_in_good_order(
    tmp_path: Path, number: signal.Signals
) -> None:
    """Open streams are ended, the exit code is 0, and nobody holds the folder."""
    async with serving(tmp_path) as (process, address):
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"{address}/healthz") as response,
        ):
            assert response.status == 200
        process.send_signal(number)
        with anyio.fail_after(20):
            assert await process.wait() == 0
    with DataFolder(tmp_path).locked():
        pass


async def test_a_key_made_while_it_runs_is_good(tmp_path: Path, key: str) -> None:
    """At once, and one that is revoked is not."""
    async with serving(tmp_path) as (_, address), aiohttp.ClientSession() as session:

        async def status_of(key: str) -> int:
            headers = {"Authorization": f"Key {key}"}
            async with session.get(
                f"{address}/v1/auth/check", headers=headers
            ) as response:
                return response.status

        assert await status_of(key) == 200
        with Database(tmp_path / "deployment.sqlite") as database:
            keys = KeyStore(database)
            other, info = keys.create("bob")
            assert await status_of(other) == 200
            keys.revoke(info.key_id)
            assert await status_of(other) == 401


async def test_a_folder_is_served_once(tmp_path: Path) -> None:
    """The second server says so and ends."""
    async with serving(tmp_path):
        done = await anyio.run_process(command(tmp_path), check=False)
    assert done.returncode == 1
    assert b"is served by another process" in done.stderr
    assert b"Traceback" not in done.stderr


async def test_a_port_in_use_is_told(tmp_path: Path) -> None:
    """In one line."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = await anyio.run_process(command(tmp_path, "--port", port), check=False)
    assert done.returncode == 2
    assert f"cannot listen on 127.0.0.1 port {port}".encode() in done.stderr
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("configuration", "told"),
    [
        ("prot = 1", "server.prot is not a known field"),
        ('certificate = "chain.pem"', "server.certificate: cannot use"),
    ],
    ids=["name", "certificate"],
)
def test_a_wrong_configuration_is_told(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    configuration: str,
    told: str,
) -> None:
    """By its place, before anything is opened; so this process can be the command."""
    (tmp_path / "chain.pem").write_text("no certificate")
    data, config = tmp_path / "data", tmp_path / "deployment.toml"
    config.write_text(f"[server]\n{configuration}")
    assert main(["serve", f"--data-dir={data}", f"--config={config}"]) == 2
    assert told in capsys.readouterr().err
    assert not data.exists()


async def test_what_is_no_http_is_not_quoted_in_the_log(tmp_path: Path) -> None:
    """A broken header may be the one with the key in it."""
    async with serving(tmp_path) as (process, address):
        port = int(address.rpartition(":")[2])
        async with await anyio.connect_tcp("127.0.0.1", port) as stream:
            await stream.send(b"GET / HTTP/1.1\r\nAuthorization: Key sk_live\0\r\n\r\n")
            assert (await stream.receive()).startswith(b"HTTP/1.0 400")
        process.terminate()
        assert process.stderr is not None
        log = b"".join([chunk async for chunk in process.stderr])
    assert b"not HTTP" in log
    assert b"sk_live" not in log
    assert b"Traceback" not in log


async def test_requests_are_logged_without_queries(tmp_path: Path, key: str) -> None:
    """They may be signatures; the key is not there either."""
    async with serving(tmp_path, "--log-requests") as (process, address):
        async with aiohttp.ClientSession() as session:
            headers = {"Authorization": f"Key {key}"}
            url = f"{address}/v1/list-jobs?limit=1&secret=hidden"
            async with session.get(url, headers=headers) as response:
                assert response.status == 200
        process.terminate()
        assert process.stderr is not None
        log = b"".join([chunk async for chunk in process.stderr]).decode()
    assert "GET /v1/list-jobs 200" in log
    assert "hidden" not in log
    assert key not in log


async def test_a_proxy_that_is_not_used_is_in_the_log(tmp_path: Path) -> None:
    """Once, however many endpoints would go through it."""
    config = tmp_path / "deployment.toml"
    config.write_text(
        "[models.m]\nendpoints = [\n"
        '  { url = "https://a.invalid/v1" }, { url = "https://b.invalid/v1" },\n'
        '  { url = "https://c.invalid/v1", proxy = "http://127.0.0.1:9" },\n]\n'
    )
    proxy = "http://me:pass-word@127.0.0.1:9"
    data = tmp_path / "data"
    async with serving(data, "--config", config, HTTPS_PROXY=proxy) as (process, _):
        process.terminate()
        await process.wait()
        assert process.stderr is not None
        log = b"".join([part async for part in process.stderr]).decode()
    assert log.count("HTTPS_PROXY is set, and not used for the endpoints of m") == 1
    assert "pass-word" not in log

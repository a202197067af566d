"""Two thousand rows through servers and proxies that others wrote.

None of them is a part of this project. Install them anywhere, and name where they are;
what is not named is skipped:

    python -m venv servers && servers/bin/pip install uvicorn hypercorn h2 proxy.py
    export SUTRO_STREAM_TEST_SERVERS=servers/bin/python
    export SUTRO_STREAM_TEST_NGINX=/usr/sbin/nginx
    pytest -m long tests/field/test_foreign_reach.py

Certificates are made by the program `openssl`, signed by an authority that lives as
long as the test. Every answer repeats its prompt, so that a lost row and one with the
answer of another are both seen.
"""

from __future__ import annotations

import os
import shutil
import socket
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

import anyio
import pyarrow.parquet as pq
import pytest
from anyio.streams.tls import TLSAttribute

from sutro_stream.testing.deployment import create_key, deployment_process

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]

ROWS = 2000
START_S = 30.0
SERVERS, NGINX = "SUTRO_STREAM_TEST_SERVERS", "SUTRO_STREAM_TEST_NGINX"
USER = "me:pass-word"
APPLICATION = """\
import json

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            event = (await receive())["type"]
            await send({"type": event + ".complete"})
            if event == "lifespan.shutdown":
                return
    body, more = b"", True
    while more:
        event = await receive()
        body, more = body + event.get("body", b""), event.get("more_body", False)
    prompt = json.loads(body)["messages"][-1]["content"]
    message = {"role": "assistant", "content": "echo: " + prompt}
    reply = json.dumps({"choices": [{"message": message, "finish_reason": "stop"}]})
    head = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": 200, "headers": head})
    await send({"type": "http.response.body", "body": reply.encode()})
"""
# A connection carries 50 requests and is closed; clients that can are given HTTP/2.
NGINX_SETTINGS = """\
worker_processes 1;
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/nginx.log;
{user}
events {{ worker_connections 1024; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  keepalive_requests 50;
  server {{
    listen 127.0.0.1:{port} ssl http2;
    ssl_certificate {folder}/server.pem;
    ssl_certificate_key {folder}/server.key;
    location / {{ proxy_pass http://127.0.0.1:{behind}; }}
  }}
}}
"""


@dataclass(frozen=True, kw_only=True)
class Reached:
    """An endpoint, and how to reach it.

    Attributes:
        url: Its address.
        options: Of the command, by name.
    """

    url: str
    options: Mapping[str, str] = field(default_factory=dict)

    @property
    def words(self) -> list[str]:
        """As options of the command."""
        named = (
            (f"--{name.replace('_', '-')}", it) for name, it in self.options.items()
        )
        return ["--engine", self.url, *(word for pair in named for word in pair)]

    @property
    def entry(self) -> str:
        """As the endpoint of a deployment's model."""
        fields = {"url": self.url, **self.options}
        lines = [f'{name} = "{it}"' for name, it in fields.items()]
        return "\n".join(["[[models.m.endpoints]]", *lines, ""])


Case: TypeAlias = Callable[[Path], AbstractAsyncContextManager[Reached]]


def program(variable: str) -> str:
    """Where a program is that the environment names."""
    place = os.environ.get(variable)
    if place is None:
        pytest.skip(f"{variable} names nothing")
    return str(Path(place).absolute())


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as finding:
        finding.bind(("127.0.0.1", 0))
        port: int = finding.getsockname()[1]
        return port


@asynccontextmanager
async def running(
    arguments: Sequence[str], *, port: int, folder: Path
) -> AsyncIterator[None]:
    """A program that listens on a port, until the block is left."""
    with (folder / f"{port}.log").open("wb") as log:
        async with await anyio.open_process(
            arguments, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=folder
        ) as process:
            try:
                with anyio.fail_after(START_S):
                    while not await is_listening(port):
                        assert process.returncode is None, log.name
                        await anyio.sleep(0.05)
                yield
            finally:
                with anyio.CancelScope(shield=True):
                    process.terminate()
                    with anyio.move_on_after(5):
                        await process.wait()
                    if process.returncode is None:
                        process.kill()


async def is_listening(port: int) -> bool:
    """Whether somebody does."""
    try:
        stream = await anyio.connect_tcp("127.0.0.1", port)
    except OSError:
        return False
    await stream.aclose()
    return True


async def certify(folder: Path) -> Path:
    """A certificate for loopback, and the authority that has signed it."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("there is no openssl")
    (folder / "san").write_text("subjectAltName=IP:127.0.0.1,DNS:localhost\n")
    new = ("-newkey", "rsa:2048", "-nodes")
    for words in (
        (
            *("req", "-x509", *new, "-subj", "/CN=An authority", "-days", "2"),
            *("-keyout", "ca.key", "-out", "ca.pem"),
        ),
        (
            *("req", *new, "-subj", "/CN=localhost"),
            *("-keyout", "server.key", "-out", "server.csr"),
        ),
        (
            *("x509", "-req", "-in", "server.csr", "-CA", "ca.pem"),
            *("-CAkey", "ca.key", "-CAcreateserial", "-days", "2"),
            *("-extfile", "san", "-out", "server.pem"),
        ),
    ):
        await anyio.run_process([openssl, *words], cwd=folder)
    return folder / "ca.pem"


@asynccontextmanager
async def uvicorn(folder: Path) -> AsyncIterator[Reached]:
    """Plain HTTP, with connections kept."""
    (folder / "echo_app.py").write_text(APPLICATION)
    port = free_port()
    command = (
        *(program(SERVERS), "-m", "uvicorn", "echo_app:app", "--no-access-log"),
        *("--host", "127.0.0.1", "--port", str(port)),
    )
    async with running(command, port=port, folder=folder):
        yield Reached(url=f"http://127.0.0.1:{port}/v1")


@asynccontextmanager
async def hypercorn(folder: Path) -> AsyncIterator[Reached]:
    """TLS, with h2 offered before http/1.1."""
    (folder / "echo_app.py").write_text(APPLICATION)
    authority, port = await certify(folder), free_port()
    command = (
        *(program(SERVERS), "-m", "hypercorn", "echo_app:app"),
        *("--bind", f"127.0.0.1:{port}"),
        *("--certfile", "server.pem", "--keyfile", "server.key"),
    )
    async with running(command, port=port, folder=folder):
        assert await chosen_protocol(port, authority) == "h2"
        yield Reached(
            url=f"https://127.0.0.1:{port}/v1", options={"ca_file": str(authority)}
        )


@asynccontextmanager
async def nginx(folder: Path) -> AsyncIterator[Reached]:
    """TLS and HTTP/2, 50 requests to a connection, the scripted server behind."""
    authority, port, behind = await certify(folder), free_port(), free_port()
    settings = folder / "nginx.conf"
    settings.write_text(
        NGINX_SETTINGS.format(
            folder=folder,
            port=port,
            behind=behind,
            user="user root;" if os.geteuid() == 0 else "",
        )
    )
    server = (
        *(sys.executable, "-m", "sutro_stream.testing.chat_server"),
        *("--port", str(behind)),
    )
    command = (program(NGINX), "-p", str(folder), "-c", str(settings))
    async with (
        running(server, port=behind, folder=folder),
        running(command, port=port, folder=folder),
    ):
        assert await chosen_protocol(port, authority) == "h2"
        yield Reached(
            url=f"https://127.0.0.1:{port}/v1", options={"ca_file": str(authority)}
        )


async def chosen_protocol(port: int, authority: Path) -> str | None:
    """What a server makes of a client that speaks HTTP/2 as well."""
    context = ssl.create_default_context(cafile=authority)
    context.set_alpn_protocols(["h2", "http/1.1"])
    stream = await anyio.connect_tcp(
        "127.0.0.1", port, ssl_context=context, tls_standard_compatible=False
    )
    async with stream:
        chosen: str | None = stream.extra(TLSAttribute.alpn_protocol)  # noqa: S610
    return chosen


def behind_proxy(case: Case) -> Case:
    """The same, through proxy.py, which asks for a user."""

    @asynccontextmanager
    async def through(folder: Path) -> AsyncIterator[Reached]:
        port = free_port()
        command = (
            *(program(SERVERS), "-m", "proxy", "--basic-auth", USER),
            *("--hostname", "127.0.0.1", "--port", str(port)),
            *("--num-workers", "1", "--num-acceptors", "1"),
            *("--data-dir", str(folder / "proxy.py")),
        )
        async with AsyncExitStack() as stack:
            reached = await stack.enter_async_context(case(folder))
            starting = running(command, port=port, folder=folder)
            await stack.enter_async_context(starting)
            proxy = f"http://{USER}@127.0.0.1:{port}"
            yield Reached(url=reached.url, options={**reached.options, "proxy": proxy})

    return through


CASES: Mapping[str, Case] = {
    "uvicorn": uvicorn,
    "hypercorn": hypercorn,
    "nginx": nginx,
    "proxy-uvicorn": behind_proxy(uvicorn),
    "proxy-hypercorn": behind_proxy(hypercorn),
}


async def run_through(folder: Path, words: Sequence[str], **environment: str) -> None:
    """The command for two thousand rows: none is lost, none has another's answer."""
    prompts = [f"row {number}, and nothing but row {number}" for number in range(ROWS)]
    lines = "".join(f'"{prompt}"\n' for prompt in prompts)
    (folder / "rows.csv").write_text("text\n" + lines)
    output = folder / "out.parquet"
    done = await anyio.run_process(
        [
            *(sys.executable, "-m", "sutro_stream", "run", str(folder / "rows.csv")),
            *("--column", "text", "--model", "m", "--output", str(output), *words),
        ],
        env={**os.environ, **environment},
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    assert b"pass-word" not in done.stdout + done.stderr
    table = pq.read_table(output)
    assert table.column("output").to_pylist() == [f"echo: {it}" for it in prompts]


@pytest.mark.parametrize("transport", ["fast", "aiohttp"])
@pytest.mark.parametrize("case", ["uvicorn", "hypercorn", "nginx"])
async def test_no_row_is_lost_or_mistaken(
    case: str, transport: str, tmp_path: Path
) -> None:
    """By either transport."""
    async with CASES[case](tmp_path) as reached:
        words = [*reached.words, "--transport", transport, "--concurrency", "64"]
        await run_through(tmp_path, words)


@pytest.mark.parametrize("case", ["proxy-uvicorn", "proxy-hypercorn"])
async def test_no_row_is_lost_behind_a_proxy(case: str, tmp_path: Path) -> None:
    """Forwarded, or through a tunnel."""
    async with CASES[case](tmp_path) as reached:
        await run_through(tmp_path, [*reached.words, "--concurrency", "64"])


@pytest.mark.parametrize("case", CASES)
async def test_no_row_is_lost_by_a_deployment(case: str, tmp_path: Path) -> None:
    """Whose configuration has the same words."""
    data = tmp_path / "data"
    async with CASES[case](tmp_path) as reached:
        (tmp_path / "deployment.toml").write_text(reached.entry)
        key = await anyio.to_thread.run_sync(create_key, data, "alice")
        async with deployment_process(
            data, config=tmp_path / "deployment.toml"
        ) as deployment:
            words = ["--deployment", deployment.url]
            await run_through(tmp_path, words, SUTRO_API_KEY=key)

"""The recipes of docs/endpoints.md, and what an endpoint is sent by each."""

from __future__ import annotations

import asyncio
import json
import re
import shlex
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import anyio.to_thread
import pytest
from aiohttp import web

import sutro_stream as ss
from sutro_stream.cli import main
from sutro_stream.engines.engine import Engine
from sutro_stream.engines.group import EngineGroup
from sutro_stream.jobs.engines import engines_for
from sutro_stream.settings.deployment import DeploymentSettings
from sutro_stream.testing.proxy_server import ProxyServer, proxy_server
from sutro_stream.values.instructions import Instructions

ROOT = Path(ss.__file__).parents[1]
PAGE = ROOT / "docs" / "endpoints.md"
GOLDEN: dict[str, Any] = json.loads(
    Path(__file__).with_name("endpoints.json").read_text()
)
CERTIFICATE = ROOT / "tests/engines/transports/certificates/loopback.pem"
# Of the client, whichever it is.
USUAL = {
    *("accept", "accept-encoding", "connection", "content-length", "content-type"),
    *("host", "user-agent"),
}
PASSWORD = "user:password"
TOKEN = "eyJ0eXAiOiJKV1QifQ.e30.c2lnbmF0dXJl"
ANSWER = {"choices": [{"message": {"content": "ok"}, "finish_reason": "stop"}]}


def recipes() -> dict[str, str]:
    """Text by heading, of those that show a command."""
    parts = re.split(r"(?m)^## (.+)\n", PAGE.read_text())[1:]
    pairs = zip(parts[::2], parts[1::2], strict=True)
    return {heading: text for heading, text in pairs if "```sh" in text}


def shown(heading: str, language: str) -> list[str]:
    """The blocks of a recipe in some language."""
    return re.findall(rf"(?ms)^```{language}\n(.*?)^```", recipes()[heading])


def with_block(language: str) -> pytest.MarkDecorator:
    """A test for each recipe that has a block in this language."""
    headings = [one for one in recipes() if shown(one, language)]
    return pytest.mark.parametrize("heading", headings)


@dataclass
class Endpoint:
    """Whatever a recipe asks, answering everything.

    Attributes:
        url: Scheme, host and port.
        proxy: What stands before it.
        requests: What came.
    """

    url: str
    proxy: ProxyServer
    requests: list[dict[str, Any]] = field(default_factory=list)

    async def handle(self, request: web.Request) -> web.Response:
        """Write a request down, and answer it."""
        names = {name.lower() for name in request.headers}
        self.requests.append(
            {
                "method": request.method,
                "path": request.path_qs,
                "headers": sorted(names - USUAL),
                "body": await request.json(),
            }
        )
        return web.json_response(ANSWER)

    def replaced(self, text: str) -> str:
        """A recipe's text with the addresses of this endpoint and its proxy."""
        text = text.replace(
            "//user:password@proxy.example.com:3128",
            f"//{PASSWORD}@{self.proxy.url.removeprefix('http://')}",
        )
        return re.sub(
            r"https?://(?!user:|cognitive)[a-z0-9.:-]+/", f"{self.url}/", text
        )


@asynccontextmanager
async def endpoint(heading: str) -> AsyncIterator[Endpoint]:
    """An endpoint on loopback, encrypted for the recipe that is about it."""
    async with AsyncExitStack() as stack:
        user = PASSWORD if heading == "Behind a proxy" else None
        proxy = await stack.enter_async_context(proxy_server(user=user))
        found = Endpoint(url="", proxy=proxy)
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", found.handle)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        tls, scheme = None, "http"
        if heading == "Behind a private authority":
            tls, scheme = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), "https"
            tls.load_cert_chain(CERTIFICATE)
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
        await site.start()
        found.url = f"{scheme}://127.0.0.1:{site.port}"
        yield found


def variables(text: str) -> Mapping[str, str]:
    """A value for each variable that a recipe names."""
    return {
        name: f"value-of-{name}" for name in re.findall(r"\b[A-Z]+_[A-Z_]+\b", text)
    }


def golden(heading: str) -> list[dict[str, Any]]:
    """The requests of a recipe's rows."""
    one = {"method": "POST", "headers": [], **GOLDEN[heading]}
    message = {"role": "user", "content": "hello"}
    one["body"] = {**one["body"], "messages": [message]}
    return [one]


async def sent(engine: Engine, instructions: Instructions) -> None:
    """One request of an engine."""
    async with engine:
        await engine.bind(instructions).answer("hello")


@with_block("sh")
async def test_a_command_sends_the_request_of_its_endpoint(
    heading: str, tmp_path: Path
) -> None:
    """Method, path with query, names of headers, and body; and it runs as shown."""
    (tmp_path / "rows.csv").write_text("text\nhello\n")
    (tmp_path / "corporate-ca.pem").write_bytes(CERTIFICATE.read_bytes())
    (block,) = shown(heading, "sh")
    async with endpoint(heading) as server:
        words = shlex.split(server.replaced(block).replace("\\\n", " "))[1:]
        files = {
            name: str(tmp_path / name)
            for name in ("rows.csv", "out.parquet", "corporate-ca.pem")
        }
        words = [files.get(word, word) for word in words]
        if "--api-key-command" in words:
            words[words.index("--api-key-command") + 1] = f"echo {TOKEN}"
        call = partial(main, words, environment=variables(block))
        assert await anyio.to_thread.run_sync(call) == 0
    assert server.requests == golden(heading)
    assert bool(server.proxy.heads) is (heading == "Behind a proxy")


@with_block("toml")
async def test_a_deployments_configuration_sends_the_same(
    heading: str, tmp_path: Path
) -> None:
    """Each of its endpoints."""
    (tmp_path / "corporate-ca.pem").write_bytes(CERTIFICATE.read_bytes())
    (block,) = shown(heading, "toml")
    async with endpoint(heading) as server:
        (tmp_path / "deployment.toml").write_text(server.replaced(block))
        load = partial(
            DeploymentSettings.load,
            tmp_path / "deployment.toml",
            data_dir=tmp_path / "data",
            environment=variables(block),
        )
        settings = await asyncio.to_thread(load)
        (model,) = settings.service.catalogue.models.values()
        engines = engines_for(model)
        for engine in engines:
            await sent(engine, Instructions(sampling=model.sampling))
    expected = golden(heading) * len(engines)
    if heading == "Azure":
        # The address says which model it is; a deployment says so as well.
        expected[0]["body"]["model"] = "my-gpt"
    assert server.requests == expected
    assert bool(server.proxy.heads) is (heading == "Behind a proxy")


@with_block("python")
async def test_python_reaches_the_same(heading: str) -> None:
    """The same path, with the same headers."""
    (block,) = shown(heading, "python")
    async with endpoint(heading) as server:
        names: dict[str, Any] = {"ss": ss, "key": "a-key", "get_token": lambda: TOKEN}
        exec(server.replaced(block), names)  # noqa: S102 - a page of our own
        engine = names["engine"]
        assert isinstance(engine, (ss.ChatEngine, EngineGroup))
        await sent(engine, Instructions())
    (request,) = server.requests
    (expected,) = golden(heading)
    assert request["path"] == expected["path"]
    assert request["headers"] == expected["headers"]


def test_every_recipe_has_its_request() -> None:
    """And no request is without a recipe."""
    assert set(GOLDEN) == set(recipes())

"""Endpoints that need something, on the command line and in a configuration.

Each test is a row of the field's second table that is about reach: what an endpoint
needs can be given where it is used, and what it refuses names what cures it.
"""

from __future__ import annotations

import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import anyio.to_thread
import pyarrow.parquet as pq
import pytest
from aiohttp import web

import sutro_stream as ss
from sutro_stream.cli import main
from sutro_stream.errors import EngineError
from sutro_stream.jobs.engines import EnginePool
from sutro_stream.settings.deployment import DeploymentSettings
from sutro_stream.testing.proxy_server import proxy_server
from sutro_stream.values.instructions import Instructions
from sutro_stream.values.schema import OutputSchema

ROWS = 200
SECRET = "s3cret-of-a-gateway"
CERTIFICATE = (
    Path(ss.__file__).parents[1] / "tests/engines/transports/certificates/loopback.pem"
)

Refusal: TypeAlias = tuple[int, str] | None
Judge: TypeAlias = Callable[[web.Request, Mapping[str, Any]], Refusal]
Command: TypeAlias = Callable[..., Awaitable[tuple[int, str]]]


def accept(request: web.Request, body: Mapping[str, Any]) -> Refusal:
    """Refuse nothing."""
    del request, body
    return None


def wants_header(request: web.Request, body: Mapping[str, Any]) -> Refusal:
    """As a company's gateway does."""
    del body
    if request.headers.get("X-Tenant") == SECRET:
        return None
    return 400, "Missing required header: X-Tenant"


def wants_query(request: web.Request, body: Mapping[str, Any]) -> Refusal:
    """As Azure does."""
    del body
    if request.query.get("api-version") == "2024-10-21":
        return None
    return 400, "Missing required query parameter: api-version"


def wants_field(request: web.Request, body: Mapping[str, Any]) -> Refusal:
    """As an endpoint with a field of its own does."""
    del request
    if body.get("deployment_tier") == {"level": 3}:
        return None
    return 422, "the field deployment_tier is required"


def refuses_max_tokens(request: web.Request, body: Mapping[str, Any]) -> Refusal:
    """As OpenAI's reasoning models do."""
    del request
    if "max_tokens" not in body:
        return None
    return 400, (
        "Unsupported parameter: 'max_tokens' is not supported with this model. Use "
        "'max_completion_tokens' instead."
    )


def refuses_json_schema(request: web.Request, body: Mapping[str, Any]) -> Refusal:
    """As DeepSeek and older servers do."""
    del request
    told = body.get("response_format") or {}
    if told.get("type") != "json_schema":
        return None
    return (
        400,
        "This response_format type is unavailable now: json_schema not supported",
    )


def refuses_temperature(request: web.Request, body: Mapping[str, Any]) -> Refusal:
    """As OpenAI's reasoning models do."""
    del request
    if "temperature" not in body:
        return None
    return 400, (
        "Unsupported value: 'temperature' does not support 0.2 with this model. Only "
        "the default (1) value is supported."
    )


def refuses_unknown(request: web.Request, body: Mapping[str, Any]) -> Refusal:
    """As Mistral does."""
    del request
    unknown = set(body) - {"model", "messages", "random_seed", "stream", "max_tokens"}
    return (
        (422, f"Extra inputs are not permitted: {unknown.pop()}") if unknown else None
    )


@dataclass
class Endpoint:
    """An endpoint that may refuse.

    Attributes:
        url: Its address.
        judge: Decides about each request.
        answered: How many it has answered.
    """

    url: str
    judge: Judge
    answered: int = 0
    text: str = field(default='{"label": "yes"}')

    async def handle(self, request: web.Request) -> web.Response:
        """Answer, or refuse."""
        refusal = self.judge(request, await request.json())
        if refusal is not None:
            error = {"message": refusal[1], "type": "invalid_request_error"}
            return web.json_response({"error": error}, status=refusal[0])
        self.answered += 1
        choice = {"message": {"content": self.text}, "finish_reason": "stop"}
        return web.json_response({"choices": [choice]})


@asynccontextmanager
async def endpoint(judge: Judge, *, encrypts: bool = False) -> AsyncIterator[Endpoint]:
    """Such an endpoint, on loopback."""
    found = Endpoint(url="", judge=judge)
    app = web.Application()
    app.router.add_post("/v1/chat/completions", found.handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        tls = None
        if encrypts:
            tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            tls.load_cert_chain(CERTIFICATE)
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
        await site.start()
        found.url = f"http{'s' if encrypts else ''}://127.0.0.1:{site.port}/v1"
        yield found
    finally:
        await runner.cleanup()


@pytest.fixture
def command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Command:
    """The command for 200 rows: exit code, and what it says or failed rows say."""
    rows, output = tmp_path / "rows.csv", tmp_path / "out.parquet"
    rows.write_text("text\n" + "".join(f"row {number}\n" for number in range(ROWS)))

    async def call(
        *words: str | Path, environment: Mapping[str, str] | None = None
    ) -> tuple[int, str]:
        arguments = [
            *("run", str(rows), "--column", "text", "--model", "m", "--overwrite"),
            *("--output", str(output), "--restart", *map(str, words)),
        ]
        run = partial(main, arguments, environment=environment or {})
        code = await anyio.to_thread.run_sync(run)
        out, err = capsys.readouterr()
        said = out + err
        if output.exists():
            errors = pq.read_table(output).column("error").to_pylist()
            said += "\n".join(filter(None, errors))
        assert SECRET not in said
        return code, said

    return call


async def configured(folder: Path, url: str, *entries: str) -> str | EngineError:
    """What a deployment's endpoint of this configuration answers."""
    path = folder / "deployment.toml"
    lines = ["[[models.m.endpoints]]", f'url = "{url}"', *entries]
    path.write_text("\n".join(lines) + "\n")
    load = partial(
        DeploymentSettings.load, path, data_dir=folder, environment={"T": SECRET}
    )
    settings = await anyio.to_thread.run_sync(load)
    (model,) = settings.service.catalogue.models.values()
    async with EnginePool() as pool:
        responder = (await pool.engine(model)).bind(Instructions())
        try:
            return (await responder.answer("row")).text
        except EngineError as error:
            return error


NEEDS: Mapping[str, tuple[Judge, str, Sequence[str], Sequence[str], str]] = {
    "header": (
        wants_header,
        "",
        ("--header", f"X-Tenant={SECRET}"),
        (f'headers = {{ X-Tenant = "{SECRET}" }}',),
        "--header NAME=VALUE",
    ),
    "secret header": (
        wants_header,
        "",
        ("--header-env", "X-Tenant=T"),
        ('header_env = { X-Tenant = "T" }',),
        "--header-env",
    ),
    "query": (wants_query, "?api-version=2024-10-21", (), (), "into the address"),
    "body field": (
        wants_field,
        "",
        ("--extra-body", json.dumps({"deployment_tier": {"level": 3}})),
        ("extra_body = { deployment_tier = { level = 3 } }",),
        "--extra-body",
    ),
}


@pytest.mark.parametrize("need", NEEDS)
async def test_what_an_endpoint_needs_is_given_on_the_command_line(
    need: str, command: Command
) -> None:
    """And without it, what failed says where to give it."""
    judge, query, words, _, told = NEEDS[need]
    async with endpoint(judge) as server:
        given = ("--engine", server.url + query, *words)
        code, said = await command(*given, environment={"T": SECRET})
        assert (code, server.answered) == (0, ROWS), said
        code, said = await command("--engine", server.url)
    assert code == 1
    assert told in said


@pytest.mark.parametrize("need", NEEDS)
async def test_what_an_endpoint_needs_is_given_in_a_configuration(
    need: str, tmp_path: Path
) -> None:
    """By the same words."""
    judge, query, _, entries, told = NEEDS[need]
    async with endpoint(judge) as server:
        answer = await configured(tmp_path, server.url + query, *entries)
        assert isinstance(answer, str)
        refused = await configured(tmp_path, server.url)
    assert told in str(refused)


@pytest.mark.parametrize(
    ("judge", "words", "cure", "told"),
    [
        (
            refuses_max_tokens,
            ("--max-tokens", "50"),
            ("--sampling", "max_completion_tokens=50"),
            "--sampling max_completion_tokens=N",
        ),
        (refuses_temperature, ("--temperature", "0.2"), (), "leave out --temperature"),
        (
            refuses_unknown,
            ("--sampling", "seed=1"),
            ("--sampling", "seed=1", "--dialect", "mistral"),
            "--dialect",
        ),
        (refuses_unknown, ("--sampling", "top_k=1"), (), "--extra-body"),
    ],
)
async def test_a_refused_parameter_names_what_cures_it(
    judge: Judge,
    words: Sequence[str],
    cure: Sequence[str],
    told: str,
    command: Command,
) -> None:
    """Which then does."""
    async with endpoint(judge) as server:
        code, said = await command("--engine", server.url, *words)
        assert code == 1
        assert told in said
        code, said = await command("--engine", server.url, *cure)
    assert (code, server.answered) == (0, ROWS), said


async def test_a_refused_schema_names_what_cures_it() -> None:
    """Where JSON alone is asked for, the answers are checked all the same."""
    schema = OutputSchema.parse({"type": "object", "required": ["label"]})
    async with (
        endpoint(refuses_json_schema) as server,
        ss.ChatEngine(server.url, "m") as engine,
    ):
        with pytest.raises(EngineError, match="--response-format json_object or none"):
            await engine.bind(Instructions(schema=schema)).answer("row")
        for name in ("json_object", "none"):
            cured = Instructions(schema=schema, response_format=name)
            assert (await engine.bind(cured).answer("row")).text == server.text


async def test_a_private_authority_is_named_and_trusted(
    command: Command, tmp_path: Path
) -> None:
    """Without it, the message names the option."""
    async with endpoint(accept, encrypts=True) as server:
        trusted = ("--engine", server.url, "--ca-file", CERTIFICATE)
        code, said = await command(*trusted)
        assert (code, server.answered) == (0, ROWS), said
        code, said = await command("--engine", server.url)
        assert code == 1
        assert "--ca-file" in said
        entry = f'ca_file = "{CERTIFICATE}"'
        assert await configured(tmp_path, server.url, entry) == server.text
        assert "ca_file" in str(await configured(tmp_path, server.url))


@pytest.mark.parametrize("encrypts", [False, True])
async def test_a_proxy_is_gone_through(
    command: Command, tmp_path: Path, *, encrypts: bool
) -> None:
    """With the user and the password that it asks for."""
    async with (
        endpoint(accept, encrypts=encrypts) as server,
        proxy_server(user=f"me:{SECRET}") as proxy,
    ):
        through = proxy.url.replace("://", f"://me:{SECRET}@")
        words = ("--engine", server.url, "--ca-file", CERTIFICATE)
        code, said = await command(*words, "--proxy", through)
        assert (code, server.answered) == (0, ROWS), said
        assert proxy.heads
        code, said = await command(*words, "--proxy", proxy.url)
        assert code == 1
        assert f"proxy {proxy.url}: asks for a user and a password" in said
        entries = (f'ca_file = "{CERTIFICATE}"', f'proxy = "{through}"')
        assert await configured(tmp_path, server.url, *entries) == server.text


async def test_a_proxy_of_the_environment_is_told_and_not_used(
    command: Command,
) -> None:
    """Once, with the option that uses one."""
    environment = {"HTTPS_PROXY": f"http://me:{SECRET}@127.0.0.1:9"}
    words = ("--engine", "https://host.invalid/v1", "--patience", "0")
    _, said = await command(*words, environment=environment)
    assert said.count("HTTPS_PROXY is set, and not used") == 1
    assert "--proxy" in said
    assert "host name is not known" in said

"""A deployment on scripted models, and the official SDK driving it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from contextlib import ExitStack, asynccontextmanager
from dataclasses import asdict, dataclass
from functools import cache
from math import log
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from aiohttp import web
from anyio.from_thread import BlockingPortal, start_blocking_portal

import sutro_stream
from sutro_stream.testing import ChatRequest, Hang, Reply, ScriptedChatServer
from sutro_stream.testing.chat_server.schema_instances import minimal_instance
from sutro_stream.testing.deployment import (
    create_key,
    deployment_process,
    publish_function,
)

HERE = Path(__file__).parent
DRIVERS = HERE / "drivers"
LAST = "commands"
REPOSITORY = Path(sutro_stream.__file__).parents[1]
SDK_PYTHON = REPOSITORY / ".venv-sdk" / "bin" / "python"
ON_EMBEDDED = "embedded_model"
DRIVERS_S = 170.0
RUNS_A_MINUTE = 30
CONFIG = """
[limits]
function_requests_per_minute = {runs_a_minute}

[urls]
allow_private = true

[models.scripted]
endpoints = [{{ url = "{chat}" }}]
concurrency = 16
input_price = 1.0
output_price = 2.0
mean_output_tokens = 10

[models.scripted-logprobs]
endpoints = [{{ url = "{chat}" }}]
logprobs = true

[models.sure]
endpoints = [{{ url = "{other}/sure/v1" }}]
logprobs = true
confidence = true

[models.gpt-oss-120b]
endpoints = [{{ url = "{other}/v1" }}]
reasoning = true

[models."qwen-3-embedding-0.6b"]
kind = "embedding"
endpoints = [{{ url = "{other}/v1" }}]

[aliases]
gpt-oss-20b = "scripted"
gemma-3-12b-it = "scripted"
"""
SHOUT = {
    "name": "shout",
    "model": "scripted",
    "inputs": [{"name": "text"}],
    "output_schema": {"type": "object", "properties": {"loud": {"type": "string"}}},
}


@dataclass(frozen=True, kw_only=True)
class Site:
    """A deployment with something in it.

    Attributes:
        url: Its address.
        key: Key of the account that published the Functions.
        hasty_key: Key of another account, which has published `shout` alone.
        revoked_key: A key that is worth nothing any more.
        files: Address of a folder with tables.
    """

    url: str
    key: str
    hasty_key: str = ""
    revoked_key: str = ""
    files: str = ""


def script(request: ChatRequest) -> Reply | None:
    """What the models answer: the first word of a prompt may ask for something."""
    if request.prompt.startswith("hold"):
        return Reply(fault=Hang())
    if request.prompt.startswith("refuse"):
        return Reply(status=400, message="This prompt is refused.")
    schema = request.json_schema or {}
    if "loud" in schema.get("properties", {}):
        loud = request.prompt.removeprefix("text: ").upper()
        return Reply(text=json.dumps({"loud": loud}))
    return Reply(latency_s=0.3 if request.prompt.startswith("slow") else 0.0)


async def embeddings(request: web.Request) -> web.Response:
    """A vector that tells the length of its text."""
    body = await request.json()
    texts = [body["input"]] if isinstance(body["input"], str) else body["input"]
    vectors = [
        {"object": "embedding", "index": index, "embedding": [len(text), 0.5, -1]}
        for index, text in enumerate(texts)
    ]
    words = sum(len(text.split()) for text in texts)
    usage = {"prompt_tokens": words, "total_tokens": words}
    return web.json_response({"object": "list", "data": vectors, "usage": usage})


async def thinking(request: web.Request) -> web.Response:
    """An answer with the thoughts before it."""
    body = await request.json()
    text = f"echo: {body['messages'][-1]['content']}"
    if "response_format" in body:
        schema = body["response_format"]["json_schema"]["schema"]
        text = json.dumps(minimal_instance(schema))
    message = {
        "role": "assistant",
        "content": text,
        "reasoning_content": "Let me think.",
    }
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return web.json_response({"id": "x", "choices": [choice], "usage": usage})


async def sure(request: web.Request) -> web.Response:
    """A label with the probabilities that it was given, three to one."""
    body = await request.json()
    is_student = "student" in body["messages"][-1]["content"]
    label, other = ("not_", "qual") if is_student else ("qual", "not_")
    rest = "qualified" if is_student else "ified"
    tokens = [
        token('{"label":"', 0.9),
        token(label, 0.75, **{other: 0.25}),
        token(rest, 1.0),
        token('"}', 1.0),
    ]
    message = {"role": "assistant", "content": f'{{"label":"{label}{rest}"}}'}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    if body.get("logprobs"):
        choice["logprobs"] = {"content": tokens}
    usage = {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13}
    return web.json_response({"id": "x", "choices": [choice], "usage": usage})


def token(text: str, probability: float, **others: float) -> dict[str, Any]:
    """A token as OpenAI reports it, with the ones it was chosen from."""

    def entry(text: str, probability: float) -> dict[str, Any]:
        return {
            "token": text,
            "logprob": log(probability),
            "bytes": list(text.encode()),
        }

    drawn = {text: probability, **others}
    top = [entry(name, share) for name, share in drawn.items()]
    return {**entry(text, probability), "top_logprobs": top}


@asynccontextmanager
async def other_server(folder: Path) -> AsyncGenerator[str]:
    """Models that the chat server does not script, and a folder of files."""
    app = web.Application()
    app.router.add_post("/v1/embeddings", embeddings)
    app.router.add_post("/v1/chat/completions", thinking)
    app.router.add_post("/sure/v1/chat/completions", sure)
    app.router.add_static("/files", folder)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield f"http://127.0.0.1:{site.port}"
    finally:
        await runner.cleanup()


def write_tables(folder: Path) -> None:
    """The files that jobs name by address."""
    rows = pl.DataFrame({"id": [30, 10], "text": ["three", "one"]})
    leads = pl.DataFrame(
        {
            "id": ["L1", "L2"],
            "query": ["a quote for 60 seats", "I am a student"],
            "region": ["EMEA", "APAC"],
        }
    )
    prompts = pl.DataFrame({"id": [1, 2], "prompt": ["uno", "due"]})
    for name, table in (("rows", rows), ("leads", leads), ("data", prompts)):
        table.write_csv(folder / f"{name}.csv")
        table.write_parquet(folder / f"{name}.parquet")


def publish(data_dir: Path, account: str, spec: Mapping[str, Any]) -> None:
    """Publish a Function given as data."""
    path = data_dir / "spec.json"
    path.write_text(json.dumps(spec))
    publish_function(data_dir, account, path)
    path.unlink()


def revoke_key(data_dir: Path, account: str) -> None:
    """Revoke the only key of an account."""
    keys = [sys.executable, "-m", "sutro_stream", "keys"]
    where = f"--data-dir={data_dir}"
    listed = subprocess.run(
        [*keys, "list", f"--account={account}", where],
        check=True,
        capture_output=True,
        text=True,
    )
    key_id = listed.stdout.splitlines()[1].split()[0]
    subprocess.run([*keys, "revoke", key_id, where], check=True, capture_output=True)


def lead_qualifier() -> dict[str, Any]:
    """The example, on a model that gives log-probabilities."""
    spec = json.loads((REPOSITORY / "examples" / "lead-qualifier.json").read_bytes())
    return {**spec, "model": "sure", "confidence": {"field": "label"}}


@pytest.fixture(scope="session")
def portal() -> Iterator[BlockingPortal]:
    """An event loop in a thread, for servers that outlive a test."""
    with start_blocking_portal() as portal:
        yield portal


@pytest.fixture(scope="session")
def site(
    portal: BlockingPortal, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    """A deployment that all tests share; they must not rely on being alone."""
    data_dir = tmp_path_factory.mktemp("data")
    tables = tmp_path_factory.mktemp("tables")
    write_tables(tables)
    keys = {name: create_key(data_dir, name) for name in ("alice", "hasty", "revoked")}
    revoke_key(data_dir, "revoked")
    publish(data_dir, "alice", lead_qualifier())
    publish(data_dir, "alice", SHOUT)
    publish(data_dir, "hasty", SHOUT)
    with ExitStack() as stack:

        def enter(context: Any) -> Any:
            return stack.enter_context(portal.wrap_async_context_manager(context))

        chat = enter(ScriptedChatServer(script))
        other = enter(other_server(tables))
        config = data_dir / "deployment.toml"
        config.write_text(
            CONFIG.format(chat=chat.base_url, other=other, runs_a_minute=RUNS_A_MINUTE)
        )
        deployment = enter(deployment_process(data_dir, config=config))
        yield Site(
            url=deployment.url,
            key=keys["alice"],
            hasty_key=keys["hasty"],
            revoked_key=keys["revoked"],
            files=f"{other}/files",
        )


@pytest.fixture(scope="session")
def sdk_python() -> Path:
    """The interpreter of the SDK's environment."""
    if not SDK_PYTHON.exists():
        pytest.skip(f"there is no {SDK_PYTHON.parents[1]}; `make test` makes it")
    return SDK_PYTHON


@pytest.fixture(scope="session")
def embedded_site(
    portal: BlockingPortal, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    """A deployment as the examples have it, on the embedded model."""
    data_dir = tmp_path_factory.mktemp("embedded")
    key = create_key(data_dir, "alice")
    examples = REPOSITORY / "examples"
    config = data_dir / "deployment.toml"
    config.write_text(
        (examples / "deployment.toml")
        .read_text()
        .replace("sentiment.json", str(examples / "sentiment.json"))
        # Reading 2,048 tokens takes a small machine a minute.
        .replace("context_window = 2048", "context_window = 256")
    )
    server = deployment_process(data_dir, config=config)
    with portal.wrap_async_context_manager(server) as deployment:
        yield Site(url=deployment.url, key=key)


def readme_program() -> str:
    """The program in README.md that uses the SDK."""
    readme = (REPOSITORY / "README.md").read_text()
    programs = re.findall(r"(?ms)^```python\n(.*?)^```", readme)
    (program,) = [text for text in programs if text.startswith("import sutro  #")]
    return str(program)


@pytest.fixture(scope="session")
def report(
    sdk_python: Path,
    tmp_path_factory: pytest.TempPathFactory,
    request: pytest.FixtureRequest,
) -> Callable[[str], dict[str, Any]]:
    """The report of a driver; all drivers of a deployment run when one is wanted."""

    @cache
    def run(site_name: str) -> dict[str, Any]:
        site: Site = request.getfixturevalue(site_name)
        folder = tmp_path_factory.mktemp("driven")
        given = {
            **asdict(site),
            "folder": str(folder),
            "runs_a_minute": RUNS_A_MINUTE,
            "readme_program": readme_program(),
        }
        (folder / "given.json").write_text(json.dumps(given))
        on_embedded = site_name == "embedded_site"
        drivers = [
            path
            # The command line comes last: it lists what the others have made.
            for path in sorted(DRIVERS.glob("*.py"), key=lambda path: path.stem == LAST)
            if (path.stem == ON_EMBEDDED) is on_embedded
        ]
        files = (folder / "given.json", folder / "report.json")
        subprocess.run(
            [sdk_python, HERE / "runner.py", *files, *drivers],
            cwd=folder,
            env=sdk_environment(site, folder),
            timeout=DRIVERS_S,
            check=True,
        )
        return dict(json.loads(files[1].read_bytes()))

    return lambda driver: dict(
        run("embedded_site" if driver == ON_EMBEDDED else "site")[driver]
    )


@pytest.fixture
def value(
    report: Callable[[str], dict[str, Any]], request: pytest.FixtureRequest
) -> Callable[[str], Any]:
    """What a function of the driver named like the test's file returned."""
    entries = report(request.path.stem.removeprefix("test_"))

    def returned(name: str) -> Any:
        entry = entries[name]
        assert entry["error"] is None, f"{entry['error']}\n{entry['said']}"
        return entry["value"]

    return returned


@pytest.fixture
def said(
    report: Callable[[str], dict[str, Any]], request: pytest.FixtureRequest
) -> Callable[[str], str]:
    """What a function of the driver named like the test's file printed."""
    entries = report(request.path.stem.removeprefix("test_"))
    return lambda name: str(entries[name]["said"])


@pytest.fixture
def program(site: Site, tmp_path: Path) -> dict[str, str]:
    """Variables of a program that uses the SDK."""
    return sdk_environment(site, tmp_path)


@pytest.fixture
def files(site: Site) -> str:
    """Address of a folder with tables."""
    return site.files


def sdk_environment(site: Site, home: Path) -> dict[str, str]:
    """Variables of a program that uses the SDK.

    Importing the SDK asks the package index for its newest version, by HTTPS; the
    tests have no business there.
    """
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "HTTPS_PROXY": "http://127.0.0.1:9",
        "SUTRO_API_URL": site.url,
        "SUTRO_API_KEY": site.key,
    }

"""A deployment with two accounts, and strangers who ask it for what is not theirs."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import anyio
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal
from yarl import URL

from sutro_stream.functions.registry import FunctionRegistry
from sutro_stream.jobs.database import Database
from sutro_stream.jobs.folder import DataFolder
from sutro_stream.jobs.keys import KeyStore
from sutro_stream.testing import ChatRequest, Reply, ScriptedChatServer
from sutro_stream.testing.deployment import deployment_process

MAX_BODY_BYTES = 1 << 20
CONFIG = """
[limits]
max_body_bytes = {max_body_bytes}
disk_floor_bytes = 0

[urls]
allow_private = {allow_private}
max_bytes = 1000000
timeout_s = 10

[models.m]
endpoints = [{{ url = "{chat}" }}]
concurrency = 16

[aliases]
gpt-oss-20b = "m"
"""
SHOUT = {"name": "shout", "model": "m", "inputs": [{"name": "text"}]}
SECRET = {**SHOUT, "name": "secret-of-bob", "system_prompt": "Nobody knows."}
OTHER_ACCOUNT = "bob-of-the-competition"


@dataclass(frozen=True, kw_only=True)
class Site:
    """A running deployment.

    Attributes:
        url: Its address.
        folder: Where its data lies.
        pid: Of its process.
        key: Of the account that asks.
        their_key: Of the other one.
        revoked: A key that was good once.
    """

    url: str
    folder: Path
    pid: int
    key: str
    their_key: str
    revoked: str

    @property
    def port(self) -> int:
        """Where it listens, on the loopback address."""
        port = urlsplit(self.url).port
        assert port is not None
        return port

    @property
    def secrets(self) -> tuple[str, ...]:
        """What no answer may hold."""
        return (
            str(self.folder),
            self.key,
            self.their_key,
            self.revoked,
            OTHER_ACCOUNT,
            "Nobody knows",
            "Traceback",
            "site-packages",
        )


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body as a value."""
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The word for programs."""
        return str(self.json["code"])


class Client:
    """Asks a deployment, with the key of an account or another one."""

    def __init__(self, site: Site, session: aiohttp.ClientSession) -> None:
        self.site = site
        self._session = session

    async def ask(
        self,
        method: str,
        path: str,
        *,
        key: str | None = "",
        headers: Mapping[str, str] | None = None,
        **body: Any,
    ) -> Answer:
        """Send the path as it is written.

        Args:
            method: Of HTTP.
            path: With a query, if any; or a whole address.
            key: `None` for none, "" for the account's own.
            headers: Further ones.
            body: As for aiohttp.
        """
        data = body.get("data")
        if isinstance(data, bytes):
            body["data"] = io.BytesIO(data)
        url = path if path.startswith("http") else self.site.url + path
        sent = dict(headers or {})
        if key is not None:
            sent["Authorization"] = f"Key {key or self.site.key}"
        async with self._session.request(
            method,
            URL(url, encoded=True),
            headers=sent,
            allow_redirects=False,
            **body,
        ) as response:
            return Answer(
                status=response.status,
                headers=response.headers,
                body=await response.read(),
            )

    async def submit(
        self, inputs: Any, *, key: str | None = "", **fields: Any
    ) -> Answer:
        """Submit a job."""
        body = {"inputs": inputs, "model": "m", **fields}
        return await self.ask("POST", "/v1/batch-inference", key=key, json=body)

    async def ended(self, job_id: str, *, key: str = "") -> dict[str, Any]:
        """All about a job once it is final."""
        while True:
            answer = await self.ask("GET", f"/v1/jobs/{job_id}", key=key)
            job: dict[str, Any] = answer.json["job"]
            if job["status"] in {"SUCCEEDED", "FAILED", "CANCELLED"}:
                return job
            await anyio.sleep(0.01)

    async def succeeded(self, *, key: str = "") -> str:
        """The ID of a job that was submitted and has succeeded."""
        job_id = str((await self.submit(["a", "b"], key=key)).json["results"])
        assert (await self.ended(job_id, key=key))["status"] == "SUCCEEDED"
        return job_id


def script(request: ChatRequest) -> Reply:
    """What the model answers: the prompt, or what it asks to be told."""
    if request.prompt.startswith("say "):
        return Reply(text=request.prompt.removeprefix("say "))
    return Reply(text=f"echo: {request.prompt}")


def refusal(answer: Answer, site: Site) -> tuple[int, str]:
    """Status and code of an answer that tells nothing it should not.

    Every error is an object of three texts.
    """
    assert answer.status >= 400, answer
    assert answer.headers["Content-Type"].startswith("application/json"), answer
    body = answer.json
    assert set(body) == {"detail", "code", "request_id"}
    assert all(isinstance(value, str) for value in body.values())
    told = answer.body.decode() + repr(answer.headers)
    assert [secret for secret in site.secrets if secret in told] == []
    return answer.status, body["code"]


@pytest.fixture(scope="session")
def told() -> Callable[[Answer, Site], tuple[int, str]]:
    """See `refusal`."""
    return refusal


@pytest.fixture(scope="session")
def portal() -> Iterator[BlockingPortal]:
    """An event loop in a thread, for servers that outlive a test."""
    with start_blocking_portal() as portal:
        yield portal


@contextlib.contextmanager
def _site(
    portal: BlockingPortal, folder: Path, *, allow_private: bool
) -> Iterator[Site]:
    data = DataFolder(folder)
    data.prepare()
    with Database(data.database) as database:
        keys = KeyStore(database)
        key, their_key = keys.create("alice")[0], keys.create(OTHER_ACCOUNT)[0]
        revoked, info = keys.create("alice")
        keys.revoke(info.key_id)
    registry = FunctionRegistry(data.functions)
    registry.publish("alice", SHOUT)
    registry.publish(OTHER_ACCOUNT, SECRET)
    with ExitStack() as stack:

        def enter(context: Any) -> Any:
            return stack.enter_context(portal.wrap_async_context_manager(context))

        chat = enter(ScriptedChatServer(script))
        config = folder / "deployment.toml"
        config.write_text(
            CONFIG.format(
                chat=chat.base_url,
                allow_private=str(allow_private).lower(),
                max_body_bytes=MAX_BODY_BYTES,
            )
        )
        running = enter(deployment_process(folder, config=config))
        yield Site(
            url=running.url,
            folder=folder,
            pid=running.pid,
            key=key,
            their_key=their_key,
            revoked=revoked,
        )
        assert portal.call(running.stop) == 0


@pytest.fixture(scope="session")
def site(
    portal: BlockingPortal, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    """A deployment that all tests share; it stops in good order after them."""
    folder = tmp_path_factory.mktemp("deployment")
    with _site(portal, folder, allow_private=False) as site:
        yield site


@pytest.fixture(scope="session")
def trusting(
    portal: BlockingPortal, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    """Another one, which reads files from private addresses."""
    folder = tmp_path_factory.mktemp("trusting")
    with _site(portal, folder, allow_private=True) as site:
        yield site


@pytest.fixture
async def client(site: Site) -> AsyncIterator[Client]:
    """Of `site`."""
    async with aiohttp.ClientSession() as session:
        yield Client(site, session)


@pytest.fixture
async def trusted(trusting: Site) -> AsyncIterator[Client]:
    """Of `trusting`."""
    async with aiohttp.ClientSession() as session:
        yield Client(trusting, session)


@asynccontextmanager
async def _undisturbed(site: Site) -> AsyncIterator[None]:
    """Jobs, one after the other, each of which has to succeed."""
    rows = ["one", "two", "three"]
    wanted = [f"echo: {row}" for row in rows]

    async def work() -> None:
        async with aiohttp.ClientSession() as session:
            client = Client(site, session)
            while True:
                job_id = (await client.submit(rows)).json["results"]
                job = await client.ended(job_id)
                found = await client.ask(
                    "GET", f"/v1/jobs/{job_id}/results?format=json"
                )
                assert (job["status"], found.json["outputs"]) == ("SUCCEEDED", wanted)
                await anyio.sleep(0.3)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(work)
        yield
        tasks.cancel_scope.cancel()


@pytest.fixture(scope="module")
def beside(portal: BlockingPortal, site: Site) -> Iterator[None]:
    """Jobs that run beside the tests of a module, and are not disturbed by them."""
    with portal.wrap_async_context_manager(_undisturbed(site)):
        yield


@pytest.fixture(scope="session")
def theirs(portal: BlockingPortal, site: Site) -> Mapping[str, str]:
    """What the other account has, by the word that stands for it in a path."""

    async def make() -> Mapping[str, str]:
        async with aiohttp.ClientSession() as session:
            client = Client(site, session)
            their_job = await client.succeeded(key=site.their_key)
            my_job = await client.succeeded()
            dataset = await client.ask("GET", "/v1/create-dataset", key=site.their_key)
            dataset_id = dataset.json["dataset_id"]
            await _upload(client, dataset_id, site.their_key)
            link = await client.ask("GET", f"/v1/jobs/{my_job}/results-url")
            get = urlsplit(link.json["urls"]["get"])
            return {
                "job": their_job,
                "my_job": my_job,
                "dataset": dataset_id,
                "artifact": get.path,
                "signed": get.query,
                "head_signed": urlsplit(link.json["urls"]["head"]).query,
            }

    return portal.call(make)


async def _upload(client: Client, dataset_id: str, key: str) -> None:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"text": ["a secret row"]}), sink)
    form = aiohttp.FormData()
    form.add_field("dataset_id", dataset_id)
    form.add_field("file", sink.getvalue().to_pybytes(), filename="rows.parquet")
    answer = await client.ask("POST", "/v1/upload-to-dataset", key=key, data=form)
    assert answer.status == 200, answer

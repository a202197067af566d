"""The pool of engines: opened once, shared, closed by whoever opened them."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from types import TracebackType
from typing import Self

import anyio
import pytest

from sutro_stream.engines.chat import ChatEngine
from sutro_stream.engines.embeddings import EmbeddingEngine
from sutro_stream.engines.engine import Engine
from sutro_stream.engines.group import EngineGroup
from sutro_stream.engines.local import LocalEngine
from sutro_stream.errors import ConfigurationError, EngineUnavailableError
from sutro_stream.jobs.engines import EnginePool, alternatives, engines_for
from sutro_stream.testing import ScriptedChatServer, ScriptedEngine
from sutro_stream.values.catalogue import Model, ModelKind
from sutro_stream.values.endpoint import Endpoint
from sutro_stream.values.instructions import Instructions
from sutro_stream.values.outcomes import Answer
from sutro_stream.values.sampling import SamplingParams

MODEL = Model(name="m")


class WatchedEngine(ScriptedEngine):
    """One whose opening waits for a sign, and that knows who opened it."""

    def __init__(self, *, failures: int = 0) -> None:
        super().__init__()
        self.may_open = anyio.Event()
        self.failures = failures
        self.openings = 0
        self.opener: object = None
        self.closer: object = None

    async def __aenter__(self) -> Self:
        """Wait, and fail as often as told."""
        self.openings += 1
        self.opener = anyio.get_current_task()
        await self.may_open.wait()
        if self.openings <= self.failures:
            raise EngineUnavailableError("not today")
        return await super().__aenter__()

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Remember who closes it."""
        self.closer = anyio.get_current_task()
        await super().__aexit__(exc_type, exc, traceback)


def pool_of(engine: Engine) -> EnginePool:
    """A pool in which every model is served by one engine."""
    return EnginePool(engines_for=lambda _: [engine])


async def test_an_engine_is_opened_once_for_all_who_ask() -> None:
    """Also for those who ask while it opens."""
    watched = WatchedEngine()
    got: list[Engine] = []

    async def ask(pool: EnginePool) -> None:
        got.append(await pool.engine(MODEL))

    async with pool_of(watched) as pool:
        async with anyio.create_task_group() as tasks:
            for _ in range(5):
                tasks.start_soon(ask, pool)
            await anyio.wait_all_tasks_blocked()
            watched.may_open.set()
        assert got == [watched] * 5
        assert watched.openings == 1
        assert watched.is_open
    assert not watched.is_open


async def test_one_task_opens_and_closes() -> None:
    """Neither the one that asks nor the one that closes the pool."""
    watched = WatchedEngine()
    watched.may_open.set()
    async with pool_of(watched) as pool:
        await pool.engine(MODEL)
    assert watched.opener == watched.closer != anyio.get_current_task()


async def test_models_have_engines_of_their_own() -> None:
    """By name."""
    opened: list[ScriptedEngine] = []

    def engines(model: Model) -> Sequence[Engine]:
        del model
        opened.append(ScriptedEngine())
        return opened[-1:]

    async with EnginePool(engines_for=engines) as pool:
        first = await pool.engine(MODEL)
        assert await pool.engine(Model(name="other")) is not first
        assert await pool.engine(MODEL) is first
    assert len(opened) == 2


async def test_an_engine_that_cannot_be_opened() -> None:
    """The error reaches who asked; the next one to ask gets another try."""
    watched = WatchedEngine(failures=1)
    watched.may_open.set()
    async with pool_of(watched) as pool:
        with pytest.raises(EngineUnavailableError, match="not today"):
            await pool.engine(MODEL)
        assert await pool.engine(MODEL) is watched


async def test_who_gives_up_waiting_does_not_stop_the_opening() -> None:
    """Others may wait for the same engine."""
    watched = WatchedEngine()
    async with pool_of(watched) as pool:
        with anyio.move_on_after(0.01) as scope:
            await pool.engine(MODEL)
        assert scope.cancelled_caught
        watched.may_open.set()
        assert await pool.engine(MODEL) is watched
    assert watched.openings == 1


async def test_the_pool_closes_while_an_engine_opens() -> None:
    """The opening ends, and who waits for it is told."""
    watched = WatchedEngine()
    errors: list[Exception] = []

    async def ask(pool: EnginePool) -> None:
        try:
            await pool.engine(MODEL)
        except EngineUnavailableError as error:
            errors.append(error)

    async with anyio.create_task_group() as tasks, pool_of(watched) as pool:
        tasks.start_soon(ask, pool)
        await anyio.wait_all_tasks_blocked()
    assert "closed before it was open" in str(errors[0])


async def test_a_pool_must_be_open() -> None:
    """Before and after."""
    pool = pool_of(ScriptedEngine())
    with pytest.raises(ConfigurationError, match="not open"):
        await pool.engine(MODEL)
    async with pool:
        pass
    with pytest.raises(ConfigurationError, match="not open"):
        await pool.engine(MODEL)


async def test_an_error_of_the_body_passes_unchanged() -> None:
    """The engines are closed all the same."""
    engine = ScriptedEngine()
    with pytest.raises(ValueError, match="mine"):
        async with pool_of(engine) as pool:
            await pool.engine(MODEL)
            raise ValueError("mine")
    assert not engine.is_open


async def test_endpoints_of_one_model_are_a_group() -> None:
    """Each request goes to one of them, under the endpoint's name for the model."""
    async with (
        ScriptedChatServer(record_last=9) as one,
        ScriptedChatServer(record_last=9, api_key="k") as two,
        EnginePool() as pool,
    ):
        endpoints = (
            Endpoint(url=one.base_url),
            Endpoint(url=two.base_url, api_key="k", dialect="openai"),
        )
        model = Model(name="m", endpoints=endpoints, served_name="full-name")
        engine = await pool.engine(model)
        assert isinstance(engine, EngineGroup)
        responder = engine.bind(Instructions())
        answers: list[Answer] = [await responder.answer(f"{i}") for i in range(4)]
        assert [answer.text for answer in answers] == [f"echo: {i}" for i in range(4)]
        seen = [*one.requests, *two.requests]
        assert {request.body["model"] for request in seen} == {"full-name"}
        assert await pool.tokenizer(model) is not None


async def test_hosted_endpoints_have_no_tokenizer() -> None:
    """There is none to ask."""
    endpoint = Endpoint(url="http://127.0.0.1:1/v1", dialect="openai")
    async with EnginePool() as pool:
        assert await pool.tokenizer(Model(name="m", endpoints=(endpoint,))) is None


def test_engines_by_kind() -> None:
    """Chat or embedding; without an endpoint the embedded one."""
    endpoint = Endpoint(url="http://127.0.0.1:1/v1")
    remote = Model(name="m", endpoints=(endpoint,))
    vectors = Model(name="m", endpoints=(endpoint,), kind=ModelKind.EMBEDDING)
    assert isinstance(engines_for(remote)[0], ChatEngine)
    assert isinstance(engines_for(vectors)[0], EmbeddingEngine)
    local = engines_for(Model(name="m", concurrency=3))[0]
    assert isinstance(local, LocalEngine)
    assert local.default_concurrency == 3


def test_alternatives_are_what_every_endpoint_gives() -> None:
    """llama.cpp, embedded or not, gives more than the others."""
    llama = Endpoint(url="http://a/v1", dialect="llama.cpp")
    vllm = Endpoint(url="http://b/v1", dialect="vllm")
    assert alternatives(Model(name="m")) == 100
    assert alternatives(Model(name="m", endpoints=(llama,))) == 100
    assert alternatives(Model(name="m", endpoints=(llama, vllm))) == 20


@pytest.mark.timeout(120)
async def test_an_embedded_engine_that_died_is_replaced() -> None:
    """For who asks next; it need not be started anew by hand."""
    model = Model(name="m", concurrency=1, context_window=256)
    brief = Instructions(sampling=SamplingParams(max_tokens=2))
    async with EnginePool() as pool:
        first = await pool.engine(model)
        assert isinstance(first, LocalEngine)
        assert first.process_id is not None
        os.kill(first.process_id, signal.SIGKILL)
        with pytest.raises(EngineUnavailableError):
            await first.bind(brief).answer("x")
        second = await pool.engine(model)
        assert second is not first
        assert (await second.bind(brief).answer("x")).finish_reason is not None

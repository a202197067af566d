"""The embedded engine with its real runtime and its real model."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from time import monotonic
from typing import cast

import anyio
import pytest
import pytest_asyncio
from anyio.abc import ByteReceiveStream

import sutro_stream
from sutro_stream.engines.local import LocalEngine
from sutro_stream.errors import (
    ConfigurationError,
    EngineUnavailableError,
    InputTooLongError,
)
from sutro_stream.values.instructions import Instructions
from sutro_stream.values.outcomes import Answer
from sutro_stream.values.sampling import SamplingParams
from sutro_stream.values.schema import OutputSchema

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(120)]

PROJECT = Path(sutro_stream.__file__).parents[1]
WINDOW_TOKENS = 8192
SENTIMENT = Instructions(
    system_prompt="You label the sentiment of product reviews.",
    schema=OutputSchema.parse(
        {
            "type": "object",
            "properties": {"label": {"enum": ["positive", "negative"]}},
            "required": ["label"],
            "additionalProperties": False,
        }
    ),
    sampling=SamplingParams(temperature=0),
)
ONE_TOKEN = Instructions(sampling=SamplingParams(max_tokens=1))
# Thousands of tokens: half a minute at the least, on any machine.
ENDLESS = Instructions(sampling=SamplingParams(ignore_eos=True))

ORPHANED = """
import sys
import anyio
from sutro_stream.engines.local import LocalEngine

async def main():
    async with LocalEngine(parallel=1, context_tokens=256) as engine:
        print(engine.process_id, flush=True)
        await anyio.sleep_forever()

anyio.run(main)
"""


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def engine() -> AsyncIterator[LocalEngine]:
    """One open engine with two places, for tests that do not harm it."""
    async with LocalEngine(
        parallel=2, context_tokens=WINDOW_TOKENS, threads=1
    ) as engine:
        yield engine


def small_engine() -> LocalEngine:
    """An engine that starts quickly, for tests that start or harm one."""
    return LocalEngine(parallel=1, context_tokens=256, threads=1)


def process_of(engine: LocalEngine) -> int:
    """The subprocess of an open engine."""
    assert engine.process_id is not None
    return engine.process_id


def exists(process_id: int) -> bool:
    """Whether there is such a process, be it a zombie."""
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    return True


def children() -> set[int]:
    """The process ids of this process's children."""
    tasks = Path("/proc/self/task").glob("*/children")
    return {int(child) for task in tasks for child in task.read_text().split()}


async def end_of(process_id: int) -> None:
    """Wait until some process, related or not, has ended."""
    descriptor = os.pidfd_open(process_id)
    try:
        await anyio.wait_readable(descriptor)
    finally:
        os.close(descriptor)


async def test_structured_answer(engine: LocalEngine) -> None:
    """The model's answer conforms to the schema and says what it cost."""
    answer = await engine.bind(SENTIMENT).answer("I love it, works perfectly.")
    assert SENTIMENT.schema is not None
    value, reason, _ = SENTIMENT.schema.check(answer.text)
    assert (value, reason) == ({"label": "positive"}, None)
    assert answer.finish_reason == "stop"
    assert answer.usage is not None
    assert answer.usage.input_tokens > 0
    assert answer.usage.output_tokens > 0


async def test_answer_names_the_model(engine: LocalEngine) -> None:
    """An answer carries the model's name, not the path of its file."""
    answer = await engine.bind(ONE_TOKEN).answer("Hello")
    assert answer.model == "SmolLM2-135M-Instruct.Q4_1"


async def test_concurrent_answers(engine: LocalEngine) -> None:
    """Requests in flight at the same time each get their own answer."""
    responder = engine.bind(SENTIMENT)
    answers: dict[str, Answer] = {}

    async def ask(review: str) -> None:
        answers[review] = await responder.answer(review)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask, "Wonderful, I am very happy with this product!")
        tasks.start_soon(ask, "Terrible. It broke on the first day.")
    assert [answers[review].finish_reason for review in answers] == ["stop", "stop"]


async def test_equal_seeds_give_equal_text(engine: LocalEngine) -> None:
    """The seed of a row decides its answer while nothing else runs."""
    sampling = SamplingParams(temperature=1.5, max_tokens=12)
    responder = engine.bind(Instructions(sampling=sampling))
    texts = [(await responder.answer("Tell a story", seed=7)).text for _ in range(2)]
    assert texts[0] == texts[1]


async def test_long_prompt(engine: LocalEngine) -> None:
    """A prompt above the window is refused with both sizes and what to set."""
    with pytest.raises(InputTooLongError, match="context_tokens=") as caught:
        await engine.bind(ONE_TOKEN).answer("word " * 9000)
    assert (caught.value.prompt_tokens or 0) > 9000
    assert caught.value.context_tokens == WINDOW_TOKENS


async def test_cancelled_requests_free_their_places(engine: LocalEngine) -> None:
    """Cancelling answers that would go on for long makes room at once."""
    responder = engine.bind(ENDLESS)
    with anyio.move_on_after(1.0):
        async with anyio.create_task_group() as tasks:
            for subject in ("the sea", "the moon"):
                tasks.start_soon(responder.answer, f"Write a book about {subject}.")
    with anyio.fail_after(10):
        answer = await engine.bind(ONE_TOKEN).answer("Hello")
    assert answer.finish_reason == "length"


async def test_process_has_a_session_of_its_own(engine: LocalEngine) -> None:
    """Ctrl-C in the terminal does not reach the server before its parent."""
    assert os.getsid(process_of(engine)) != os.getsid(0)


async def test_opening_twice(engine: LocalEngine) -> None:
    """An open engine cannot be opened again."""
    with pytest.raises(ConfigurationError, match="open already"):
        await engine.__aenter__()


async def test_full_windows_do_not_disturb_each_other() -> None:
    """Each answer may fill its window while its neighbours fill theirs."""
    finished = []
    async with LocalEngine(parallel=3, context_tokens=64, threads=1) as engine:
        responder = engine.bind(ENDLESS)

        async def ask(number: int) -> None:
            answer = await responder.answer(f"Write about {number}.")
            finished.append(answer.finish_reason)

        async with anyio.create_task_group() as tasks:
            for number in range(3):
                tasks.start_soon(ask, number)
    assert finished == ["length"] * 3


async def test_leaving_stops_the_process() -> None:
    """The process is gone, and collected, when the context is left."""
    async with small_engine() as engine:
        process_id = process_of(engine)
        began = monotonic()
    assert monotonic() - began < 20
    assert not exists(process_id)
    assert engine.process_id is None


async def test_leaving_with_an_error_stops_the_process() -> None:
    """An error inside the context stops the process and comes through unchanged."""
    process_id = 0
    with pytest.raises(KeyError):
        async with small_engine() as engine:
            process_id = process_of(engine)
            raise KeyError
    assert not exists(process_id)


async def test_engine_can_be_opened_again() -> None:
    """A closed engine starts a new process when it is opened again."""
    engine = small_engine()
    async with engine:
        first = engine.process_id
    async with engine:
        assert engine.process_id not in {None, first}


async def test_killed_in_the_middle_of_an_answer() -> None:
    """A request whose server dies fails at once, saying what happened."""
    killed_at = 0.0
    async with LocalEngine(
        parallel=2, context_tokens=WINDOW_TOKENS, threads=1
    ) as engine:
        with pytest.raises(BaseExceptionGroup) as caught:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(engine.bind(ENDLESS).answer, "Write a book.")
                # When this one is answered, the one before it is being answered.
                await engine.bind(ONE_TOKEN).answer("Hello")
                os.kill(process_of(engine), signal.SIGKILL)
                killed_at = monotonic()
        assert monotonic() - killed_at < 20
    (error,) = caught.value.exceptions
    assert isinstance(error, EngineUnavailableError)
    assert "in the middle of its work (signal 9" in str(error)


async def test_killed_between_answers() -> None:
    """A death that no request noticed fails the next one, saying what happened."""
    async with small_engine() as engine:
        responder = engine.bind(ONE_TOKEN)
        await responder.answer("Hello")
        os.kill(process_of(engine), signal.SIGKILL)
        with pytest.raises(EngineUnavailableError, match="signal 9"):
            await responder.answer("Hello")


async def test_parent_killed() -> None:
    """The server ends with its parent even when that one is killed."""
    command = [sys.executable, "-c", ORPHANED]
    async with await anyio.open_process(
        command, stdout=subprocess.PIPE, stderr=None, cwd=PROJECT
    ) as parent:
        stdout = cast("ByteReceiveStream", parent.stdout)
        server = int(await stdout.receive())
        parent.kill()
        with anyio.fail_after(2):
            await end_of(server)


async def test_cancelled_start_leaves_no_process() -> None:
    """Cancelling while the process starts stops it."""
    before = children()
    with anyio.move_on_after(0.1) as scope:
        async with small_engine():
            pass
    assert scope.cancelled_caught
    assert children() <= before


async def test_start_timeout() -> None:
    """A server that is not ready in time is stopped, with an error."""
    before = children()
    engine = LocalEngine(parallel=1, context_tokens=256, start_timeout_s=0.05)
    with pytest.raises(EngineUnavailableError, match=r"not start within 0\.05 s"):
        await engine.__aenter__()
    assert children() <= before


async def test_damaged_model(tmp_path: Path) -> None:
    """A file that only begins like a model is refused with llama.cpp's reason."""
    model = tmp_path / "damaged.gguf"
    model.write_bytes(b"GGUF" + bytes(100))
    with pytest.raises(
        EngineUnavailableError, match=r"did not start: .*failed to load"
    ):
        await LocalEngine(model).__aenter__()


async def test_closed_engine() -> None:
    """Nothing can be asked outside the context."""
    with pytest.raises(ConfigurationError, match="async with"):
        LocalEngine().bind(ONE_TOKEN)


@pytest.mark.parametrize("name", ["parallel", "context_tokens", "threads"])
async def test_numbers_below_one(name: str) -> None:
    """A setting that makes no sense is refused before anything starts."""
    with pytest.raises(ConfigurationError, match=name):
        LocalEngine(**{name: 0})  # type: ignore[arg-type]  # one name at a time


async def test_default_concurrency() -> None:
    """A stage that is not told otherwise fills each place once."""
    assert LocalEngine(parallel=3).default_concurrency == 3

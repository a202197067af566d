"""What every engine must do, as a test class to inherit."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import anyio
import pytest

from sutro_stream.engines.engine import Engine
from sutro_stream.errors import ConfigurationError
from sutro_stream.values.instructions import Instructions
from sutro_stream.values.outcomes import Answer

_LIMIT_S = 30.0
_CANCEL_AFTER_S = 0.2


class EngineSuite:
    """Tests of the contract in `engines.engine`; a subclass names an engine.

    Tests are coroutines: run them with pytest-asyncio in automatic mode, or mark
    the subclass for the runner of your choice.

    Attributes:
        instructions: With these, `prompts` are answered soon.
        prompts: At least two, all different.
        endless_instructions: With these, `endless_prompt` is not answered before
            the tests are over.
        endless_prompt: See `endless_instructions`.
        secrets: Texts that the engine was given and must keep to itself: keys,
            passwords, a URL's query.
    """

    instructions: Instructions = Instructions()
    prompts: Sequence[str] = ("one", "two", "three", "four")
    endless_instructions: Instructions = Instructions()
    endless_prompt: str = "endless"
    secrets: Sequence[str] = ()

    def make_engine(self) -> AbstractAsyncContextManager[Engine]:
        """The engine under test, not open.

        Whatever it talks to is there as long as the context lasts.
        """
        raise NotImplementedError

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[Engine]:
        """An open engine, for tests that neither open nor close it.

        Override it where opening takes long, to share one among tests.
        """
        async with self.make_engine() as engine, engine:
            yield engine

    def check_answer(self, prompt: str, answer: Answer) -> None:
        """Assert that this is the answer to that prompt, where it is foreseeable."""

    async def wait_until_idle(self) -> None:
        """Wait until whoever answers works on no request, where that can be seen."""

    async def wait_until_closed(self) -> None:
        """Wait until connections and processes are gone, where that can be seen."""

    async def test_an_engine_must_be_open_to_be_bound(self) -> None:
        """Before, nothing can be asked, and the message gives nothing away."""
        async with self.make_engine() as engine:
            self._refuses_to_bind(engine)

    async def test_the_name_can_be_shown(self) -> None:
        """One line without a secret, whether the engine is open or not."""
        async with self.make_engine() as closed, self.opened() as opened:
            for engine in (closed, opened):
                self._keeps_secrets(engine.name, repr(engine))
                assert engine.name.strip()
                assert engine.name.isprintable()

    async def test_there_is_a_default_concurrency(self) -> None:
        """At least one request in flight, when the user says nothing."""
        async with self.make_engine() as engine:
            assert engine.default_concurrency >= 1

    async def test_an_answer_is_text_with_plausible_counts(self) -> None:
        """Tokens are counted upwards, or not at all."""
        async with self.opened() as engine:
            with anyio.fail_after(_LIMIT_S):
                answer = await engine.bind(self.instructions).answer(self.prompts[0])
        assert isinstance(answer.text, str)
        self.check_answer(self.prompts[0], answer)
        if answer.usage is not None:
            assert answer.usage.input_tokens >= 0
            assert answer.usage.output_tokens >= 0

    async def test_a_row_may_have_a_seed(self) -> None:
        """An engine that cannot use seeds ignores them."""
        async with self.opened() as engine:
            with anyio.fail_after(_LIMIT_S):
                responder = engine.bind(self.instructions)
                answer = await responder.answer(self.prompts[0], seed=2**31 - 1)
        self.check_answer(self.prompts[0], answer)

    async def test_each_of_many_calls_at_once_gets_its_own_answer(self) -> None:
        """Also where they are more than the engine likes to have in flight."""
        async with self.opened() as engine:
            calls = min(2 * engine.default_concurrency, 20)
            prompts = [self.prompts[at % len(self.prompts)] for at in range(calls)]
            answers = await self._ask_at_once(engine, prompts)
        for prompt, answer in zip(prompts, answers, strict=True):
            self.check_answer(prompt, answer)

    async def test_a_slow_answer_holds_up_no_other(self) -> None:
        """Requests of one engine overlap, whoever bound it."""
        async with self.opened() as engine:
            slow, quick = (
                engine.bind(self.endless_instructions),
                engine.bind(self.instructions),
            )
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(slow.answer, self.endless_prompt)
                with anyio.fail_after(_LIMIT_S):
                    for prompt in self.prompts[:2]:
                        self.check_answer(prompt, await quick.answer(prompt))
                tasks.cancel_scope.cancel()

    async def test_a_cancelled_request_ends_and_the_engine_goes_on(self) -> None:
        """The request is dropped at once, and the same responder answers again."""
        async with self.opened() as engine:
            responder = engine.bind(self.instructions)
            endless = engine.bind(self.endless_instructions)
            with anyio.fail_after(_LIMIT_S):
                with anyio.move_on_after(_CANCEL_AFTER_S) as scope:
                    await endless.answer(self.endless_prompt)
                assert scope.cancelled_caught
                await self.wait_until_idle()
                for bound in (responder, engine.bind(self.instructions)):
                    answer = await bound.answer(self.prompts[0])
                    self.check_answer(self.prompts[0], answer)

    async def test_an_engine_can_be_opened_again(self) -> None:
        """Each time `async with` gives the engine itself, ready to answer."""
        async with self.make_engine() as engine:
            for prompt in self.prompts[:2]:
                async with engine as entered:
                    assert entered is engine
                    (answer,) = await self._ask_at_once(engine, [prompt])
                    self.check_answer(prompt, answer)

    async def test_leaving_closes_the_engine(self) -> None:
        """Nothing can be asked afterwards, and nothing is left running."""
        async with self.make_engine() as engine:
            async with engine:
                await self._ask_at_once(engine, self.prompts[:2])
            await self._is_closed(engine)

    async def test_an_error_inside_closes_the_engine(self) -> None:
        """The error passes unchanged."""
        error = RuntimeError("inside")
        async with self.make_engine() as engine:
            with pytest.raises(RuntimeError) as caught:
                async with engine:
                    raise error
            assert caught.value is error
            await self._is_closed(engine)

    async def test_cancelling_inside_closes_the_engine(self) -> None:
        """A request in flight does not keep it open."""
        async with self.make_engine() as engine:
            with anyio.move_on_after(_LIMIT_S) as scope:
                async with engine:
                    responder = engine.bind(self.endless_instructions)
                    scope.deadline = anyio.current_time() + _CANCEL_AFTER_S
                    await responder.answer(self.endless_prompt)
            assert scope.cancelled_caught
            await self._is_closed(engine)

    async def _is_closed(self, engine: Engine) -> None:
        self._refuses_to_bind(engine)
        with anyio.fail_after(_LIMIT_S):
            await self.wait_until_closed()

    def _refuses_to_bind(self, engine: Engine) -> None:
        with pytest.raises(ConfigurationError) as caught:
            engine.bind(self.instructions)
        self._keeps_secrets(str(caught.value))

    def _keeps_secrets(self, *shown: str) -> None:
        for text in shown:
            assert not [secret for secret in self.secrets if secret in text]

    async def _ask_at_once(
        self, engine: Engine, prompts: Sequence[str]
    ) -> Sequence[Answer]:
        responder = engine.bind(self.instructions)
        answers: dict[int, Answer] = {}

        async def ask(at: int) -> None:
            answers[at] = await responder.answer(prompts[at])

        with anyio.fail_after(_LIMIT_S):
            async with anyio.create_task_group() as tasks:
                for at in range(len(prompts)):
                    tasks.start_soon(ask, at)
        return [answers[at] for at in range(len(prompts))]

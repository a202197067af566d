"""Prompts cut to fit, in front of a model whose tokens are words."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from sutro_stream.engines.engine import Responder
from sutro_stream.engines.tokenizer import Tokenizer
from sutro_stream.engines.truncation import truncating
from sutro_stream.errors import (
    EngineError,
    InputTooLongError,
    NotFoundError,
    RateLimitedError,
    TransportError,
)
from sutro_stream.testing import ScriptedEngine, ScriptedReply
from sutro_stream.values.instructions import Instructions
from sutro_stream.values.sampling import SamplingParams

WINDOW = 100
TEMPLATE = 5
ROOM = 20


@dataclass
class WordModel:
    """What a prompt costs, and what the endpoint says of one that is too long.

    Attributes:
        says_lengths: Whether its refusals hold numbers.
        sent: Prompts in the order in which they came.
    """

    says_lengths: bool = True
    sent: list[str] = field(default_factory=list)

    def __call__(self, prompt: str, attempt: int) -> ScriptedReply:
        """Its script."""
        del attempt
        self.sent.append(prompt)
        tokens = len(prompt.split()) + TEMPLATE
        if tokens <= WINDOW:
            return ScriptedReply(text=f"{tokens}")
        lengths = (tokens, WINDOW) if self.says_lengths else (None, None)
        return ScriptedReply(
            error=InputTooLongError(
                "too long", prompt_tokens=lengths[0], context_tokens=lengths[1]
            )
        )


@dataclass
class WordTokenizer:
    """Its tokenizer.

    Attributes:
        error: Raised instead of an answer, `None` to answer.
        asked: Questions so far.
    """

    error: EngineError | None = None
    asked: int = 0

    async def count(self, text: str) -> int:
        """Words."""
        self.ask()
        return len(text.split())

    async def cut(self, text: str, tokens: int) -> str:
        """The first words."""
        self.ask()
        words = text.split()
        return text if len(words) <= tokens else " ".join(words[:tokens])

    async def overhead(self, system_prompt: str | None) -> int:
        """Words of the system prompt, and the template."""
        self.ask()
        return TEMPLATE + len((system_prompt or "").split())

    def ask(self) -> None:
        """Note a question."""
        self.asked += 1
        if self.error is not None:
            raise self.error


def words(count: int) -> str:
    """So many."""
    return " ".join(["word"] * count)


async def bound(
    model: WordModel,
    tokenizer: Tokenizer | None,
    *,
    window: int | None = WINDOW,
    instructions: Instructions | None = None,
) -> Responder:
    """A responder in front of the model that cuts."""
    engine = truncating(
        ScriptedEngine(model),
        tokenizer=tokenizer,
        context_window=window,
        answer_room=ROOM,
    )
    await engine.__aenter__()
    return engine.bind(instructions or Instructions())


async def test_a_long_prompt_is_cut_to_the_token() -> None:
    """Template and answer keep their room, and the answer says that it was cut."""
    model = WordModel()
    answer = await (await bound(model, WordTokenizer())).answer(words(1000))
    assert model.sent == [words(WINDOW - TEMPLATE - ROOM)]
    assert answer.truncated_input
    assert answer.requests == 1


async def test_the_system_prompt_keeps_its_room() -> None:
    """It is never cut."""
    model = WordModel()
    instructions = Instructions(system_prompt=words(10))
    responder = await bound(model, WordTokenizer(), instructions=instructions)
    await responder.answer(words(1000))
    assert model.sent == [words(WINDOW - TEMPLATE - 10 - ROOM)]


async def test_max_tokens_are_the_answers_room() -> None:
    """Where the user says so."""
    model = WordModel()
    instructions = Instructions(sampling=SamplingParams(max_tokens=40))
    responder = await bound(model, WordTokenizer(), instructions=instructions)
    await responder.answer(words(1000))
    assert model.sent == [words(WINDOW - TEMPLATE - 40)]


async def test_an_answer_gets_three_quarters_at_most() -> None:
    """Something of the prompt is always sent."""
    model = WordModel()
    instructions = Instructions(sampling=SamplingParams(max_tokens=4096))
    responder = await bound(model, WordTokenizer(), instructions=instructions)
    await responder.answer(words(1000))
    assert model.sent == [words(25 - TEMPLATE)]


async def test_a_prompt_that_fits_is_unchanged() -> None:
    """Counting it is enough."""
    model, prompt = WordModel(), words(WINDOW - TEMPLATE - ROOM)
    answer = await (await bound(model, WordTokenizer())).answer(prompt)
    assert model.sent == [prompt]
    assert not answer.truncated_input


async def test_prompts_that_surely_fit_are_not_counted() -> None:
    """No token is shorter than a byte."""
    tokenizer = WordTokenizer()
    responder = await bound(WordModel(), tokenizer, window=4096)
    for _ in range(100):
        await responder.answer("a" * 900 + "é" * 900)
    assert tokenizer.asked == 0


async def test_the_overhead_is_asked_for_once() -> None:
    """It is the same for all rows."""
    tokenizer = WordTokenizer()
    responder = await bound(WordModel(), tokenizer)
    for _ in range(10):
        await responder.answer(words(1000))
    assert tokenizer.asked == 1 + 10


async def test_without_room_for_the_prompt_the_row_is_refused() -> None:
    """A system prompt that fills the window is not cured by cutting rows."""

    def refuse(prompt: str, attempt: int) -> ScriptedReply:
        del prompt, attempt
        error = InputTooLongError("x", prompt_tokens=2000, context_tokens=WINDOW)
        return ScriptedReply(error=error)

    instructions = Instructions(system_prompt=words(2000))
    engine = truncating(
        ScriptedEngine(refuse),
        tokenizer=WordTokenizer(),
        context_window=WINDOW,
        answer_room=ROOM,
    )
    async with engine:
        with pytest.raises(InputTooLongError):
            await engine.bind(instructions).answer(words(50))


@pytest.mark.parametrize("window", [None, 10_000])
async def test_what_the_endpoint_reports_corrects_the_window(
    window: int | None,
) -> None:
    """Unknown or wrong, one refusal tells, and the tokenizer cuts to the token."""
    model = WordModel()
    responder = await bound(model, WordTokenizer(), window=window)
    answer = await responder.answer(words(1000))
    assert model.sent[1:] == [words(WINDOW - TEMPLATE - ROOM)]
    assert answer.requests == 2
    assert answer.truncated_input


async def test_without_a_tokenizer_reports_are_enough() -> None:
    """Text that is dense at its end only is not cut far too short."""
    model = WordModel()
    answer = await (await bound(model, None)).answer(
        "longer-words " * 200 + "a " * 20_000
    )
    assert int(answer.text) == pytest.approx(WINDOW - ROOM, abs=5)
    assert answer.requests == len(model.sent) < 8
    assert answer.truncated_input


async def test_refusals_without_numbers() -> None:
    """The prompt gets shorter until it fits."""
    model = WordModel(says_lengths=False)
    answer = await (await bound(model, None)).answer(words(1000))
    assert WINDOW // 2 < int(answer.text) <= WINDOW
    assert answer.requests == len(model.sent)


async def test_a_prompt_that_never_fits_keeps_its_error() -> None:
    """With all requests that were sent for it."""

    def refuse(prompt: str, attempt: int) -> ScriptedReply:
        del prompt, attempt
        return ScriptedReply(error=InputTooLongError("too long"))

    engine = truncating(
        ScriptedEngine(refuse), tokenizer=None, context_window=None, answer_room=ROOM
    )
    async with engine:
        with pytest.raises(InputTooLongError) as caught:
            await engine.bind(Instructions()).answer(words(100_000))
    assert 1 < caught.value.requests < 30


async def test_other_errors_pass() -> None:
    """They are not about length."""

    def fail(prompt: str, attempt: int) -> ScriptedReply:
        del prompt, attempt
        return ScriptedReply(error=RateLimitedError("slow down", status=429))

    engine = truncating(
        ScriptedEngine(fail), tokenizer=None, context_window=None, answer_room=ROOM
    )
    async with engine:
        with pytest.raises(RateLimitedError) as caught:
            await engine.bind(Instructions()).answer("x")
    assert caught.value.requests == 1


async def test_a_missing_tokenizer_is_asked_once() -> None:
    """An endpoint without the route will not get it; its reports are used."""
    tokenizer = WordTokenizer(error=NotFoundError("none", status=404))
    responder = await bound(WordModel(), tokenizer)
    for _ in range(5):
        assert (await responder.answer(words(1000))).truncated_input
    assert tokenizer.asked == 1


async def test_a_tokenizer_in_trouble_is_asked_again() -> None:
    """The row at hand is cut by reports, later ones to the token."""
    tokenizer, model = WordTokenizer(error=TransportError("broken")), WordModel()
    responder = await bound(model, tokenizer)
    assert (await responder.answer(words(1000))).truncated_input
    tokenizer.error = None
    await responder.answer(words(1000))
    assert model.sent[-1] == words(WINDOW - TEMPLATE - ROOM)

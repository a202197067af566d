"""What the embedded model can besides answering: count, cut, score, embed."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from sutro_stream.engines.confidence import (
    MORE_ALTERNATIVES,
    confidence,
    cumulative_logprob,
    scoring,
)
from sutro_stream.engines.local import LocalEngine
from sutro_stream.engines.truncation import truncating
from sutro_stream.errors import InputTooLongError
from sutro_stream.values.instructions import Instructions
from sutro_stream.values.sampling import SamplingParams
from sutro_stream.values.schema import OutputSchema

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(120)]

WINDOW = 256
LABEL = OutputSchema.parse(
    {
        "type": "object",
        "properties": {"label": {"enum": ["positive", "negative"]}},
        "required": ["label"],
    }
)


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def engine() -> AsyncIterator[LocalEngine]:
    """One for all tests, as opening takes a second."""
    async with LocalEngine(parallel=2, context_tokens=WINDOW, threads=1) as opened:
        yield opened


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def vectors() -> AsyncIterator[LocalEngine]:
    """One that embeds."""
    async with LocalEngine(
        parallel=2, context_tokens=WINDOW, threads=1, embedding=True
    ) as opened:
        yield opened


async def test_cut_to_the_token(engine: LocalEngine) -> None:
    """At every length, and never within a character."""
    tokenizer = engine.tokenizer()
    assert tokenizer is not None
    text = "Hello wörld 漢字 😀 \N{REPLACEMENT CHARACTER}!"
    lengths = []
    for tokens in range(await tokenizer.count(text) + 1):
        cut = await tokenizer.cut(text, tokens)
        assert text.startswith(cut)
        assert await tokenizer.count(cut) <= tokens
        lengths.append(len(cut))
    assert lengths == sorted(lengths)
    assert lengths[-1] == len(text)


async def test_overhead_is_what_usage_says(engine: LocalEngine) -> None:
    """Prompt and overhead are the tokens of the request."""
    tokenizer = engine.tokenizer()
    assert tokenizer is not None
    brief = Instructions(
        system_prompt="Be brief.", sampling=SamplingParams(max_tokens=1)
    )
    answer = await engine.bind(brief).answer("One two three.")
    assert answer.usage is not None
    assert answer.usage.input_tokens == (
        await tokenizer.count("One two three.") + await tokenizer.overhead("Be brief.")
    )


async def test_a_prompt_is_cut_to_the_window(engine: LocalEngine) -> None:
    """To the token, with room for the answer."""
    brief = Instructions(sampling=SamplingParams(max_tokens=6))
    cutting = truncating(
        engine, tokenizer=engine.tokenizer(), context_window=WINDOW, answer_room=0
    )
    answer = await cutting.bind(brief).answer("schöne " * 5000)
    assert answer.truncated_input
    assert answer.requests == 1
    assert answer.usage is not None
    assert WINDOW - 6 - 2 <= answer.usage.input_tokens <= WINDOW - 6


async def test_reports_alone_are_enough(engine: LocalEngine) -> None:
    """Without a tokenizer, a few refusals do."""
    brief = Instructions(sampling=SamplingParams(max_tokens=6))
    cutting = truncating(engine, tokenizer=None, context_window=None, answer_room=0)
    answer = await cutting.bind(brief).answer("schöne " * 5000)
    assert answer.truncated_input
    assert answer.usage is not None
    assert WINDOW // 2 < answer.usage.input_tokens < WINDOW


async def test_confidence_of_a_label(engine: LocalEngine) -> None:
    """Of both labels together it is one, whichever is written."""
    instructions = Instructions(
        system_prompt="Is the review positive or negative? Answer as JSON: label.",
        schema=LABEL,
        sampling=SamplingParams(temperature=0, max_tokens=40),
    )
    scorer = scoring(engine, "label", alternatives=MORE_ALTERNATIVES)
    answer = await scorer.bind(instructions).answer("I love it, works great!")
    score = confidence(answer, "label", LABEL)
    assert score is not None
    assert 0.5 <= score <= 1.0
    total = cumulative_logprob(answer)
    assert total is not None
    assert total < 0


async def test_vectors_are_numbers(vectors: LocalEngine) -> None:
    """All of the same length, and counted."""
    responder = vectors.bind(Instructions())
    one, two = await responder.answer("red"), await responder.answer("a blue house")
    assert len(json.loads(one.text)) == len(json.loads(two.text)) > 100
    assert one.usage is not None
    assert one.usage.output_tokens == 0 < one.usage.input_tokens


async def test_a_text_too_long_to_embed(vectors: LocalEngine) -> None:
    """It is the row's error, and can be cut like a prompt."""
    with pytest.raises(InputTooLongError) as caught:
        await vectors.bind(Instructions()).answer("word " * 500)
    assert caught.value.context_tokens == WINDOW
    cutting = truncating(
        vectors, tokenizer=vectors.tokenizer(), context_window=WINDOW, answer_room=0
    )
    answer = await cutting.bind(Instructions()).answer("word " * 500)
    assert answer.usage is not None
    assert answer.usage.input_tokens == WINDOW

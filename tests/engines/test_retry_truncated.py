"""A second request, with more room, for answers that were cut off."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

import sutro_stream as ss
from sutro_stream.testing import ChatRequest, Reply, ScriptedChatServer
from sutro_stream.values.outcomes import ErrorKind

SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "properties": {"label": {"type": "string"}},
    "required": ["label"],
}
WHOLE = '{"label": "good and long"}'
ENOUGH_TOKENS = 50


def short_of_room(request: ChatRequest) -> Reply:
    """Cuts the answers to "long" off where less than enough room is given."""
    given = request.body.get("max_tokens", 10)
    if request.prompt == "long" and given < ENOUGH_TOKENS:
        return Reply(text=WHOLE[:12], finish_reason="length")
    if request.prompt == "error" and given < ENOUGH_TOKENS:
        return Reply(text=WHOLE[:12], finish_reason="length")
    if request.prompt == "error" and request.attempt == 2:
        return Reply(status=500)
    return Reply(text=WHOLE)


async def outcomes(
    server: ScriptedChatServer, *texts: str, **options: Any
) -> list[ss.Outcome]:
    """What becomes of these prompts."""
    async with ss.ChatEngine(server.base_url, "m") as engine:
        pipeline = (
            ss.from_rows(texts)
            | ss.prompts(json_schema=SCHEMA, sampling_params={"max_tokens": 10})
            | ss.infer(engine, **options)
        )
        async with pipeline.open() as results:
            found = [result.outcome async for result in results]
            paid = sum(outcome.attempts for outcome in found)
            assert paid == server.statistics().requests
            return found


async def test_a_truncated_answer_is_asked_again_with_more_room() -> None:
    """Only that one; both requests and their tokens are counted."""
    async with ScriptedChatServer(short_of_room, record_last=9) as server:
        short, long = await outcomes(
            server, "short", "long", concurrency=1, retry_truncated=ENOUGH_TOKENS
        )
        room = [request.body["max_tokens"] for request in server.requests]
    assert room == [10, 10, ENOUGH_TOKENS]
    assert short.value == long.value == {"label": "good and long"}
    assert (short.attempts, long.attempts) == (1, 2)
    assert short.answer is not None
    assert long.answer is not None
    assert short.answer.usage is not None
    assert long.answer.usage is not None
    assert long.answer.usage.input_tokens == 2 * short.answer.usage.input_tokens


async def test_nothing_is_asked_again_unless_allowed() -> None:
    """The row fails with the reason, after one request."""
    async with ScriptedChatServer(short_of_room) as server:
        (outcome,) = await outcomes(server, "long")
    assert outcome.error is not None
    assert (outcome.error.kind, outcome.attempts) == (ErrorKind.TRUNCATED, 1)


async def test_more_room_that_is_not_enough_is_the_end() -> None:
    """No third request."""
    async with ScriptedChatServer(short_of_room) as server:
        (outcome,) = await outcomes(server, "long", retry_truncated=20)
    assert outcome.error is not None
    assert (outcome.error.kind, outcome.attempts) == (ErrorKind.TRUNCATED, 2)


async def test_a_failing_second_request_is_retried_like_any() -> None:
    """The policy decides, and every request is counted."""
    async with ScriptedChatServer(short_of_room) as server:
        (outcome,) = await outcomes(
            server,
            "error",
            retry_truncated=ENOUGH_TOKENS,
            retry=ss.RetryPolicy(first_delay_s=0.0),
        )
    assert (outcome.error, outcome.attempts) == (None, 4)


def test_room_is_a_number_of_tokens() -> None:
    """At least one."""
    with pytest.raises(ss.ConfigurationError, match="retry_truncated"):
        ss.infer(ss.ChatEngine("http://localhost:9/v1", "m"), retry_truncated=0)

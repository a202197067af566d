"""The scripted chat server as a client sees it, when nothing goes wrong."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import anyio
import jsonschema_rs
import orjson
import pytest

from sutro_stream.testing import Reply, ScriptedChatServer, always, constant


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    """A client session without a limit on connections."""
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:
        yield session


def chat_body(prompt: str = "good morning") -> dict[str, Any]:
    """A chat request body with one system and one user message."""
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": prompt},
    ]
    return {"model": "any", "messages": messages}


async def ask(
    session: aiohttp.ClientSession,
    server: ScriptedChatServer,
    prompt: str = "good morning",
    **fields: object,
) -> tuple[int, Any]:
    """Send one chat request and return status and parsed answer."""
    url = f"{server.base_url}/chat/completions"
    async with session.post(url, json=chat_body(prompt) | fields) as response:
        return response.status, orjson.loads(await response.read())


async def stream_events(
    session: aiohttp.ClientSession, server: ScriptedChatServer, **fields: object
) -> list[Any]:
    """Send one streaming chat request and return its events before the last."""
    url = f"{server.base_url}/chat/completions"
    async with session.post(
        url, json=chat_body() | {"stream": True} | fields
    ) as response:
        assert response.content_type == "text/event-stream"
        raw = await response.read()
    *events, done, rest = raw.decode().split("\n\n")
    assert (done, rest) == ("data: [DONE]", "")
    return [orjson.loads(event.removeprefix("data: ")) for event in events]


async def test_echoes_the_prompt(session: aiohttp.ClientSession) -> None:
    """Without a script, the answer is the last user message."""
    async with ScriptedChatServer() as server:
        status, answer = await ask(session, server, "one two three")
    assert status == 200
    assert answer["object"] == "chat.completion"
    assert answer["model"] == "any"
    assert answer["choices"][0]["message"]["content"] == "echo: one two three"
    assert answer["choices"][0]["finish_reason"] == "stop"


async def test_usage_counts_words(session: aiohttp.ClientSession) -> None:
    """A token is a word, of all messages and of the answer."""
    async with ScriptedChatServer() as server:
        _, answer = await ask(session, server, "one two three")
    usage = {"prompt_tokens": 5, "completion_tokens": 4, "total_tokens": 9}
    assert answer["usage"] == usage


async def test_streams_the_answer_word_by_word(session: aiohttp.ClientSession) -> None:
    """The deltas of a stream join to the answer, and the last names the reason."""
    script = constant("a  b\nc é", finish_reason="length")
    async with ScriptedChatServer(script) as server:
        events = await stream_events(session, server)
    choices = [event["choices"][0] for event in events]
    text = "".join(choice["delta"].get("content", "") for choice in choices)
    assert text == "a  b\nc é"
    assert [choice["finish_reason"] for choice in choices][-2:] == [None, "length"]
    assert all(event["object"] == "chat.completion.chunk" for event in events)


async def test_streams_usage_on_request(session: aiohttp.ClientSession) -> None:
    """With include_usage, one more event carries usage and no choice."""
    async with ScriptedChatServer(constant("yes sir")) as server:
        options = {"include_usage": True}
        events = await stream_events(session, server, stream_options=options)
    assert events[-1]["choices"] == []
    assert events[-1]["usage"]["completion_tokens"] == 2


async def test_gives_logprobs_on_request(session: aiohttp.ClientSession) -> None:
    """Each word gets a log probability and as many alternatives as asked for."""
    async with ScriptedChatServer(constant("yes sir")) as server:
        _, answer = await ask(session, server, logprobs=True, top_logprobs=2)
    content = answer["choices"][0]["logprobs"]["content"]
    assert [entry["token"] for entry in content] == ["yes", " sir"]
    assert all(entry["logprob"] < 0 for entry in content)
    assert all(len(entry["top_logprobs"]) == 2 for entry in content)


async def test_streams_the_same_logprobs(session: aiohttp.ClientSession) -> None:
    """A stream carries the log probabilities of the plain answer."""
    async with ScriptedChatServer(constant("yes sir")) as server:
        _, answer = await ask(session, server, logprobs=True, top_logprobs=1)
        events = await stream_events(session, server, logprobs=True, top_logprobs=1)
    streamed = [
        entry
        for event in events
        for entry in (event["choices"][0].get("logprobs") or {}).get("content", [])
    ]
    assert streamed == answer["choices"][0]["logprobs"]["content"]


async def test_satisfies_a_json_schema(session: aiohttp.ClientSession) -> None:
    """Asked for a schema and given no text, it answers with a valid instance."""
    schema = {
        "type": "object",
        "properties": {"label": {"enum": ["good", "bad"]}, "why": {"type": "string"}},
        "required": ["label", "why"],
    }
    wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    async with ScriptedChatServer() as server:
        _, answer = await ask(session, server, response_format=wanted)
    text = answer["choices"][0]["message"]["content"]
    jsonschema_rs.validate(schema, orjson.loads(text))


async def test_scripted_text_goes_before_the_schema(
    session: aiohttp.ClientSession,
) -> None:
    """A script may break the schema on purpose."""
    holder = {"name": "x", "schema": {"type": "object"}}
    wanted = {"type": "json_schema", "json_schema": holder}
    async with ScriptedChatServer(constant("no JSON")) as server:
        _, answer = await ask(session, server, response_format=wanted)
    assert answer["choices"][0]["message"]["content"] == "no JSON"


async def test_refuses_a_bad_schema(session: aiohttp.ClientSession) -> None:
    """A schema that cannot be understood is a bad request, as at real engines."""
    holder = {"name": "x", "schema": {"$ref": "#/$defs/absent"}}
    wanted = {"type": "json_schema", "json_schema": holder}
    async with ScriptedChatServer() as server:
        status, answer = await ask(session, server, response_format=wanted)
    assert status == 400
    assert "absent" in answer["error"]["message"]


@pytest.mark.parametrize(
    "raw",
    [b"", b"{", b"[]", b"{}", b'{"model":"m"}', b'{"model":"m","messages":[1]}'],
)
async def test_refuses_what_is_no_chat_request(
    session: aiohttp.ClientSession, raw: bytes
) -> None:
    """A malformed body is a bad request in OpenAI's error shape."""
    async with ScriptedChatServer() as server:
        url = f"{server.base_url}/chat/completions"
        async with session.post(url, data=raw) as response:
            answer = orjson.loads(await response.read())
    assert response.status == 400
    assert answer["error"]["type"] == "invalid_request_error"


async def test_refuses_a_wrong_key(session: aiohttp.ClientSession) -> None:
    """With a key set, requests without it get 401 and are counted."""
    async with ScriptedChatServer(api_key="right") as server:
        status, answer = await ask(session, server)
        seen = server.statistics()
    assert status == 401
    assert answer["error"]["code"] == "invalid_api_key"
    assert seen.by_status == {401: 1}


async def test_accepts_the_right_key(session: aiohttp.ClientSession) -> None:
    """With a key set, requests that carry it are answered."""
    session.headers["Authorization"] = "Bearer right"
    async with ScriptedChatServer(api_key="right") as server:
        status, _ = await ask(session, server)
    assert status == 200


async def test_lists_models(session: aiohttp.ClientSession) -> None:
    """GET /v1/models names the models given."""
    async with (
        ScriptedChatServer(models=["small", "large"]) as server,
        session.get(f"{server.base_url}/models") as response,
    ):
        listed = orjson.loads(await response.read())
    assert [model["id"] for model in listed["data"]] == ["small", "large"]


async def test_is_healthy(session: aiohttp.ClientSession) -> None:
    """GET /health answers 200 and is not counted as a chat request."""
    async with ScriptedChatServer() as server:
        root = server.base_url.removesuffix("/v1")
        async with session.get(f"{root}/health?verbose=1") as response:
            assert response.status == 200
        assert server.statistics().requests == 0


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/nowhere", 404), ("GET", "/v1/chat/completions", 405)],
)
async def test_refuses_other_routes(
    session: aiohttp.ClientSession, method: str, path: str, status: int
) -> None:
    """Unknown paths and methods get an error in OpenAI's shape."""
    async with ScriptedChatServer() as server:
        url = server.base_url.removesuffix("/v1") + path
        async with session.request(method, url) as response:
            answer = orjson.loads(await response.read())
    assert response.status == status
    assert "error" in answer


async def test_joins_content_parts(session: aiohttp.ClientSession) -> None:
    """A message may come as a list of parts."""
    parts = [{"type": "text", "text": "one "}, {"type": "text", "text": "two"}]
    async with ScriptedChatServer() as server:
        _, answer = await ask(
            session, server, messages=[{"role": "user", "content": parts}]
        )
    assert answer["choices"][0]["message"]["content"] == "echo: one two"


async def test_takes_a_very_long_prompt(session: aiohttp.ClientSession) -> None:
    """A prompt of several megabytes arrives and comes back whole."""
    prompt = "long " * 1_000_000
    async with ScriptedChatServer() as server:
        url = f"{server.base_url}/chat/completions"
        data = io.BytesIO(orjson.dumps(chat_body(prompt)))
        async with session.post(url, data=data) as response:
            answer = orjson.loads(await response.read())
    assert answer["choices"][0]["message"]["content"] == f"echo: {prompt}"


async def test_sends_errors_as_scripted(session: aiohttp.ClientSession) -> None:
    """A reply's status, message, code and headers reach the client."""
    reply = Reply(
        status=429,
        message="Slow down.",
        code="too_fast",
        retry_after=1.5,
        headers={"X-Request-Id": "r1"},
    )
    async with ScriptedChatServer(always(reply)) as server:
        url = f"{server.base_url}/chat/completions"
        async with session.post(url, json=chat_body()) as response:
            answer = orjson.loads(await response.read())
    assert response.status == 429
    assert response.headers["Retry-After"] == "1.5"
    assert response.headers["X-Request-Id"] == "r1"
    assert answer["error"] == {
        "message": "Slow down.",
        "type": "rate_limit_error",
        "param": None,
        "code": "too_fast",
    }


async def test_sends_retry_after_text_as_it_is(session: aiohttp.ClientSession) -> None:
    """Retry-After may be a date, or nonsense."""
    reply = Reply(status=503, retry_after="soon")
    async with ScriptedChatServer(always(reply)) as server:
        url = f"{server.base_url}/chat/completions"
        async with session.post(url, json=chat_body()) as response:
            assert response.headers["Retry-After"] == "soon"


async def test_peak_is_the_number_in_flight(session: aiohttp.ClientSession) -> None:
    """The peak equals the requests really held at once, and not one more."""
    gate = anyio.Event()
    async with (
        ScriptedChatServer(always(Reply(after=gate))) as server,
        anyio.create_task_group() as tasks,
    ):
        for number in range(100):
            tasks.start_soon(ask, session, server, f"prompt {number}")
        seen = await server.wait_until(lambda seen: seen.in_flight == 100)
        assert seen.answered == 0
        gate.set()
    seen = server.statistics()
    assert (seen.peak_in_flight, seen.in_flight, seen.answered) == (100, 0, 100)


async def test_workers_never_exceed_their_number(
    session: aiohttp.ClientSession,
) -> None:
    """A client that sends on at once after each answer does not inflate the peak."""

    async def work(server: ScriptedChatServer) -> None:
        for number in range(50):
            await ask(session, server, f"prompt {number}", stream=False)

    async with ScriptedChatServer() as server:
        async with anyio.create_task_group() as tasks:
            for _ in range(8):
                tasks.start_soon(work, server)
        seen = server.statistics()
    assert seen.requests == seen.answered == 400
    assert 1 <= seen.peak_in_flight <= 8


async def test_counts_connections(session: aiohttp.ClientSession) -> None:
    """Kept-alive connections are counted once, and out when the client closes."""
    async with ScriptedChatServer() as server:
        for _ in range(3):
            await ask(session, server)
        assert server.statistics().connections_opened == 1
        assert server.statistics().connections_open == 1
        await session.close()
        seen = await server.wait_until(lambda seen: seen.connections_open == 0)
    assert seen.connections_opened == 1


async def test_statistics_are_served_over_http(session: aiohttp.ClientSession) -> None:
    """GET /statistics shows the counts, and POST /statistics/reset clears them."""
    async with ScriptedChatServer() as server:
        await ask(session, server)
        root = server.base_url.removesuffix("/v1")
        async with session.get(f"{root}/statistics") as response:
            shown = orjson.loads(await response.read())
        async with session.post(f"{root}/statistics/reset") as response:
            cleared = orjson.loads(await response.read())
    assert (shown["requests"], shown["by_status"]) == (1, {"200": 1})
    assert (cleared["requests"], cleared["by_status"]) == (0, {})


async def test_records_the_newest_requests(session: aiohttp.ClientSession) -> None:
    """With recording on, the newest requests can be looked at."""
    async with ScriptedChatServer(record_last=2) as server:
        for prompt in ("one", "two", "three"):
            await ask(session, server, prompt, temperature=0.5)
    assert [request.prompt for request in server.requests] == ["two", "three"]
    newest = server.requests[-1]
    assert newest.sequence == 2
    assert newest.system_prompt == "Be brief."
    assert newest.body["temperature"] == 0.5
    assert newest.headers["content-type"] == "application/json"


async def test_records_nothing_by_default(session: aiohttp.ClientSession) -> None:
    """Requests are not kept unless asked for."""
    async with ScriptedChatServer() as server:
        await ask(session, server)
    assert server.requests == ()


async def test_a_failing_script_is_a_server_error(
    session: aiohttp.ClientSession, caplog: pytest.LogCaptureFixture
) -> None:
    """An exception in a script is logged and answered with 500."""

    def script(_request: object) -> Reply | None:
        message = "bug in the script"
        raise RuntimeError(message)

    async with ScriptedChatServer(script) as server:
        url = f"{server.base_url}/chat/completions"
        async with session.post(url, json=chat_body()) as response:
            assert response.status == 500
    assert server.statistics().by_status == {500: 1}
    assert "bug in the script" in caplog.text


async def test_stops_while_requests_wait(session: aiohttp.ClientSession) -> None:
    """Leaving the block ends requests that are still waiting, at once."""

    async def expect_the_end(server: ScriptedChatServer) -> None:
        with pytest.raises(aiohttp.ClientConnectionError):
            await ask(session, server)

    async with anyio.create_task_group() as tasks:
        with anyio.fail_after(2):
            async with ScriptedChatServer(always(Reply(latency_s=60))) as server:
                tasks.start_soon(expect_the_end, server)
                await server.wait_until(lambda seen: seen.in_flight == 1)
    seen = server.statistics()
    assert (seen.in_flight, seen.disconnected, seen.connections_open) == (0, 1, 0)

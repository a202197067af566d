"""The chat engine against a scripted endpoint."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import anyio
import pytest

from sutro_stream.engines.chat import ChatEngine
from sutro_stream.engines.embeddings import EmbeddingEngine
from sutro_stream.errors import (
    AuthenticationError,
    BadReplyError,
    ConfigurationError,
    EngineError,
    EngineUnavailableError,
    InputTooLongError,
    NotFoundError,
    ProtocolError,
    QuotaError,
    RateLimitedError,
    ServiceError,
    TransportError,
)
from sutro_stream.testing import (
    ChatRequest,
    Cut,
    GarbageBody,
    Hang,
    HugeBody,
    Reply,
    ScriptedChatServer,
    SlowBody,
    always,
)
from sutro_stream.values.instructions import Instructions
from sutro_stream.values.outcomes import Answer
from sutro_stream.values.sampling import SamplingParams
from sutro_stream.values.schema import OutputSchema

SCHEMA = {
    "type": "object",
    "properties": {"label": {"enum": ["yes", "no"]}},
    "required": ["label"],
}
Ask = Callable[..., Any]


async def ask(
    server: ScriptedChatServer,
    prompt: str = "one two",
    *,
    instructions: Instructions | None = None,
    seed: int | None = None,
    **arguments: Any,
) -> Answer:
    """One answer from a fresh engine."""
    async with ChatEngine(server.base_url, "m", **arguments) as engine:
        responder = engine.bind(instructions or Instructions())
        return await responder.answer(prompt, seed=seed)


async def sent(instructions: Instructions, **arguments: Any) -> ChatRequest:
    """The request that the endpoint sees."""
    async with ScriptedChatServer(record_last=1) as server:
        await ask(server, instructions=instructions, **arguments)
        return server.requests[0]


async def error_of(
    reply: Reply, prompt: str = "one two", **arguments: Any
) -> EngineError:
    """What the engine makes of a reply."""
    async with ScriptedChatServer(always(reply)) as server:
        with pytest.raises(EngineError) as caught:
            await ask(server, prompt, **arguments)
    return caught.value


@pytest.mark.parametrize("stream", [False, True])
async def test_an_answer_comes_with_usage_model_and_finish_reason(stream: bool) -> None:
    """Streamed replies say the same as whole ones."""
    async with ScriptedChatServer() as server:
        answer = await ask(server, stream=stream)
    assert answer.text == "echo: one two"
    assert answer.finish_reason == "stop"
    assert answer.model == "m"
    assert answer.usage is not None
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == (2, 3)


@pytest.mark.parametrize("stream", [False, True])
async def test_logprobs_are_given_when_asked_for(stream: bool) -> None:
    """One entry for each token, with alternatives."""
    sampling = SamplingParams(logprobs=2)
    async with ScriptedChatServer() as server:
        answer = await ask(
            server, instructions=Instructions(sampling=sampling), stream=stream
        )
    assert answer.logprobs is not None
    assert len(answer.logprobs) == 3
    assert all(entry.logprob <= 0 for entry in answer.logprobs)


async def test_the_request_carries_the_instructions() -> None:
    """System prompt first, then the prompt unchanged, then the parameters."""
    instructions = Instructions(
        system_prompt='Be "brief".\n',
        schema=OutputSchema.parse(SCHEMA),
        sampling=SamplingParams(temperature=0, max_tokens=7, top_k=5, stop=["END"]),
    )
    request = await sent(instructions, prompt='{{ x }} "quoted" \u2028 émoji 🎉\x00')
    body = dict(request.body)
    assert body.pop("messages") == [
        {"role": "system", "content": 'Be "brief".\n'},
        {"role": "user", "content": '{{ x }} "quoted" \u2028 émoji 🎉\x00'},
    ]
    response_format = body.pop("response_format")
    assert response_format["json_schema"]["schema"] == SCHEMA
    assert body == {
        "model": "m",
        "temperature": 0,
        "max_tokens": 7,
        "top_k": 5,
        "stop": ["END"],
    }


async def test_without_instructions_the_request_is_the_prompt_alone() -> None:
    """Nothing is sent that nobody asked for."""
    request = await sent(Instructions())
    assert request.body == {
        "model": "m",
        "messages": [{"role": "user", "content": "one two"}],
    }


async def test_a_rows_seed_is_sent() -> None:
    """Each call may bring a seed of its own."""
    assert (await sent(Instructions(), seed=41)).body["seed"] == 41


async def test_the_engines_model_wins_over_the_functions() -> None:
    """Explicit at the endpoint beats declared in the Function."""
    assert (await sent(Instructions(model="declared"))).body["model"] == "m"


async def test_key_and_headers_are_sent_and_extra_fields_passed_on() -> None:
    """Everything an endpoint may want beside the chat."""
    async with ScriptedChatServer(record_last=1, api_key="k-1") as server:
        await ask(
            server,
            api_key="k-1",
            headers={"X-Team": "blue"},
            extra_body={"chat_template_kwargs": {"enable_thinking": False}},
        )
        request = server.requests[0]
    assert request.headers["X-Team"] == "blue"
    assert request.body["chat_template_kwargs"] == {"enable_thinking": False}


@pytest.mark.parametrize(
    ("dialect", "params", "fields"),
    [
        ("vllm", {"repetition_penalty": 1.1}, {"repetition_penalty": 1.1}),
        ("llama.cpp", {"repetition_penalty": 1.1}, {"repeat_penalty": 1.1}),
        ("openai", {"presence_penalty": 1.0}, {"presence_penalty": 1.0}),
        ("openai", {"logprobs": 0}, {"logprobs": True}),
        ("llama.cpp", {"logprobs": 0}, {"logprobs": True, "top_logprobs": 1}),
        ("vllm", {"logprobs": 3}, {"logprobs": True, "top_logprobs": 3}),
    ],
)
async def test_parameters_take_the_names_of_the_dialect(
    dialect: str, params: Mapping[str, Any], fields: Mapping[str, Any]
) -> None:
    """The same parameter, under the name that the endpoint knows."""
    sampling = SamplingParams.parse(params)
    request = await sent(Instructions(sampling=sampling), dialect=dialect)
    assert {name: request.body[name] for name in fields} == fields


@pytest.mark.parametrize(
    ("dialect", "params", "name"),
    [
        ("openai", {"top_k": 5}, "top_k"),
        ("llama.cpp", {"min_tokens": 5}, "min_tokens"),
        ("vllm", {"n": 2}, "n"),
    ],
)
async def test_a_parameter_the_dialect_lacks_is_refused_before_sending(
    dialect: Any, params: Mapping[str, Any], name: str
) -> None:
    """The message names the parameter."""
    instructions = Instructions(sampling=SamplingParams.parse(params))
    async with (
        ScriptedChatServer() as server,
        ChatEngine(server.base_url, dialect=dialect) as engine,
    ):
        with pytest.raises(ConfigurationError, match=name):
            engine.bind(instructions)
        assert server.statistics().requests == 0


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (400, None, ServiceError),
        (400, "context_length_exceeded", InputTooLongError),
        (401, None, AuthenticationError),
        (402, None, QuotaError),
        (403, None, AuthenticationError),
        (404, None, NotFoundError),
        (422, None, ServiceError),
        (429, None, RateLimitedError),
        (429, "insufficient_quota", QuotaError),
        (500, None, ServiceError),
        (503, None, ServiceError),
    ],
)
async def test_statuses_become_errors_that_say_what_to_do(
    status: int, code: str | None, expected: type[EngineError]
) -> None:
    """Mapped once, by status and by the endpoint's own code."""
    error = await error_of(Reply(status=status, code=code))
    assert type(error) is expected


@pytest.mark.parametrize("status", [401, 404, 500])
async def test_error_bodies_that_are_not_json_are_survived(status: int) -> None:
    """A proxy's HTML page is an error like any other."""
    error = await error_of(Reply(status=status, fault=GarbageBody()))
    assert isinstance(error, ServiceError)
    assert error.status == status


@pytest.mark.parametrize(
    ("header", "expected"), [(2.5, 2.5), ("7", 7.0), ("soon", None), ("-3", 0.0)]
)
async def test_retry_after_is_read_in_seconds(
    header: float | str, expected: float | None
) -> None:
    """Numbers are taken, nonsense is left out."""
    error = await error_of(Reply(status=429, retry_after=header))
    assert isinstance(error, ServiceError)
    assert error.retry_after_s == expected


async def test_retry_after_may_be_a_date() -> None:
    """A date in the past means now."""
    error = await error_of(
        Reply(status=503, retry_after="Wed, 21 Oct 2015 07:28:00 GMT")
    )
    assert isinstance(error, ServiceError)
    assert error.retry_after_s == 0.0


async def test_messages_never_hold_the_prompt_or_the_key() -> None:
    """An endpoint that quotes the request is not quoted."""
    prompt = "the patient's name is Ada Lovelace"
    quoting = Reply(status=400, message=f"cannot process: {prompt}")
    error = await error_of(quoting, prompt, api_key="k-secret")
    assert "Ada" not in str(error)
    refused = Reply(status=401, message="Incorrect API key provided: k-secret")
    assert "k-secret" not in str(await error_of(refused, api_key="k-secret"))


async def test_an_endpoints_reason_is_passed_on() -> None:
    """What it says about a request helps to mend the request."""
    error = await error_of(Reply(status=400, message="temperature must be below 2"))
    assert "temperature must be below 2" in str(error)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("at", ["before_headers", "after_headers", "mid_body"])
async def test_a_cut_connection_may_be_tried_again(at: Any, stream: bool) -> None:
    """At whatever point of the reply it happens."""
    error = await error_of(Reply(fault=Cut(at=at)), stream=stream)
    assert isinstance(error, TransportError)
    assert error.connected


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "body",
    [
        b"<html></html>",
        b"{}",
        b"[]",
        b'{"choices": []}',
        b'{"choices": [{"message": {"content": 5}}]}',
        b'{"choices": [{"message": null}]}',
        b"",
        b'data: {"choices": [{"delta": {"content": "half"}}]}\n\n',
        b"data: not json\n\n",
    ],
)
async def test_a_reply_without_sense_is_not_an_answer(
    body: bytes, stream: bool
) -> None:
    """A 200 alone proves nothing."""
    error = await error_of(Reply(fault=GarbageBody(body=body)), stream=stream)
    assert isinstance(error, BadReplyError)
    assert error.status == 502


async def test_an_error_inside_a_stream_is_an_error() -> None:
    """Servers that fail after the headers say so in an event."""
    body = b'data: {"error": {"code": 500, "message": "slot died"}}\n\n'
    error = await error_of(Reply(fault=GarbageBody(body=body)), stream=True)
    assert isinstance(error, ServiceError)
    assert "slot died" in str(error)


@pytest.mark.parametrize("stream", [False, True])
async def test_slow_and_padded_bodies_are_read_to_their_end(stream: bool) -> None:
    """Split anywhere, also inside characters and events."""
    for fault in (
        SlowBody(duration_s=0.05, pieces=23),
        HugeBody(padding_bytes=1 << 20),
    ):
        reply = Reply(text="żółć 🎉 " * 20, fault=fault)
        async with ScriptedChatServer(always(reply)) as server:
            answer = await ask(server, stream=stream)
        assert answer.text == reply.text


async def test_a_reply_beyond_the_limit_is_refused() -> None:
    """An endless body cannot fill the memory."""
    error = await error_of(Reply(fault=HugeBody(padding_bytes=70 << 20)))
    assert isinstance(error, ProtocolError)
    assert "larger than the limit" in str(error)


async def test_a_prompt_of_several_megabytes_is_sent_whole() -> None:
    """Large bodies go out in pieces, without a warning."""
    prompt = "long " * 600_000
    async with ScriptedChatServer(always(Reply(text="ok")), record_last=1) as server:
        await ask(server, prompt)
        assert server.requests[0].prompt == prompt


async def test_connections_are_kept_and_used_again() -> None:
    """As many as requests at once, not as many as requests."""
    async with ScriptedChatServer() as server:
        async with ChatEngine(server.base_url, "m") as engine:
            responder = engine.bind(Instructions())

            async def several() -> None:
                for _ in range(10):
                    await responder.answer("hi")

            async with anyio.create_task_group() as tasks:
                for _ in range(4):
                    tasks.start_soon(several)
        assert server.statistics().requests == 40
        assert server.statistics().connections_opened <= 4


async def test_leaving_closes_every_connection() -> None:
    """Nothing stays open behind the context."""
    async with ScriptedChatServer() as server:
        await ask(server)
        await server.wait_until(lambda seen: seen.connections_open == 0)


@pytest.mark.parametrize("stream", [False, True])
async def test_cancelling_drops_the_request(stream: bool) -> None:
    """The endpoint sees the connection close."""
    async with ScriptedChatServer(always(Reply(fault=Hang()))) as server:
        async with (
            ChatEngine(server.base_url, "m", stream=stream) as engine,
            anyio.create_task_group() as tasks,
        ):
            tasks.start_soon(engine.bind(Instructions()).answer, "hi")
            await server.wait_until(lambda seen: seen.in_flight == 1)
            tasks.cancel_scope.cancel()
        await server.wait_until(lambda seen: seen.in_flight == 0)


async def test_nobody_at_the_address_is_told_apart(unused_tcp_port: int) -> None:
    """A refused connection is not a broken one."""
    async with ChatEngine(f"http://127.0.0.1:{unused_tcp_port}/v1") as engine:
        with pytest.raises(TransportError, match="refused") as caught:
            await engine.bind(Instructions()).answer("hi")
    assert not caught.value.connected


@pytest.mark.parametrize("address", ["", "127.0.0.1:8000", "ftp://host/v1", "http://"])
def test_an_address_must_be_a_url(address: str) -> None:
    """Told before anything is opened."""
    with pytest.raises(ConfigurationError, match="http://"):
        ChatEngine(address)


def test_a_user_in_the_address_and_a_key_are_one_too_many() -> None:
    """Both would be sent in the same header."""
    with pytest.raises(ConfigurationError, match="use one of them"):
        ChatEngine("http://user:pw@127.0.0.1:9/v1", api_key="k-1")


async def test_an_engine_that_is_not_open_cannot_be_used() -> None:
    """The message shows how to open it."""
    engine = ChatEngine("http://127.0.0.1:9/v1")
    with pytest.raises(ConfigurationError, match="async with"):
        engine.bind(Instructions())


async def test_a_closed_engine_says_so() -> None:
    """A responder that outlives its engine fails with a reason."""
    async with ScriptedChatServer() as server:
        async with ChatEngine(server.base_url, "m") as engine:
            responder = engine.bind(Instructions())
        with pytest.raises(EngineUnavailableError, match="closed"):
            await responder.answer("hi")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("X-Team", "blue\r\nX-Other: red"),
        ("X-Team", "blue\x00"),
        ("X Team", "blue"),
        ("", "blue"),
        ("Content-Length", "5"),
        ("transfer-encoding", "chunked"),
    ],
)
def test_a_header_that_cannot_be_sent_is_refused(name: str, value: str) -> None:
    """By its name: the value may be a key."""
    with pytest.raises(ConfigurationError, match="header") as caught:
        ChatEngine("http://host/v1", headers={name: value})
    assert "blue" not in str(caught.value)


@pytest.mark.parametrize("kind", [ChatEngine, EmbeddingEngine])
def test_a_transport_has_one_of_two_names(
    kind: type[ChatEngine | EmbeddingEngine],
) -> None:
    """The message tells them."""
    unknown: Any = "slow"
    with pytest.raises(ConfigurationError, match="fast, aiohttp"):
        kind("http://host/v1", transport=unknown)


def test_secrets_do_not_show() -> None:
    """Neither key, nor user, nor query of the address."""
    named = ChatEngine("https://user:pw@host/v1?key=q-secret")
    keyed = ChatEngine("https://host/v1", api_key="k-secret")
    shown = f"{named!r} {named.name} {keyed!r} {keyed.name}"
    assert "secret" not in shown
    assert "pw" not in shown

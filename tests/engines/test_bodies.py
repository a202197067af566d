"""The bodies of chat requests, byte by byte."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from aiohttp import web

from sutro_stream.engines.chat import ChatEngine
from sutro_stream.engines.embeddings import EmbeddingEngine
from sutro_stream.errors import ConfigurationError, EngineError
from sutro_stream.testing import Reply, ScriptedChatServer, always
from sutro_stream.values.instructions import (
    Example,
    Instructions,
    PromptForm,
    ResponseFormat,
)
from sutro_stream.values.sampling import SamplingParams
from sutro_stream.values.schema import OutputSchema

SCHEMA = {"type": "object", "properties": {"label": {"enum": ["yes", "no"]}}}


async def error_of(
    message: str, instructions: Instructions, prompt: str
) -> EngineError:
    """What the engine makes of a refusal in these words."""
    refusal = always(Reply(status=400, message=message))
    async with (
        ScriptedChatServer(refusal) as server,
        ChatEngine(server.base_url, "m") as engine,
    ):
        with pytest.raises(EngineError) as caught:
            await engine.bind(instructions).answer(prompt)
    return caught.value


async def sent_bytes(
    instructions: Instructions, prompt: str, **arguments: Any
) -> bytes:
    """The body that the endpoint receives, byte by byte."""
    received: list[bytes] = []

    async def handle(request: web.Request) -> web.Response:
        received.append(await request.read())
        message = {"role": "assistant", "content": "ok"}
        return web.json_response({"choices": [{"message": message}]})

    app = web.Application()
    app.router.add_post("/v1/chat/completions", handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        address = f"http://127.0.0.1:{site.port}/v1"
        async with ChatEngine(address, "m", **arguments) as engine:
            await engine.bind(instructions).answer(prompt)
    finally:
        await runner.cleanup()
    return received[0]


EXAMPLES = (Example(prompt="1+1", answer="2"), Example(prompt="2+2", answer="4"))


async def test_examples_stand_between_system_prompt_and_prompt() -> None:
    """As what was said before, by user and model in turn."""
    instructions = Instructions(system_prompt="Count.", examples=EXAMPLES)
    assert await sent_bytes(instructions, "3+3") == (
        b'{"model":"m","messages":[{"role":"system","content":"Count."},'
        b'{"role":"user","content":"1+1"},{"role":"assistant","content":"2"},'
        b'{"role":"user","content":"2+2"},{"role":"assistant","content":"4"},'
        b'{"role":"user","content":"3+3"}]}'
    )


async def test_content_is_sent_as_the_json_it_is() -> None:
    """Spaces, escapes and the order of keys included."""
    instructions = Instructions(
        form=PromptForm.CONTENT, sampling=SamplingParams(temperature=0)
    )
    parts = '[ {"type": "text", "text": "caf\\u00e9 é"} ]'
    assert await sent_bytes(instructions, parts) == (
        b'{"model":"m","messages":[{"role":"user","content":'
        + parts.encode()
        + b'}],"temperature":0}'
    )


async def test_messages_are_sent_as_the_json_they_are() -> None:
    """Behind the system prompt and the examples, with nothing around them."""
    messages = '{"role": "user", "content": "a"}, {"content":"b","role":"assistant"}'
    alone = Instructions(form=PromptForm.MESSAGES)
    assert await sent_bytes(alone, f"[{messages}]") == (
        b'{"model":"m","messages":[' + messages.encode() + b"]}"
    )
    behind = Instructions(
        form=PromptForm.MESSAGES, system_prompt="s", examples=EXAMPLES[:1]
    )
    assert await sent_bytes(behind, f" [{messages}]\n", stream=True) == (
        b'{"model":"m","messages":[{"role":"system","content":"s"},'
        b'{"role":"user","content":"1+1"},{"role":"assistant","content":"2"},'
        + messages.encode()
        + b'],"stream":true,"stream_options":{"include_usage":true}}'
    )


@pytest.mark.parametrize(
    ("response_format", "strict", "told"),
    [
        (
            "json_schema",
            False,
            {
                "type": "json_schema",
                "json_schema": {"name": "output", "schema": SCHEMA, "strict": False},
            },
        ),
        ("json_object", True, {"type": "json_object"}),
        ("none", True, None),
    ],
)
async def test_the_endpoint_is_told_of_the_schema_as_it_can_take_it(
    response_format: ResponseFormat, strict: bool, told: Any
) -> None:
    """In full, that it is JSON, or not at all."""
    instructions = Instructions(
        schema=OutputSchema.parse(SCHEMA),
        response_format=response_format,
        strict=strict,
    )
    body = json.loads(await sent_bytes(instructions, "x"))
    assert body.get("response_format") == told
    free = replace(instructions, schema=None)
    assert "response_format" not in json.loads(await sent_bytes(free, "x"))


@pytest.mark.parametrize(
    "quoted", ['Ärger mit "Müller" & Söhnen\n und mehr', "Rosebud"]
)
async def test_an_error_that_quotes_a_message_is_not_shown(quoted: str) -> None:
    """Its contents are the row's, in whatever way JSON writes them."""
    message = [
        {"role": "user", "content": quoted},
        {"role": "user", "content": "x" * 99},
    ]
    prompt = json.dumps(message)
    instructions = Instructions(form=PromptForm.MESSAGES)
    error = await error_of(f"cannot parse {quoted} of user", instructions, prompt)
    for word in quoted.split():
        assert word not in str(error)
    error = await error_of("a message of role user is bad", instructions, prompt)
    assert "role user is bad" in str(error)


@pytest.mark.parametrize(
    "instructions",
    [Instructions(examples=EXAMPLES), Instructions(form=PromptForm.MESSAGES)],
)
async def test_an_embedding_model_takes_texts_alone(instructions: Instructions) -> None:
    """What it would embed otherwise is JSON."""
    async with EmbeddingEngine("http://127.0.0.1:9/v1") as engine:
        with pytest.raises(ConfigurationError, match="takes no"):
            engine.bind(instructions)

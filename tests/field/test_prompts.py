"""Prompts that people have: conversations, images, examples."""

from __future__ import annotations

import base64
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import anyio
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import sutro_stream as ss
from sutro_stream.testing import ScriptedChatServer

TALK = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": 'What is "ß"?\n'},
    {"role": "assistant", "content": "A letter."},
    {"role": "user", "content": "Whose?"},
]
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAA"
    "AABJRU5ErkJggg=="
)
# A Python with the package `openai`, to compare with what its client sends.
OPENAI_PYTHON = os.environ.get("SUTRO_STREAM_TEST_OPENAI", "")
OPENAI_PROGRAM = """
import base64, json, sys
from openai import OpenAI
address, body = sys.argv[1:]
client = OpenAI(base_url=address, api_key="sk-none", max_retries=0)
client.chat.completions.create(**json.loads(body))
"""
MOOD: dict[str, Any] = {
    "name": "mood",
    "inputs": [{"name": "text"}],
    "prompt_template": "Review: {{ text }}",
    "output_schema": {
        "type": "object",
        "properties": {"mood": {"enum": ["good", "bad"]}},
        "required": ["mood"],
        "additionalProperties": False,
    },
    "examples": [
        {"inputs": {"text": "I love it"}, "output": {"mood": "good"}},
        {"inputs": {"text": "It broke"}, "output": {"mood": "bad"}},
    ],
    "sampling_params": {"temperature": 0, "max_tokens": 40},
}


def bodies(server: ScriptedChatServer) -> list[Any]:
    """What was asked, in the order of arrival."""
    return [request.body for request in server.requests]


async def ran(*arguments: str | Path) -> None:
    """The command, to its end."""
    command = [sys.executable, "-m", "sutro_stream", "run", "--model", "m"]
    command += map(str, arguments)
    done = await anyio.run_process(command, check=False)
    assert done.returncode == 0, done.stderr.decode()


@pytest.mark.parametrize("as_json", [True, False], ids=["json", "structs"])
async def test_a_column_of_messages_is_a_conversation(
    tmp_path: Path, *, as_json: bool
) -> None:
    """It used to be sent as one message that holds JSON, without a word."""
    values = [json.dumps(TALK) if as_json else TALK] * 2
    pq.write_table(pa.table({"talk": values}), tmp_path / "in.parquet")
    async with ScriptedChatServer(record_last=8) as server:
        await ran(
            *(tmp_path / "in.parquet", "--messages", "talk", "-o", tmp_path / "o.csv"),
            *("--engine", server.base_url, "--system-prompt", "You know letters."),
        )
        system = {"role": "system", "content": "You know letters."}
        assert [body["messages"] for body in bodies(server)] == [[system, *TALK]] * 2


async def test_a_row_that_is_no_conversation_fails_alone(tmp_path: Path) -> None:
    """Before it is sent; its words say what was expected."""
    texts = [json.dumps(TALK), "Hello", "[]"]
    pq.write_table(pa.table({"talk": texts}), tmp_path / "in.parquet")
    async with ScriptedChatServer(record_last=8) as server:
        await ran(
            *(
                tmp_path / "in.parquet",
                "--messages",
                "talk",
                "-o",
                tmp_path / "o.jsonl",
            ),
            *("--engine", server.base_url),
        )
        assert len(bodies(server)) == 1
    rows = list(map(orjson.loads, (tmp_path / "o.jsonl").read_bytes().splitlines()))
    assert rows[0]["error"] is None
    assert "list of messages with role and content" in rows[1]["error"]
    assert "is a list of no messages" in rows[2]["error"]


async def test_an_image_is_shown_behind_the_text(tmp_path: Path) -> None:
    """An address as it is, a file with its bytes."""
    (tmp_path / "a.png").write_bytes(PNG)
    photos = ["https://pictures.example/b.png", str(tmp_path / "a.png")]
    table = pa.table({"note": ["One?", "Two?"], "photo": photos})
    pq.write_table(table, tmp_path / "in.parquet")
    async with ScriptedChatServer(record_last=8) as server:
        await ran(
            *(tmp_path / "in.parquet", "--column", "note", "--image", "photo"),
            *("-o", tmp_path / "o.csv", "--engine", server.base_url),
        )
        contents = {
            body["messages"][0]["content"][0]["text"]: body["messages"][0]["content"][1]
            for body in bodies(server)
        }
    assert contents == {"One?": part(photos[0]), "Two?": part(address(PNG))}


async def test_an_image_that_has_gone_since_is_its_rows_failure(tmp_path: Path) -> None:
    """Files are read when their requests are sent."""
    path = tmp_path / "a.png"
    path.write_bytes(PNG)

    async def rows() -> Any:
        yield {"note": "One?", "photo": str(path)}

    async with (
        ScriptedChatServer(record_last=8) as server,
        ss.ChatEngine(server.base_url) as engine,
    ):
        prompts = ss.from_rows(rows()) | ss.prompts("note", images=["photo"])
        async with prompts.open() as made:
            first = await anext(aiter(made))
        assert first.text is not None
        path.unlink()
        again = ss.from_rows([{"note": "One?", "photo": str(path)}])
        pipeline = again | ss.prompts("note", images=["photo"]) | ss.infer(engine)
        async with pipeline.open() as results:
            [result] = [result async for result in results]
        assert str(result.error).endswith("names a file that is not there")
        assert not server.requests


@pytest.mark.long
@pytest.mark.skipif(not OPENAI_PYTHON, reason="SUTRO_STREAM_TEST_OPENAI is not set")
async def test_an_image_is_sent_as_the_client_of_openai_sends_it() -> None:
    """The whole body, as JSON."""
    wanted = {
        "model": "sees",
        "messages": [
            {"role": "system", "content": "Look."},
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "What is it?"},
                    part(address(PNG)),
                ],
            },
        ],
        "temperature": 0.5,
        "max_tokens": 20,
    }
    async with (
        ScriptedChatServer(record_last=8) as server,
        ss.ChatEngine(server.base_url, "sees") as engine,
    ):
        command = [OPENAI_PYTHON, "-c", OPENAI_PROGRAM, server.base_url]
        await anyio.run_process([*command, json.dumps(wanted)])
        prompts = ss.prompts(
            "note",
            images=["photo"],
            system_prompt="Look.",
            sampling_params={"temperature": 0.5, "max_tokens": 20},
        )
        rows = ss.from_rows([{"note": "What is it?", "photo": PNG}])
        async with (rows | prompts | ss.infer(engine)).open() as results:
            assert [result.error async for result in results] == [None]
        theirs, ours = bodies(server)
    assert ours == theirs


async def test_a_functions_examples_stand_before_its_rows(tmp_path: Path) -> None:
    """As messages that were answered."""
    (tmp_path / "mood.json").write_text(json.dumps(MOOD))
    (tmp_path / "in.csv").write_text("text\nFine\n")
    async with ScriptedChatServer(record_last=8) as server:
        await ran(
            *(tmp_path / "in.csv", "--function", tmp_path / "mood.json"),
            *("-o", tmp_path / "o.csv", "--engine", server.base_url, "--quiet"),
        )
        [body] = bodies(server)
    assert [(one["role"], one["content"]) for one in body["messages"]] == [
        ("user", "Review: I love it"),
        ("assistant", '{"mood": "good"}'),
        ("user", "Review: It broke"),
        ("assistant", '{"mood": "bad"}'),
        ("user", "Review: Fine"),
    ]


@pytest.mark.timeout(120)
async def test_the_embedded_engine_takes_conversations_and_examples() -> None:
    """The model reads all messages, and keeps to the schema."""
    mood = ss.Function.validate(MOOD)
    talk = [
        {"role": "user", "content": "My name is Ada."},
        {"role": "assistant", "content": "Hello Ada."},
        {"role": "user", "content": "Say my name."},
    ]
    async with ss.LocalEngine(parallel=1, context_tokens=1024) as engine:
        spoken = ss.messages("talk", sampling_params={"max_tokens": 8})
        answers = await outputs(ss.from_rows([{"talk": talk}]) | spoken, engine)
        assert isinstance(answers[0], str)
        assert answers[0]
        texts = [{"text": "I love it so much"}, {"text": "It broke at once"}]
        moods = await outputs(ss.from_rows(texts) | ss.render(mood), engine)
        assert all(answer["mood"] in {"good", "bad"} for answer in moods)


async def outputs(prompts: Any, engine: Any) -> Sequence[Any]:
    """What is answered."""
    async with (prompts | ss.infer(engine)).open() as results:
        return [result.output async for result in results]


def part(url: str) -> dict[str, Any]:
    """An image's part of a message."""
    return {"type": "image_url", "image_url": {"url": url}}


def address(data: bytes) -> str:
    """An address that holds a PNG."""
    return f"data:image/png;base64,{base64.b64encode(data).decode()}"


async def test_prompts_that_a_deployment_cannot_take_are_refused_before_sending() -> (
    None
):
    """Its prompts are texts."""
    deployment = ss.Deployment("http://127.0.0.1:9", "key")
    rows = ss.from_rows([{"talk": TALK}])
    with pytest.raises(ss.ConfigurationError, match="takes prompts that are texts"):
        async with (rows | ss.messages("talk") | ss.submit(deployment)).open():
            pass


async def test_a_deployment_publishes_no_function_with_images(tmp_path: Path) -> None:
    """Batch Functions are of text, as the API has them."""
    function = {"name": "see", "inputs": [{"name": "photo", "type": "image"}]}
    (tmp_path / "see.json").write_text(json.dumps(function))
    command = [sys.executable, "-m", "sutro_stream", "functions", "publish"]
    command += [str(tmp_path / "see.json"), "--account", "ada"]
    done = await anyio.run_process(
        [*command, "--data-dir", str(tmp_path / "data")], check=False
    )
    assert done.returncode == 2
    assert b"take no images" in done.stderr

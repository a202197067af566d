"""Replies of success: which of them are answers, and what is read of them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import orjson
import pytest

import sutro_stream as ss
from sutro_stream.cli.summary import MEANINGS, summary
from sutro_stream.errors import ProtocolError
from sutro_stream.jobs.result_form import JobResults, ResultColumns
from sutro_stream.jobs.tally import Tally
from sutro_stream.pipeline.file_pipeline import FilePipeline
from sutro_stream.pipeline.validation import validate
from sutro_stream.sinks.files import FileSink
from sutro_stream.testing import (
    ChatRequest,
    GarbageBody,
    Reply,
    ScriptedChatServer,
    ScriptedEngine,
    ScriptedReply,
    always,
)
from sutro_stream.values.instructions import Instructions
from sutro_stream.values.outcomes import Answer, ErrorKind, Usage
from sutro_stream.values.schema import OutputSchema
from sutro_stream.wire.openai.completions import parse_completion, parse_events
from sutro_stream.wire.openai.embeddings import parse_embedding

SCHEMA = OutputSchema.parse({"type": "object"})


def completion(message: Any = None, **fields: Any) -> bytes:
    """The body of a reply."""
    choice = {"message": message or {"content": "Hi"}, "finish_reason": "stop"}
    return orjson.dumps({"model": "m", "choices": [choice], **fields})


def chunk(delta: Any = None, **choice: Any) -> bytes:
    """The data of an event."""
    return orjson.dumps({"choices": [{"delta": delta or {}, **choice}]})


def _usage(read: int, written: int) -> Usage:
    return Usage(input_tokens=read, output_tokens=written)


# What counts as an answer.


@pytest.mark.parametrize("schema", [None, SCHEMA])
@pytest.mark.parametrize(
    ("reason", "text", "kind"),
    [
        ("error", "half", ErrorKind.PROVIDER_ERROR),
        ("abort", "half", ErrorKind.PROVIDER_ERROR),
        ("MALFORMED_FUNCTION_CALL", "", ErrorKind.PROVIDER_ERROR),
        ("content_filter", "half", ErrorKind.FILTERED),
        ("SAFETY", "", ErrorKind.FILTERED),
        ("RECITATION", "half", ErrorKind.FILTERED),
        ("PROHIBITED_CONTENT", "", ErrorKind.FILTERED),
        ("blocklist", "", ErrorKind.FILTERED),
        ("SPII", "", ErrorKind.FILTERED),
        ("refusal", "half", ErrorKind.FILTERED),
        ("content_filter: RECITATION", "", ErrorKind.FILTERED),
        ("stop", "", ErrorKind.NO_ANSWER),
        ("stop", " \n", ErrorKind.NO_ANSWER),
        (None, "", ErrorKind.NO_ANSWER),
        ("tool_calls", "", ErrorKind.NO_ANSWER),
        ("length", "", ErrorKind.TRUNCATED),
        ("MAX_TOKENS", "", ErrorKind.TRUNCATED),
    ],
)
def test_an_answer_is_one_by_its_finish_reason_and_content(
    reason: str | None, text: str, kind: ErrorKind, schema: OutputSchema | None
) -> None:
    """With a schema and without; the text is kept."""
    outcome = validate(Answer(text=text, finish_reason=reason), schema, attempts=1)
    assert outcome.error is not None
    assert outcome.error.kind is kind
    assert outcome.answer is not None
    assert outcome.answer.text == text


@pytest.mark.parametrize(
    "reason", ["stop", "length", "eos", "end_turn", "tool_calls", "STOP", "odd", None]
)
def test_a_text_is_an_answer(reason: str | None) -> None:
    """Whatever else it ended with."""
    outcome = validate(Answer(text="Hi", finish_reason=reason), None, attempts=1)
    assert outcome.error is None
    assert outcome.is_cut == (reason == "length")


def test_every_kind_has_a_meaning() -> None:
    """A summary can tell of each."""
    assert set(MEANINGS) == set(ErrorKind)


async def test_rows_without_an_answer_fail_once(tmp_path: Path) -> None:
    """They are the row's: never asked again, and no trouble of the endpoint."""
    bodies = {
        "provider_error": completion(
            choices=[{"message": {"content": "x"}, "finish_reason": "error"}]
        ),
        "filtered": completion(
            choices=[{"message": {"content": None}, "finish_reason": "SAFETY"}]
        ),
        "no_answer": completion({"content": None, "tool_calls": [{"id": "1"}]}),
    }

    def script(request: ChatRequest) -> Reply:
        return Reply(fault=GarbageBody(body=bodies[request.prompt.split()[0]]))

    rows = [{"text": f"{name} {n}"} for n in range(20) for name in bodies]
    async with (
        ScriptedChatServer(script) as server,
        ss.ChatEngine(server.base_url, "m") as engine,
    ):
        pipeline = ss.from_rows(rows) | ss.prompts("text") | ss.infer(engine)
        report = await (pipeline | ss.write_parquet(tmp_path / "o.parquet")).run()
        assert server.statistics().requests == 60
    assert report.failures == dict.fromkeys(map(ErrorKind, bodies), 20)


# Answers that were cut.


def cutting(prompt: str, _: int) -> ScriptedReply:
    """Every second answer is cut."""
    is_cut = int(prompt.split()[1]) % 2 == 0
    return ScriptedReply(text="text", finish_reason="length" if is_cut else "stop")


async def test_cut_answers_are_counted_and_told(tmp_path: Path) -> None:
    """They stay answers; so do those that a ledger has kept."""
    rows = [{"text": f"row {n}"} for n in range(20)]
    async with ScriptedEngine(cutting) as engine:
        pipeline = ss.from_rows(rows) | ss.prompts("text") | ss.infer(engine)
        run = pipeline | ss.write_parquet(tmp_path / "o.parquet")
        report = await run.run(keep_ledger=True)
        assert (report.rows_answered, report.rows_cut) == (20, 10)
        assert "--max-tokens" in summary(report)
        again = await run.run()
        assert engine.calls.total() == 20
        assert (again.rows_kept, again.rows_cut) == (20, 10)


async def test_a_job_counts_its_cut_answers(tmp_path: Path) -> None:
    """For the note that it ends with."""
    rows = [{"text": f"row {n}"} for n in range(20)]
    tallies: list[Tally] = []

    def form(shape: Any) -> Tally:
        tallies.append(Tally(JobResults(shape, ResultColumns())))
        return tallies[-1]

    async with ScriptedEngine(cutting) as engine:
        pipeline = ss.from_rows(rows) | ss.prompts("text") | ss.infer(engine)
        sink = FileSink(tmp_path / "results.parquet")
        await FilePipeline(pipeline.prepare, sink, form).run()
    assert tallies[-1].cut == 10


def test_an_answer_that_met_its_schema_is_whole() -> None:
    """Its brackets are closed, so nothing can be missing."""
    answer = Answer(text='{"a": 1}', finish_reason="length")
    outcome = validate(answer, SCHEMA, attempts=1)
    assert outcome.error is None
    assert not outcome.is_cut


# Usage.


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({"prompt_tokens": "12", "completion_tokens": 3.0}, _usage(12, 3)),
        ({"prompt_tokens": -1, "completion_tokens": 3}, _usage(0, 3)),
        ({"prompt_tokens": 1e30, "completion_tokens": 2**63}, None),
        ({"prompt_tokens": None, "completion_tokens": None}, None),
        ({"prompt_tokens": True, "completion_tokens": 2.5}, None),
        ({"prompt_tokens": [], "completion_tokens": {}}, None),
        ({"input_tokens": 5, "output_tokens": 6}, _usage(5, 6)),
        ({"prompt_tokens": 5, "prompt_tokens_details": {"cached_tokens": "4"}}, None),
        ({}, None),
        ("many", None),
        ([1], None),
        (None, None),
    ],
)
def test_usage_is_a_number_where_it_makes_sense(usage: Any, expected: Any) -> None:
    """Else unknown, whole or in part; never an exception."""
    answer = parse_completion(completion(usage=usage))
    if isinstance(usage, dict) and "prompt_tokens_details" in usage:
        expected = Usage(input_tokens=5, cached_tokens=4)
    assert answer.text == "Hi"
    assert answer.usage == expected


def test_usage_of_streams_and_embeddings_is_read_as_well() -> None:
    """By the same rule."""
    body = b'data: {"choices": [], "usage": {"prompt_tokens": "7"}}\n\n'
    stream = parse_events(b"data: %b\n\n%b" % (chunk({}, finish_reason="stop"), body))
    assert stream.usage == Usage(input_tokens=7)
    data = {"data": [{"embedding": [1.0]}], "usage": {"prompt_tokens": 7.0}}
    assert parse_embedding(orjson.dumps(data)).usage == Usage(input_tokens=7)


# Content, and JSON that is none.


def test_content_in_parts_is_joined() -> None:
    """Text is the answer; thinking is kept apart."""
    parts = [
        {"type": "thinking", "thinking": [{"type": "text", "text": "hm "}]},
        {"type": "thinking", "thinking": "so"},
        {"type": "text", "text": "Hi "},
        {"type": "tool_use", "id": "1", "input": {}},
        "there",
    ]
    answer = parse_completion(completion({"content": parts}))
    assert (answer.text, answer.reasoning) == ("Hi there", "hm so")
    events = b"data: %b\n\ndata: [DONE]\n\n" % chunk({"content": parts})
    assert parse_events(events).text == "Hi there"


@pytest.mark.parametrize("status", [200, 201, 203, 206])
async def test_any_status_of_success_is_read(status: int) -> None:
    """Some gateways say that they have created an answer."""
    async with (
        ScriptedChatServer(always(Reply(status=status, text="Hi"))) as server,
        ss.ChatEngine(server.base_url, "m") as engine,
    ):
        assert (await engine.bind(Instructions()).answer("x")).text == "Hi"


def test_a_byte_order_mark_is_no_part_of_the_reply() -> None:
    """Before JSON and before events."""
    assert parse_completion(b"\xef\xbb\xbf" + completion()).text == "Hi"
    event = b"data: " + chunk({"content": "Hi"}, finish_reason="stop")
    assert parse_events(b"\xef\xbb\xbf" + event + b"\n\n").text == "Hi"


@pytest.mark.parametrize(
    ("written", "text"),
    [
        (rb"a\ud800b", "a\ufffdb"),
        (rb"\udc00", "\ufffd"),
        (rb"\ud83d\ude00\ud83d", "\U0001f600\ufffd"),
        (rb"\\ud800", r"\ud800"),
        (b"a\xffb", "a\ufffdb"),
    ],
)
def test_half_a_character_is_replaced(written: bytes, text: str) -> None:
    """So that the text can be stored; whole ones and backslashes stay."""
    body = b'{"choices": [{"message": {"content": "%b"}}]}' % written
    answer = parse_completion(body)
    assert answer.text == text
    assert answer.text.encode().decode() == text


@pytest.mark.parametrize(
    ("written", "logprob"),
    [(b"-Infinity", -math.inf), (b"NaN", -math.inf), (b"Infinity", 0.0)],
)
def test_a_logprob_may_be_no_number(written: bytes, logprob: float) -> None:
    """What JSON forbids, and Python writes."""
    entry = b'{"token": "a", "logprob": %b}' % written
    body = (
        b'{"choices": [{"message": {"content": "a"}, "logprobs": {"content": [%b]}}]}'
    )
    answer = parse_completion(body % entry)
    assert answer.logprobs is not None
    assert answer.logprobs[0].logprob == logprob


def test_logprobs_without_sense_cost_no_answer() -> None:
    """They count as not given."""
    for odd in ({"content": [1]}, 5, {"content": [{"token": "a"}]}):
        choice = {"message": {"content": "Hi"}, "logprobs": odd}
        answer = parse_completion(orjson.dumps({"choices": [choice]}))
        assert (answer.text, answer.logprobs) == ("Hi", None)


def test_numbers_that_are_none_are_no_embedding() -> None:
    """No file could hold them."""
    with pytest.raises(ProtocolError):
        parse_embedding(b'{"data": [{"embedding": [1.0, NaN]}]}')


# Streams.


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n"])
def test_streams_are_read_as_the_standard_says(end: bytes) -> None:
    """Other fields first, comments, data over several lines, any line ends."""
    half = b'data: {"choices":\ndata: [{"delta": {"content": "Hi"}}]}'
    lines = [
        *(b"id: 1", b"retry: 3000", b": comment", b"event: message"),
        *half.split(b"\n"),
        *(b"", b"data:%b" % chunk({"content": "!"}, finish_reason="stop")),
        *(b"", b"data: [DONE]", b""),
    ]
    answer = parse_events(end.join(lines) + end)
    assert (answer.text, answer.finish_reason) == ("Hi!", "stop")


def test_events_need_no_empty_lines_between_them() -> None:
    """Some servers leave them out."""
    lines = [chunk({"content": word}) for word in ("a", "b")]
    assert parse_events(b"data: %b\ndata: %b\ndata: [DONE]\n" % (*lines,)).text == "ab"


@pytest.mark.parametrize("is_done", [False, True])
def test_a_stream_needs_an_end(is_done: bool) -> None:
    """Its mark will do, where no finish reason is told; a cut one is no answer."""
    body = b"data: %b\n\n" % chunk({"content": "Hi"})
    if is_done:
        answer = parse_events(body + b"data: [DONE]\n\n")
        assert (answer.text, answer.finish_reason) == ("Hi", None)
    else:
        with pytest.raises(ProtocolError, match="ended before"):
            parse_events(body)


@pytest.mark.parametrize(
    "event",
    [
        b'event: error\ndata: {"message": "gone", "code": 503}\n\n',
        b'event: error\ndata: {"error": {"message": "gone", "code": "503"}}\n\n',
        b'data: {"error": {"message": "gone", "code": 503}}\n\n',
        b"event: error\ndata: gone\n\n",
    ],
)
async def test_an_error_ends_a_stream(event: bytes) -> None:
    """Also after a part of the answer; its words and its status are kept."""
    body = b"data: %b\n\n%b" % (chunk({"content": "Hi"}), event)
    script = always(Reply(fault=GarbageBody(body=body)))
    async with (
        ScriptedChatServer(script) as server,
        ss.ChatEngine(server.base_url, "m", stream=True) as engine,
    ):
        with pytest.raises(ss.ServiceError, match="gone") as caught:
            await engine.bind(Instructions()).answer("x")
    assert caught.value.status == (503 if b"503" in event else 502)


def test_a_stream_that_nobody_asked_for_is_read() -> None:
    """Some endpoints stream always."""
    event = b"data: %b\n\n" % chunk({"content": "Hi"}, finish_reason="stop")
    assert parse_completion(event).text == "Hi"

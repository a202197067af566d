"""Statuses and the words beside them: what a row's error says, and what may be done."""

from __future__ import annotations

import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import orjson
import pytest

from sutro_stream.engines.chat import ChatEngine
from sutro_stream.engines.embeddings import EmbeddingEngine
from sutro_stream.engines.transports.transport import Reply as HttpReply
from sutro_stream.errors import (
    AuthenticationError,
    BadReplyError,
    ConfigurationError,
    EngineError,
    InputTooLongError,
    NotFoundError,
    QuotaError,
    RateLimitedError,
    ServiceError,
)
from sutro_stream.flow.retry import is_retryable
from sutro_stream.pipeline.validation import error_kind
from sutro_stream.settings.key_command import key_command
from sutro_stream.testing import GarbageBody, Reply, ScriptedChatServer, always
from sutro_stream.values.endpoint import TRANSPORTS, TransportName
from sutro_stream.values.instructions import Instructions
from sutro_stream.values.outcomes import ErrorKind
from sutro_stream.wire.openai.failures import error_for, failure

PROMPT = "the patient's name is Ada Lovelace"
KEY = "my-very-own-key"


def error_of(status: int, body: Any, *, prompt: str = PROMPT) -> EngineError:
    """The error of a reply."""
    if not isinstance(body, bytes):
        body = body.encode() if isinstance(body, str) else orjson.dumps(body)
    reply = HttpReply(status, {}, frozenset(), body)
    return failure(*reply.told, endpoint="http://host:1", prompt=prompt, secrets=[KEY])


async def answered_with(body: bytes, *, stream: bool = False) -> EngineError:
    """The error of a reply of success."""
    script = always(Reply(fault=GarbageBody(body=body)))
    async with (
        ScriptedChatServer(script) as server,
        ChatEngine(server.base_url, "m", stream=stream) as engine,
    ):
        with pytest.raises(EngineError) as caught:
            await engine.bind(Instructions()).answer(PROMPT)
    return caught.value


# Which are retried.


@pytest.mark.parametrize(
    ("status", "expected"),
    [(s, True) for s in (408, 409, 424, 425, 429, 499, 500, 502, 503, 504, 520, 529)]
    + [(s, False) for s in (400, 401, 402, 403, 404, 405, 410, 413, 422, 501, 505)],
)
def test_statuses_that_pass_are_retried(status: int, *, expected: bool) -> None:
    """424 and 499 tell of somebody else's trouble."""
    assert is_retryable(error_of(status, {"error": "words"})) is expected


@pytest.mark.parametrize(
    "words",
    [
        "The engine is currently overloaded",
        "Model is loading",
        "we are at capacity",
        "Please try again",
        "temporarily unavailable",
    ],
)
def test_a_refusal_that_says_that_it_passes_is_retried(words: str) -> None:
    """Some gateways answer 400 for what is a 503."""
    error = error_of(400, {"error": {"message": words}})
    assert is_retryable(error)
    assert error_kind(error) is ErrorKind.SERVER_ERROR
    assert not is_retryable(error_of(400, {"error": {"message": "no such field"}}))


# What it says.


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("upstream said no. Then more", "upstream said no"),
        ("<html><head><title>Attention | Cloud</title></head>", "Attention | Cloud"),
        ("<!DOCTYPE html><body><h1>Request <b>blocked</b></h1>x", "Request blocked"),
        ("<html><style>p{}</style><p>Only &amp; text</p>", "Only & text"),
        (
            [{"error": {"message": "Bad key given. See x", "code": 400}}],
            "Bad key given",
        ),
        ({"detail": [{"loc": ["body", "n"], "msg": "too big"}]}, "n: too big"),
        ({"detail": "not today"}, "not today"),
        ({"errors": [{"code": 7, "message": "no route"}]}, "no route"),
        ({"errors": ["no route"]}, "no route"),
        ({"message": "plain"}, "plain"),
        ({"error": "text"}, "text"),
        ({"error": {"message": {"images": ["too many"]}}}, "too many"),
        ({"error": {"message": '{"error": {"message": "inner"}}'}}, "inner"),
        ({"error": {"code": "invalid_prompt"}}, "invalid_prompt"),
        ({"title": "Too deep", "status": 400}, "Too deep"),
    ],
)
def test_the_first_sentence_of_an_error_is_told(body: Any, words: str) -> None:
    """However the endpoint packs it."""
    assert str(error_of(400, body)) == f"http://host:1 answered HTTP 400: {words}"


@pytest.mark.parametrize(
    ("status", "kind"),
    [(403, AuthenticationError), (404, NotFoundError)],
)
def test_a_refusal_keeps_the_words_and_claims_nothing(
    status: int, kind: type[EngineError]
) -> None:
    """It may be one row's, of a moderation or a firewall."""
    error = error_of(status, {"error": {"message": "Flagged by moderation. See x"}})
    assert type(error) is kind
    assert f"answered HTTP {status}: Flagged by moderation;" in str(error)
    assert "refused the API key" not in str(error)
    assert error_kind(error) is ErrorKind.REJECTED


def test_overflow_and_quota_keep_the_words() -> None:
    """Beside what we say of them."""
    words = "This model's maximum context length is 10 tokens"
    error = error_of(400, {"error": {"message": words}})
    assert isinstance(error, InputTooLongError)
    assert words in str(error)
    quota = error_of(
        429, {"error": {"message": "Pay up", "code": "insufficient_quota"}}
    )
    assert isinstance(quota, QuotaError)
    assert "Pay up" in str(quota)


@pytest.mark.parametrize(
    "secret",
    [
        "sk-proj-abc123",
        "sk-a***************xyz",
        "Bearer abc.def-123",
        "0123456789abcdef0123456789abcdef",
        "Zm9vYmFyMTIzNDU2Nzg5MHF3ZXJ0eQ==",
        "01234567-89ab-cdef-0123-456789abcdef",
        "AKIAIOSFODNN7EXAMPLE",
        "https://host/path?api-key=hidden",
        "https://user:hidden@host/path",
        "api_key=hidden",
        KEY,
    ],
)
@pytest.mark.parametrize("status", [400, 401, 404, 500])
def test_secrets_are_removed(secret: str, status: int) -> None:
    """What stands around them stays."""
    text = str(error_of(status, {"error": {"message": f"Wrong {secret} given"}}))
    assert "Wrong " in text
    assert " given" in text
    for part in (secret, "hidden", "abc123", "abc.def", "OSFODNN", "xyz"):
        assert part not in text


@pytest.mark.parametrize(
    "words",
    [
        "model `claude-3-5-sonnet-20241022` is gone",
        "model meta-llama/Meta-Llama-3.1-70B-Instruct-Turbo is gone",
        "max_completion_tokens is wrong",
    ],
)
def test_what_is_no_secret_stays(words: str) -> None:
    """Names of models and parameters look like keys to some."""
    assert words in str(error_of(400, {"error": {"message": words}}))


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 422, 500])
def test_the_prompt_is_in_no_message(status: int) -> None:
    """Nor a part of it, nor the input that FastAPI gives back."""
    body = {"detail": [{"msg": "bad value", "loc": ["body"], "input": PROMPT}]}
    assert "Ada" not in str(error_of(status, body))
    assert "bad value" in str(error_of(status, body))
    quoting = {"error": {"message": f"cannot read: {PROMPT[4:]}. Sorry"}}
    assert "Ada" not in str(error_of(status, quoting))
    assert "row" not in str(error_of(status, {"error": "no row here"}, prompt="row"))


def test_words_are_bounded() -> None:
    """Some gateways send back a page, or a megabyte."""
    assert len(str(error_of(400, {"error": {"message": "word " * 100_000}}))) < 300
    assert len(str(error_of(400, "<html>" + "word " * 100_000))) < 300


@pytest.mark.parametrize(
    ("words", "option"),
    [
        (
            "Unsupported parameter: 'max_tokens' is not supported with this model.",
            "--sampling max_completion_tokens=",
        ),
        (
            "'response_format' of type 'json_schema' is not supported",
            "--response-format",
        ),
        ("'temperature' does not support 0.2 with this model", "--temperature"),
        ("top_p is not supported", "--sampling top_p="),
        ("Unrecognized request argument supplied: top_k", "--dialect"),
        ("Extra inputs are not permitted: stop_token_ids (field)", "--extra-body"),
        ("Missing required header: X-Tenant", "--header NAME=VALUE"),
        ("Missing required query parameter: api-version", "into the address"),
        ("The field reasoning_effort is required", "--extra-body"),
    ],
)
def test_a_refused_parameter_names_the_option_that_cures_it(
    words: str, option: str
) -> None:
    """And nothing where the value is wrong, not the parameter."""
    assert option in str(error_of(400, {"error": {"message": words}}))
    wrong = error_of(400, {"error": {"message": "temperature must be below 2"}})
    assert "--" not in str(wrong)


# Errors in replies of success.


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("error", "status", "kind"),
    [
        ({"code": 429, "message": "m"}, 429, RateLimitedError),
        ({"code": "503", "message": "m"}, 503, ServiceError),
        ({"status": "RESOURCE_EXHAUSTED", "message": "m"}, 429, RateLimitedError),
        ({"code": "rate_limit_exceeded", "message": "m"}, 429, RateLimitedError),
        ({"type": "overloaded_error", "message": "m"}, 529, ServiceError),
        ({"type": "server_error", "message": "m"}, 500, ServiceError),
        ({"type": "invalid_request_error", "message": "m"}, 400, ServiceError),
        ({"code": 401, "message": "m"}, 401, AuthenticationError),
        ({"message": "m"}, 502, BadReplyError),
        ("m", 502, BadReplyError),
    ],
)
async def test_an_error_in_a_reply_counts_as_the_status_that_it_names(
    error: Any, status: int, kind: type[ServiceError], *, stream: bool
) -> None:
    """Else as a 502; streamed or not."""
    body = orjson.dumps({"error": error})
    found = await answered_with(b"data: %b\n\n" % body if stream else body)
    assert type(found) is kind
    assert isinstance(found, ServiceError)
    assert found.status == status
    assert ": m" in str(found)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"choices": []}', ""),
        (b'{"choices": null}', ""),
        (b'{"id": "x"}', ""),
        (b"", "empty"),
        (b"<html><title>Sign in</title></html>", "Sign in"),
        (b'{"choices": [{"message": {"content": "hal', "not JSON"),
        (b'{"detail": "warming"}', "warming"),
        (b"upstream connect error", "upstream connect error"),
    ],
)
async def test_a_reply_without_an_answer_is_retried(body: bytes, words: str) -> None:
    """As a 502, whose kind is told apart."""
    error = await answered_with(body)
    assert is_retryable(error)
    assert error_kind(error) is ErrorKind.BAD_REPLY
    assert words in str(error)


@pytest.mark.parametrize(
    "body",
    [
        b'{"message": {"role": "assistant", "content": "ANSWER"}}',
        b'"ANSWER"',
        b'{"choices": [{"text": "ANSWER"}]}',
        b'{"choices": [{"message": {"content": "ANSWER',
        b'data: {"choices": [{"delta": {"content": "ANSWER"}}]}\n\n',
    ],
)
async def test_an_answer_that_cannot_be_read_is_not_quoted(body: bytes) -> None:
    """It is the row's, and no error of the endpoint."""
    assert "ANSWER" not in str(await answered_with(body))


# Keys that are asked for.


def keys(*values: str) -> Callable[[], str]:
    """A function that returns one after the other, then the last one."""
    left = list(values)
    return lambda: left.pop(0) if len(left) > 1 else left[0]


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("stream", [False, True])
async def test_a_refused_key_is_asked_for_anew(
    transport: TransportName, *, stream: bool
) -> None:
    """The request is sent once more, and counted."""
    async with (
        ScriptedChatServer(api_key="new-key") as server,
        ChatEngine(
            server.base_url,
            "m",
            api_key=keys("old-key", "new-key"),
            stream=stream,
            transport=transport,
        ) as engine,
    ):
        responder = engine.bind(Instructions())
        assert (await responder.answer("hi")).requests == 2
        assert (await responder.answer("hi")).requests == 1


async def test_many_refusals_ask_for_one_key() -> None:
    """An async function, asked by one of them."""
    asked = 0

    async def ask() -> str:
        nonlocal asked
        asked += 1
        await anyio.lowlevel.checkpoint()
        return f"key-{asked}"

    async with (
        ScriptedChatServer(api_key="key-2") as server,
        ChatEngine(server.base_url, "m", api_key=ask) as engine,
        anyio.create_task_group() as tasks,
    ):
        for _ in range(20):
            tasks.start_soon(engine.bind(Instructions()).answer, "hi")
    assert asked == 2


async def test_the_same_key_again_changes_nothing() -> None:
    """The refusal stands; one request was sent, and the function not asked on."""
    asked = 0

    def ask() -> str:
        nonlocal asked
        asked += 1
        return "old-key"

    async with (
        ScriptedChatServer(api_key="new-key") as server,
        ChatEngine(server.base_url, "m", api_key=ask) as engine,
    ):
        for _ in range(5):
            with pytest.raises(AuthenticationError) as caught:
                await engine.bind(Instructions()).answer("hi")
            assert caught.value.take_requests() == 1
        assert server.statistics().requests == 5
    assert asked == 2


async def test_a_new_key_that_is_refused_as_well_counts_both_requests() -> None:
    """The row has cost two."""
    async with (
        ScriptedChatServer(api_key="right") as server,
        ChatEngine(server.base_url, "m", api_key=keys("old", "new")) as engine,
    ):
        with pytest.raises(AuthenticationError) as caught:
            await engine.bind(Instructions()).answer("hi")
        assert caught.value.take_requests() == 2


async def test_a_function_that_fails_says_nothing_of_the_key() -> None:
    """Neither when the engine opens nor later; the refusal keeps its words."""
    left = ["old-key"]

    def ask() -> str:
        if left:
            return left.pop()
        raise RuntimeError("the vault holds sk-very-secret")

    async with ScriptedChatServer(api_key="new-key") as server:
        async with ChatEngine(server.base_url, "m", api_key=ask) as engine:
            with pytest.raises(AuthenticationError, match="RuntimeError") as refused:
                await engine.bind(Instructions()).answer("hi")
            assert "old-key" not in repr(engine)
        with pytest.raises(ConfigurationError, match="RuntimeError") as unopened:
            await ChatEngine(server.base_url, "m", api_key=ask).__aenter__()
    assert "secret" not in f"{refused.value} {unopened.value}"


async def test_embeddings_ask_for_their_key_as_well() -> None:
    """When they open; what is no key is refused."""
    engine = EmbeddingEngine("http://127.0.0.1:9/v1", api_key=lambda: "")
    with pytest.raises(ConfigurationError, match="no key"):
        await engine.__aenter__()


def script(folder: Path, body: str) -> str:
    """A command that runs this Python."""
    path = folder / "key command.py"
    path.write_text(f"#!{sys.executable}\n{body}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return f"'{path}' --flag 'with blank'"


async def test_a_command_prints_the_key(tmp_path: Path) -> None:
    """On its first line."""
    command = script(tmp_path, "import sys; print(' k-1 '); print(sys.argv)")
    assert await key_command(command)() == "k-1"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("import sys; print('SECRET'); sys.exit('SECRET')", "exit code 1"),
        ("print()", "no key"),
        ("import time; print('SECRET', flush=True); time.sleep(60)", "within 0.5 s"),
    ],
)
async def test_a_command_without_a_key_is_told(
    tmp_path: Path, body: str, reason: str
) -> None:
    """And never what it printed."""
    ask = key_command(script(tmp_path, body), longest_s=0.5)
    with pytest.raises(ConfigurationError, match=reason) as caught:
        await ask()
    assert "SECRET" not in str(caught.value)


async def test_a_command_that_is_none_is_told() -> None:
    """With the option's name."""
    with pytest.raises(ConfigurationError, match="--api-key-command"):
        key_command("unclosed 'quote")
    with pytest.raises(ConfigurationError, match="cannot be started"):
        await key_command("/no/such/program")()


def test_an_error_object_alone_is_enough() -> None:
    """Without a reply around it."""
    error = error_for({"message": "m"}, status=503, endpoint="e", prompt=PROMPT)
    assert str(error) == "e answered HTTP 503: m"

"""Requests and replies to bytes: OpenAI's bodies, as JSON or as events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from sutro_stream.testing.chat_server.replies import GarbageBody, Reply
from sutro_stream.testing.chat_server.requests import ChatRequest, message_text
from sutro_stream.testing.chat_server.schema_instances import minimal_instance

_CREATED = 1_735_689_600  # any fixed time keeps answers reproducible
_DONE = b"data: [DONE]\n\n"
_ERROR_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
}
_FIRST_SERVER_ERROR = 500
_ERROR_CODES = {401: "invalid_api_key", 429: "rate_limit_exceeded"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A complete HTTP answer.

    Attributes:
        status: HTTP status.
        content_type: Declared type of the body.
        headers: Further headers.
        pieces: The body; one piece for each event of a stream.
        is_stream: Whether the body is sent chunked instead of with its length.
    """

    status: int
    content_type: str
    headers: Mapping[str, str]
    pieces: Sequence[bytes]
    is_stream: bool = False

    @property
    def body(self) -> bytes:
        """The body in one piece."""
        return self.pieces[0] if len(self.pieces) == 1 else b"".join(self.pieces)


def chat_answer(request: ChatRequest, reply: Reply) -> Answer:
    """The answer that a reply means for a request. Pure."""
    headers = _headers(reply)
    if isinstance(reply.fault, GarbageBody):
        return Answer(
            status=reply.status,
            content_type=reply.fault.content_type,
            headers=headers,
            pieces=(reply.fault.body,),
        )
    if reply.is_error:
        return error_answer(
            reply.status, reply.message, code=reply.code, headers=headers
        )
    try:
        text = _text(request, reply)
    except ValueError as error:
        return error_answer(400, f"Invalid schema: {error}")
    encode = _stream_pieces if request.stream else _completion
    return Answer(
        status=reply.status,
        content_type="text/event-stream" if request.stream else "application/json",
        headers=headers,
        pieces=encode(request, reply, text),
        is_stream=request.stream,
    )


def error_answer(
    status: int,
    message: str | None = None,
    *,
    code: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """An error in OpenAI's shape; `None` takes a standard message and code."""
    kind = "server_error" if status >= _FIRST_SERVER_ERROR else "invalid_request_error"
    error = {
        "message": message or f"Scripted error {status}.",
        "type": _ERROR_TYPES.get(status, kind),
        "param": None,
        "code": code or _ERROR_CODES.get(status),
    }
    return json_answer({"error": error}, status=status, headers=headers)


def json_answer(
    value: Mapping[str, Any],
    *,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """A JSON object as an answer."""
    return Answer(
        status=status,
        content_type="application/json",
        headers=headers or {},
        pieces=(orjson.dumps(value),),
    )


def _headers(reply: Reply) -> dict[str, str]:
    headers = dict(reply.headers or {})
    if reply.retry_after is not None:
        wait = reply.retry_after
        headers["Retry-After"] = wait if isinstance(wait, str) else f"{wait:g}"
    return headers


def _text(request: ChatRequest, reply: Reply) -> str:
    if reply.text is not None:
        return reply.text
    wanted = request.body.get("response_format")
    if wanted is None:
        return f"echo: {request.prompt}"
    schema = request.json_schema
    if schema is not None:
        return orjson.dumps(minimal_instance(schema)).decode()
    if wanted.get("type") == "json_object":
        return orjson.dumps({"echo": request.prompt}).decode()
    return f"echo: {request.prompt}"


def _completion(request: ChatRequest, reply: Reply, text: str) -> Sequence[bytes]:
    choice: dict[str, Any] = {
        "index": 0,
        "message": {"role": "assistant", "content": text},
        "logprobs": None,
        "finish_reason": reply.finish_reason,
    }
    if request.body.get("logprobs"):
        tokens = _tokens(text)
        choice["logprobs"] = {"content": _logprobs(request, tokens, start=0)}
    completion = {
        **_envelope(request, "chat.completion"),
        "choices": [choice],
        "usage": _usage(request, text),
    }
    return (orjson.dumps(completion),)


def _stream_pieces(request: ChatRequest, reply: Reply, text: str) -> Sequence[bytes]:
    """One event per word, between one with the role and one with the reason."""
    envelope = _envelope(request, "chat.completion.chunk")
    with_logprobs = bool(request.body.get("logprobs"))

    def event(delta: Mapping[str, str], **choice: object) -> bytes:
        choices = [{"index": 0, "delta": delta, "finish_reason": None, **choice}]
        return _event({**envelope, "choices": choices})

    pieces = [event({"role": "assistant", "content": ""})]
    for position, token in enumerate(_tokens(text)):
        if with_logprobs:
            logprobs = _logprobs(request, [token], start=position)
            pieces.append(event({"content": token}, logprobs={"content": logprobs}))
        else:
            pieces.append(event({"content": token}))
    pieces.append(event({}, finish_reason=reply.finish_reason))
    if (request.body.get("stream_options") or {}).get("include_usage"):
        usage = _usage(request, text)
        pieces.append(_event({**envelope, "choices": [], "usage": usage}))
    pieces.append(_DONE)
    return pieces


def _event(value: Mapping[str, Any]) -> bytes:
    return b"data: %b\n\n" % orjson.dumps(value)


def _envelope(request: ChatRequest, kind: str) -> dict[str, Any]:
    return {
        "id": f"chatcmpl-{request.sequence}",
        "object": kind,
        "created": _CREATED,
        "model": request.body["model"],
    }


def _usage(request: ChatRequest, text: str) -> dict[str, int]:
    """Tokens counted as words."""
    asked = 0
    for message in request.body["messages"]:
        asked += len(message_text(message).split())
    answered = len(text.split())
    return {
        "prompt_tokens": asked,
        "completion_tokens": answered,
        "total_tokens": asked + answered,
    }


def _tokens(text: str) -> list[str]:
    """The words, each with the space before it; joined, they equal the text."""
    first, *rest = text.split(" ")
    return [first, *(f" {word}" for word in rest)]


def _logprobs(
    request: ChatRequest, tokens: Sequence[str], *, start: int
) -> list[dict[str, Any]]:
    alternatives = request.body.get("top_logprobs") or 0
    return [
        {
            **_logprob(token, place=0, position=position),
            "top_logprobs": [
                _logprob(token if place == 0 else f"{token}~{place}", place, position)
                for place in range(alternatives)
            ],
        }
        for position, token in enumerate(tokens, start)
    ]


def _logprob(token: str, place: int, position: int) -> dict[str, Any]:
    """An invented log probability: falls with the place, differs by position."""
    return {
        "token": token,
        "logprob": -0.125 * (1 + position % 4) - 2.0 * place,
        "bytes": list(token.encode()),
    }

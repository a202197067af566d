"""Chat completion replies, whole or as server-sent events, parsed to answers."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import orjson

from sutro_stream.errors import ProtocolError
from sutro_stream.values.outcomes import Answer, TokenLogprob, Usage


class _Message(msgspec.Struct, gc=False):
    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    refusal: str | None = None


class _Choice(msgspec.Struct, gc=False):
    message: _Message
    finish_reason: str | None = None
    logprobs: Any = None


class _PromptDetails(msgspec.Struct, gc=False):
    cached_tokens: int | None = None


class _Tokens(msgspec.Struct, gc=False):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    prompt_tokens_details: _PromptDetails | None = None


class _Completion(msgspec.Struct, gc=False):
    """What is read of a completion, in the types that nearly every endpoint sends.

    Made in half the time that the whole reply takes as dictionaries.
    """

    choices: list[_Choice]
    usage: _Tokens | None = None
    model: str | None = None


_decode = msgspec.json.Decoder(_Completion).decode


def parse_completion(body: bytes) -> Answer:
    """The answer in a chat completion.

    Raises:
        ProtocolError: The body is no chat completion.
    """
    try:
        completion = _decode(body)
        choice = completion.choices[0]
        found = choice.logprobs
        logprobs = _logprobs(found) if found else None
    except (
        msgspec.DecodeError,
        UnicodeDecodeError,
        RecursionError,
        LookupError,
        TypeError,
        AttributeError,
    ):
        # Some endpoints send other types, and what is wrong is told better there.
        return _parse_unusual(body)
    message, tokens = choice.message, completion.usage
    usage = None
    if tokens is not None:
        details = tokens.prompt_tokens_details
        usage = Usage(
            input_tokens=tokens.prompt_tokens or 0,
            output_tokens=tokens.completion_tokens or 0,
            cached_tokens=0 if details is None else details.cached_tokens or 0,
        )
    return Answer(
        text=message.content or "",
        finish_reason=choice.finish_reason,
        usage=usage,
        model=completion.model,
        reasoning=message.reasoning_content or message.reasoning or None,
        refusal=message.refusal or None,
        logprobs=logprobs,
    )


def _parse_unusual(body: bytes) -> Answer:
    """The answer in a completion whose fields may be of any type."""
    try:
        data = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise ProtocolError("the reply is not JSON") from None
    try:
        choice = data["choices"][0]
        message = choice["message"]
        logprobs = choice.get("logprobs")
        return _answer(
            text=message.get("content"),
            reasoning=_reasoning(message),
            refusal=message.get("refusal"),
            finish_reason=choice.get("finish_reason"),
            usage=_usage(data.get("usage")),
            model=data.get("model"),
            logprobs=_logprobs(logprobs) if logprobs else None,
        )
    except (KeyError, IndexError, TypeError, AttributeError):
        raise ProtocolError("the reply is not a chat completion") from None


def parse_events(body: bytes) -> tuple[Answer | None, dict[str, Any] | None]:
    """The answer in the complete event stream of a streamed chat completion.

    Returns:
        The answer, or the error object that the server sent within the stream.

    Raises:
        ProtocolError: The body is no such stream, or it ended too early.
    """
    if not body.lstrip().startswith((b"data:", b":", b"event:")):
        return parse_completion(body), None
    parts = _StreamParts()
    for line in body.splitlines():
        if not line.startswith(b"data:"):
            continue
        payload = line[5:].strip()
        if payload == b"[DONE]":
            break
        error = parts.add(payload)
        if error is not None:
            return None, error
    return parts.answer(), None


class _StreamParts:
    """What the events of one stream add up to."""

    def __init__(self) -> None:
        self.text: list[str] = []
        self.reasoning: list[str] = []
        self.refusal: list[str] = []
        self.logprobs: list[TokenLogprob] = []
        self.finish_reason: str | None = None
        self.usage: Usage | None = None
        self.model: str | None = None
        self.seen_choice = False

    def add(self, payload: bytes) -> dict[str, Any] | None:
        try:
            event = orjson.loads(payload)
        except orjson.JSONDecodeError:
            raise ProtocolError("an event of the reply is not JSON") from None
        try:
            error = event.get("error")
            if error is not None:
                return error if isinstance(error, dict) else {"message": str(error)}
            self.model = event.get("model") or self.model
            self.usage = _usage(event.get("usage")) or self.usage
            for choice in event.get("choices") or ():
                self._add_choice(choice)
        except (KeyError, TypeError, AttributeError):
            message = "an event of the reply is not a chat completion chunk"
            raise ProtocolError(message) from None
        return None

    def _add_choice(self, choice: dict[str, Any]) -> None:
        self.seen_choice = True
        delta = choice.get("delta") or {}
        self.text.append(delta.get("content") or "")
        self.reasoning.append(_reasoning(delta) or "")
        self.refusal.append(delta.get("refusal") or "")
        self.logprobs += _logprobs(choice.get("logprobs")) or ()
        self.finish_reason = choice.get("finish_reason") or self.finish_reason

    def answer(self) -> Answer:
        if not self.seen_choice or self.finish_reason is None:
            raise ProtocolError("the reply's event stream ended before the answer")
        return _answer(
            text="".join(self.text),
            reasoning="".join(self.reasoning) or None,
            refusal="".join(self.refusal) or None,
            finish_reason=self.finish_reason,
            usage=self.usage,
            model=self.model,
            logprobs=tuple(self.logprobs) or None,
        )


def _answer(
    *,
    text: Any,
    reasoning: str | None,
    refusal: Any,
    finish_reason: Any,
    usage: Usage | None,
    model: Any,
    logprobs: tuple[TokenLogprob, ...] | None,
) -> Answer:
    if text is not None and not isinstance(text, str):
        raise ProtocolError("the reply's content is not text")
    return Answer(
        text=text or "",
        finish_reason=finish_reason if isinstance(finish_reason, str) else None,
        usage=usage,
        model=model if isinstance(model, str) else None,
        reasoning=reasoning,
        refusal=refusal if isinstance(refusal, str) and refusal else None,
        logprobs=logprobs,
    )


def _reasoning(message: dict[str, Any]) -> str | None:
    # vLLM and llama.cpp say reasoning_content, newer vLLM and others reasoning.
    value = message.get("reasoning_content") or message.get("reasoning")
    return value if value and isinstance(value, str) else None


def _usage(data: Any) -> Usage | None:
    if not isinstance(data, dict):
        return None
    details = data.get("prompt_tokens_details")
    cached = details.get("cached_tokens") if isinstance(details, dict) else None
    return Usage(
        input_tokens=data.get("prompt_tokens") or 0,
        output_tokens=data.get("completion_tokens") or 0,
        cached_tokens=cached or 0,
    )


def _logprobs(data: Any) -> tuple[TokenLogprob, ...] | None:
    if not data:
        return None
    content = data.get("content")
    if not content:
        return None
    return tuple(
        TokenLogprob(
            token=entry["token"],
            logprob=_logprob(entry),
            alternatives=tuple(
                (other["token"], _logprob(other))
                for other in entry.get("top_logprobs") or entry.get("top_probs") or ()
            ),
        )
        for entry in content
    )


def _logprob(entry: dict[str, Any]) -> float:
    # llama.cpp says `prob` where it is asked for probabilities after sampling.
    if "prob" in entry:
        probability = entry["prob"]
        return math.log(probability) if probability > 0 else -math.inf
    number: float = entry["logprob"]
    return number

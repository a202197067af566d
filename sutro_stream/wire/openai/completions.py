"""Chat completion replies, whole or as server-sent events, parsed to answers."""

from __future__ import annotations

import math
import re
from typing import Annotated, Any

import msgspec

from sutro_stream.errors import ProtocolError
from sutro_stream.values.outcomes import Answer, TokenLogprob, Usage
from sutro_stream.wire.openai.json import MOST_TOKENS, load_json, usage_of

_Count = Annotated[int, msgspec.Meta(ge=0, le=MOST_TOKENS)]
_THINKING = frozenset({"thinking", "reasoning", "reasoning_text"})
_WRITING = frozenset({None, "text", "output_text"})
# Lines of an event stream, of which comments, unknown fields and a mark may be first.
_STREAM = re.compile(rb"(?:\xef\xbb\xbf)?\s*(?:[A-Za-z][\w-]*)?:")


class ErrorObjectError(ProtocolError):
    """In place of an answer there is an error object.

    Attributes:
        told: The JSON value that holds it, or its text.
    """

    def __init__(self, told: Any) -> None:
        super().__init__("the reply carries an error")
        self.told = told


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
    cached_tokens: _Count | None = None


class _Tokens(msgspec.Struct, gc=False):
    prompt_tokens: _Count
    completion_tokens: _Count
    prompt_tokens_details: _PromptDetails | None = None


class _Completion(msgspec.Struct, gc=False):
    """What is read of a completion, in the types that nearly every endpoint sends.

    Made in half the time that the whole reply takes as dictionaries.
    """

    choices: list[_Choice]
    usage: _Tokens | None = None
    model: str | None = None
    error: Any = None


class _ChunkChoice(msgspec.Struct, gc=False):
    delta: _Message
    finish_reason: str | None = None
    logprobs: Any = None


class _Chunk(msgspec.Struct, gc=False):
    """The same of an event of a stream."""

    choices: list[_ChunkChoice]
    usage: _Tokens | None = None
    model: str | None = None
    error: Any = None


_decode = msgspec.json.Decoder(_Completion).decode
_decode_chunk = msgspec.json.Decoder(_Chunk).decode


def parse_completion(body: bytes) -> Answer:
    """The answer in a chat completion.

    Raises:
        ErrorObjectError: It holds an error instead.
        ProtocolError: The body is no chat completion.
    """
    try:
        completion = _decode(body)
        choice = completion.choices[0]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, LookupError):
        # Some endpoints send other types, and what is wrong is told better there.
        return _parse_unusual(body)
    if completion.error:
        return _parse_unusual(body)
    message, tokens, usage = choice.message, completion.usage, None
    if tokens is not None:
        # As `_usage`, which would be another call for every row.
        details = tokens.prompt_tokens_details
        usage = Usage(
            input_tokens=tokens.prompt_tokens,
            output_tokens=tokens.completion_tokens,
            cached_tokens=0 if details is None else details.cached_tokens or 0,
        )
    return Answer(
        text=message.content or "",
        finish_reason=choice.finish_reason or None,
        usage=usage,
        model=completion.model or None,
        reasoning=message.reasoning_content or message.reasoning or None,
        refusal=message.refusal or None,
        logprobs=_logprobs(choice.logprobs) if choice.logprobs else None,
    )


def _usage(tokens: _Tokens) -> Usage:
    details = tokens.prompt_tokens_details
    return Usage(
        input_tokens=tokens.prompt_tokens,
        output_tokens=tokens.completion_tokens,
        cached_tokens=0 if details is None else details.cached_tokens or 0,
    )


def parse_events(body: bytes) -> Answer:
    """The answer in the complete event stream of a streamed chat completion.

    Raises:
        ErrorObjectError: The server sent an error within the stream.
        ProtocolError: The body is no such stream, or it ended too early.
    """
    if not _STREAM.match(body):
        return parse_completion(body)
    parts = _StreamParts()
    is_error, data = False, b""
    # Lines end in CR, LF or both; the last event need not be closed by an empty one.
    for line in (*body.removeprefix(b"\xef\xbb\xbf").splitlines(), b""):
        if not line:
            if data and not parts.add(data, is_error=is_error):
                return parts.answer(is_done=True)
            is_error, data = False, b""
        elif line.startswith(b"data:"):
            data = data + b"\n" + line[5:] if data else line[5:]
        elif line.startswith(b"event:"):
            is_error = line[6:].strip() == b"error"
    return parts.answer(is_done=False)


def _parse_unusual(body: bytes) -> Answer:
    """The answer in a completion whose fields may be of any type."""
    if _STREAM.match(body):
        return parse_events(body)
    data = load_json(body)
    if isinstance(data, dict) and data.get("error"):
        raise ErrorObjectError(data)
    try:
        parts = _StreamParts()
        parts.add_head(data)
        choice = data["choices"][0]
        parts.add_choice(choice, choice["message"])
    except (LookupError, TypeError, AttributeError, RecursionError):
        raise ProtocolError("the reply is not a chat completion") from None
    return parts.whole()


class _StreamParts:
    """What the pieces of one answer add up to, whatever their types."""

    def __init__(self) -> None:
        self.text: list[str] = []
        self.reasoning: list[str] = []
        self.refusal: list[str] = []
        self.logprobs: list[TokenLogprob] = []
        self.finish_reason: str | None = None
        self.usage: Usage | None = None
        self.model: str | None = None

    def add(self, data: bytes, *, is_error: bool = False) -> bool:
        """Take the next event; whether others may follow."""
        try:
            chunk = _decode_chunk(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return self._add_unusual(data, is_error=is_error)
        if is_error or chunk.error:
            return self._add_unusual(data, is_error=is_error)
        for choice in chunk.choices:
            delta = choice.delta
            self.text.append(delta.content or "")
            self.reasoning.append(delta.reasoning_content or delta.reasoning or "")
            self.refusal.append(delta.refusal or "")
            if choice.logprobs:
                self.logprobs += _logprobs(choice.logprobs) or ()
            self.finish_reason = choice.finish_reason or self.finish_reason
        self.model = chunk.model or self.model
        if chunk.usage is not None:
            self.usage = _usage(chunk.usage)
        return True

    def _add_unusual(self, data: bytes, *, is_error: bool) -> bool:
        if data.strip() == b"[DONE]":
            return False
        try:
            event = load_json(data)
        except ProtocolError:
            lines = data.split(b"\n")
            if is_error:
                raise ErrorObjectError(data.decode(errors="replace").strip()) from None
            if len(lines) > 1:
                # Some servers put no empty line between events.
                return all(self.add(line) for line in lines)
            raise ProtocolError("an event of the reply is not JSON") from None
        try:
            if is_error or event.get("error"):
                raise ErrorObjectError(event)
            self.add_head(event)
            for choice in event.get("choices") or ():
                self.add_choice(choice, choice.get("delta") or {})
        except (LookupError, TypeError, AttributeError, RecursionError):
            message = "an event of the reply is not a chat completion chunk"
            raise ProtocolError(message) from None
        return True

    def add_head(self, data: dict[str, Any]) -> None:
        self.model = _text(data.get("model")) or self.model
        self.usage = usage_of(data.get("usage")) or self.usage

    def add_choice(self, choice: dict[str, Any], message: dict[str, Any]) -> None:
        # vLLM and llama.cpp say reasoning_content, newer vLLM and others reasoning.
        thought = message.get("reasoning_content") or message.get("reasoning")
        if thought and isinstance(thought, str):
            self.reasoning.append(thought)
        refusal = message.get("refusal")
        if refusal and isinstance(refusal, str):
            self.refusal.append(refusal)
        content = message.get("content")
        if isinstance(content, str):
            self.text.append(content)
        elif content is not None:
            self._add_parts(content)
        if found := choice.get("logprobs"):
            self.logprobs += _logprobs(found) or ()
        self.finish_reason = _text(choice.get("finish_reason")) or self.finish_reason

    def _add_parts(self, content: Any) -> None:
        """Take content in parts, as Mistral and Anthropic have it."""
        if not isinstance(content, (list, dict)):
            raise ProtocolError("the reply's content is not text")
        for part in [content] if isinstance(content, dict) else content:
            if isinstance(part, str):
                self.text.append(part)
            elif part.get("type") in _THINKING:
                inner = part.get("thinking") or part.get("reasoning")
                thought = _StreamParts()
                thought.add_choice({}, {"content": inner or part.get("text")})
                self.reasoning += thought.text
            elif part.get("type") == "refusal":
                self.refusal.append(_text(part.get("refusal")) or "")
            elif part.get("type") in _WRITING:
                self.text.append(_text(part.get("text")) or "")

    def answer(self, *, is_done: bool) -> Answer:
        """The answer of a stream, with its end or without."""
        found = self.text or self.reasoning or self.refusal
        if self.finish_reason is None and not (is_done and any(found)):
            raise ProtocolError("the reply's event stream ended before the answer")
        return self.whole()

    def whole(self) -> Answer:
        return Answer(
            text="".join(self.text),
            finish_reason=self.finish_reason,
            usage=self.usage,
            model=self.model,
            reasoning="".join(self.reasoning) or None,
            refusal="".join(self.refusal) or None,
            logprobs=tuple(self.logprobs) or None,
        )


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _logprobs(data: Any) -> tuple[TokenLogprob, ...] | None:
    """What is told of tokens, `None` where that makes no sense."""
    try:
        return (
            tuple(
                TokenLogprob(
                    token=entry["token"],
                    logprob=_logprob(entry),
                    alternatives=tuple(
                        (other["token"], _logprob(other))
                        for other in entry.get("top_logprobs")
                        or entry.get("top_probs")
                        or ()
                    ),
                )
                for entry in data.get("content") or ()
            )
            or None
        )
    except (LookupError, TypeError, AttributeError, ValueError):
        return None


def _logprob(entry: dict[str, Any]) -> float:
    # llama.cpp says `prob` where it is asked for probabilities after sampling.
    if "prob" in entry:
        probability = entry["prob"]
        return math.log(probability) if probability > 0 else -math.inf
    number: float = entry["logprob"]
    if math.isfinite(number):
        return number
    return 0.0 if number > 0 else -math.inf
